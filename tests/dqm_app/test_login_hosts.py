"""Names by which a dashboard without accounts may be called."""

from __future__ import annotations

import pytest

from dqm_app.login.hosts import is_ours

ALLOWED = {"dqm.example.org:80", "*.cta.example:8443"}


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.0.1:5006", "192.168.1.7:5006", "[::1]:5006", "[fe80::1]"),
        *("localhost", "localhost:5006", "dashboard:5006", "LOCALHOST", ""),
        *("dqm.example.org", "DQM.example.org:80", "web.cta.example:8443"),
    ],
)
def test_ours(host):
    assert is_ours(host, ALLOWED)


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:5006", "dqm.example.org.evil.example", "evil.example."),
        *("127.0.0.1.evil.example", "dqm.example.org:81", "1.2.3.4.5:80", "[127.0.0.1", "a@b.c"),
        "localhost.evil.example:5006",
    ],
)
def test_those_of_others(host):
    assert not is_ours(host, ALLOWED)
