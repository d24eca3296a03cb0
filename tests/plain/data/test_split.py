"""Splits: disjoint parts, proportional classes and sizes, whole groups, the same on every machine."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tailfit.data import Arrays, split
from tailfit.errors import ArgumentError, DataError, RecordError


def shares() -> st.SearchStrategy[tuple[float, ...]]:
    return st.lists(st.integers(1, 50), min_size=2, max_size=6).map(lambda w: tuple(v / sum(w) for v in w))


@settings(deadline=None, max_examples=300)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), shares(), st.integers(0, 2**70))
@example([1] * 100, (0.8, 0.1, 0.1), 0)
@example([2] * 33 + [3] * 33, (0.25, 0.25, 0.5), 1)
@example([10_000, 1, 1, 1], (0.98, 0.01, 0.01), 2)
def test_laws_of_shares(counts: list[int], wanted: tuple[float, ...], seed: int) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    source = Arrays(np.arange(len(labels)), labels, class_names=[f"c{code}" for code in range(len(counts))])
    try:
        parts = split(source, *wanted, seed=seed)
    except ArgumentError:
        assert min(wanted) * len(labels) < 1 + 1e-6  # only parts that may round to 0 samples are refused
        return
    drawn = np.concatenate([part.read(np.arange(len(part))) for part in parts])
    assert sorted(drawn.tolist()) == list(range(len(labels)))
    for part, share in zip(parts, wanted, strict=True):
        assert (np.diff(part.indices) > 0).all()
        assert abs(len(part) - share * len(labels)) < 1 + 1e-5
        assert (np.abs(part.class_counts - share * np.array(counts)) < 1 + 1e-5).all()
    again = split(source, *wanted, seed=seed)
    assert [part.ids for part in again] == [part.ids for part in parts]


def test_too_few_samples_go_to_the_largest_part() -> None:
    source = Arrays(np.arange(103), [0] * 100 + [1, 2, 2])
    train, validation, test = source.split(0.8, 0.1, 0.1)
    assert train.class_counts.tolist() == [80.0, 1.0, 2.0]
    assert (len(validation), len(test)) == (10, 10)


GOLDEN = [6, 15, 16, 17]


def test_golden_order() -> None:
    """The same samples on every platform and NumPy version."""
    parts = Arrays(np.arange(20), [0, 1] * 10).split(0.8, 0.2, seed=5)
    assert parts[1].indices.tolist() == GOLDEN
    assert Arrays(np.arange(20), [0, 1] * 10).split(0.8, 0.2, seed=6)[1].indices.tolist() != GOLDEN


def test_seeds_give_uniform_parts() -> None:
    """Every sample is equally often in the smaller part: chi-square test of 400 splits of 20 samples."""
    source = Arrays(np.arange(20), [0, 1] * 10)
    times = sum(np.bincount(source.split(0.8, 0.2, seed=seed)[1].indices, minlength=20) for seed in range(400))
    expected = 400 * 0.2
    assert ((times - expected) ** 2 / expected).sum() < 45  # p = 0.0007 at 19 degrees of freedom


def test_global_random_state_is_unchanged() -> None:
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]  # noqa: NPY002
    Arrays(np.arange(20), [0, 1] * 10).split(0.8, 0.2)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index, union-attr]  # noqa: NPY002


def test_multi_label_and_soft_and_unlabelled() -> None:
    combinations = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 0], [0, 0, 0]])[np.arange(80) % 4]
    for part, share in zip(Arrays(np.arange(80), combinations).split(0.75, 0.25), (0.75, 0.25), strict=True):
        assert (np.unique(part.labels, axis=0, return_counts=True)[1] == 20 * share).all()
    soft = np.array([[0.7, 0.3], [0.4, 0.6]])[np.arange(40) % 2]
    assert [len(part) for part in Arrays(np.arange(40), soft).split(0.5, 0.5)] == [20, 20]
    assert [len(part) for part in Arrays(np.arange(11)).split(0.5, 0.5)] in ([6, 5], [5, 6])


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 3)), min_size=3, max_size=40), shares(), st.integers(0, 9))
def test_laws_of_groups(groups: list[tuple[int, int]], wanted: tuple[float, ...], seed: int) -> None:
    assume(len(groups) >= len(wanted))
    keys = np.repeat([f"g{number}" for number in range(len(groups))], [size for size, _ in groups])
    labels = np.repeat([f"c{code}" for _, code in groups], [size for size, _ in groups])
    order = np.random.default_rng(1).permutation(len(keys))
    source = Arrays(np.arange(len(keys)), labels[order], metadata=pl.DataFrame({"pump": keys[order]}))
    parts = source.split(*wanted, by="pump", seed=seed)
    homes: dict[str, set[int]] = {}
    for number, part in enumerate(parts):
        for key in part.metadata["pump"]:
            homes.setdefault(key, set()).add(number)
    assert all(len(home) == 1 for home in homes.values())
    assert sum(map(len, parts)) == len(keys)
    assert all(len(part) for part in parts)
    by_array = source.split(*wanted, by=keys[order], seed=seed)
    assert [part.ids for part in by_array] == [part.ids for part in parts]


def test_groups_come_near_the_shares() -> None:
    rng = np.random.default_rng(4)
    keys = np.repeat(np.arange(300), rng.integers(1, 9, 300))
    labels = np.where(rng.random(300) < 0.1, 1, 0)[keys]
    source = Arrays(np.arange(len(keys)), labels)
    for part, share in zip(source.split(0.8, 0.1, 0.1, by=keys), (0.8, 0.1, 0.1), strict=True):
        assert abs(len(part) / len(source) - share) < 0.01
        np.testing.assert_allclose(part.class_counts / source.class_counts, share, atol=0.03)


def test_many_groups_are_fast() -> None:
    keys = np.arange(60_000) // 3
    assert sum(map(len, Arrays(keys, keys % 7).split(0.9, 0.1, by=keys))) == 60_000


@pytest.mark.parametrize(
    "wanted", [(), (1.0,), (0.5,), (0.8, 0.1), (0.8, 0.3), (1.2, -0.2), (0.0, 1.0), (0.5, float("nan")), ("a", "b")]
)
def test_bad_shares(wanted: tuple[Any, ...]) -> None:
    with pytest.raises(ArgumentError, match="shares"):
        split(Arrays(np.arange(10)), *wanted)


def test_other_bad_arguments() -> None:
    metadata = pl.DataFrame({"id": list("pqrs"), "site": ["A", None, "B", "B"], "depth": [1.0, 2.0, float("nan"), 3.0]})
    source = Arrays(np.arange(4), ids=list("pqrs"), metadata=metadata)
    with pytest.raises(ArgumentError, match=r"share 0\.01"):
        source.split(0.99, 0.01)
    with pytest.raises(ArgumentError, match=r"by='place'.*'site'"):
        source.split(0.5, 0.5, by="place")
    with pytest.raises(DataError, match="ID 'q' without a value of 'site'"):
        source.split(0.5, 0.5, by="site")
    with pytest.raises(DataError, match="ID 'r' without a value of 'depth'"):
        source.split(0.5, 0.5, by="depth")
    with pytest.raises(ArgumentError, match=r"\(3,\)"):
        source.split(0.5, 0.5, by=[1, 2, 3])
    with pytest.raises(ArgumentError, match=r"1 group \(by keys\) for 2 parts"):
        source.split(0.5, 0.5, by=[1, 1, 1, 1])
    with pytest.raises(ArgumentError, match="partition together"):
        source.split({"train": ["p"]}, seed=1)


SOURCE = Arrays(np.arange(4), ids=list("pqrs"))
BAD_PARTITIONS: dict[str, tuple[dict[str, Any], str]] = {
    "two parts": ({"train": ["p", "q"], "validation": ["r", "q"]}, "ID 'q' in the partitions 'train' and 'validation'"),
    "twice": ({"train": ["p", "q", "p"]}, "ID 'p' twice in partition 'train'"),
    "unknown": ({"train": ["p", "x"]}, "unknown ID 'x' in partition 'train'"),
    "a string": ({"train": "pq"}, "partition 'train' of type str"),
}


@pytest.mark.parametrize("name", BAD_PARTITIONS)
def test_bad_partitions(name: str, tmp_path: Path) -> None:
    partition, words = BAD_PARTITIONS[name]
    with pytest.raises(DataError, match=words):
        SOURCE.split(partition)
    (tmp_path / "partition.json").write_text(json.dumps(partition))
    with pytest.raises(DataError, match=f"{words} in .*partition.json"):
        SOURCE.split(tmp_path / "partition.json")


def test_partition_files(tmp_path: Path) -> None:
    path = tmp_path / "partition.json"
    path.write_text('{"train": ["s", "p"], "test": []}')
    parts = SOURCE.split(str(path))
    assert Counter({name: len(part) for name, part in parts.items()}) == {"train": 2, "test": 0}
    assert parts["train"].read([0, 1]).tolist() == [3, 0]
    with pytest.raises(RecordError, match="nowhere"):
        SOURCE.split(tmp_path / "nowhere.json")
