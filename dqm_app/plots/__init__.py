"""The plots: one class each, which owns its figure and its sources and has one ``update``.

Plots are given plain arrays; they know neither the database nor the page. Figures are built once
and then only mutated: an update replaces columns and ranges, never models.
"""
