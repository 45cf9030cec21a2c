"""The words under the pointer, in the look of the page."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

_STYLE = "display:grid;grid-template-columns:auto auto;gap:1px 10px;padding:2px 4px"
_ROW = '<span style="color:var(--dqm-muted)">{}</span><b style="font-weight:600">{}</b>'


def tip(rows: Iterable[tuple[str, str]]) -> str:
    """HTML for ``HoverTool.tooltips``: one line per label and value.

    Values are in Bokeh's notation, e.g. ``"@value{0.00} °C"``. Bokeh's own table of tooltips cannot
    take the colours of the page.
    """
    lines = (_ROW.format(escape(label), escape(value, quote=False)) for label, value in rows)
    return f'<div style="{_STYLE}">{"".join(lines)}</div>'
