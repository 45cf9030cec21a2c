"""The skeleton document and the HTML page around it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from bokeh.document import Document
from bokeh.server.views.static_handler import StaticHandler

from dqm_app.assets import ASSETS, addresses
from dqm_app.inline_scripts import first_paint, import_map
from dqm_app.process_parts import service_of
from dqm_app.session import Session
from dqm_app.theme import themes
from dqm_app.verdicts import words
from dqm_app.views import VIEWS

BOKEHJS = "js/bokeh.min.js"  # without the bundles for widgets, tables, WebGL and MathJax
SCRIPTS_ON_DEMAND = frozenset(
    {
        "csv.js",
        "downloads.js",
        "failures.js",
        "plots_export.js",
        "png.js",
        "plots_compare.js",
        "plots_contents.js",
        "plots_level.js",
        "plots_pixel.js",
        "plots_pointed.js",
        "plots_trends.js",
        "runs_baskets.js",
        "runs_chosen.js",
    }
)
"""What a page loads when somebody asks for it."""
SCRIPTS_OF_PLOTS = frozenset(
    {"export_menu.js", "plots.js", "plots_picked.js", "plots_range.js", "plots_zoom.js"}
)
"""What views with figures need beside the scripts of every page."""
SCRIPTS_OF_VIEWS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "overview": frozenset({"overview.js", "thumbnails.js"}),
        "runs": frozenset(
            f"runs_{part}.js"
            for part in ("table", "rows", "filter", "controls", "grid", "gaps", "calendar")
        ),
        "system": frozenset(
            {"system.js"}
            | {f"system_{part}.js" for part in ("ages", "flow", "lists", "server", "signs")}
        ),
    }
)
"""What views without figures need instead; the table in static/views.js says the same."""
STYLE_OF_FORMS = "forms.css"
"""Of pages of their own, such as the login."""
STYLE_OF_PLOTS = "plots.css"
STYLE_OF_VIEWS: Mapping[str, str] = MappingProxyType(
    {"overview": "overview.css", "runs": "runs_table.css", "system": "system.css"}
)
"""Style sheets likewise; all others are those of every page."""


def open_page(document: Document) -> None:
    """Fill the document of a new session."""
    context: Any = document.session_context
    if context is None:
        raise RuntimeError("the dashboard runs under `dqm serve` or `bokeh serve dqm_app` only")
    document.title = "NectarCAM DQM"
    # the page comes back by its own means, see static/connection.js
    document.config.update(
        reconnect_session=False, notify_connection_status=False, notifications=None
    )
    Session(document, service_of(context.server_context))
    document.template_variables.update(_variables(context.request))


def _variables(request: Any) -> dict[str, Any]:
    # the app is served at PREFIX/dqm_app; templates and scripts need to know the prefix
    path = request.path.removesuffix("/ws").rstrip("/")
    root = path.rpartition("/")[0]
    return {
        "app": path,
        "root": root,
        "assets": f"{root}/{ASSETS}",
        "bokehjs": f"{root}/static/{StaticHandler.append_version(BOKEHJS)}",
        "first_paint": first_paint(),
        "import_map": import_map(f"{root}/{ASSETS}"),
        "scripts": addresses("js"),
        "scripts_later": SCRIPTS_ON_DEMAND | _of_other_views(request),
        "styles": {name: file for name, file in addresses("css").items() if name != STYLE_OF_FORMS},
        "styles_of_views": {name: STYLE_OF_VIEWS.get(name, STYLE_OF_PLOTS) for name in VIEWS},
        "style_of_view": STYLE_OF_VIEWS.get(_asked_view(request), STYLE_OF_PLOTS),
        "verdicts": [[status, *wording] for status, wording in words().items()],
        "views": {name: view.title for name, view in VIEWS.items()},
        "themes": {name: theme.css_variables() for name, theme in themes().items()},
    }


def _of_other_views(request: Any) -> frozenset[str]:
    """Scripts that the view asked for does without; those that need them load them."""
    wanted = SCRIPTS_OF_VIEWS.get(_asked_view(request), SCRIPTS_OF_PLOTS)
    return SCRIPTS_OF_PLOTS.union(*SCRIPTS_OF_VIEWS.values()) - wanted


def _asked_view(request: Any) -> str:
    (asked,) = request.arguments.get("view", [b""])[-1:]
    view = asked.decode(errors="replace")
    return view if view in VIEWS else next(iter(VIEWS))
