"""Scripts and style sheets: those of the start of the server, whatever is installed later."""

from __future__ import annotations

import re

import pytest

from dqm_app import assets


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(assets, "FOLDER", tmp_path)
    assets.assets.cache_clear()
    yield tmp_path
    assets.assets.cache_clear()


def test_files_stay_those_of_the_start(folder):
    (folder / "app.js").write_text("old")
    (folder / "theme.css").write_text("p {}")
    before = assets.addresses("js")
    assert list(before) == ["app.js"]
    assert re.fullmatch(r"app\.js\?v=[0-9a-f]{12}", before["app.js"])
    (folder / "app.js").write_text("new")
    assert assets.addresses("js") == before
    assert assets.assets()["app.js"].content == b"old"
    assets.assets.cache_clear()  # the next server
    assert assets.addresses("js") != before
