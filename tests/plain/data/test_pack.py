"""`pack`: round trips, resuming after a crash, and errors about damaged folders."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import tailfit
from tailfit.data import Arrays, Concat, Mapped, NpyFolder, Packed, Source, pack
from tailfit.data.files.memory import available_memory
from tailfit.errors import ArgumentError, DataError, RecordError

X = np.arange(70, dtype="float32").reshape(10, 7)
SHARD = 3 * 7 * 4  # bytes of three records: shards of 3, 3, 3 and 1


def source(**given: Any) -> Arrays:
    metadata = pl.DataFrame({"site": list("aabbccddee"), "id": [f"p{n}" for n in range(10)]})
    return Arrays(X, ["ok", "leak"] * 5, [f"p{n}" for n in range(10)], metadata, **given)


def packed(path: Path, **given: Any) -> Packed:
    pack(source(), path / "set", shard_bytes=SHARD)
    return Packed(path / "set", **given)


def test_numpy_and_polars_read_it_without_tailfit(tmp_path):
    packed(tmp_path)
    files = sorted((tmp_path / "set" / "data").iterdir())
    assert [file.name for file in files] == [f"00-0000{n}.npy" for n in range(4)]
    np.testing.assert_array_equal(np.concatenate([np.load(file) for file in files]), X)
    index = pl.read_parquet(tmp_path / "set" / "index.parquet")
    assert index.columns == ["id", "label", "metadata.site"]
    assert index["label"].to_list() == [1, 0] * 5


@pytest.mark.parametrize("memory", [True, False])
def test_packed_equals_the_source(tmp_path, memory):
    ours, theirs = packed(tmp_path, memory=memory), source()
    assert ours.ids == theirs.ids
    assert ours.class_names == theirs.class_names
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert ours.metadata.equals(theirs.metadata.select(ours.metadata.columns))
    chosen = np.array([9, 0, 3, 3, 8])
    np.testing.assert_array_equal(ours.read(chosen), X[chosen])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(ours)).read(chosen), X[chosen])
    assert type(tailfit.data.open(tmp_path / "set")) is Packed


@pytest.mark.parametrize(
    "y",
    [None, [[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]], [[0.2, 0.8], [1.0, 0.0], [0.5, 0.5], [0.1, 0.9]]],
    ids=["none", "multi-label", "soft"],
)
def test_every_kind_of_labels(tmp_path, y):
    whole = Arrays(X[:4], y)
    pack(whole, tmp_path / "set")
    ours = Packed(tmp_path / "set")
    assert (ours.label_kind, ours.class_names) == (whole.label_kind, whole.class_names)
    np.testing.assert_array_equal(ours.labels, whole.labels)


def test_a_class_without_samples_keeps_its_index(tmp_path):
    pack(Arrays(X[:2], [0, 2], class_names=["a", "b", "c"]), tmp_path / "set")
    assert Packed(tmp_path / "set").class_counts.tolist() == [1.0, 0.0, 1.0]


class Stops(Source):
    """A source whose read number `fails` raises."""

    def __init__(self, fails: int) -> None:
        whole = source()
        super().__init__(whole.ids, whole.encoded, whole.metadata)
        self.left, self.read_positions = fails, []

    def _read(self, indices):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        self.read_positions += indices.tolist()
        return X[indices]


def test_packing_resumes_after_a_crash(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        pack(Stops(3), tmp_path / "set", shard_bytes=SHARD)  # the first record, for its shape, and two shards
    assert not (tmp_path / "set").exists()
    (tmp_path / ".set.partial" / "data" / "00-00002.npy.tmp").write_bytes(b"half of it")
    seen: list[tuple[int, int]] = []
    again = Stops(100)
    pack(again, tmp_path / "set", shard_bytes=SHARD, progress=lambda done, of: seen.append((done, of)))
    assert again.read_positions == [0, 6, 7, 8, 9]
    assert seen == [(3, 10), (6, 10), (9, 10), (10, 10)]
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"]
    np.testing.assert_array_equal(Packed(tmp_path / "set").read(range(10)), X)


def test_after_a_crash_a_shard_that_was_damaged_is_written_again(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        pack(Stops(3), tmp_path / "set", shard_bytes=SHARD)
    shard = tmp_path / ".set.partial" / "data" / "00-00000.npy"
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    pack(Stops(100), tmp_path / "set", shard_bytes=SHARD)
    np.testing.assert_array_equal(Packed(tmp_path / "set").read(range(10)), X)


@pytest.mark.parametrize("state", ["", "[]", "{", '{"source": 1}'])
def test_a_damaged_state_is_refused(tmp_path, state):
    (tmp_path / ".set.partial").mkdir()
    (tmp_path / ".set.partial" / "state.json").write_text(state)
    with pytest.raises((ArgumentError, RecordError), match="delete the folder to start again"):
        pack(Stops(100), tmp_path / "set", shard_bytes=SHARD)


def test_the_draft_of_a_first_state_does_not_come_into_the_set(tmp_path):
    (tmp_path / ".set.partial").mkdir()
    (tmp_path / ".set.partial" / ".state.json.0123456789abcdef.draft").write_text("{")  # killed before it was renamed
    packed(tmp_path)
    assert [path.name for path in (tmp_path / "set").rglob(".*")] == []


def test_an_unfinished_folder_of_a_different_source_is_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        pack(Stops(2), tmp_path / "set", shard_bytes=SHARD)
    with pytest.raises(ArgumentError, match="a different source"):
        pack(Arrays(X, None), tmp_path / "set", shard_bytes=SHARD)
    with pytest.raises(ArgumentError, match="a different source"):
        pack(source(), tmp_path / "set", shard_bytes=2 * SHARD)


def test_an_existing_folder_and_bad_arguments_are_refused(tmp_path):
    packed(tmp_path)
    with pytest.raises(ArgumentError, match="existing path"):
        pack(source(), tmp_path / "set")
    with pytest.raises(ArgumentError, match="shard_bytes"):
        pack(source(), tmp_path / "other", shard_bytes=0)
    with pytest.raises(DataError, match="0 samples"):
        pack(Arrays(X[:0]), tmp_path / "other")
    with pytest.raises(ArgumentError, match="memory"):
        Packed(tmp_path / "set", memory="some")
    with pytest.raises(ArgumentError, match="nan"):
        Packed(tmp_path / "set", nan="ignore")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["set"]


def test_a_dict_is_packed_by_key(tmp_path):
    """Records whose keys have a different order, as in a concatenation of sources, keep their names."""
    x = np.arange(20.0).reshape(10, 2)
    whole = Concat(Arrays({"a": x, "b": -x}), Arrays({"b": -x, "a": x}), prefixes=["1", "2"])
    pack(whole, tmp_path / "set", shard_bytes=160)
    for memory in (True, False):
        read = Packed(tmp_path / "set", memory=memory).read(np.arange(20))
        np.testing.assert_array_equal(read["a"], np.concatenate([x, x]))
        np.testing.assert_array_equal(read["b"], -read["a"])


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda x: {"a": x["a"], "c": x["b"]}, "dict of .*'c'"),
        (lambda x: [x["a"], x["b"]], "list in place of a dict"),
        (lambda x: {"a": x["a"], "b": {"c": x["b"]}}, "dict in place of an array"),
    ],
    ids=["key", "list", "deeper"],
)
def test_records_of_a_different_structure_are_refused(tmp_path, change, found):
    whole = Arrays({"a": np.zeros((9, 2)), "b": np.zeros((9, 2))})
    seen = []

    def sometimes(records):
        seen.append(len(records["a"]))
        return change(records) if len(seen) > 2 else records

    with pytest.raises(DataError, match=found):
        pack(Mapped(whole, sometimes), tmp_path / "set", shard_bytes=64)


def test_records_that_differ_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", X[0])
    np.save(tmp_path / "b.npy", X[0, :3])
    with pytest.raises(RecordError, match=r"b\.npy"):
        pack(NpyFolder(tmp_path), tmp_path / "set")


def nested_without_end(root: Path) -> None:
    manifest = (root / "pack.json").read_text()
    (root / "pack.json").write_text(manifest.replace('"tree": 0', '"tree": ' + '{"list": [' * 3000 + "0" + "]}" * 3000))


SPOILT = {
    "a missing shard": (lambda root: (root / "data/00-00001.npy").unlink(), "00-00001.npy"),
    "a truncated shard": (lambda root: os.truncate(root / "data/00-00001.npy", 150), "00-00001.npy: truncated"),
    "another shape": (lambda root: np.save(root / "data/00-00001.npy", X[:2]), r"shape \(2, 7\)"),
    "another type": (lambda root: np.save(root / "data/00-00001.npy", X[:3].astype("int32")), "int32"),
    "no index": (lambda root: (root / "index.parquet").unlink(), "index.parquet"),
    "a short index": (lambda root: pl.DataFrame({"id": ["a"]}).write_parquet(root / "index.parquet"), "1 rows"),
    "no manifest": (lambda root: (root / "pack.json").unlink(), "without pack.json"),
    "a manifest that is none": (lambda root: (root / "pack.json").write_text("[]"), "pack.json"),
    "a newer format": (lambda root: (root / "pack.json").write_text('{"format": 99}'), "format 99"),
    "a manifest nested without end": (nested_without_end, "pack.json"),
    "a manifest without sizes": (lambda root: (root / "pack.json").write_text('{"format": 1}'), "samples"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_damaged_folder_is_named(tmp_path, case):
    packed(tmp_path)
    spoil, message = SPOILT[case]
    spoil(tmp_path / "set")
    with pytest.raises(DataError, match=message):
        Packed(tmp_path / "set")


def test_an_altered_record_is_detected_when_loaded(tmp_path):
    ours = packed(tmp_path, memory=True)
    file = tmp_path / "set" / "data" / "00-00002.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(RecordError, match=r"00-00002\.npy: content whose SHA-256 differs"):
        ours.read([0])


def test_truncating_a_file_in_use_is_an_error_not_a_signal(tmp_path):
    ours = packed(tmp_path, memory=False)
    np.testing.assert_array_equal(ours.read([7]), X[[7]])
    os.truncate(tmp_path / "set" / "data" / "00-00002.npy", 140)
    with pytest.raises(RecordError, match="truncated"):
        ours.read([8])


@pytest.mark.parametrize("memory", [True, False])
def test_nan_is_found_at_the_first_read(tmp_path, memory):
    x = X.copy()
    x[4, 1] = np.nan
    pack(Arrays(x, ids=[f"p{n}" for n in range(10)], nan="keep"), tmp_path / "set", shard_bytes=SHARD)
    ours = Packed(tmp_path / "set", memory=memory)
    np.testing.assert_array_equal(ours.read([3, 5]), x[[3, 5]])
    for _ in range(2):
        with pytest.raises(DataError, match=r"'p4'.*NaN"):
            ours.read([3, 4])
    assert np.isnan(Packed(tmp_path / "set", memory=memory, nan="keep").read([4])).any()


def test_a_loaded_source_is_pickled_without_its_records(tmp_path):
    ours = packed(tmp_path, memory=True)
    ours.read([0])
    assert len(pickle.dumps(ours)) < len(pickle.dumps(packed_like(ours))) + 1000


def packed_like(ours: Packed) -> Packed:
    """Return a second source of the same folder that was not read yet."""
    return Packed(ours._root, memory=True)


def test_memory_auto(tmp_path, monkeypatch):
    monkeypatch.setattr("tailfit.data.files.memory.available_memory", lambda: X.nbytes * 2)
    assert packed(tmp_path).in_memory
    monkeypatch.setattr("tailfit.data.files.memory.available_memory", lambda: X.nbytes * 2 - 1)
    assert not Packed(tmp_path / "set").in_memory
    assert 0 < available_memory() < 1 << 50
