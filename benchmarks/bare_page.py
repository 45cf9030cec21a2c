"""A page as bare as Bokeh can be: one scatter of 1855 points and a select.

Run by plain ``bokeh serve`` with its default template; what it takes is what the machine, the
browser and Bokeh itself cost.
"""

import numpy as np
from bokeh.io import curdoc
from bokeh.layouts import column
from bokeh.models import ColumnDataSource
from bokeh.models.widgets import Select
from bokeh.plotting import figure

points = np.random.default_rng(0).normal(size=(2, 1855))
source = ColumnDataSource({"x": points[0], "y": points[1]})
plot = figure(width=800, height=600)
plot.scatter("x", "y", source=source)
select = Select(value="one", options=["one", "two"])  # type: ignore[arg-type]
curdoc().add_root(column(select, plot))
