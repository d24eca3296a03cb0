"""The battery of sources: the contract of every class of source in `tailfit.data`."""

import inspect
import pickle
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sources import Builder
from support.sources_of_libraries import BUILDERS

import tailfit.data
from tailfit.data import Arrays, Source
from tailfit.data.records.trees import leaves, map_tree
from tailfit.errors import ArgumentError, DataError

CLASSES = [getattr(tailfit.data, name) for name in tailfit.data.__all__ if name != "Batches"]
KINDS = [kind for kind in CLASSES if inspect.isclass(kind) and issubclass(kind, Source)]
CASES = [
    pytest.param(builder, id=f"{kind.__name__}: {name}")
    for kind, builders in BUILDERS.items()
    for name, builder in builders.items()
]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not Source])
def test_every_source_is_in_the_battery(kind: type[Source]) -> None:
    assert kind in BUILDERS, f"add an example builder of {kind.__name__} to tests/support/sources.py"


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Source, Any]:
    builder: Builder = request.param
    return builder(tmp_path)


def same(batch: Any, truth: Any, indices: Any) -> None:
    got, expected = dict(leaves(batch)), dict(leaves(truth))
    assert got.keys() == expected.keys()
    for path, leaf in got.items():
        assert type(leaf) is np.ndarray
        assert leaf.dtype == expected[path].dtype
        np.testing.assert_array_equal(leaf, expected[path][indices])


@pytest.mark.parametrize("order", ["all", "reversed", "random", "repeated", "one", "none"])
def test_read_returns_the_records(case: tuple[Source, Any], order: str) -> None:
    source, truth = case
    everything = np.arange(len(source))
    rng = np.random.default_rng(1)
    indices = {
        "all": everything,
        "reversed": everything[::-1],
        "random": rng.permutation(everything),
        "repeated": rng.integers(0, len(source), 50),
        "one": everything[-1:],
        "none": everything[:0],
    }[order]
    same(source.read(indices), truth, indices)
    same(source.read(indices.tolist()), truth, indices)


def test_every_batch_has_new_writable_arrays(case: tuple[Source, Any]) -> None:
    source, truth = case
    first = source.read([0, 1])
    for _, leaf in leaves(first):
        leaf[...] = leaf[::-1].copy()
    same(source.read([0, 1]), truth, [0, 1])


def test_read_into_existing_arrays(case: tuple[Source, Any]) -> None:
    source, truth = case
    indices = np.random.default_rng(2).integers(0, len(source), 7)
    out = map_tree(lambda leaf: np.zeros_like(leaf), source.read(indices))
    wide = map_tree(lambda leaf: np.zeros((7, 2, *leaf.shape[1:]), leaf.dtype)[:, 1], out)  # with different strides
    for there in (out, wide, rebuilt(out)):
        assert source.read(indices, out=there) is there
        for path, leaf in leaves(there):
            np.testing.assert_array_equal(leaf, dict(leaves(truth))[path][indices])
    with pytest.raises(ArgumentError, match="out of shapes"):
        source.read(indices[:3], out=out)
    with pytest.raises(ArgumentError, match="as `read` returns them"):
        source.read(indices, out={"another": next(leaves(out))[1]})


def rebuilt(tree: Any) -> Any:
    """Reverse the order of all dicts, like a library that sorts keys."""
    if isinstance(tree, dict):
        return {key: rebuilt(value) for key, value in reversed(tree.items())}
    return type(tree)(map(rebuilt, tree)) if isinstance(tree, list | tuple) else np.zeros_like(tree)


@pytest.mark.parametrize("bad", [[-1], [10**6], [[0]], [0.0], [True], 0], ids=str)
def test_bad_positions_are_refused(case: tuple[Source, Any], bad: Any) -> None:
    with pytest.raises(ArgumentError):
        case[0].read(bad)


def test_attributes_are_consistent(case: tuple[Source, Any]) -> None:
    source, truth = case
    size = len(next(leaves(truth))[1])
    assert len(source) == len(source.ids) == size
    assert all(isinstance(name, str) for name in source.ids)
    assert len(set(source.ids)) == size
    assert source.positions(source.ids).tolist() == list(range(size))
    if source.labels is None:
        assert source.class_names == ()
        assert source.class_counts.shape == (0,)
    else:
        assert len(source.labels) == size
        one_hot = np.eye(len(source.class_names))[source.labels] if source.labels.ndim == 1 else source.labels
        np.testing.assert_allclose(source.class_counts, one_hot.sum(axis=0), rtol=1e-6)
        assert source.class_counts.dtype == np.float64
    if source.metadata is not None:
        assert source.metadata["id"].to_list() == list(source.ids)


