"""The address of a page: parsing, and finding a sensible page for a wrong one."""

from __future__ import annotations

import pytest
from catalogue_columns import camera_runs
from hypothesis import given
from hypothesis import strategies as st

from dqm_app.address import Address, ViewKeys, resolve
from dqm_app.catalogues import Catalogues

VIEWS = {"maps": ViewKeys("Camera maps"), "waveforms": ViewKeys("Waveforms", ("level",))}
CATALOGUES = Catalogues(
    [camera_runs("NectarCAMQM", [6001, 6002, 7001], start=1e9), camera_runs("NectarCAM2", [12])]
)


@pytest.mark.parametrize(
    ("text", "run"), [("6310", 6310), ("Run6310", 6310), ("run 7", 7), ("latest", None), ("", None)]
)
def test_run_is_read_from_what_people_type(text, run):
    address, messages = Address.parse({"run": text})
    assert address.run == run
    assert messages == ()


@pytest.mark.parametrize("text", ["abc", "-1", "6.5", "1e3", "²", "9" * 40, "6310; drop"])
def test_a_run_that_is_no_number_is_said_so(text):
    address, (message,) = Address.parse({"run": text})
    assert address.run is None
    assert "not a run number" in message


def test_query_and_parse_are_inverse():
    address = Address("Nectar CAM&2", 6310, "maps", "WF-PHY-HIGH-GAIN")
    from urllib.parse import parse_qsl

    assert Address.parse(dict(parse_qsl(address.query()))) == (address, ())


def test_without_a_run_the_page_follows_the_newest():
    place, messages = resolve(Address("NectarCAMQM"), CATALOGUES, VIEWS)
    assert (place.camera, place.run, place.view, place.follows) == (
        "NectarCAMQM",
        7001,
        "maps",
        True,
    )
    assert messages == ()
    assert place.address().pairs() == {
        "camera": "NectarCAMQM",
        "run": "7001",
        "follow": "1",
        "view": "maps",
    }


@pytest.mark.parametrize(
    ("run", "opened", "shown", "follows"),
    [(6001, False, 7001, True), (6001, True, 6001, False), (7001, True, 7001, True)],
)
def test_a_link_to_a_page_that_follows_shows_its_run(run, opened, shown, follows):
    address, _ = Address.parse({"camera": "NectarCAMQM", "run": str(run), "follow": "1"})
    place, messages = resolve(address, CATALOGUES, VIEWS, opened=opened)
    assert (place.run, place.follows, messages) == (shown, follows, ())


def test_without_anything_the_camera_that_took_data_last_is_shown():
    place, messages = resolve(Address(), CATALOGUES, VIEWS)
    assert place.camera == "NectarCAMQM"
    assert messages == ()


def test_an_unknown_camera_says_so_and_does_not_keep_its_run():
    place, (message,) = resolve(Address("Foo", 6001), CATALOGUES, VIEWS)
    assert (place.camera, place.run) == ("NectarCAMQM", 7001)
    assert "Foo" in message
    assert "NectarCAMQM" in message


@pytest.mark.parametrize(
    ("asked", "shown"), [(6003, 6002), (6999, 7001), (1, 6001), (10**15, 7001)]
)
def test_an_unknown_run_leads_to_the_nearest_one(asked, shown):
    place, (message,) = resolve(Address("NectarCAMQM", asked), CATALOGUES, VIEWS)
    assert place.run == shown
    assert not place.follows
    assert str(asked) in message
    assert str(shown) in message


def test_an_unknown_view_leads_to_the_default_one():
    place, (message,) = resolve(Address(view="zzz"), CATALOGUES, VIEWS)
    assert place.view == "maps"
    assert "zzz" in message
    assert "“Camera maps” is shown" in message


def test_options_are_kept_by_the_view_that_knows_them():
    address, _ = Address.parse({"view": "waveforms", "zoom": "3", "level": "module"})
    assert address.options == (("level", "module"), ("zoom", "3"))
    place, messages = resolve(address, CATALOGUES, VIEWS)
    assert (place.options, messages) == ((("level", "module"),), ())
    assert place.address().pairs()["level"] == "module"
    assert resolve(Address(options=address.options), CATALOGUES, VIEWS)[0].options == ()


def test_an_empty_database_has_no_place():
    assert resolve(Address("X", 1, "maps"), Catalogues(), VIEWS) == (None, ())


@given(
    st.dictionaries(
        st.sampled_from(["camera", "run", "follow", "view", "quantity", "x", "level"]), st.text()
    )
)
def test_whatever_is_typed_leads_to_a_page(query):
    address, _ = Address.parse(query)
    place, _ = resolve(address, CATALOGUES, VIEWS)
    assert place.run in CATALOGUES[place.camera]
    assert place.view in VIEWS
    assert resolve(place.address(), CATALOGUES, VIEWS) == (place, ())
