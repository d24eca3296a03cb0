"""Records of different length: reading from all formats, padding with masks, batching by length."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import datasets
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.plans import epoch_of, seeds

from tailfit.data import (
    Arrays,
    Concat,
    FillMissing,
    HuggingFace,
    Mapped,
    Normalize,
    NpyFolder,
    Packed,
    Pad,
    Parquet,
    Ragged,
    Subset,
    Table,
    Windows,
    inspect,
    open,
    pack,
    save_npy_folder,
)
from tailfit.data.records.trees import leaves
from tailfit.errors import ArgumentError, DataError, RecordError
from tailfit.samplers import ByLength

LENGTHS = np.random.default_rng(3).integers(0, 9, 23)
RECORDS = [np.random.default_rng(n).normal(size=(steps, 2)).astype("float32") for n, steps in enumerate(LENGTHS)]
NAMES = [f"r{number:02d}" for number in range(23)]


def arrays(folder):
    return Arrays(Ragged(RECORDS), np.arange(23) % 3, NAMES)


def npy_folder(folder):
    for name, record in zip(NAMES, RECORDS, strict=True):
        np.save(folder / f"{name}.npy", record)
    return NpyFolder(folder, {name: number % 3 for number, name in enumerate(NAMES)}, ragged=True)


def packed(memory):
    def build(folder):
        pack(arrays(folder), folder / "set", shard_bytes=150)  # shards of several records, the last one shorter
        return Packed(folder / "set", memory=memory)

    return build


def concat(folder):
    whole = arrays(folder)
    return Concat(Subset(whole, range(9)), Subset(whole, range(9, 23)))


def arrow():
    return pyarrow.table(
        {
            "id": NAMES,
            "label": [number % 3 for number in range(23)],
            "x": pyarrow.array(
                [record.tolist() for record in RECORDS],
                pyarrow.list_(pyarrow.list_(pyarrow.float32(), 2)),
            ),
        }
    )


def parquet(memory):
    def build(folder):
        for part, rows in enumerate((slice(0, 9), slice(9, 23))):
            table = arrow()[rows]
            pyarrow.parquet.write_table(table, folder / f"{part}.parquet", row_group_size=5)
        return Parquet(folder, memory=memory, ragged=True)

    return build


def mapped(folder):
    """A source that doubles the steps of another, and then drops every second one: the result is the original."""
    doubled = Mapped(arrays(folder), lambda x: Ragged(np.repeat(x.values, 2, axis=0), x.lengths * 2))
    return Mapped(doubled, lambda x: Ragged(x.values[::2], x.lengths // 2))


BUILDERS = {
    "Arrays": arrays,
    "list": lambda folder: Arrays(RECORDS),
    "NpyFolder": npy_folder,
    "Packed in memory": packed(True),
    "Packed from files": packed(False),
    "Concat": concat,
    "Mapped": mapped,
    "Table": lambda folder: Table(arrow(), ragged=True),
    "Parquet in memory": parquet(True),
    "Parquet from files": parquet(False),
    "HuggingFace": lambda folder: HuggingFace(datasets.Dataset(arrow()), ragged=True),
    "Subset": lambda folder: Subset(Concat(Arrays(RECORDS[::-1]), Arrays(RECORDS), prefixes="ab"), range(23, 46)),
}


@pytest.fixture(params=BUILDERS, ids=str)
def source(request, tmp_path):
    return BUILDERS[request.param](tmp_path)


def same(batch, indices):
    assert isinstance(batch, Ragged)
    assert len(batch) == len(indices)
    for got, index in zip(batch, indices, strict=True):
        np.testing.assert_array_equal(got, RECORDS[index])
        assert (got.dtype, type(got)) == (np.float32, np.ndarray)


class TestSources:
    def test_read_returns_the_records(self, source):
        rng = np.random.default_rng(1)
        for indices in (np.arange(23), np.arange(23)[::-1], rng.integers(0, 23, 60), [22], []):
            same(source.read(indices), indices)
            same(source.read(indices), indices)
        assert source.ragged
        assert source.lengths.tolist() == LENGTHS.tolist()

    def test_every_batch_has_new_arrays(self, source):
        source.read(np.arange(23)).values[...] = 0
        same(source.read([0, 1]), [0, 1])

    def test_a_pickled_source_reads_the_same(self, source):
        if isinstance(source, Mapped):
            pytest.skip("its function is a lambda")
        source.read([0])
        again = pickle.loads(pickle.dumps(source))
        same(again.read(np.arange(23)), np.arange(23))
        assert again.lengths.tolist() == LENGTHS.tolist()

    def test_threads_read_the_same(self, source):
        orders = [np.random.default_rng(seed).integers(0, 23, 40) for seed in range(16)]
        with ThreadPoolExecutor(4) as pool:
            for indices, batch in zip(orders, pool.map(source.read, orders), strict=True):
                same(batch, indices)

    def test_lengths_of_parts(self, source):
        part = source.split(0.5, 0.5, seed=3)[0]
        assert part.lengths.tolist() == LENGTHS[part.indices].tolist()
        same(part.read([0, 2]), part.indices[[0, 2]])

    def test_windows_of_each_record(self, source):
        windows = Windows(source, length=3, stride=2)
        expected = [(n, start) for n, steps in enumerate(LENGTHS) for start in range(0, steps - 2, 2)]
        assert [name.split("@")[1] for name in windows.ids] == [str(start) for _, start in expected]
        truth = np.stack([RECORDS[n][start : start + 3] for n, start in expected])
        order = np.random.default_rng(0).permutation(len(windows))
        np.testing.assert_array_equal(windows.read(order), truth[order])

    def test_inspect_reads_them(self, source):
        found = inspect(source)
        assert found.nbytes == LENGTHS.sum() * 8
        assert found.arrays == {"": "(None, 2) float32"}
        empty = {tuple(name for name, steps in zip(source.ids, LENGTHS, strict=True) if steps == 0)}
        assert set(found.duplicates) == empty

    def test_packed_records_are_the_same(self, source, tmp_path):
        pack(source, tmp_path / "again", shard_bytes=200)
        same(Packed(tmp_path / "again").read(np.arange(23)), np.arange(23))


def test_nests_of_both_kinds(tmp_path):
    x = {"sensor": Ragged(RECORDS), "flag": Ragged(np.arange(LENGTHS.sum()), LENGTHS), "site": np.arange(23)}
    pack(Arrays(x), tmp_path / "set", shard_bytes=300)
    for one in (Arrays(x), Packed(tmp_path / "set", memory=True), Packed(tmp_path / "set", memory=False)):
        batch = one.read([5, 0, 7])
        same(batch["sensor"], [5, 0, 7])
        assert batch["site"].tolist() == [5, 0, 7]
        assert [row.tolist() for row in batch["flag"]] == [x["flag"][row].tolist() for row in (5, 0, 7)]
    with pytest.raises(DataError, match="steps in"):
        Arrays({"a": Ragged(RECORDS), "b": Ragged(RECORDS[::-1])})


class TestTables:
    def test_channels_in_columns_of_their_own(self):
        columns = {"flow": [[1.0, 2.0], []], "heat": [[3, 4], []], "site": [7, 8]}
        batch = Table(pyarrow.table(columns), ragged=True).read([1, 0])
        assert [row.tolist() for row in batch["flow"]] == [[], [1.0, 2.0]]
        assert [row.tolist() for row in batch["heat"]] == [[], [3, 4]]
        assert batch["site"].tolist() == [8, 7]

    @pytest.mark.parametrize(
        ("columns", "match"),
        [
            ({"flow": [[1.0], [2.0, 3.0]], "heat": [[1], [2]]}, "ID '1': lists of 2 in column 'flow' and 1 in 'heat'"),
            ({"x": [[[1.0]], [[2.0], [3.0, 4.0]]]}, "the table: row 1: a list of length 2 in column 'x'"),
            ({"x": [[1.0], None]}, "row 1: null"),
            ({"x": [[1], [2, None]]}, "row 1: null"),
            ({"flow": [1.0, 2.0]}, "ragged=True without a record column of lists"),
        ],
    )
    def test_invalid_records_are_named_by_row(self, columns, match):
        with pytest.raises(DataError, match=match):
            Table(pyarrow.table(columns), ragged=True).read([0, 1])

    def test_lists_of_different_length_are_refused_with_the_fix(self, tmp_path):
        with pytest.raises(RecordError, match="ragged=True"):
            Table(arrow())
        parquet(False)(tmp_path)
        with pytest.raises(RecordError, match="ragged=True"):
            open(tmp_path).read(np.arange(23))
        same(open(tmp_path, ragged=True).read(np.arange(23)), np.arange(23))

    def test_a_nan_is_named(self):
        with pytest.raises(RecordError, match="ID 'b': NaN"):
            Table(pyarrow.table({"id": ["a", "b"], "x": [[1.0], [2.0, np.nan]]}), ragged=True).read([0, 1])


class TestMapped:
    def test_a_function_may_return_records_of_one_length(self, tmp_path):
        padded = Mapped(arrays(tmp_path), Pad(to=9))
        assert not padded.ragged
        assert padded.lengths is None
        assert padded.read([3]).shape == (1, 9, 2)

    def test_arrays_that_differ_in_steps_are_refused(self, tmp_path):
        apart = Mapped(arrays(tmp_path), lambda x: (x, Ragged(np.zeros(len(x)), np.ones(len(x), int))))
        assert apart.ragged
        with pytest.raises(DataError, match="from the function of Mapped"):
            _ = apart.lengths


def test_a_layout_on_disk_and_back(tmp_path):
    save_npy_folder(tmp_path / "set", Ragged(RECORDS), np.arange(23) % 3, NAMES)
    same(open(tmp_path / "set", ragged=True).read(np.arange(23)), np.arange(23))
    with pytest.raises(RecordError, match="ragged=True"):
        open(tmp_path / "set").read(np.arange(23))


def test_a_file_with_a_different_dtype_is_named(tmp_path):
    source = npy_folder(tmp_path)
    for bad in (np.zeros((3, 3), "float32"), np.zeros((3, 2)), np.float32(1)):
        np.save(tmp_path / "r07.npy", bad)
        with pytest.raises(RecordError, match=r"r07\.npy"):
            NpyFolder(tmp_path, ragged=True).read([7])
    np.save(tmp_path / "r07.npy", np.zeros((3, 2), ">f4"))
    np.testing.assert_array_equal(source.read([7])[0], np.zeros((3, 2), "float32"))
    np.save(tmp_path / "r07.npy", np.zeros((4, 2), "float32"))  # grown since its header was read
    with pytest.raises(RecordError, match=r"r07\.npy"):
        source.read([7])


@pytest.mark.parametrize("nan", ["raise", "keep"])
def test_a_nan_is_named_by_its_record(nan):
    records = [record.copy() for record in RECORDS]
    number = int(np.argmax(LENGTHS > 2))
    records[number][1, 1] = np.nan
    source = Arrays(Ragged(records), ids=NAMES, nan=nan)
    if nan == "keep":
        assert np.isnan(source.read([number])[0]).sum() == 1
        assert inspect(source).missing == (NAMES[number],)
        return
    with pytest.raises(DataError, match=f"'{NAMES[number]}': NaN"):
        source.read(np.arange(23)[::-1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (([np.zeros((2, 3)), np.zeros((2, 4))],), "record 1 of shape"),
        (([np.zeros(2), np.zeros(2, "float32")],), "record 1"),
        (([1.0, 2.0],), "record 0"),
        (([],), "an empty list of records"),
        ((np.zeros(5), [2, 2]), "sum 4 for 5 steps"),
        ((np.zeros(5), [6, -1]), "lengths"),
        ((np.zeros(5), [2.5, 2.5]), "lengths"),
        ((np.array([None]), [1]), "type object"),
    ],
)
def test_invalid_ragged_arguments_are_refused(given, message):
    with pytest.raises((ArgumentError, DataError), match=message):
        Ragged(*given)


def test_damage_to_a_packed_index_is_named(tmp_path):
    import polars as pl

    pack(arrays(tmp_path), tmp_path / "set")
    index = pl.read_parquet(tmp_path / "set/index.parquet")
    for damaged in (index.drop("steps"), index.with_columns(steps=pl.col("steps") + 1), index.with_columns(steps=0.5)):
        damaged.write_parquet(tmp_path / "set/index.parquet")
        with pytest.raises(RecordError, match=r"index\.parquet"):
            Packed(tmp_path / "set")


class TestPad:
    @pytest.mark.parametrize("to", [None, 8, [4, 8, 30]])
    @pytest.mark.parametrize("mask", [None, "input", "channel"])
    def test_records_are_complete_and_padded_with_value(self, to, mask):
        given = Ragged(RECORDS).take(np.array([3, 1, 4, 1]))
        longest = given.lengths.max()
        x = Pad(to=to, value=-5.0, mask=mask)(given)
        own = np.arange(longest if to is None else 8 if longest > 4 or to == 8 else 4) < given.lengths[:, None]
        if mask == "input":
            x, got = x
            assert got.dtype == np.bool_
            np.testing.assert_array_equal(got, own)
        if mask == "channel":
            np.testing.assert_array_equal(x[..., -1], own)
            x = x[..., :-1]
        assert x.dtype == np.float32
        assert x.shape == (*own.shape, 2)
        assert (x[~own] == -5.0).all()
        for row, record in zip(x, given, strict=True):
            np.testing.assert_array_equal(row[: len(record)], record)

    def test_only_ragged_arrays_of_a_nest_are_padded(self):
        (x, mask) = Mapped(Arrays({"a": Ragged(RECORDS), "b": np.arange(23)}), Pad(mask="input")).read([2, 1])
        assert x["a"].shape == (2, LENGTHS[[2, 1]].max(), 2)
        assert (x["b"].tolist(), mask.sum(axis=1).tolist()) == ([2, 1], LENGTHS[[2, 1]].tolist())

    @pytest.mark.parametrize(
        ("options", "x", "message"),
        [
            ({}, np.zeros((2, 3)), "Expected ragged records"),
            ({"to": 3}, Ragged(RECORDS), "at most 3 steps"),
            ({"mask": "channel"}, Ragged([np.zeros(2)]), "channels"),
            ({}, {"a": Ragged(RECORDS), "b": Ragged(RECORDS[::-1])}, "arrays differ in their number of steps"),
        ],
    )
    def test_unpaddable_records_are_refused(self, options, x, message):
        with pytest.raises(DataError, match=message):
            Pad(**options)(x)

    @pytest.mark.parametrize("options", [{"to": 0}, {"to": []}, {"to": 2.5}, {"to": True}, {"mask": "both"}])
    def test_bad_options_are_refused(self, options):
        with pytest.raises(ArgumentError):
            Pad(**options)


def test_steps_are_normalised_and_filled_within_their_record():
    source = Arrays(Ragged(RECORDS))
    flat = np.concatenate(RECORDS)
    normalize = Normalize.fit(source)
    np.testing.assert_allclose(normalize.mean, flat.mean(axis=0), atol=1e-6)
    batch = Mapped(source, normalize).read([4, 2])
    np.testing.assert_array_equal(batch[1], normalize(RECORDS[2]))
    holed = Ragged([np.array([[1.0], [np.nan]]), np.array([[np.nan], [2.0], [np.nan]])])
    filled = FillMissing(method="forward", mask=True)(holed)
    assert filled[0].tolist() == [[1.0, 1.0], [1.0, 0.0]]
    assert filled[1].tolist() == [[0.0, 0.0], [2.0, 1.0], [2.0, 0.0]]


some_lengths = st.lists(st.integers(0, 30), min_size=1, max_size=60)


class TestByLength:
    @settings(deadline=None, max_examples=60)
    @given(
        lengths=some_lengths, buckets=st.integers(1, 6), seed=seeds, batch=st.integers(1, 20), epoch=st.integers(0, 99)
    )
    def test_almost_all_batches_are_from_one_bucket(self, lengths, buckets, seed, batch, epoch):
        sampler = ByLength(lengths, buckets=buckets)
        drawn = epoch_of(sampler.plan(len(lengths), seed, batch), epoch)
        assert sorted(drawn) == list(range(len(lengths)))
        bucket = np.searchsorted(sampler.edges, np.array(lengths)[drawn])
        parts = [bucket[start : start + batch] for start in range(0, len(bucket), batch)]
        # At most one batch contains samples of two adjacent buckets for each border between them.
        assert sum(int(np.ptp(part)) for part in parts) <= len(sampler.edges) - 1

    @settings(deadline=None, max_examples=60)
    @given(lengths=st.lists(st.integers(0, 12), min_size=1, max_size=20), buckets=st.integers(1, 4))
    def test_edges_are_optimal(self, lengths, buckets):
        def padding(edges):
            return sum(min(edge for edge in edges if edge >= length) - length for length in lengths)

        distinct = sorted({max(length, 1) for length in lengths})
        least = min(
            padding((*inner, distinct[-1]))
            for number in range(buckets)
            for inner in combinations(distinct[:-1], min(number, len(distinct) - 1))
        )
        edges = ByLength(lengths, buckets=buckets).edges
        assert len(edges) <= buckets
        assert padding(edges) == least

    def test_edges_of_many_lengths_pad_less_than_their_quantiles(self):
        lengths = np.random.default_rng(0).lognormal(6, 1, 200_000).astype(int)
        edges = ByLength(lengths, buckets=12).edges
        quantiles = np.quantile(lengths, np.arange(1, 13) / 12, method="higher")
        ours, equal = (np.array(ends)[np.searchsorted(ends, lengths)].sum() for ends in (edges, quantiles))
        assert len(edges) == 12
        assert ours < 0.8 * equal

    def test_batches_are_recombined_and_shuffled_each_epoch(self):
        lengths = np.repeat([5, 50], [500, 500])
        plan = ByLength(lengths, buckets=2).plan(1000, 0, 10)
        orders = [lengths[epoch_of(plan, epoch)[::10]] for epoch in range(20)]
        assert len({tuple(order) for order in orders}) == 20
        firsts = {tuple(sorted(plan.indices(epoch, 0, 10))) for epoch in range(50)}
        assert len(firsts) == 50
        # As many long batches in the first half as in the second.
        early = [np.count_nonzero(order[:50] == 50) for order in orders]
        assert abs(np.mean(early) - 25) < 4 * np.std(early) / np.sqrt(20) + 1

    def test_the_short_batch_may_have_any_length(self):
        lengths = np.repeat([5, 50], [50, 53])
        plan = ByLength(lengths, buckets=2).plan(103, 0, 10)
        last = [set(lengths[plan.indices(epoch, 100, 103)]) for epoch in range(60)]
        assert {5} in last
        assert {50} in last

    @pytest.mark.parametrize(
        ("lengths", "buckets"),
        [
            ([], 2),
            ([1.5], 2),
            ([-1], 2),
            ([[1]], 2),
            ([3], 0),
            ([3], True),
            ([3], 1.5),
            ([3], [2]),
            ([3], []),
            ([3], [0, 3]),
        ],
    )
    def test_bad_lengths_and_buckets_are_refused(self, lengths, buckets):
        with pytest.raises(ArgumentError):
            ByLength(np.array(lengths), buckets=buckets)

    def test_a_different_number_of_samples_is_refused(self):
        with pytest.raises(ArgumentError, match="2 lengths for 3 samples"):
            ByLength([1, 2]).plan(3)

    def test_given_edges(self):
        sampler = ByLength([1, 9], buckets=[8, 16])
        assert sampler.edges == (8, 16)
        assert eval(repr(sampler)) == sampler == ByLength(np.array([1, 9]), buckets=(8, 16)) != ByLength([1, 9])


def test_a_ragged_is_one_leaf():
    assert [path for path, _ in leaves({"a": Ragged(RECORDS)})] == ["['a']"]
