"""Bad input to sources: each error names the file, ID or key; nothing is ever unpickled."""

import io
import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tailfit.data import Arrays, NpyFolder, Windows, save_npy_folder
from tailfit.data import open as open_source
from tailfit.errors import ArgumentError, DataError, RecordError

RECORD = np.arange(12, dtype="float32").reshape(4, 3)


def folder_with(tmp_path: Path, spoil: Callable[[Path], Any]) -> NpyFolder:
    """Three records; the one called `bad` is damaged after the folder was opened, or before if necessary."""
    for name in ("a", "bad", "c"):
        np.save(tmp_path / f"{name}.npy", RECORD)
    source = NpyFolder(tmp_path, {"a": 0, "bad": 1, "c": 0})
    spoil(tmp_path / "bad.npy")
    return source


class Bomb:
    def __reduce__(self) -> Any:
        return os.abort, ()


def pickled(path: Path) -> None:
    np.save(path, np.array([Bomb()], dtype=object), allow_pickle=True)


def npy(header: str, body: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    text = header.encode()
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text + body


HUGE = "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }"
SPOILT: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda path: path.unlink(), "no such file"),
    "empty": (lambda path: path.write_bytes(b""), "empty"),
    "truncated body": (lambda path: os.truncate(path, 150), "truncated: 150 bytes"),
    "truncated header": (lambda path: os.truncate(path, 60), "truncated in its header"),
    "truncated magic": (lambda path: os.truncate(path, 4), "truncated in its header"),
    "too long": (lambda path: path.write_bytes(path.read_bytes() + b"x"), "too long"),
    "object array": (pickled, "an object array"),
    "plain pickle": (lambda path: path.write_bytes(pickle.dumps(Bomb())), "not a .npy file"),
    "text": (lambda path: path.write_text("id,label\n1,2\n"), "not a .npy file"),
    "other shape": (lambda path: np.save(path, RECORD.T), r"shape \(3, 4\), type float32"),
    "other rank": (lambda path: np.save(path, RECORD.ravel()), r"shape \(12,\)"),
    "other type": (lambda path: np.save(path, RECORD.astype("int32")), "type int32"),
    "other width": (lambda path: np.save(path, RECORD.astype("float64")), "type float64"),
    "NaN": (lambda path: np.save(path, np.where(RECORD == 3, np.nan, RECORD).astype("float32")), "NaN"),
    "infinity": (lambda path: np.save(path, np.where(RECORD == 3, -np.inf, RECORD).astype("float32")), "infinity"),
    "folder": (lambda path: (path.unlink(), path.mkdir()), "directory|regular"),
    "unknown version": (lambda path: path.write_bytes(npy("{}", version=(9, 0))), "unknown .npy version 9.0"),
    "huge shape": (lambda path: path.write_bytes(npy(HUGE, b"1234")), "truncated"),
    "negative shape": (lambda path: path.write_bytes(npy(HUGE.replace("(9", "(-9"))), "damaged header"),
    "boolean shape": (lambda path: path.write_bytes(npy(HUGE.replace("(99999999999", "(True"))), "damaged header"),
    "code for a header": (lambda path: path.write_bytes(npy("__import__('os').abort()")), "damaged header"),
    "deep header": (lambda path: path.write_bytes(npy("(" * 5000)), "damaged header"),
    "no descr": (lambda path: path.write_bytes(npy("{'shape': (), 'fortran_order': False}")), "damaged header"),
    "long header": (lambda path: path.write_bytes(npy(" " * 20000)), "a header of 20000 bytes"),
    "very long header": (lambda path: path.write_bytes(npy(" " * 99, version=(2, 0))[:8] + b"\xff" * 4), "header of"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_bad_file_is_named(name: str, tmp_path: Path) -> None:
    spoil, words = SPOILT[name]
    source = folder_with(tmp_path, spoil)
    assert source.read([0, 2]).shape == (2, 4, 3)
    with pytest.raises(RecordError, match=words) as caught:
        source.read([0, 1, 2])
    assert caught.value.received.startswith(str(tmp_path / "bad.npy"))
    assert str(caught.value).count("Received ") == 1


@pytest.mark.parametrize("name", ["other shape", "other type"])
def test_a_different_file_names_the_first_one(name: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError) as caught:
        folder_with(tmp_path, SPOILT[name][0]).read([1])
    assert "shape (4, 3), type float32" in caught.value.expected
    assert str(tmp_path / "a.npy") in caught.value.expected


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    source = folder_with(tmp_path, lambda path: path.chmod(0))
    with pytest.raises(RecordError, match=r"bad.npy: Permission denied"):
        source.read([1])


def test_an_open_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder_with(tmp_path, lambda path: None)
    source.read([0])

    def refuse(*args: Any, **keywords: Any) -> int:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        with pytest.raises(RecordError, match=r"bad.npy: Permission denied"):
            source.read([1])


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    source = folder_with(tmp_path, lambda path: (path.unlink(), os.mkfifo(path)))
    with pytest.raises(RecordError, match=r"bad\.npy"):
        source.read([1])
    with pytest.raises(RecordError, match=r"bad.npy: not a regular file"):
        NpyFolder(tmp_path)


def write_version(path: Path, version: tuple[int, int]) -> None:
    with path.open("wb") as file:
        np.lib.format.write_array(file, RECORD, version=version)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: np.save(path, np.asfortranarray(RECORD)),
        lambda path: np.save(path, RECORD.astype(">f4")),
        lambda path: write_version(path, (2, 0)),
        lambda path: write_version(path, (3, 0)),
    ],
    ids=["Fortran order", "big endian", "version 2.0", "version 3.0"],
)
@pytest.mark.filterwarnings("ignore:Stored array in format:UserWarning")
@pytest.mark.parametrize("where", ["bad", "a"])
def test_the_same_record_written_differently(write: Callable[[Path], Any], where: str, tmp_path: Path) -> None:
    source = folder_with(tmp_path, lambda path: write(path.with_name(f"{where}.npy")))
    np.testing.assert_array_equal(source.read([1, 0, 2]), np.stack([RECORD] * 3))
    assert source.read([0]).dtype == np.dtype("float32").newbyteorder("=")


