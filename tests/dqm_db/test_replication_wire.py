"""Pickles from outside: plain data come through, anything else is refused before it is imported."""

from __future__ import annotations

import collections
import datetime
import logging
import os
import pickle
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqm_db.replication.errors import UnknownTransaction
from dqm_db.replication.wire import (
    PROTOCOL,
    load_control,
    load_extension,
    load_plain,
    refusal,
)

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.binary() | st.integers(), inner)
        | st.frozensets(st.binary() | st.integers())
    ),
    max_leaves=20,
)


class Calls:
    """Pickles as a call of *function* with *arguments*."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


hostile = st.one_of(
    st.builds(Calls, st.sampled_from([eval, exec, print, getattr, __import__]), st.just("1")),
    st.builds(Calls, st.sampled_from([os.system, os.unlink, subprocess.run]), st.text()),
    st.sampled_from([os.system, Path, object, Decimal(1), datetime.datetime(2026, 1, 1)]),
    st.just(collections.OrderedDict(a=1)),
)


@given(plain)
def test_plain_data_come_through(data: object) -> None:
    assert load_plain(pickle.dumps(data, PROTOCOL)) == data


@given(plain, hostile, plain, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_globals_are_refused_wherever_they_hide(
    before: object, stranger: object, after: object, protocol: int
) -> None:
    for data in (stranger, [before, {"x": (stranger,)}, after], ("T", (before, stranger))):
        with pytest.raises(pickle.UnpicklingError, match="only plain data"):
            load_plain(pickle.dumps(data, protocol))


@pytest.mark.parametrize(
    "opcodes",
    [
        b"cos\nsystem\n(S'true'\ntR.",  # GLOBAL REDUCE
        b"(S'true'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'true'\no.",  # OBJ
        b"\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",  # STACK_GLOBAL
        b"\x82\x01.",  # EXT1
        b"Pid\n.",  # PERSID
        b"]q\x00cbuiltins\neval\nq\x01.",
        b"cdqm_db.replication.wire\nPlainUnpickler\n.",
    ],
)
def test_every_way_to_name_a_global_is_refused(opcodes: bytes) -> None:
    with pytest.raises((pickle.UnpicklingError, ValueError)):
        load_plain(opcodes)


@given(plain, st.data())
def test_damaged_pickles_raise_or_give_plain_data(data: object, draw: st.DataObject) -> None:
    whole = bytearray(pickle.dumps(data, 2))
    whole[draw.draw(st.integers(0, len(whole) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    cut = draw.draw(st.integers(0, len(whole)))
    try:
        found = load_plain(bytes(whole[:cut]))
    except Exception:
        return
    pickle.dumps(found)  # still plain: nothing that would not pickle again


def test_a_refusal_is_raised_with_its_reason() -> None:
    with pytest.raises(UnknownTransaction, match=r"^they have diverged$"):
        load_control(refusal("they have diverged"))


def test_other_control_messages_come_through() -> None:
    message = ("T", (bytes(8), " ", b"user", b"", {}))
    assert load_control(pickle.dumps(message, PROTOCOL)) == message


def test_extensions_that_are_not_plain_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    assert load_extension(pickle.dumps({"a": 1}, 3)) == {"a": 1}
    with caplog.at_level(logging.WARNING):
        assert load_extension(pickle.dumps(Calls(eval, "1"), 3)) == {}
    assert "only plain data" in caplog.text
    assert load_extension(pickle.dumps(3, 3)) == {}
