"""The shelf of baskets: limits, whose they are, and what is none."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dqm_app.downloads.basket import DESCRIPTION, PROGRESS, Basket, Progress, State
from dqm_app.downloads.errors import BasketRefused, DownloadsUnusable
from dqm_app.downloads.settings import DownloadSettings
from dqm_app.downloads.shelf import LOST_SECONDS, Shelf

CAMERA = "NectarCAMQM"
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
_KEYS = st.sampled_from(
    ["owner", "camera", "runs", "size", "created", "ends", "state", "of_runs", "bytes", "at"]
)
_DOCUMENTS = st.binary(max_size=40) | st.dictionaries(_KEYS, _VALUES).map(
    lambda found: json.dumps(found).encode()
)


def shelf_in(folder: Path, **more: object) -> Shelf:
    return Shelf(DownloadSettings(downloads_dir=folder, **more))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return shelf_in(tmp_path / "downloads")


def note(basket: Basket, state: State) -> None:
    basket.note(Progress(state, 0, len(basket.runs), 0, basket.size))


def test_a_basket_is_found_by_its_owner_alone(shelf):
    basket = shelf.make("ada", CAMERA, [3, 1, 2], 1000)
    assert shelf.find(basket.id, "ada") == basket
    assert shelf.find(basket.id, "eve") is None
    assert shelf.of("ada") == [basket] and shelf.of("eve") == []
    assert basket.progress().state is State.WAITING
    assert basket.file_name.startswith(f"{CAMERA}-1-3-")
    assert basket.folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["", "..", "../x", "A" * 32, "0" * 31, "0" * 33, "0" * 32])
def test_no_other_name_is_an_id(shelf, name):
    shelf.make("ada", CAMERA, [1], 1000)
    assert shelf.find(name, "ada") is None and shelf.get(name) is None


def test_one_at_a_time_for_each_user(shelf):
    first = shelf.make("ada", CAMERA, [1], 1000)
    with pytest.raises(BasketRefused, match="another archive of yours"):
        shelf.make("ada", CAMERA, [2], 1000)
    shelf.make("eve", CAMERA, [2], 1000)
    note(first, State.BUILDING)
    with pytest.raises(BasketRefused):
        shelf.make("ada", CAMERA, [2], 1000)
    note(first, State.FAILED)
    second = shelf.make("ada", CAMERA, [2], 1000)
    assert shelf.of("ada") == [second, first]


def test_a_lost_worker_does_not_block_its_user_for_ever(shelf):
    basket = shelf.make("ada", CAMERA, [1], 1000)
    note(basket, State.BUILDING)
    path = basket.folder / PROGRESS
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "at": time.time() - LOST_SECONDS - 1}))
    assert shelf.make("ada", CAMERA, [2], 1000)


def test_too_many_runs(tmp_path):
    shelf = shelf_in(tmp_path, basket_runs=3)
    with pytest.raises(BasketRefused, match="at most 3 runs, not 4"):
        shelf.make("ada", CAMERA, range(4), 10)
    assert shelf.make("ada", CAMERA, range(3), 10)


def test_all_baskets_keep_within_the_disk(tmp_path):
    shelf = shelf_in(tmp_path, downloads_bytes=1_000_000)
    first = shelf.make("ada", CAMERA, [1], 600_000)
    with pytest.raises(BasketRefused, match="choose fewer runs"):
        shelf.make("eve", CAMERA, [2], 600_000)
    note(first, State.FAILED)  # takes nothing any more
    second = shelf.make("eve", CAMERA, [2], 600_000)
    with pytest.raises(BasketRefused):
        shelf.make("ada", CAMERA, [1], 600_000)
    shelf.remove(second)
    assert shelf.make("ada", CAMERA, [1], 600_000)


def test_nobody_takes_the_disk_of_all_for_himself(tmp_path):
    shelf = shelf_in(tmp_path, downloads_bytes=4_000_000, downloads_user_bytes=1_500_000)
    done = shelf.make("ada", CAMERA, [1], 1_000_000)
    done.archive.write_bytes(b"x" * 1_000_000)
    note(done, State.DONE)
    with pytest.raises(BasketRefused, match=r"your archives take 1\.0 MB of your 1\.5 MB"):
        shelf.make("ada", CAMERA, [2], 1_000_000)
    shelf.make("eve", CAMERA, [2], 1_000_000)
    shelf.remove(done)
    assert shelf.make("ada", CAMERA, [2], 1_000_000)


def test_where_nobody_has_a_name_all_share_the_disk(tmp_path):
    shelf = shelf_in(tmp_path, downloads_bytes=4_000_000, downloads_user_bytes=1_500_000)
    assert shelf.make("", CAMERA, [1], 3_000_000)
    with pytest.raises(BasketRefused, match="an archive for somebody is being built"):
        shelf.make("", CAMERA, [1], 1000)


def test_others_keep_their_room_on_the_disk(shelf, monkeypatch):
    usage = shutil.disk_usage(Path("/"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=500_001_000))
    with pytest.raises(BasketRefused, match=r"nearly full, 500 MB are left"):
        shelf.make("ada", CAMERA, [1], 1000)


def test_what_has_ended_goes(tmp_path):
    shelf = shelf_in(tmp_path, downloads_hours=1e-9)
    basket = shelf.make("ada", CAMERA, [1], 1000)
    basket.archive.write_bytes(b"x")
    time.sleep(0.001)
    assert shelf.find(basket.id, "ada") is None and shelf.of("ada") == []
    shelf.clear()
    assert not basket.folder.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"lock"}


def test_what_is_removed_is_gone_at_once_and_twice(shelf):
    basket = shelf.make("ada", CAMERA, [1], 1000)
    shelf.remove(basket)
    assert shelf.of("ada") == []
    shelf.remove(basket)


def test_unfinished_ones_by_age(shelf):
    made = [shelf.make(owner, CAMERA, [1], 1000) for owner in ("a", "b", "c", "d")]
    note(made[1], State.BUILDING)
    note(made[2], State.DONE)
    note(made[3], State.FAILED)
    assert shelf.unfinished() == made[:2]


def test_how_many_are_built_before(shelf):
    made = [shelf.make(owner, CAMERA, [1], 1000) for owner in ("a", "b", "c")]
    assert [shelf.before(basket) for basket in made] == [0, 1, 2]
    note(made[0], State.DONE)
    assert [shelf.before(basket) for basket in made[1:]] == [0, 1]


def test_a_folder_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadsUnusable, match="DQM_DOWNLOADS_DIR"):
        shelf_in(tmp_path / "file" / "downloads").make("ada", CAMERA, [1], 1000)


@given(description=_DOCUMENTS, progress=_DOCUMENTS)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_lies_in_the_folder_disturbs_nobody(shelf, description, progress):
    strange = shelf.folder / ("0" * 32)
    strange.mkdir(parents=True, exist_ok=True)
    (strange / DESCRIPTION).write_bytes(description)
    (strange / PROGRESS).write_bytes(progress)
    mine = shelf.make("ada", CAMERA, [1], 1000)
    (mine.folder / PROGRESS).write_bytes(progress)
    assert mine in shelf.of("ada")
    assert mine.progress().state in State
    shelf.unfinished()
    shelf.clear()
    shelf.remove(mine)
