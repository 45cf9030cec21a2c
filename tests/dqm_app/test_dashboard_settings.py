"""The dashboard's settings and the origins that may connect."""

from __future__ import annotations

import socket

import pytest

from dqm_app.server import origins
from dqm_app.settings import DashboardSettings
from dqm_db.errors import ConfigurationError
from dqm_db.settings import load


class Listener:
    """A socket at an address that this machine need not have."""

    def __init__(self, host, port=5006, family=None):
        self.family = family or (socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._where = host if family == socket.AF_UNIX else (host, port)

    def getsockname(self):
        return self._where


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
    ("address", "bound", "own"),
    [
        ("127.0.0.1", "127.0.0.1", set()),
        ("0.0.0.0", "0.0.0.0", set()),
        ("192.0.2.7", "192.0.2.7", {"192.0.2.7:5006"}),
        ("::1", "::1", {"[::1]:5006"}),
        ("dqm", "192.0.2.7", {"dqm:5006", "192.0.2.7:5006"}),
    ],
)
def test_this_machine_may_always_connect(address, bound, own):
    settings = DashboardSettings(serve_address=address, allowed_origins=("site:443", "other"))
    loopback = {"127.0.0.1:5006", "localhost:5006"}
    found = origins(settings, [Listener(bound)])
    assert set(found) == own | loopback | {"site:443", "other:80"}


def test_each_socket_has_its_own_origins_but_a_unix_socket_has_none():
    settings = DashboardSettings()
    assert origins(settings, [Listener("/run/dqm/http.sock", family=socket.AF_UNIX)]) == []
    found = origins(settings, [Listener("127.0.0.1"), Listener("127.0.0.1", 5007)])
    assert {"localhost:5006", "localhost:5007"} < set(found)