def test_without_preadv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailfit.data.files.npy._PREADV", False)
    source = folder_with(tmp_path, lambda path: np.save(path, RECORD + 1))
    np.testing.assert_array_equal(source.read([1]), RECORD[None] + 1)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    source = folder_with(tmp_path, lambda path: None)
    whole = (tmp_path / "a.npy").read_bytes()
    for size in range(len(whole)):
        (tmp_path / "bad.npy").write_bytes(whole[:size])
        with pytest.raises(RecordError, match=r"bad\.npy"):
            source.read([1])


@pytest.mark.parametrize("kind", ["whole", "view", "nest", "windows", "offset"])
def test_truncating_a_memmap_does_not_kill_the_process(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "all.npy"
    np.save(path, np.zeros((4096, 8)))
    x = np.load(path, mmap_mode="r")
    if kind == "offset":
        x = np.memmap(path, mode="r", dtype="float64", offset=128, shape=(4096, 8))
    made = {"view": lambda: Arrays(x[10:]), "nest": lambda: Arrays({"a": (x, np.zeros(4096))})}
    source = Windows(x, 2) if kind == "windows" else made.get(kind, lambda: Arrays(x))()
    source.read([0])
    os.truncate(path, 5000)
    with pytest.raises(RecordError, match=r"all.npy: truncated to 5000 bytes"):
        source.read([len(source) - 1])


def test_replacing_a_file_keeps_a_memmap_intact(tmp_path: Path) -> None:
    np.save(tmp_path / "all.npy", np.ones((4096, 8)))
    source = Arrays(np.load(tmp_path / "all.npy", mmap_mode="r"))
    np.save(tmp_path / "new.npy", np.zeros(1))
    (tmp_path / "new.npy").rename(tmp_path / "all.npy")
    assert source.read([4095]).sum() == 8.0
    (tmp_path / "all.npy").unlink()
    assert source.read([4095]).sum() == 8.0
    assert pickle.loads(pickle.dumps(source)).read([4095]).sum() == 8.0


def test_nan_keep(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([np.nan, 1.0]))
    assert np.isnan(NpyFolder(tmp_path, nan="keep").read([0])).any()
    assert np.isnan(Arrays(np.array([[np.nan]]), nan="keep").read([0])).all()
    with pytest.raises(ArgumentError, match="'drop'"):
        Arrays(np.zeros(2), nan="drop")


def test_nan_in_arrays_names_the_id() -> None:
    x = {"sensor": np.zeros((4, 2)), "far": np.full((4, 3), 3e38, dtype="float32")}
    x["sensor"][2, 1] = np.nan
    source = Arrays(x, ids=["p", "q", "r", "s"])
    assert source.read([0, 1, 3])["far"].max() == np.float32(3e38)  # large is not infinite
    with pytest.raises(DataError, match=r"ID 'r': NaN in x\['sensor'\]"):
        source.read([3, 2])


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "", "a\\b", "C:x", "a\0b", "/etc/passwd"])
def test_an_id_is_never_a_path(name: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", RECORD)
    with pytest.raises(DataError) as caught:
        NpyFolder(tmp_path, {"a": 0, name: 1})
    assert repr(name) in str(caught.value)
    with pytest.raises(DataError):
        save_npy_folder(tmp_path / "out", RECORD[:1], ids=[name])
    assert not (tmp_path / "out").exists()


def test_ids_are_strings(tmp_path: Path) -> None:
    np.save(tmp_path / "7.npy", RECORD)
    with pytest.raises(DataError, match="ID 7"):
        NpyFolder(tmp_path, {7: 1})  # type: ignore[dict-item]


def test_links_out_of_the_folder(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    np.save(outside / "x.npy", RECORD)
    np.save(inside / "a.npy", RECORD)
    (inside / "b.npy").symlink_to("a.npy")
    source = NpyFolder(inside)
    assert source.read([1]).shape == (1, 4, 3)
    (inside / "a.npy").rename(inside / "kept.npy")
    (inside / "a.npy").symlink_to(outside / "x.npy")
    with pytest.raises(RecordError, match=r"a.npy"):  # replaced by a link after the folder was listed
        source.read([0])
    with pytest.raises(RecordError, match=r"a.npy: a link out of the folder"):
        NpyFolder(inside)


def test_labels_and_files_must_match(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        np.save(tmp_path / f"{name}.npy", RECORD)
    with pytest.raises(DataError, match="a label for the unknown ID 'ghost'"):
        NpyFolder(tmp_path, {"a": 0, "b": 1, "c": 0, "ghost": 1})
    with pytest.raises(DataError, match=r"ID 'b' without a label \(2 of 3 files"):
        NpyFolder(tmp_path, {"a": 0})


BAD_LABELS: dict[str, tuple[Any, str]] = {
    "row of no class": ({"a": [1, 0], "b": [0, 0]}, "ID 'b'"),
    "row that does not sum to one": ({"a": [1.0, 0.0], "b": [0.5, 0.2]}, r"ID 'b'.*sums to 0.7"),
    "NaN in a row": ({"a": [1.0, 0.0], "b": [float("nan"), 1.0]}, "ID 'b'"),
    "ragged rows": ({"a": [1, 0], "b": [0, 1, 0]}, "unequal length"),
    "mixed": ({"a": "leak", "b": 3}, "ID 'b'"),
    "missing": ({"a": "leak", "b": None}, "ID 'b'"),
    "negative": ({"a": 0, "b": -1}, "ID 'b'"),
    "fraction": ({"a": 0, "b": 0.5}, "ID 'b'"),
    "twice in a table": (pl.DataFrame({"id": ["a", "a", "b"], "cause": [0, 1, 1]}), "ID 'a' twice"),
    "empty label in a table": (pl.DataFrame({"id": ["a", "b"], "cause": [0, None]}), "ID 'b'"),
    "three columns": (pl.DataFrame({"id": ["a", "b"], "x": [0, 1], "y": [0, 1]}), "'x', 'y'"),
}


@pytest.mark.parametrize("name", BAD_LABELS)
def test_bad_labels_name_the_id(name: str, tmp_path: Path) -> None:
    for record in ("a", "b"):
        np.save(tmp_path / f"{record}.npy", RECORD)
    labels, words = BAD_LABELS[name]
    with pytest.raises(DataError, match=words):
        NpyFolder(tmp_path, labels)


def test_unknown_class_names(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", RECORD)
    with pytest.raises(DataError, match=r"ID 'a'.*'leek'.*'leak'"):
        NpyFolder(tmp_path, {"a": "leek"}, class_names=["leak", "ok"])
    assert NpyFolder(tmp_path, {"a": "ok"}, class_names=["leak", "ok"]).class_counts.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": 0, "a": 1}', "[" * 100_000])
def test_bad_json_names_the_file(content: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", RECORD)
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(RecordError) as caught:
        NpyFolder(tmp_path, tmp_path / "labels.json")
    assert caught.value.received.startswith(str(tmp_path / "labels.json"))


@pytest.mark.parametrize("suffix", ["json", "csv", "parquet"])
def test_labels_from_each_kind_of_file(suffix: str, tmp_path: Path) -> None:
    for name in ("007", "7"):
        np.save(tmp_path / f"{name}.npy", RECORD)
    table, path = pl.DataFrame({"record": ["7", "007"], "cause": ["ok", "leak"]}), tmp_path / f"labels.{suffix}"
    if suffix == "json":
        path.write_text(json.dumps(dict(table.iter_rows())))
    elif suffix == "csv":
        table.write_csv(path)
    else:
        table.write_parquet(path)
    source = NpyFolder(tmp_path, path)
    assert (source.ids, source.labels.tolist(), source.class_names) == (("7", "007"), [1, 0], ("leak", "ok"))


@pytest.mark.parametrize("suffix", ["json", "csv", "parquet"])
def test_broken_tables_name_the_file(suffix: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", RECORD)
    path = tmp_path / f"metadata.{suffix}"
    path.write_bytes(b"")
    with pytest.raises(RecordError, match=f"metadata.{suffix}"):
        NpyFolder(tmp_path, metadata=path)
    with pytest.raises(RecordError, match=r"nowhere"):
        NpyFolder(tmp_path, metadata=tmp_path / f"nowhere.{suffix}")


@pytest.mark.parametrize("suffix", ["json", "csv", "parquet"])
def test_damaged_tables_are_read_or_refused(suffix: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", RECORD)
    path, rng = tmp_path / f"metadata.{suffix}", np.random.default_rng(0)
    getattr(pl.DataFrame({"id": ["a"] + [f"r{n}" for n in range(30)], "site": ["A"] * 31}), f"write_{suffix}")(path)
    whole, refused = path.read_bytes(), 0
    for _ in range(60):
        content = bytearray(whole)
        content[int(rng.integers(len(content)))] = int(rng.integers(256))
        path.write_bytes(content)
        try:
            NpyFolder(tmp_path, metadata=path)
        except DataError:  # not a panic of a parser, which `except Exception` does not catch
            refused += 1
    assert 0 < refused < 60


def test_metadata_is_joined_by_id(tmp_path: Path) -> None:
    for name in ("01", "02"):
        np.save(tmp_path / f"{name}.npy", RECORD)
    (tmp_path / "metadata.csv").write_text("id,site\n03,C\n02,B\n01,A\n")
    assert NpyFolder(tmp_path, metadata=tmp_path / "metadata.csv").metadata["site"].to_list() == ["A", "B"]
    with pytest.raises(DataError, match="ID '02'"):
        NpyFolder(tmp_path, metadata=pl.DataFrame({"id": ["01"]}))
    with pytest.raises(DataError, match="several rows for ID '01'"):
        NpyFolder(tmp_path, metadata=pl.DataFrame({"id": ["01", "02", "01"]}))
    with pytest.raises(DataError, match="none of which contains an ID of the 2 samples"):
        NpyFolder(tmp_path, metadata=pl.DataFrame({"site": ["A", "B"]}))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"x": np.zeros(3), "y": [0, 1]}, "2 labels for 3 records"),
        ({"x": (np.zeros(3), np.zeros(2))}, r"\[0\]: 3, \[1\]: 2"),
        ({"x": ()}, "without an array"),
        ({"x": np.array(1.0)}, "shape ()"),
        ({"x": np.array([{}, {}])}, "object"),
        ({"x": np.zeros(2), "ids": ["a", "a"]}, "'a' twice"),
        ({"x": np.zeros(2), "ids": ["a"]}, "1 ids for 2"),
        ({"x": np.zeros(2), "ids": [1, 2]}, "ID 1"),
        ({"x": np.zeros(2), "y": [[1, 0], [0, 0]], "ids": ["p", "q"]}, "ID 'q'"),
    ],
    ids=str,
)
def test_bad_arrays(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        Arrays(**arguments)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        NpyFolder(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="a file"):
        NpyFolder(tmp_path / "file")
    assert len(NpyFolder(tmp_path)) == 0


def test_open_lists_known_formats(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no data set in a known format.*of .npy files"):
        open_source(tmp_path)
    with pytest.raises(DataError, match="no such file or folder"):
        open_source(tmp_path / "nowhere")


def test_a_message_fits_on_a_screen() -> None:
    with pytest.raises(DataError) as caught:
        Arrays(np.zeros(1), np.full((1, 5000), 0.5))
    assert len(str(caught.value)) < 500
    assert io.StringIO(str(caught.value)).read().count("\n") == 0
