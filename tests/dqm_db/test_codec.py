import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dqm_db.codec import (
    DamagedRecord,
    PackedArray,
    pack,
    pack_bytes,
    pack_record,
    unpack,
    unpack_bytes,
    unpack_items,
    unpack_record,
)

DTYPES = st.one_of(
    hnp.floating_dtypes(endianness="?"),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.boolean_dtypes(),
    hnp.byte_string_dtypes(max_len=9),
    hnp.unicode_string_dtypes(max_len=5),
)


@given(hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=7)))
def test_arrays_come_back_bit_for_bit(array):
    back = unpack(pack(array))
    assert back.shape == array.shape
    little = array.astype(array.dtype.newbyteorder("<"))
    assert back.dtype == little.dtype
    assert back.tobytes() == little.tobytes()


@given(hnp.arrays(np.uint64, 20))
def test_every_float64_bit_pattern_survives(bits):
    values = bits.view(np.float64)
    assert np.array_equal(unpack_bytes(pack_bytes(values)).view(np.uint64), bits)


@given(
    hnp.arrays(DTYPES, hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=7)),
    st.data(),
)
def test_some_items_are_those_of_the_whole_array(array, data):
    places = data.draw(st.lists(st.integers(0, array.size - 1), max_size=9))
    packed = pack_bytes(array)
    found = unpack_items(packed, np.array(places, np.int64))
    expected = unpack_bytes(packed).reshape(-1)[places]
    assert found.dtype == expected.dtype
    assert found.tobytes() == expected.tobytes()


def test_large_int64_and_big_endian():
    array = np.array([2**63 - 1, -(2**63), 0], ">i8")
    assert unpack(pack(array)).tolist() == array.tolist()


def test_unpacked_arrays_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        unpack(pack(np.arange(3)))[0] = 1


def test_objects_are_refused():
    with pytest.raises(TypeError, match="object"):
        pack(np.array([object()]))


@given(st.binary(max_size=60))
def test_damaged_bytes_are_an_error(data):
    with pytest.raises(ValueError, match="stored array"):
        unpack(PackedArray("<f8", (3,), data))


@pytest.mark.parametrize("data", [b"", b"\x05", b"\x93no", b"\x93\xa3<f8\x01\xc4\x00", b"\xc1"])
def test_what_is_no_packed_array_is_an_error(data):
    with pytest.raises(DamagedRecord):
        unpack_bytes(data)
    with pytest.raises(DamagedRecord):
        unpack_items(data, np.array([0]))


def test_a_record_holds_nested_plain_values_and_arrays():
    record = {
        "a": {"x": np.eye(2), "s": np.array(["é"])},
        "n": None,
        "t": [1, 2.5, "ü", b"\0", True],
    }
    back = unpack_record(pack_record(record))
    assert np.array_equal(back["a"]["x"], np.eye(2))
    assert back["a"]["s"].tolist() == ["é"]
    assert back["n"] is None
    assert back["t"] == [1, 2.5, "ü", b"\0", True]


def test_a_record_refuses_what_it_cannot_hold():
    with pytest.raises(TypeError, match="set"):
        pack_record({"a": {1, 2}})
