"""What a service manager is told."""

from __future__ import annotations

import socket

import pytest

from dqm_db.service_manager import READY, notify


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_the_service_manager_is_told(tmp_path, monkeypatch, kind):
    place = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(10)
        manager.bind(place if kind == "path" else f"\0{place}")
        monkeypatch.setenv("NOTIFY_SOCKET", place if kind == "path" else f"@{place}")
        notify(READY)
        assert manager.recv(100) == b"READY=1"


def test_without_a_service_manager_nothing_is_said(monkeypatch, caplog):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify(READY)
    assert caplog.text == ""


def test_what_fails_is_logged(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    notify(READY)
    assert "cannot tell the service manager 'READY=1'" in caplog.text
