"""Recordings: readings and labels per step, against the tables they were written from."""

import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import numpy as np
import polars as pl
import pytest
from support.sources import write_table

import tailfit
from tailfit.data import (
    Concat,
    DataWarning,
    FillMissing,
    Mapped,
    Packed,
    Parquet,
    Recordings,
    Subset,
    Table,
    Windows,
    pack,
)
from tailfit.data.files.parquet_groups import ParquetRows
from tailfit.errors import DataError, RecordError

LENGTHS = [7, 2, 12, 5]
NAMES = [f"run {number}" for number in range(4)]
WELLS = pl.DataFrame({"run": ["other", *NAMES[::-1]], "well": ["X", "B", "A", "B", "A"]})


def tables():
    """Four recordings of three sensors, of which some are null in a recording or absent from it."""
    rng = np.random.default_rng(5)
    found = []
    for number, steps in enumerate(LENGTHS):
        columns = {
            "timestamp": [f"2024-05-31 12:{minute:02d}:00" for minute in range(steps)],
            "flow": rng.normal(size=steps).astype("f4"),
            "heat": rng.integers(0, 9, steps),
            "class": [None, *([0] * (steps - 1))]
            if number == 1
            else [0, *([101] * (steps // 3)), *[1] * steps][:steps],
        }
        if number == 2:
            columns["heat"] = pl.Series([None] * steps, dtype=pl.Int64)
        if number == 3:
            columns |= {"level": rng.normal(size=steps)}
        found.append(pl.DataFrame(columns))
    return found


def written(folder: Path, suffix=".parquet"):
    for name, table in zip(NAMES, tables(), strict=True):
        write_table(table, folder / f"{name}{suffix}")
    return folder


def truth(number: int):
    """The readings of a recording, by polars."""
    table = tables()[number]
    absent = [name for name in ("flow", "heat", "level") if name not in table.columns]
    table = table.with_columns(pl.lit(None, pl.Float32).alias(name) for name in absent)
    return table.select("flow", "heat", "level").cast(pl.Float32).to_numpy()


OPTIONS = {"drop": [101], "metadata": WELLS, "group": "well"}


def recorded(suffix, memory):
    return lambda folder: Recordings(written(folder, suffix), memory=memory, **OPTIONS)


def packed(memory):
    def build(folder):
        (folder / "tables").mkdir()
        pack(recorded(".parquet", False)(folder / "tables"), folder / "set", shard_bytes=100)
        return Packed(folder / "set", memory=memory)

    return build


def concat(folder):
    whole = Recordings(written(folder), **OPTIONS)
    parts = [Subset(whole, [0, 1]), Subset(whole, [2, 3])]
    return Concat(*parts)


SOURCES = {
    "Parquet in memory": recorded(".parquet", True),
    "Parquet by row group": recorded(".parquet", False),
    "Feather": recorded(".feather", False),
    "CSV": recorded(".csv", True),
    "Packed in memory": packed(True),
    "Packed from files": packed(False),
    "Concat": concat,
    "Subset": lambda folder: Subset(Recordings(written(folder), **OPTIONS), range(4)),
}


@pytest.fixture(params=SOURCES, ids=str)
def source(request, tmp_path):
    return SOURCES[request.param](tmp_path)


def test_records_are_the_columns_of_numbers(source):
    assert source.ids == tuple(NAMES)
    assert source.channels == ("flow", "heat", "level")
    assert source.ragged
    assert source.keeps_missing
    assert source.lengths.tolist() == LENGTHS
    for indices in ([2], [3, 0, 3], [0, 1, 2, 3], []):
        batch = source.read(indices)
        assert (batch.dtype, len(batch)) == (np.float32, len(indices))
        for got, index in zip(batch, indices, strict=True):
            np.testing.assert_array_equal(got, truth(index))
    source.read([0]).values[...] = 0
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(again.read([0])[0], truth(0))
    np.testing.assert_array_equal(again.step_labels(2), source.step_labels(2))


def test_labels_per_step(source):
    assert source.class_names == ("0", "1")
    assert source.step_labels(0).tolist() == [0, -1, -1, 1, 1, 1, 1]
    assert source.step_labels(1).tolist() == [-1, 0]
    assert (source.step_labels(0).dtype, source.labels) == (np.int32, None)
    if isinstance(source, Recordings):
        assert (source.unlabelled_steps, source.dropped_steps) == (1, 2 + 4 + 1)
    assert source.class_counts.tolist() == [4, 4 + 7 + 3]
    part = source.split({"a": NAMES[1::2], "b": NAMES[2::-2]})["b"]
    assert part.step_labels(1).tolist() == [0, -1, -1, 1, 1, 1, 1]
    assert (part.class_names, part.class_counts.tolist()) == (("0", "1"), [2, 11])


def test_metadata_and_groups(source):
    assert source.metadata.rows() == [(NAMES[0], "A"), (NAMES[1], "B"), (NAMES[2], "A"), (NAMES[3], "B")]
    assert (source.groups.tolist(), source.group_names) == ([0, 1, 0, 1], ("A", "B"))


def test_windows_read_only_their_steps(source):
    windows = Windows(source, length=3, stride=2)
    places = [(n, start) for n, steps in enumerate(LENGTHS) for start in range(0, steps - 2, 2)]
    expected = [(n, start) for n, start in places if source.step_labels(n)[start + 2] >= 0]
    cut = np.stack([truth(n)[start : start + 3] for n, start in expected])
    order = np.random.default_rng(0).permutation(len(windows))
    np.testing.assert_array_equal(windows.read(order), cut[order])
    np.testing.assert_array_equal(windows.read([]), cut[:0])


def test_missing_readings_are_filled_with_a_mask(source):
    filled = Mapped(source, FillMissing(method="zero", mask=True)).read([2])[0]
    np.testing.assert_array_equal(filled[:, 3:], np.tile(np.float32([1, 0, 0]), (12, 1)))


def test_classes_merge_and_name_raw_labels(tmp_path):
    source = Recordings(written(tmp_path), classes={"leak": [1, 101], "normal": [0], "hydrate": [8, 108]})
    assert source.class_names == ("leak", "normal", "hydrate")
    assert source.step_labels(0).tolist() == [1, 0, 0, 0, 0, 0, 0]
    with pytest.raises(
        DataError, match=r"labels in no class: 1 \(14 steps\), 101 \(7 steps\); the first 1 is in .*row 3"
    ):
        Recordings(tmp_path, classes={"normal": [0]})


def test_a_label_per_recording(tmp_path):
    for name, table in zip(NAMES, tables(), strict=True):
        table.drop("class").write_parquet(tmp_path / f"{name}.parquet")
    causes = WELLS.with_columns(cause=pl.Series(["?", "ok", "leak", "ok", "leak"]))
    causes.write_csv(tmp_path / "runs.csv")
    source = Recordings(tmp_path, label="cause")
    assert (source.class_names, source.labels.tolist()) == (("leak", "ok"), [0, 1, 0, 1])
    assert source.step_labels(1).tolist() == [1, 1]
    assert source.metadata.columns == ["id", "well"]
    with pytest.raises(RecordError, match=r"run 0\.parquet: the columns .* without the label 'class', as well as"):
        Recordings(tmp_path)
    assert Recordings(tmp_path, label=None).step_labels(0) is None


def test_a_long_table(tmp_path):
    whole = pl.concat([table.with_columns(run=pl.lit(name)) for name, table in zip(NAMES, tables(), strict=True)],
                      how="diagonal")  # fmt: skip
    whole.write_parquet(tmp_path / "all.parquet", row_group_size=5)
    source = Recordings(tmp_path / "all.parquet", id="run", drop=[101], memory=False)
    assert (source.ids, source.lengths.tolist()) == (tuple(NAMES), LENGTHS)
    np.testing.assert_array_equal(source.read([2])[0], truth(2))
    assert source.step_labels(1).tolist() == [-1, 0]
    (tmp_path / "parts").mkdir()
    for number, part in enumerate((whole[:10], whole[10:])):  # the third recording is in both files
        part.write_csv(tmp_path / f"parts/{number}.csv")
    np.testing.assert_array_equal(Recordings(tmp_path / "parts", id="run").read([2])[0], truth(2))


def test_classes_of_concatenated_recordings_are_matched_by_name(tmp_path):
    written(tmp_path)
    first = Recordings(tmp_path, classes={"leak": [1], "ok": [0]}, drop=[101], metadata=None)
    second = Recordings(tmp_path, classes={"ok": [0], "worn": [1]}, drop=[101], metadata=None)
    both = Concat(first, second, prefixes=["a", "b"])
    assert both.class_names == ("leak", "ok", "worn")
    assert both.step_labels(0).tolist() == [1, -1, -1, 0, 0, 0, 0]
    assert both.step_labels(4).tolist() == [1, -1, -1, 2, 2, 2, 2]


@pytest.mark.parametrize("memory", [True, False])
def test_a_nan_in_a_window_is_named_by_its_recording(tmp_path, memory):
    written(tmp_path)
    kept = Recordings(tmp_path, **OPTIONS, memory=memory)
    with pytest.raises(RecordError, match=r"run 0\.parquet: the recording 'run 0': NaN"):
        Windows(Recordings(tmp_path, **OPTIONS, memory=memory, nan="raise"), 2).read([0])
    pack(kept, tmp_path / "set")
    assert np.isnan(Packed(tmp_path / "set", memory=memory).read([0]).values).any()
    with pytest.raises(DataError, match=r"ID 'run 0' .*: NaN"):
        Windows(Packed(tmp_path / "set", memory=memory, nan="raise"), 2).read([0])
    complete = Mapped(kept, FillMissing(method="zero"))
    pack(complete, tmp_path / "filled")
    assert np.isfinite(Windows(Packed(tmp_path / "filled", memory=memory, nan="raise"), 2).read([0])).all()


def test_packed_recordings_of_one_length(tmp_path):
    for name in "ab":
        pl.DataFrame({"x": [1.0, 2.0], "class": [0, None]}).write_parquet(tmp_path / f"{name}.parquet")
    pack(Recordings(tmp_path), tmp_path / "set")
    assert Packed(tmp_path / "set").step_labels(1).tolist() == [0, -1]


def test_damaged_labels_of_steps_are_refused(tmp_path):
    pack(Recordings(written(tmp_path), **OPTIONS), tmp_path / "set")
    path = tmp_path / "set/index.parquet"
    index = pl.read_parquet(path)
    labels = pl.col("step_labels")
    for damaged in (labels.list.head(1), labels.list.eval(pl.element() + 9), pl.lit(3), labels.list.eval(pl.lit(None))):
        index.with_columns(damaged.alias("step_labels")).write_parquet(path)
        with pytest.raises(RecordError, match=r"index\.parquet: a column step_labels"):
            Packed(tmp_path / "set")


# -- time ----------------------------------------------------------------------------------------------


def timed(folder, times, **columns):
    table = pl.DataFrame({"timestamp": times, "x": np.arange(float(len(times))), "class": [0] * len(times)})
    table.with_columns(**{name: pl.Series(values) for name, values in columns.items()}).write_parquet(
        folder / "run.parquet"
    )
    return folder


def at(*seconds):
    return [datetime(2024, 5, 31) + timedelta(seconds=value) for value in seconds]


TIMES = {
    "datetimes": lambda values: at(*values),
    "with a zone": lambda values: [each.replace(tzinfo=UTC) for each in at(*values)],
    "nanoseconds": lambda values: pl.Series(at(*values), dtype=pl.Datetime("ns")),
    "text": lambda values: [str(each) for each in at(*values)],
    "text with a T": lambda values: [each.isoformat() for each in at(*values)],
    "text with a zone": lambda values: [each.isoformat() + "Z" for each in at(*values)],
    "text with days first": lambda values: [each.strftime("%d/%m/%Y %H:%M:%S") for each in at(*values)],
    "seconds": list,
    "fractions of seconds": lambda values: [value / 1.0 for value in values],
}


@pytest.mark.parametrize("kind", TIMES)
def test_a_gap_ends_a_recording(tmp_path, kind):
    timed(tmp_path, TIMES[kind]([0, 10, 20, 50, 60, 300]))
    source = Recordings(tmp_path, max_gap="20s", metadata=pl.DataFrame({"id": ["run"], "well": ["A"]}))
    assert source.ids == ("run#1", "run#2", "run#3")
    assert source.lengths.tolist() == [3, 2, 1]
    assert source.read([1])[0].ravel().tolist() == [3.0, 4.0]
    assert (source.groups.tolist(), source.group_names) == ([0, 0, 0], ("run",))
    assert source.metadata.rows() == [("run#1", "run", "A"), ("run#2", "run", "A"), ("run#3", "run", "A")]
    assert Recordings(tmp_path, max_gap=240).ids == ("run",)


@pytest.mark.parametrize("memory", [True, False])
def test_resampling_takes_the_last_reading_or_the_mean(tmp_path, memory):
    times = TIMES["text"]([0, 4, 9, 10, 31, 100, 101])
    timed(tmp_path, times, x=[1.0, None, 3.0, 4.0, None, 6.0, 8.0], **{"class": [0, 0, 1, 1, 0, 1, None]})
    options = {"memory": memory, "max_gap": 60}
    last = Recordings(tmp_path, resample="10s", **options)
    assert last.lengths.tolist() == [4, 1]
    np.testing.assert_array_equal(last.read([0])[0].ravel(), [3.0, 4.0, np.nan, np.nan])
    np.testing.assert_array_equal(last.read([1, 1]).values.ravel(), [8.0, 8.0])
    # A step without rows holds the label before it.
    assert [last.step_labels(0).tolist(), last.step_labels(1).tolist()] == [[1, 1, 1, 0], [-1]]
    mean = Recordings(tmp_path, resample={"every": 10, "how": "mean"}, **options)
    np.testing.assert_array_equal(mean.read([0])[0].ravel(), [2.0, 4.0, np.nan, np.nan])
    np.testing.assert_array_equal(mean.read([1])[0].ravel(), [7.0])
    windows = Windows(last, 2, 1)
    np.testing.assert_array_equal(windows.read([1, 0])[..., 0], [[4.0, np.nan], [3.0, 4.0]])
    assert pickle.loads(pickle.dumps(mean)).read([1]).values.tolist() == [[7.0]]


def test_the_usual_time_between_steps_is_kept_by_parts_windows_and_copies(tmp_path):
    (tmp_path / "runs").mkdir()
    timed(tmp_path / "runs", at(0, 10, 20, 30, 41, 51), flow=range(6), **{"class": [0, 0, 1, 1, 1, 0]})
    runs = Recordings(tmp_path / "runs")
    assert runs.step_seconds == 10.0
    assert Recordings(tmp_path / "runs", resample="5s").step_seconds == 5.0
    tailfit.data.pack(runs, tmp_path / "packed")
    windows = tailfit.data.Windows(tailfit.data.Packed(tmp_path / "packed"), 2)
    assert windows.step_seconds == 10.0
    both = tailfit.data.Concat(windows, windows, prefixes=["a/", "b/"])
    assert both.split({"a": both.ids[:1]})["a"].step_seconds == 10.0
    assert tailfit.data.Arrays(np.zeros(3)).step_seconds is None


def test_files_with_texts_and_datetimes(tmp_path):
    """Texts of several files are parsed together, next to a file that has datetimes."""
    folder = tmp_path / "runs"
    folder.mkdir()
    for number, kind in enumerate(["text", "datetimes", "text"]):
        times = TIMES[kind]([0, 10, 20 + number])
        table = pl.DataFrame({"timestamp": times, "x": [1.0, 2.0, 3.0], "class": [0, 0, 1]})
        table.write_parquet(folder / f"run {number}.parquet")
    assert Recordings(folder, max_gap=11).ids == ("run 0", "run 1", "run 2#1", "run 2#2")


def test_pickled_windows_leave_the_loaded_readings_behind(tmp_path):
    source = Windows(Recordings(timed(tmp_path, [10.0 * step for step in range(50_000)]), memory=True), length=8)
    unread, batch = len(pickle.dumps(source)), source.read([3, 0])
    assert len(pickle.dumps(source)) < unread + 1000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).read([3, 0]), batch)


def test_regular_times_resample_to_themselves(tmp_path):
    rng = np.random.default_rng(0)
    for start, every in ((0.0, 0.1), (1e9, 0.7), (123.4, 10.0)):
        timed(tmp_path, start + np.arange(500) * every, x=rng.normal(size=500))
        plain = Recordings(tmp_path).read([0])[0]
        np.testing.assert_array_equal(Recordings(tmp_path, resample=every).read([0])[0], plain)


def test_times_need_not_exist_for_regular_steps(tmp_path):
    pl.DataFrame({"x": [1.0, 2.0], "class": [0, 0]}).write_parquet(tmp_path / "run.parquet")
    assert Recordings(tmp_path).lengths.tolist() == [2]
    assert Recordings(timed(tmp_path, [3, 1]), time=None).columns == ("timestamp", "x")


# -- files ---------------------------------------------------------------------------------------------


def test_lists_urls_and_memory_of_other_places(tmp_path):
    written(tmp_path)
    source = Recordings([tmp_path / f"{name}.parquet" for name in (NAMES[2], NAMES[0])])
    assert source.ids == (NAMES[2], NAMES[0])
    remote = fsspec.filesystem("memory")
    for path in tmp_path.iterdir():
        remote.pipe(f"/recordings/{path.name}", path.read_bytes())
    copy = Recordings("memory://recordings", cache=tmp_path / "cache")
    np.testing.assert_array_equal(copy.read([2])[0], truth(2))


def test_a_saved_index_is_left_out(tmp_path):
    for name, table in zip(NAMES, tables(), strict=True):
        table.with_row_index("index").write_parquet(tmp_path / f"{name}.parquet")
    with pytest.warns(DataWarning, match="row numbers in column 'index'"):
        source = Recordings(tmp_path)
    assert (source.columns, source.left_out) == (("flow", "heat", "level"), ("index",))
    assert Recordings(tmp_path, columns=["index", "flow"]).columns == ("index", "flow")


def test_a_column_of_another_type_is_named_with_its_row(tmp_path):
    written(tmp_path, ".csv")
    path = tmp_path / f"{NAMES[2]}.csv"
    path.write_text(path.read_text().replace(",,0\n", ",n/a,0\n", 1))
    with pytest.raises(RecordError, match=r"run 2\.csv: row 0: 'n/a' in the column 'heat'"):
        Recordings(tmp_path)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".feather"])
