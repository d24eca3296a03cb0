"""Groups of samples: how they are set, that every view of a source keeps them, and that nothing cuts one."""

import pickle

import numpy as np
import polars as pl
import pytest

import tailfit
from tailfit.data import Arrays, Concat, Mapped, Packed, Subset, Windows, pack
from tailfit.data.grouping import components, grouping_of
from tailfit.errors import ArgumentError, DataError

WELLS = list("ddbbaabbccee")
RUNS = pl.DataFrame({"well": WELLS, "day": [1, 2] * 6, "source": ["real"] * 8 + ["drawn"] * 4})
LABELS = ["ok", "ok", "leak", "ok"] * 3


def source():
    return Arrays(np.arange(12 * 5.0).reshape(12, 5), LABELS, metadata=RUNS)


def grouped():
    return source().grouped("well")


def names_of(groups):
    return [groups.group_names[code] for code in groups.groups]


def test_ways_to_set_groups(tmp_path):
    assert source().groups is None
    assert source().group_names == ()
    assert names_of(grouped()) == WELLS
    assert grouped().groups.dtype == np.int64
    assert source().grouped(np.array(WELLS)).groups.tolist() == grouped().groups.tolist()
    both = source().grouped(["well", "day"])
    assert both.group_names[:2] == ("a / 1", "a / 2")
    assert len(both.group_names) == 10
    assert grouped().grouped(None).groups is None
    assert names_of(source().grouped(WELLS)) == WELLS  # a list of keys
    with pytest.raises(ArgumentError, match="by='site' with metadata columns"):
        source().grouped(["well", "site"])
    tailfit.data.save_npy_folder(tmp_path / "runs", np.zeros((12, 2)), LABELS, metadata=RUNS)
    assert sorted(names_of(tailfit.data.open(tmp_path / "runs", group="well"))) == sorted(WELLS)


@pytest.mark.parametrize(
    "column", [pl.Series([2, 1, 2]), pl.Series([True, False, True]), pl.Series(["y", "x", "y"], dtype=pl.Categorical)]
)
def test_columns_of_all_types(column):
    groups = Arrays(np.zeros(3), metadata=pl.DataFrame({"g": column})).grouped("g")
    assert names_of(groups) == [str(value) for value in column]


def test_views_keep_groups(tmp_path):
    part = Subset(grouped(), [11, 4, 0])
    assert names_of(part) == ["e", "a", "d"]
    assert part.group_names == tuple("abcde")
    assert names_of(Mapped(part, np.sqrt)) == ["e", "a", "d"]
    assert names_of(pickle.loads(pickle.dumps(part))) == ["e", "a", "d"]
    pack(part, tmp_path / "packed")
    packed = Packed(tmp_path / "packed")
    assert names_of(packed) == ["e", "a", "d"]
    assert packed.grouping.by == "well"
    pack(grouped(), tmp_path / "whole")
    for one, other in zip(grouped().split(0.5, 0.5), Packed(tmp_path / "whole").split(0.5, 0.5), strict=True):
        assert one.ids == other.ids
    pack(source(), tmp_path / "plain")
    assert Packed(tmp_path / "plain").groups is None


def test_damaged_groups_of_a_packed_folder(tmp_path):
    pack(grouped(), tmp_path / "packed")
    index = pl.read_parquet(tmp_path / "packed" / "index.parquet")
    for damaged in (
        index.with_columns(group=pl.col("group") * 2),
        index.with_columns(group_name=pl.col("id")),
        index.with_columns(group_name=pl.lit(None)),
        index.drop("group"),
    ):
        damaged.write_parquet(tmp_path / "packed" / "index.parquet")
        with pytest.raises(tailfit.errors.RecordError, match=r"index\.parquet"):
            Packed(tmp_path / "packed")


