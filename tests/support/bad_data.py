"""Tables of invalid data by room: arrays, IDs, tables, folders, files of each format, and directories of runs."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from support.bad_arguments import ODD, Bad, argument, data
from support.bad_files import record, written
from support.bad_recordings import RECORDINGS

import tailfit
from tailfit.data import (
    Arrays,
    Concat,
    Mapped,
    MapStyle,
    NpyFolder,
    Packed,
    Parquet,
    Subset,
    Table,
    pack,
    save_npy_folder,
)
from tailfit.errors import CheckpointError, DataError
from tailfit.resume.store import Position, Store

__all__ = ["DATA"]

X, Y = np.zeros((4, 2)), [0, 1, 0, 1]
SOURCE = Arrays(X, Y, list("abcd"))


def checkpoint(received: str, call: Callable[[Path], Any]) -> Bad:
    return Bad(call, CheckpointError, received)


ARRAYS = {
    "nothing": data(r"shape \(\)", lambda: Arrays(None)),
    "a number": data(r"shape \(\)", lambda: Arrays(3.0)),
    "an object": data("type object", lambda: Arrays(ODD)),
    "objects": data("type object", lambda: Arrays(np.array([ODD, ODD]))),
    "no array": data("without an array", lambda: Arrays({})),
    "lists of unequal length": data("x", lambda: Arrays([[1.0], [1.0, 2.0]])),
    "arrays of unequal length": data("a.*4.*b.*3", lambda: Arrays({"a": X, "b": X[:3]})),
    "labels too few": data("3 labels for 4", lambda: Arrays(X, [0, 1, 0])),
    "IDs too few": data("3 ids for 4", lambda: Arrays(X, ids=list("abc"))),
    "IDs twice": data("'a' twice", lambda: Arrays(X, ids=list("abca"))),
    "IDs of numbers": data("ID 1", lambda: Arrays(X, ids=[1, 2, 3, 4])),
    "IDs that are empty": data("ID ''", lambda: Arrays(X, ids=["a", "", "c", "d"])),
    "IDs that are a number": data("ids", lambda: Arrays(X, ids=4)),
    "metadata of others": data("3 rows for 4", lambda: Arrays(X, metadata=pl.DataFrame({"site": [1, 2, 3]}))),
    "metadata without an ID": data(
        "ID 'd'", lambda: Arrays(X, ids=list("abcd"), metadata=pl.DataFrame({"id": list("abc")}))
    ),
    "metadata with an ID twice": data(
        "ID 'a'", lambda: Arrays(X, ids=list("abcd"), metadata=pl.DataFrame({"id": list("abcda")}))
    ),
    "metadata that is a dict": argument("dict", lambda: Arrays(X, metadata={"site": [1]})),
    "class names without labels": argument("class_names", lambda: Arrays(X, class_names=["a"])),
    "another policy": argument("nan='drop'", lambda: Arrays(X, nan="drop")),
    "a negative index": argument("index -1", lambda: SOURCE.read([-1])),
    "an index too large": argument("index 4", lambda: SOURCE.read([4])),
    "half an index": argument("float64", lambda: SOURCE.read([0.5])),
    "a mask": argument("bool", lambda: SOURCE.read([True, False, True, False])),
    "one index": argument(r"shape \(\)", lambda: SOURCE.read(0)),
    "an index of text": argument("indices", lambda: SOURCE.read(["a"])),
    "indices of unequal length": argument("indices", lambda: SOURCE.read([[0], [1, 2]])),
    "an out of others": argument("out", lambda: SOURCE.read([0], out=np.zeros((2, 2)))),
    "an unknown ID": data("'e'", lambda: SOURCE.positions(["e"])),
    "an ID that is a list": data(r"\['a'\]", lambda: SOURCE.positions([["a"]])),
    "a subset out of range": argument("9", lambda: Subset(SOURCE, [9])),
    "a subset of a sample twice": argument("repeated", lambda: Subset(SOURCE, [1, 1])),
    "a subset by fractions": argument("float64", lambda: Subset(SOURCE, [0.5])),
    "a subset by text": argument("<U1", lambda: Subset(SOURCE, ["a"])),
    "a concatenation of nothing": argument("0 arguments", lambda: Concat()),
    "a concatenation of arrays": argument("ndarray", lambda: Concat(X)),
    "sources with the same IDs": data("'a'", lambda: Concat(SOURCE, SOURCE)),
    "prefixes too few": argument("prefixes", lambda: Concat(SOURCE, SOURCE, prefixes=["x"])),
    "no function of records": argument("Arrays and int", lambda: Mapped(SOURCE, 3)),
    "no data set of pairs": argument("int", lambda: MapStyle(3)),
    "no table": argument("int", lambda: Table(3)),
    "a table without the column": data("'cause'", lambda: Table(pl.DataFrame({"x": [1.0]}), label="cause")),
}

PARTS = {
    "nothing": argument("no shares", lambda: SOURCE.split()),
    "one share": argument("0.5", lambda: SOURCE.split(0.5)),
    "shares beyond one": argument("0.9, 0.9", lambda: SOURCE.split(0.9, 0.9)),
    "a share of NaN": argument("nan", lambda: SOURCE.split(float("nan"), 0.5)),
    "shares of text": argument("a, b", lambda: SOURCE.split("a", "b")),
    "an empty part": argument("1e-06", lambda: SOURCE.split(1e-6, 1 - 1e-6)),
    "a list": argument(r"\['a'\]", lambda: SOURCE.split(["a"])),
    "a seed of text": argument("seed='x'", lambda: SOURCE.split(0.5, 0.5, seed="x")),
    "an unknown ID": data("'e'", lambda: SOURCE.split({"train": ["e"]})),
    "an ID in two parts": data("'a'", lambda: SOURCE.split({"train": ["a"], "test": ["a"]})),
    "an ID twice": data("'a'", lambda: SOURCE.split({"train": ["a", "a"]})),
    "IDs as one string": data("'train' of type str", lambda: SOURCE.split({"train": "a"})),
    "IDs that are lists": data(r"\['a'\]", lambda: SOURCE.split({"train": [["a"]]})),
    "a partition with shares": argument("seed", lambda: SOURCE.split({"train": ["a"]}, seed=3)),
    "an unknown column": argument("'site'", lambda: SOURCE.split(0.5, 0.5, by="site")),
    "fewer groups than parts": argument(
        "1 group .by keys. for 2 parts", lambda: SOURCE.grouped([3] * 4).split(0.5, 0.5)
    ),
    "groups by an unknown column": argument("'site'", lambda: SOURCE.grouped("site")),
    "groups without a value": data("IDs 'a', 'c'", lambda: SOURCE.grouped([np.nan, 0, np.nan, 1])),
    "a partition that cuts a group": data(
        "group 'p'", lambda: SOURCE.grouped(list("ppqq")).split({"train": ["a"], "test": ["b"]})
    ),
    "one fold": argument("count=1", lambda: tailfit.data.folds(SOURCE, 1)),
    "more folds than samples": argument("count=5 folds of 4", lambda: tailfit.data.folds(SOURCE)),
    "more folds than groups": argument("2 groups", lambda: tailfit.data.folds(SOURCE, 3, by=[1, 1, 2, 2])),
    "folds of an array": argument("ndarray", lambda: tailfit.data.folds(X)),
    "keys of others": argument(r"\(2,\)", lambda: SOURCE.split(0.5, 0.5, by=[1, 2])),
    "keys of unequal length": argument("by", lambda: SOURCE.split(0.5, 0.5, by=[[1], [1, 2], [1], [1]])),
    "keys of all kinds": argument("by", lambda: SOURCE.split(0.5, 0.5, by=[1, "a", None, ODD])),
}


def labels(name: str, content: bytes | str) -> Callable[[Path], Any]:
    """Return a call that reads a file of labels for a folder of the records "a" and "b"."""

    def call(path: Path) -> Any:
        for each in ("a", "b"):
            np.save(path.with_name(f"{each}.npy"), X)
        return NpyFolder(path.parent, path)

    return written(name, content, call)


def partition(content: str) -> Callable[[Path], Any]:
    return written("partition.json", content, SOURCE.split)


def npy(header: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()


def one_npy(shape: str) -> Callable[[Path], Any]:
    shape = shape.replace("1 << 61", str(1 << 61))
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    return written("a.npy", npy(header), lambda path: NpyFolder(path.parent).read([0]))


def opened_with_good_record(path: Path) -> Any:
    """Open a folder with one labelled record and a damaged file."""
    np.save(path.with_name("a.npy"), X)
    path.with_name("labels.json").write_text('{"a": 0}')
    return tailfit.data.open(path.parent)


HUGE = npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 1048576), }")
PICKLE = npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }") + b"\x80\x04."

FILES = {
    "nothing there": data("no such file", lambda folder: tailfit.data.open(folder / "x.npy")),
    "an empty folder": data("no data set in a known format", lambda folder: tailfit.data.open(folder)),
    "an unknown option": argument("colour=1", written("x.npy", HUGE, lambda path: tailfit.data.open(path, colour=1))),
    "no path": argument("type int", lambda folder: tailfit.data.open(3)),
    "NUL in a path": data("x", lambda folder: tailfit.data.open("x\0.npy")),
    "an empty .npy": record("x.npy: an empty file", written("x.npy", b"", tailfit.data.open)),
    "text as .npy": record("not a .npy", written("x.npy", "id,label", tailfit.data.open)),
    "a pickle": record("object array", written("x.npy", PICKLE, tailfit.data.open)),
    "an exabyte": record("truncated", written("x.npy", HUGE, tailfit.data.open)),
    "text as Parquet": record("x.parquet", written("x.parquet", "PAR1 no PAR1", tailfit.data.open)),
    "text as HDF5": record("x.h5", written("x.h5", "no", tailfit.data.open)),
    "text as .npz": record("x.npz: File is not a zip file", written("x.npz", "no", tailfit.data.open)),
    "text as Zarr": record("x.zip", written("x.zip", "PK no", tailfit.data.open)),
    "text as Arrow": record("x.arrow", written("x.arrow", "no", tailfit.data.open)),
    "an empty CSV": record("x.csv", written("x.csv", "", tailfit.data.open)),
    "a CSV of NUL": record("x.csv", written("x.csv", b"\xff\xfe\0", tailfit.data.open)),
    "text as .tfrecord": Bad(
        written("x.tfrecord", "no", lambda path: tailfit.data.open(path, features={"a": ((), "float32")})),
        DataError,
        "x.tfrecord",
    ),
    "a folder for a file": data("no such files", lambda folder: Parquet(folder)),
    "labels of an unknown kind": argument("labels.txt", labels("labels.txt", "a,0\nb,1\n")),
    "labels of no JSON": record("labels.json", labels("labels.json", '{"a": 0, ')),
    "labels of JSON without end": record("labels.json", labels("labels.json", "[" * 100_000)),
    "labels of a JSON list": record("labels.json", labels("labels.json", "[0, 1]")),
    "labels of no UTF-8": record("labels.json", labels("labels.json", b'{"\xff": 0}')),
    "labels of an ID twice": record("'a' twice", labels("labels.json", '{"a": 0, "a": 1}')),
    "labels of an endless number": record("labels.json", labels("labels.json", '{"a": 1' + "0" * 5000 + "}")),
    "labels of a large number": data("labels", labels("labels.json", '{"a": 1' + "0" * 30 + ', "b": 0}')),
    "labels of objects": data("ID 'a'", labels("labels.json", '{"a": {}, "b": {}}')),
    "labels of null": data("ID 'b'", labels("labels.json", '{"a": 0, "b": null}')),
    "labels of NaN": data("ID 'b'", labels("labels.json", '{"a": 0, "b": NaN}')),
    "labels of a path": data(r"'\.\./a'", labels("labels.json", '{"../a": 0, "b": 1}')),
    "labels of an unknown file": data("'c'", labels("labels.json", '{"a": 0, "b": 1, "c": 0}')),
    "labels of some files": data("'b'", labels("labels.json", '{"a": 0}')),
    "an empty table of labels": record("labels.csv", labels("labels.csv", "")),
    "one column of labels": data("'id'", labels("labels.csv", "id\na\nb\n")),
    "a row of labels too long": record("labels.csv", labels("labels.csv", "id,y\na,0,7\nb,1\n")),
    "a table without a label": data("ID 'b'", labels("labels.csv", "id,y\na,0\nb,\n")),
    "labels that are a number": argument("int", lambda folder: NpyFolder(folder, 3)),
    "metadata that are a number": argument("int", lambda folder: NpyFolder(folder, metadata=3)),
    "a table with NUL in a name": data("NUL", lambda folder: Table(pl.DataFrame({"a\0b": [1.0]}))),
    "class names of brackets": record(
        "class_names.json", written("class_names.json", "[" * 200_000, lambda path: opened_with_good_record(path))
    ),
    "a partition of brackets": record("partition.json", partition("[" * 200_000)),
    "an array of none that no memory holds": record("too large for any memory", one_npy("(0, 1 << 61, 1 << 61)")),
    "an array of 70 axes": record("too large for any memory", one_npy(f"(0,{'1,' * 69})")),
    "an array of a size of 6,000 digits": record("damaged header", one_npy(f"(0x{'f' * 6000},)")),
    "a partition of no JSON": record("partition.json", partition("{")),
    "a partition of a list": record("partition.json", partition('["a"]')),
    "a partition of numbers": data("'train'", partition('{"train": 3}')),
    "a partition of objects": data("'train'|{}", partition('{"train": [{}]}')),
    "a partition of unknown IDs": data("'e'", partition('{"train": ["e"]}')),
    "writing to a folder with files": argument("existing path", lambda folder: save_npy_folder(folder, X)),
    "writing a path for an ID": data(r"'\.\./x'", lambda folder: save_npy_folder(folder / "n", X[:1], ids=["../x"])),
    "packing nothing": argument("shard_bytes=0", lambda folder: pack(SOURCE, folder / "n", shard_bytes=0)),
    "packing an array": argument("ndarray", lambda folder: pack(X, folder / "n")),
    "no packed folder": data("without pack.json", lambda folder: Packed(folder)),
}


def packed(spoil: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Return a call that reads all records of a damaged packed data set."""

    def call(folder: Path) -> Any:
        pack(SOURCE, folder / "set")
        spoil(folder / "set")
        return Packed(folder / "set").read([0, 1, 2, 3])

    return call