@pytest.mark.parametrize("table", ["runs.csv", "metadata.csv", "metadata.parquet"])
def test_a_folder_of_recordings_is_recognised(tmp_path, suffix, table):
    written(tmp_path, suffix)
    write_table(WELLS, tmp_path / table)
    source = tailfit.data.open(tmp_path, drop=[101])
    assert isinstance(source, Recordings)
    assert source.metadata["well"].to_list() == ["A", "B", "A", "B"]
    assert np.isnan(source.read([0]).values).any()
    with pytest.raises(RecordError, match=f"run 0{suffix}.*: NaN"):
        tailfit.data.open(tmp_path, nan="raise").read([0])
    assert tailfit.data.open(tmp_path, group="well").group_names == ("A", "B")


def test_tables_of_samples_are_not_mistaken_for_recordings(tmp_path):
    pl.DataFrame({"a": [1.0, 2.0]}).write_parquet(tmp_path / "part-0.parquet")
    pl.DataFrame({"id": ["0", "1"], "part": ["0", "part-1"]}).write_csv(tmp_path / "metadata.csv")
    assert isinstance(tailfit.data.open(tmp_path), Parquet)


def test_a_long_table_is_recognised_by_its_options(tmp_path):
    pl.DataFrame({"run": ["a", "a", "b", "b"], "x": range(4), "class": range(4)}).write_csv(tmp_path / "all.csv")
    assert isinstance(tailfit.data.open(tmp_path / "all.csv", label="class"), Table)
    source = tailfit.data.open(tmp_path / "all.csv", id="run", drop=[3])
    assert (source.ids, source.class_names) == (("a", "b"), ("0", "1", "2"))


def test_reading_windows_reads_only_their_row_groups(tmp_path, monkeypatch):
    table = pl.DataFrame({"x": np.arange(100.0), "y": np.zeros(100), "class": np.zeros(100, int)})
    table.write_parquet(tmp_path / "run.parquet", row_group_size=10)
    source = Recordings(tmp_path, memory=False, columns=["x"])
    reads = []
    read = ParquetRows.read

    def counted(self, group, names):
        reads.append((group, *names))
        return read(self, group, names)

    monkeypatch.setattr(ParquetRows, "read", counted)
    assert Windows(source, 3, 1).read([57, 12])[:, :, 0].tolist() == [[57.0, 58.0, 59.0], [12.0, 13.0, 14.0]]
    assert reads == [(1, "x"), (5, "x")]


def test_a_changed_file_is_noticed(tmp_path):
    source = Recordings(written(tmp_path), memory=False)
    (tmp_path / f"{NAMES[1]}.parquet").write_bytes((tmp_path / f"{NAMES[0]}.parquet").read_bytes())
    source.read([0])
    with pytest.raises(RecordError, match=r"run 1\.parquet: changed since"):
        source.read([1])
