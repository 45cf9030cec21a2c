"""The dashboard's settings and the origins that may connect."""

from __future__ import annotations

import pytest

from dqm_app.server import origins
from dqm_app.settings import DashboardSettings
from dqm_db.errors import ConfigurationError
from dqm_db.settings import load


def test_defaults_are_loopback():
    assert DashboardSettings().serve_address == "127.0.0.1"
    assert DashboardSettings().processes >= 1


def test_origins_are_separated_by_commas(monkeypatch):
    monkeypatch.setenv("DQM_ALLOWED_ORIGINS", "dqm.example.org:443, other:80,")
    assert load(DashboardSettings).allowed_origins == ("dqm.example.org:443", "other:80")


def test_an_unusable_value_names_its_variable(monkeypatch):
    monkeypatch.setenv("DQM_SERVE_PORT", "many")
    with pytest.raises(ConfigurationError, match="DQM_SERVE_PORT"):
        load(DashboardSettings)


def test_the_primary_is_an_address(monkeypatch):
    assert load(DashboardSettings).primary is None
    monkeypatch.setenv("DQM_PRIMARY_ZEO", "")
    assert load(DashboardSettings).primary is None
    monkeypatch.setenv("DQM_PRIMARY_ZEO", "[::1]:8100")
    assert load(DashboardSettings).primary == ("::1", 8100)
    monkeypatch.setenv("DQM_PRIMARY_ZEO", "zeo://dqm1:8100/")
    with pytest.raises(ConfigurationError, match=r"DQM_PRIMARY_ZEO: .*not HOST:PORT"):
        load(DashboardSettings)


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("127.0.0.1", {"127.0.0.1:5006", "localhost:5006"}),
        ("0.0.0.0", {"127.0.0.1:5006", "localhost:5006"}),
        ("192.0.2.7", {"127.0.0.1:5006", "localhost:5006", "192.0.2.7:5006"}),
        ("::1", {"127.0.0.1:5006", "localhost:5006", "[::1]:5006"}),
        ("dqm", {"127.0.0.1:5006", "localhost:5006", "dqm:5006"}),
    ],
)
def test_this_machine_may_always_connect(address, own):
    settings = DashboardSettings(serve_address=address, allowed_origins=("site:443",))
    assert set(origins(settings, 5006)) == own | {"site:443"}
