"""What plots say about their data, for files that the browser writes."""

from __future__ import annotations

import json

import numpy as np
from bokeh.models import ColumnDataSource

from dqm_app.plots.deviations import Deviations, DeviationStrips
from dqm_app.plots.event_times import EventTimesPlot
from dqm_app.plots.export import Column, Table, offered
from dqm_app.theme import themes

LIGHT = themes()["light"]


def test_what_is_offered_names_source_and_columns():
    source = ColumnDataSource(data={"a": [1.0], "t": [0.0]})
    table = Table(
        source, [Column("a", "charge", "p.e."), Column("t", "time", kind="utc")], "all", [3]
    )
    found = offered("Plot", [table], "QUANTITY", ["a line"])
    assert json.loads(json.dumps(found)) == {
        "title": "Plot",
        "quantity": "QUANTITY",
        "notes": ["a line"],
        "tables": [
            {
                "source": source.id,
                "title": "all",
                "skip": [3],
                "columns": [["a", "charge", "p.e.", "plain"], ["t", "time", "", "utc"]],
            }
        ],
    }


def test_a_plot_with_nothing_offers_nothing():
    plot = EventTimesPlot("t", LIGHT, "Changes")
    plot.update("Title", 1.75e9 + np.array([1.0, 2.0]), 2, (None, None), "TIMES")
    (tag,) = plot.figure.tags
    (table,) = tag["export"]["tables"]
    assert {column[0] for column in table["columns"]} <= set(plot.source.data)
    assert (table["source"], tag["export"]["quantity"]) == (plot.source.id, "TIMES")
    plot.clear("Title", "none")
    assert plot.figure.tags[0]["export"]["tables"] == []


def test_places_that_are_nowhere_stored_are_told_by_start_and_step():
    plot = DeviationStrips("d", LIGHT, EventTimesPlot("t", LIGHT, "Changes").x_range)
    rows = np.zeros((1, 4), "<f4")
    plot.update(Deviations(("Q",), ("Title",), ("Section",), rows, 10.5, 18.5))
    (table,) = plot.figure.tags[0]["export"]["tables"]
    assert ["image", "from run", "", "steps", 10.5, 2.0] in table["columns"]
