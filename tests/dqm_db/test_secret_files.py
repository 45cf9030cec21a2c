"""Settings in files that nobody else can read."""

from __future__ import annotations

from pathlib import Path

import pytest

from dqm_db.errors import ConfigurationError
from dqm_db.settings import DatabaseSettings, SystemSettings, load, secret


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DQM_SECRETS_DIR", str(tmp_path))
    return tmp_path


def test_a_file_named_as_a_variable_has_its_value(folder: Path) -> None:
    (folder / "DQM_DB_URL").write_text("zeo://db.example.org:8100\n")
    (folder / "DQM_SERVERS").write_text("a:1, b:2\n")
    (folder / "key.pem").write_text("of something else")
    assert load(DatabaseSettings).db_url == "zeo://db.example.org:8100"
    assert load(SystemSettings).servers == ("a:1", "b:2")


def test_variables_and_options_win(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "DQM_DB_WAIT").write_text("3")
    (folder / "DQM_DB_POOL").write_text("4")
    monkeypatch.setenv("DQM_DB_WAIT", "2")
    settings = load(DatabaseSettings, db_pool=5)
    assert (settings.db_wait, settings.db_pool) == (2, 5)


def test_an_unusable_secret_is_named_as_its_variable(folder: Path) -> None:
    (folder / "DQM_DB_WAIT").write_text("soon")
    with pytest.raises(ConfigurationError, match="DQM_DB_WAIT: Input should be a valid number"):
        load(DatabaseSettings)


def test_a_folder_that_is_set_must_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("DQM_SECRETS_DIR", str(tmp_path / "missing"))
    with pytest.raises(ConfigurationError, match=r"DQM_SECRETS_DIR: .*missing is no folder"):
        load(DatabaseSettings)


def test_systemd_s_credentials_are_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "DQM_DB_POOL").write_text("3")
    monkeypatch.delenv("DQM_SECRETS_DIR", raising=False)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert load(DatabaseSettings).db_pool == 3


def test_secrets_of_libraries(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BOKEH_SECRET_KEY", raising=False)
    assert secret("BOKEH_SECRET_KEY") is None
    (folder / "BOKEH_SECRET_KEY").write_text("key of all dashboards\n")
    assert secret("BOKEH_SECRET_KEY") == "key of all dashboards"
    monkeypatch.setenv("BOKEH_SECRET_KEY", "another")
    assert secret("BOKEH_SECRET_KEY") == "another"


def test_a_secret_that_cannot_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("BOKEH_SECRET_KEY", raising=False)
    (folder / "BOKEH_SECRET_KEY").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="cannot read the secret BOKEH_SECRET_KEY"):
        secret("BOKEH_SECRET_KEY")