def test_an_unknown_id_is_named(case: tuple[Source, Any]) -> None:
    with pytest.raises(DataError, match="'nobody'"):
        case[0].positions(["nobody"])


def test_a_pickled_source_reads_the_same(case: tuple[Source, Any]) -> None:
    source, truth = case
    source.read([0])
    again = pickle.loads(pickle.dumps(source))
    everything = np.arange(len(source))
    same(again.read(everything), truth, everything)
    assert list(again.ids) == list(source.ids)
    np.testing.assert_array_equal(again.class_counts, source.class_counts)


def test_threads_read_the_same(case: tuple[Source, Any]) -> None:
    source, truth = case
    orders = [np.random.default_rng(seed).integers(0, len(source), 40) for seed in range(16)]
    with ThreadPoolExecutor(4) as pool:
        for indices, batch in zip(orders, pool.map(source.read, orders), strict=True):
            same(batch, truth, indices)


def test_a_partition_of_ids_gives_views(case: tuple[Source, Any]) -> None:
    source, truth = case
    names = list(source.ids)
    parts = source.grouped(None).split({"train": names[2:], "validation": [names[1]]})
    assert list(parts) == ["train", "validation"]
    assert list(parts["train"].ids) == names[2:]
    same(parts["validation"].read([0, 0]), truth, [1, 1])
    assert parts["train"].class_names == source.class_names
    if source.metadata is not None:
        assert parts["train"].metadata["id"].to_list() == names[2:]


def test_shares_contain_each_sample_once(case: tuple[Source, Any]) -> None:
    source, truth = case
    parts = source.grouped(None).split(0.5, 0.5, seed=3)
    assert Counter(name for part in parts for name in part.ids) == Counter(source.ids)
    for part in parts:
        same(part.read(np.arange(len(part))), truth, part.indices)


def test_repr(case: tuple[Source, Any]) -> None:
    assert type(case[0]).__name__ in repr(case[0])
    assert f"{len(case[0])} samples" in repr(case[0])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 8), max_size=30), st.integers(0, 2**32))
def test_reads_concatenate(indices: list[int], seed: int) -> None:
    truth = np.random.default_rng(seed).normal(size=(9, 2))
    source = Arrays(truth)
    cut = seed % (len(indices) + 1)
    whole = np.concatenate([source.read(indices[:cut]), source.read(indices[cut:])])
    np.testing.assert_array_equal(whole, truth[indices])


@pytest.mark.parametrize("shape", [(2048,), (512,), (640, 2), (511,)])
@pytest.mark.parametrize("dtype", ["float32", "uint8", ">f4", "float64"])
@pytest.mark.parametrize("start", [0, 4, 16, 48, 64])
def test_records_of_any_size_and_address(shape: tuple[int, ...], dtype: str, start: int, tmp_path: Path) -> None:
    size = 9 * int(np.prod(shape)) * np.dtype(dtype).itemsize
    rng = np.random.default_rng(0)
    if start == 4:  # the records of a file that begin anywhere
        (tmp_path / "x.bin").write_bytes(bytes(start - 1) + rng.bytes(size))
        records = np.memmap(tmp_path / "x.bin", dtype, "r", start - 1, (9, *shape))
    else:
        records = np.frombuffer(bytes(start) + rng.bytes(size), dtype, offset=start).reshape(9, *shape)
    indices = [8, 0, 3, 3]
    batch = Arrays(records, np.zeros(9, int), nan="keep").read(indices)
    assert batch.tobytes() == records[indices].astype(records.dtype.newbyteorder("=")).tobytes()
    assert batch.dtype.isnative
    assert batch.flags.aligned
    assert batch.flags.writeable
    assert len(Arrays(records[:1], [0], nan="keep").read([])) == 0


def test_long_records_are_copied_to_the_same_offset_from_a_cache_line() -> None:
    block = np.arange(5 * 1024 + 64, dtype=np.float32)
    for start in range(0, 64, 4):  # bytes 0, 16, 32 and so on
        records = block[start : start + 5 * 1024].reshape(5, 1024)
        batch = Arrays(records, np.zeros(5, int)).read([4, 1])
        assert (batch.ctypes.data - records.ctypes.data) % 64 == 0
        assert batch.tolist() == records[[4, 1]].tolist()


def test_trees_keep_named_tuples() -> None:
    from collections import namedtuple

    pair = namedtuple("pair", "a b")
    assert map_tree(lambda leaf: leaf * 2, pair(1, [2])) == pair(2, [4])