def test_windows_have_the_groups_of_their_records_or_the_record():
    assert names_of(Windows(source(), 3, 2)) == [str(record) for record in range(12) for _ in range(2)]
    assert names_of(Windows(grouped(), 3, 2)) == [well for well in WELLS for _ in range(2)]
    assert names_of(Windows(np.zeros(5), 2, by=["p", "p", "q", "q", "q"])) == ["p", "q"]
    for part in Windows(source(), 3, 2).split(0.5, 0.5):
        assert (np.unique(part.metadata["record"], return_counts=True)[1] == 2).all()


def test_concatenation():
    other = Arrays(np.zeros((2, 5)), ["ok", "leak"], ["x", "y"], pl.DataFrame({"id": ["x", "y"], "well": ["z", "a"]}))
    assert names_of(Concat(grouped(), other.grouped("well"))) == [*WELLS, "z", "a"]
    assert names_of(Concat(grouped(), other)) == [*WELLS, "x", "y"]  # independent samples
    assert Concat(source(), other).groups is None
    windows = Windows(source(), 5), Windows(source(), 4)
    assert len(set(Concat(*windows, prefixes=["p/", "q/"]).groups)) == 24
    mixed = Concat(grouped(), other.grouped(["a", "b"]))  # another meaning of "a"
    assert names_of(mixed)[-3:] == ["well e", "keys a", "keys b"]


def test_no_split_cuts_a_group():
    parts = grouped().split(0.4, 0.3, 0.3)
    assert sum(map(len, parts)) == 12
    assert len(set().union(*(set(names_of(part)) for part in parts))) == sum(len(set(names_of(part))) for part in parts)
    assert [part.ids for part in parts] == [part.ids for part in source().split(0.4, 0.3, 0.3, by="well")]
    again = source().split(0.4, 0.3, 0.3, by="well")[0]
    assert names_of(again) == names_of(parts[0])  # the parts know what they were split by


def test_by_and_groups_agree():
    # Day 1 and 2 occur at every well, so nothing is left to split.
    with pytest.raises(ArgumentError, match=r"1 group \(by day and well\) for 2 parts"):
        grouped().split(0.5, 0.5, by="day")
    real, drawn = source().grouped("well").split(0.6, 0.4, by="source")
    assert set(real.metadata["source"]).isdisjoint(drawn.metadata["source"])
    assert set(names_of(real)) | set(names_of(drawn)) <= {"a + b + d", "c + e", "real", "drawn"}


def test_components():
    rng = np.random.default_rng(3)
    one, other = rng.integers(0, 40, 60), rng.integers(0, 40, 60)
    joined = components(*(grouping_of(Arrays(np.zeros(60)), keys) for keys in (one, other)))
    # The same by repeated merging.
    expected = one.copy()
    for _ in range(60):
        for keys in (one, other):
            for key in np.unique(keys):
                expected[keys == key] = expected[keys == key].min()
    assert len(np.unique(joined.codes)) == len(np.unique(expected)) == len({*zip(joined.codes, expected, strict=True)})


def test_a_partition_that_cuts_a_group_is_refused():
    ids = {"train": ["0", "1", "2"], "test": ["4", "5", "3"]}
    with pytest.raises(DataError, match=r"group 'b' \(by well\).*'train' \(ID '2'\) and 'test' \(ID '3'\)"):
        grouped().split(ids)
    assert grouped().split({"train": ["0", "1"], "test": ["2", "3"]})["test"].group_names == tuple("abcde")
    assert len(grouped().grouped(None).split(ids)["test"]) == 3


def test_missing_values_name_all_samples():
    for column in (["a", None, "b", None, None, ""], [1.0, float("nan"), 2.0, None, float("nan"), float("nan")]):
        given = Arrays(np.zeros(6), metadata=pl.DataFrame({"well": column}))
        with pytest.raises(DataError, match=r"IDs '1', '3', '4' and 1 more without a value of 'well'"):
            given.grouped("well")
    with pytest.raises(DataError, match="ID '1' without a key"):
        Arrays(np.zeros(2)).grouped([0.5, float("nan")])