def manifest(**changed: Any) -> Callable[[Path], Any]:
    def spoil(root: Path) -> None:
        path = root / "pack.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))

    return packed(spoil)


def index(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Path], Any]:
    def spoil(root: Path) -> None:
        change(pl.read_parquet(root / "index.parquet")).write_parquet(root / "index.parquet")

    return packed(spoil)


LEAF = {"shape": [2], "dtype": "<f8"}
PACKED = {
    "cut off": record("pack.json", packed(lambda root: os.truncate(root / "pack.json", 40))),
    "of a newer format": record("format 9", manifest(format=9)),
    "of a list for a format": record(r"format \[\]", manifest(format=[])),
    "of fewer samples": record("index.parquet", manifest(samples=3)),
    "of a negative number of samples": record("pack.json", manifest(samples=-1)),
    "of half a sample": record("pack.json", manifest(samples=0.5)),
    "of shards without end": record("pack.json", manifest(samples=1 << 62, rows=1)),
    "of no rows": record("pack.json", manifest(rows=0)),
    "of another type": record("00-00000.npy", manifest(leaves=[{**LEAF, "dtype": "<f4"}])),
    "of objects": record("pack.json", manifest(leaves=[{**LEAF, "dtype": "O"}])),
    "of no type": record("pack.json", manifest(leaves=[{**LEAF, "dtype": "float3"}])),
    "of records without end": record("pack.json", manifest(leaves=[{**LEAF, "shape": [1 << 40, 1 << 40]}])),
    "of none of such": record("pack.json", manifest(leaves=[{**LEAF, "shape": [0, 1 << 61, 1 << 61]}])),
    "of 70 axes": record("pack.json", manifest(leaves=[{**LEAF, "shape": [1] * 70}])),
    "of names with NUL": record("the class name", manifest(class_names=["0", "1\0"])),
    "of a negative shape": record("pack.json", manifest(leaves=[{**LEAF, "shape": [-2]}])),
    "of a leaf twice": record("pack.json", manifest(tree={"tuple": [0, 0]})),
    "of a leaf that is not there": record("pack.json", manifest(tree=7)),
    "of an unknown nest": record("pack.json", manifest(tree={"set": [0]})),
    "of no nest": record("pack.json", manifest(tree=None)),
    "of names that are a number": record("pack.json", manifest(class_names=3)),
    "of names twice": Bad(manifest(class_names=["0", "0"]), DataError, "twice"),
    "of digests of other files": record("pack.json", manifest(digests={"../x.npy": "0"})),
    "of another digest": record("SHA-256", manifest(digests={"00-00000.npy": "0"})),
    "without a shard": record("00-00000.npy", packed(lambda root: (root / "data" / "00-00000.npy").unlink())),
    "with a shard cut off": record("truncated", packed(lambda root: os.truncate(root / "data" / "00-00000.npy", 150))),
    "without an index": record("index.parquet", packed(lambda root: (root / "index.parquet").unlink())),
    "with an index cut off": record("index.parquet", packed(lambda root: os.truncate(root / "index.parquet", 99))),
    "with an index of fewer rows": record("3 rows", index(lambda table: table.head(3))),
    "with an index without labels": record("columns", index(lambda table: table.drop("label"))),
    "with an ID twice": Bad(index(lambda table: table.with_columns(id=pl.lit("a"))), DataError, "'a' twice"),
    "with an ID of null": Bad(index(lambda table: table.with_columns(id=pl.lit(None))), DataError, "ID None"),
    "with a label out of range": Bad(index(lambda table: table.with_columns(label=pl.lit(9))), DataError, "is 9"),
}


