"""The dashboard: what `bokeh serve dqm_app` and `dqm serve` run."""
