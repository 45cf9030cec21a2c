"""Which backups are kept, for any that there can be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.retention import Candidate, Keep, kept
from dqm_db.errors import ConfigurationError

DAY = 86400.0
PERIODS = {
    "d": lambda at: at.strftime("%Y-%m-%d"),
    "w": lambda at: at.strftime("%G-%V"),
    "m": lambda at: at.strftime("%Y-%m"),
    "y": lambda at: at.strftime("%Y"),
}

keeps = st.dictionaries(st.sampled_from("dwmy"), st.integers(1, 12), min_size=1).map(Keep)


@st.composite
def backups(draw: st.DrawFn) -> list[Candidate]:
    """Chains of backups in any order of time; what needs an unsound one is not sound."""
    made: list[Candidate] = []
    times = draw(st.lists(st.floats(1.6e9, 1.6e9 + 900 * DAY), max_size=40, unique=True))
    for number, time in enumerate(times):
        follows = draw(st.none() | st.sampled_from(made)) if made else None
        sound = draw(st.booleans()) and (follows is None or follows.is_sound)
        verified = sound and draw(st.booleans())
        name = None if follows is None else follows.name
        tid = (
            f"{draw(st.integers(0, 20)):016x}"  # also when the clock went back, or nothing changed
        )
        age = (draw(st.integers(0, 2)), tid)
        made.append(Candidate(f"b{number}", time, age, name, sound, verified))
    return draw(st.permutations(made))


def by_period(found: list[Candidate], letter: str) -> dict[str, Candidate]:
    """The newest of each period, newest first."""
    newest: dict[str, Candidate] = {}
    for one in sorted(found, key=lambda one: -one.time):
        newest.setdefault(PERIODS[letter](datetime.fromtimestamp(one.time, UTC)), one)
    return newest


@given(backups(), keeps)
def test_what_is_kept(found: list[Candidate], keep: Keep) -> None:
    names = kept(found, keep)
    by_name = {one.name: one for one in found}
    sound = [one for one in found if one.is_sound]
    assert names <= by_name.keys()

    # Never the last good ones, nor anything that a kept one needs.
    verified = [one for one in sound if one.is_verified]
    last = {
        max(some, key=lambda one: (one.age, one.time)).name for some in (sound, verified) if some
    }
    assert last <= names
    for name in names:
        assert by_name[name].follows is None or by_name[name].follows in names

    # What the rules name is kept, and everything that is kept has a reason.
    reasons = set(last)
    for letter, count in keep.periods.items():
        chosen = [one.name for one in by_period(sound, letter).values()][:count]
        assert names.issuperset(chosen)
        reasons.update(chosen)
        # A period without a sound one keeps a damaged one, in no other's place.
        for one in list(by_period(found, letter).values())[:count]:
            period = PERIODS[letter](datetime.fromtimestamp(one.time, UTC))
            if period not in by_period(sound, letter):
                assert one.name in names
                reasons.add(one.name)
    needed = set()
    for reason in reasons:
        follows = by_name[reason].follows
        while follows is not None:
            needed.add(follows)
            follows = by_name[follows].follows
    assert names == reasons | needed


@given(backups(), keeps)
def test_pruning_twice_is_pruning_once(found: list[Candidate], keep: Keep) -> None:
    names = kept(found, keep)
    assert kept([one for one in found if one.name in names], keep) == names


@given(backups(), keeps, st.floats(1, 900 * DAY))
def test_a_newer_backup_never_brings_an_older_period_back(
    found: list[Candidate], keep: Keep, later: float
) -> None:
    before = kept(found, keep)
    newest = max((one.time for one in found), default=1.6e9) + later
    after = kept([*found, Candidate("new", newest, (3, "f" * 16), None, True)], keep)
    assert "new" in after
    assert after - {"new"} <= before


@given(backups(), keeps)
def test_a_larger_number_keeps_no_less(found: list[Candidate], keep: Keep) -> None:
    more = replace(keep, periods={letter: count + 1 for letter, count in keep.periods.items()})
    assert kept(found, keep) <= kept(found, more)


def test_an_example() -> None:
    """One each day for 40 days: a full one on Sundays, and what follows it."""
    start = datetime(2026, 3, 1, 1, 30, tzinfo=UTC).timestamp()  # a Sunday
    found = []
    for day in range(40):
        follows = None if day % 7 == 0 else f"day {day - 1}"
        found.append(Candidate(f"day {day}", start + day * DAY, (0, f"{day:016x}"), follows, True))
    names = kept(found, Keep.parse("3d,2w,1m"))
    # The last three days and the Sunday before, which is that of the week before and a full one.
    assert names == {f"day {day}" for day in (39, 38, 37, 36, 35)}
    assert kept(found, Keep.parse("1d,3w")) == {f"day {day}" for day in (39, 38, 37, 36, 35, 28)}


def test_the_newest_is_that_of_the_latest_epoch() -> None:
    """Whatever a primary wrote after its epoch."""
    now = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
    found = [
        Candidate("promoted", now, (1, "03" * 8), None, True),
        Candidate("former", now + DAY, (0, "04" * 8), None, True),
        Candidate("before", now - DAY, (0, "02" * 8), None, True),
    ]
    assert kept(found, Keep.parse("1d")) == {"promoted", "former"}


@pytest.mark.parametrize(
    "text", ["", "7", "d", "7d,", "0d", "-1d", "7x", "7d,3d", "1.5d", "99999d"]
)
def test_what_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="7d,4w,12m"):
        Keep.parse(text)


@given(st.text(max_size=20))
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        keep = Keep.parse(text)
    except ConfigurationError:
        return
    again = ",".join(f"{count}{letter}" for letter, count in keep.periods.items())
    assert Keep.parse(again) == keep


def test_what_is_meant_is_understood() -> None:
    assert Keep.parse("7d, 4w,12m,2y") == Keep({"d": 7, "w": 4, "m": 12, "y": 2})
