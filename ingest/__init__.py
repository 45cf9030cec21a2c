"""From DQM results files to the database: parse, validate, compute statistics, write."""

PARSER_VERSION = 1
"""Raised whenever the same results file would give other values; `dqm reparse` then applies."""
