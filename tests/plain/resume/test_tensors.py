"""Arrays in safetensors files: compatible with the reference implementation; invalid files are refused."""

import json
import struct
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from tailfit.errors import CheckpointError
from tailfit.resume import tensors
from tailfit.resume.encoding import CannotEncodeError, decode, encode

ARRAYS = {
    "kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "half": np.array([1.5, -2], np.float16),
    "state": np.array([7, 0], np.uint32),
    "flag": np.array([True, False, True]),
    "scalar": np.array(2.5),
    "empty": np.zeros((0, 4)),
    "ä/ö": np.array([-1], np.int64),
}


def content(arrays):
    return b"".join(bytes(part) for part in tensors.parts(arrays))


def written(path, content):
    path.write_bytes(content)
    return path


def file(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def same(got, want):
    assert got.keys() == want.keys()
    for name, array in want.items():
        assert got[name].dtype == array.dtype
        np.testing.assert_array_equal(got[name], array)


def test_the_reference_reader_reads_our_files():
    same(load(content(ARRAYS)), ARRAYS)


def test_files_of_the_reference_writer_are_read(tmp_path):
    same(tensors.read(written(tmp_path / "x", save(ARRAYS, metadata={"format": "np"}))), ARRAYS)


def test_types_that_numpy_lacks(tmp_path):
    arrays = {
        "bf16": np.array([1, 2.5, np.nan], ml_dtypes.bfloat16),
        "f8": np.array([1, -2], ml_dtypes.float8_e4m3fn),
        "big": np.array([1, 2], ">i4"),
    }
    got = tensors.read(written(tmp_path / "x", content(arrays)))
    assert got["bf16"].dtype == ml_dtypes.bfloat16
    assert got["bf16"].tobytes() == arrays["bf16"].tobytes()
    assert got["f8"].tobytes() == arrays["f8"].tobytes()
    np.testing.assert_array_equal(got["big"], [1, 2])


def test_a_type_that_the_format_lacks():
    with pytest.raises(CheckpointError, match=r"'names'.*int32"):
        list(tensors.parts({"names": np.array(["a"])}))


whole = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
BROKEN = {
    "empty": b"",
    "short": b"\x01\x00",
    "header beyond the end": struct.pack("<Q", 1 << 40) + b"{}",
    "negative header": b"\xff" * 8 + b"{}",
    "no JSON": file(b"{'a'"),
    "a list": file([1]),
    "nested without end": file(b"[" * 100_000),
    "cut off": file(whole, b"\0" * 7),
    "too long": file(whole, b"\0" * 9),
    "unknown type": file({"a": {"dtype": "O", "shape": [2], "data_offsets": [0, 8]}}, b"\0" * 8),
    "no shape": file({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, b"\0" * 8),
    "shape of text": file({"a": {"dtype": "F32", "shape": ["2"], "data_offsets": [0, 8]}}, b"\0" * 8),
    "negative shape": file({"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}, b"\0" * 8),
    "two negatives": file({"a": {"dtype": "F32", "shape": [-1, -2], "data_offsets": [0, 8]}}, b"\0" * 8),
    "huge shape": file({"a": {"dtype": "F32", "shape": [1 << 61, 1 << 61], "data_offsets": [0, 8]}}, b"\0" * 8),
    "huge offsets": file({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}, b"\0" * 8),
    "boolean shape": file({"a": {"dtype": "F32", "shape": [True, 2], "data_offsets": [0, 8]}}, b"\0" * 8),
    "one offset": file({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8]}}, b"\0" * 8),
    "gap": file({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, b"\0" * 8),
    "overlap": file(
        {
            "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
            "b": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
        },
        b"\0" * 8,
    ),
}


@pytest.mark.parametrize("shape", [[0, 1 << 61, 1 << 61], [0] + [1] * 70, [1] * 70, [1] * 200_000], ids=len)
def test_shapes_that_numpy_can_not_describe(tmp_path, shape):
    size = 4 * (0 not in shape)
    header = {"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}
    with pytest.raises(CheckpointError, match="no memory holds"):
        tensors.read(written(tmp_path / "x.safetensors", file(header, b"\0" * size)))


@pytest.mark.parametrize("what", BROKEN)
def test_incomplete_files_are_refused(tmp_path, what):
    path = written(tmp_path / "x.safetensors", BROKEN[what])
    with pytest.raises(CheckpointError, match=r"x\.safetensors"):
        tensors.read(path)


@settings(max_examples=300, deadline=None)
@given(position=st.integers(0, 500), replacement=st.binary(min_size=0, max_size=12), data=st.data())
def test_any_damage_is_refused_or_harmless(tmp_path_factory, position, replacement, data):
    """Any bytes give either an error of tailfit, or arrays no larger than the file."""
    good = content(ARRAYS)
    position = position % len(good)
    bad = good[:position] + replacement + good[position + data.draw(st.integers(0, 12)) :]
    path = written(tmp_path_factory.getbasetemp() / "fuzzed", bad)
    try:
        arrays = tensors.read(path)
    except CheckpointError:
        return
    assert sum(array.nbytes for array in arrays.values()) <= len(bad)


def test_reading_takes_no_more_memory_than_the_file(tmp_path):
    path = written(tmp_path / "x", content({"a": np.zeros(1 << 21), "b": np.zeros(1 << 20)}))
    tracemalloc.start()
    try:
        arrays = tensors.read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(arrays) == 2
    assert peak <= path.stat().st_size + (1 << 20)


# -- Python values -------------------------------------------------------------------------------------

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=9)
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3)
    ),
    max_leaves=12,
)


def through_json(value):
    arrays = {}
    coded = json.loads(json.dumps(encode(value, arrays, "at"), allow_nan=False))
    return decode(coded, arrays, "at")


@given(values)
def test_values_are_restored_exactly(value):
    assert repr(through_json(value)) == repr(value)  # nan is nan, -0.0 is -0.0, a tuple a tuple


def test_arrays_keep_their_types():
    value = {"best": [np.float32(0.1), np.arange(3), np.array(2.0)], "count": np.int64(3), 4: ({"$odd": 1},)}
    back = through_json(value)
    assert repr(back) == repr(value)
    assert type(back["best"][0]) is np.float32
    assert back["best"][2].shape == ()


def test_values_that_can_not_be_encoded_are_named():
    with pytest.raises(CannotEncodeError) as caught:
        encode({"a": [1, {"b": object()}]}, {}, "at")
    assert caught.value.args == ("a.1.b", "object")


@pytest.mark.parametrize(
    "coded",
    [
        {"$float": "1"},
        {"$array": "at"},
        {"$tuple": 3},
        {"$other": []},
        {"$items": [1]},
        {"a": {"$array": "at.b"}},
        {"a": {"$scalar": "at.a"}},
        {"a": {"$bytes": "at.a"}},
    ],
    ids=str,
)
def test_values_that_encode_never_returns_are_refused(coded):
    with pytest.raises((KeyError, ValueError, TypeError)):
        decode(coded, {"at.a": np.zeros(2), "at.b": np.zeros(2)}, "at")