def run(spoil: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Return a call that reads the checkpoint of a damaged run."""

    def call(folder: Path) -> Any:
        store, position = Store(folder), Position(0, 8)
        store.write(position, {"value": 1}, {"kernel": X})
        spoil(folder / position.name)
        return store.read(position)

    return call


def spoilt(name: str, content: bytes) -> Callable[[Path], Any]:
    return run(lambda folder: (folder / name).write_bytes(content))


def grown(folder: Path) -> None:
    with (folder / "state.json").open("r+b") as file:
        file.truncate((1 << 30) + 1)


RUNS = {
    "an empty state": checkpoint("state.json", spoilt("state.json", b"")),
    "a state of a list": checkpoint("state.json", spoilt("state.json", b"[]")),
    "a state without end": checkpoint("state.json", spoilt("state.json", b"[" * 100_000)),
    "a state of no UTF-8": checkpoint("state.json", spoilt("state.json", b"\xff\xfe\0")),
    "a state of an endless number": checkpoint(
        "state.json", spoilt("state.json", b'{"format": 1' + b"0" * 5000 + b"}")
    ),
    "a state of a newer format": checkpoint("format 99", spoilt("state.json", b'{"format": 99}')),
    "a state of a gigabyte": checkpoint(f"{(1 << 30) + 1} bytes", run(grown)),
    "empty arrays": checkpoint("not match their checksum", spoilt("arrays.safetensors", b"")),
    "arrays cut off": checkpoint(
        "do not match their checksum", run(lambda folder: os.truncate(folder / "arrays.safetensors", 70))
    ),
    "other arrays": checkpoint("not match their checksum", spoilt("arrays.safetensors", b"\x02\0\0\0\0\0\0\0{}")),
}

DATA: dict[str, dict[str, Bad]] = {
    "arrays": ARRAYS,
    "parts": PARTS,
    "files": FILES,
    "packed": PACKED,
    "recordings": RECORDINGS,
    "runs": RUNS,
}
