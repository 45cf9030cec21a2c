"""The views of the dashboard, by the name that the address of a page gives them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dqm_app.views.base import NothingToShow, QuantityChoice, View, ViewContext
from dqm_app.views.compare import CompareView
from dqm_app.views.contents import ContentsView
from dqm_app.views.maps import MapsView
from dqm_app.views.overview import OverviewView
from dqm_app.views.pingpong import PingPongView
from dqm_app.views.pixel import PixelView
from dqm_app.views.runs import RunsView
from dqm_app.views.system import SystemView
from dqm_app.views.temperature import TemperatureView
from dqm_app.views.timelines import TimelinesView
from dqm_app.views.trends import TrendsView
from dqm_app.views.trigger import TriggerView
from dqm_app.views.waveforms import WaveformsView

VIEWS: Mapping[str, type[View]] = MappingProxyType(
    {
        view.name: view
        for view in (
            OverviewView,
            MapsView,
            WaveformsView,
            TimelinesView,
            TriggerView,
            TemperatureView,
            PingPongView,
            CompareView,
            TrendsView,
            PixelView,
            RunsView,
            ContentsView,
            SystemView,
        )
    }
)
"""In the order of the tabs."""

__all__ = ["VIEWS", "NothingToShow", "QuantityChoice", "View", "ViewContext"]
