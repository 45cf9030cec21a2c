"""Legends."""

from __future__ import annotations

from bokeh.models.annotations import Legend, LegendItem
from bokeh.models.renderers import GlyphRenderer


def legend(*items: tuple[str, GlyphRenderer], picked: GlyphRenderer | None = None) -> Legend:
    """A legend inside the frame; *picked* adds one entry per label of its source."""
    entries = [LegendItem(label={"value": text}, renderers=[drawn]) for text, drawn in items]
    if picked is not None:
        entries.append(LegendItem(label={"field": "label"}, renderers=[picked]))
    box = Legend(
        items=entries,
        location="top_right",
        click_policy="none",
        spacing=0,
        margin=6,
        glyph_height=16,
        glyph_width=18,
        label_height=16,
    )
    box.update(padding=6)
    return box
