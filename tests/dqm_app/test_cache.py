"""The cache of decoded runs: bounded by bytes, least recently used goes first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dqm_app.cache import ByteCache, nbytes


def an_array(kilobytes: int) -> np.ndarray:
    return np.zeros(kilobytes * 1000, np.int8)


def test_the_one_used_longest_ago_goes_first():
    cache = ByteCache(3500)
    for key in "abc":
        cache.put(key, an_array(1))
    cache.get("a")
    cache.put("d", an_array(1))
    assert [key for key in "abcd" if cache.get(key) is not None] == ["a", "c", "d"]


def test_a_value_larger_than_the_limit_is_not_kept_and_drops_nothing():
    cache = ByteCache(2500)
    cache.put("small", an_array(1))
    cache.put("large", an_array(10))
    assert cache.get("large") is None
    assert cache.get("small") is not None


def test_none_can_be_kept():
    cache = ByteCache(1000)
    cache.put("key", None)
    missing = object()
    assert cache.get("key", missing) is None
    assert cache.get("other", missing) is missing


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4))))
def test_the_limit_holds_and_bytes_are_those_of_what_is_kept(puts):
    cache = ByteCache(5000)
    kept = {}
    for key, size in puts:
        value = an_array(size)
        cache.put(key, value)
        kept[key] = value
        assert cache.nbytes <= 5000
    present = [value for key, value in kept.items() if cache.get(key) is not None]
    assert cache.nbytes == sum(nbytes(value) for value in present)
    assert len(cache) == len(present)


def test_bytes_of_views_count_what_they_keep_alive():
    whole = np.zeros(1_000_000, np.int8)
    assert nbytes(whole[:10]) > 1_000_000
    assert nbytes([whole[:10], whole[10:20]]) < 1_100_000


def test_bytes_of_what_views_return():
    @dataclass(frozen=True)
    class Data:
        name: str
        values: dict[str, np.ndarray]

    data = Data("x", {"a": an_array(100), "b": an_array(200)})
    assert 300_000 < nbytes(data) < 302_000
    assert 300_000 < nbytes((data, [data])) < 302_000
