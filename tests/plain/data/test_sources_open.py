"""`open`: detection of formats, and options passed on to sources."""

from pathlib import Path
from typing import Any

import datasets
import h5py
import numpy as np
import PIL.Image
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pytest
import zarr
from support.formats import example, framed, write_array_record

from tailfit.data import (
    HDF5,
    ArrayRecord,
    Arrays,
    DataWarning,
    HuggingFace,
    ImageFolder,
    NpyFolder,
    Npz,
    Packed,
    Parquet,
    Table,
    TFRecord,
    Zarr,
    pack,
    save_npy_folder,
)
from tailfit.data import open as open_source
from tailfit.errors import ArgumentError, DataError, RecordError

X = np.arange(6.0).reshape(3, 2)
Y = ["ok", "leak", "ok"]
FRAME = pl.DataFrame({"a": X[:, 0], "b": X[:, 1], "label": Y})


def npy_folder(root: Path) -> Path:
    save_npy_folder(root / "set", X, Y)
    return root / "set"


def packed(root: Path) -> Path:
    pack(Arrays(X, Y), root / "set")
    return root / "set"


def parquet(root: Path) -> Path:
    FRAME.write_parquet(root / "set.parquet")
    FRAME.select("a").write_parquet(root / "metadata.parquet")
    return root / "set.parquet"


def parquet_folder(root: Path) -> Path:
    (root / "set").mkdir()
    for number in range(3):
        FRAME[number : number + 1].write_parquet(root / "set" / f"{number}.parquet")
    return root / "set"


def csv(root: Path) -> Path:
    FRAME.write_csv(root / "set.csv")
    return root / "set.csv"


def feather(root: Path) -> Path:
    pyarrow.feather.write_feather(FRAME.to_arrow(), root / "set.feather")
    return root / "set.feather"


def arrow_stream(root: Path) -> Path:
    with pa.OSFile(str(root / "set.arrow"), "wb") as file, pa.ipc.new_stream(file, FRAME.to_arrow().schema) as stream:
        stream.write_table(FRAME.to_arrow())
    return root / "set.arrow"


def hdf5(root: Path) -> Path:
    with h5py.File(root / "set.hdf5", "w") as file:
        file["x"], file["y"] = X, Y
    return root / "set.hdf5"


def zarr_store(root: Path) -> Path:
    group = zarr.create_group(root / "set")
    group.create_array("x", data=X)
    group.create_array("y", data=np.array([1, 0, 1]))
    return root / "set"


def tfrecord(root: Path) -> Path:
    contents = [example(x=row, label=label) for row, label in zip(X, Y, strict=True)]
    (root / "set.tfrecord").write_bytes(b"".join(map(framed, contents)))
    return root / "set.tfrecord"


def array_records(root: Path) -> Path:
    write_array_record(root / "set", X, Y, ["a", "b", "c"])
    return root / "set"


def npy_file(root: Path) -> Path:
    np.save(root / "set.npy", X)
    return root / "set.npy"


def npz_file(root: Path) -> Path:
    np.savez(root / "set.npz", X=X, y=Y)
    return root / "set.npz"


def images(root: Path) -> Path:
    for number, label in enumerate(Y):
        (root / "set" / label).mkdir(parents=True, exist_ok=True)
        PIL.Image.new("L", (2, 1), number).save(root / "set" / label / f"{number}.png")
    return root / "set"


def hugging_face(root: Path) -> Path:
    datasets.Dataset.from_polars(FRAME).save_to_disk(root / "set")
    return root / "set"


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (npy_folder, NpyFolder),
        (packed, Packed),
        (parquet, Parquet),
        (parquet_folder, Parquet),
        (csv, Table),
        (feather, Table),
        (arrow_stream, Table),
        (hdf5, HDF5),
        (zarr_store, Zarr),
        (tfrecord, TFRecord),
        (array_records, ArrayRecord),
        (npy_file, Arrays),
        (npz_file, Npz),
        (images, ImageFolder),
        (hugging_face, HuggingFace),
    ],
)
def test_each_kind_is_recognised(write: Any, kind: type, tmp_path: Path) -> None:
    source = open_source(write(tmp_path))
    assert type(source) is kind
    assert len(source) == 3
    if kind is not ImageFolder:
        np.testing.assert_array_equal(source.read([2, 0]), X[[2, 0]])
    if kind not in (Arrays, TFRecord, ArrayRecord):  # which have no default label
        assert sorted(source.class_counts.tolist()) == [1.0, 2.0]


def test_options_are_passed_on(tmp_path: Path) -> None:
    FRAME.write_parquet(tmp_path / "set.parquet")
    assert open_source(tmp_path / "set.parquet", columns=["b"]).read([1]).tolist() == [[3.0]]
    source = open_source(images(tmp_path), size=(3, 4), mode="L", labels={f"{y}/{n}.png": n for n, y in enumerate(Y)})
    assert source.read([1]).shape == (1, 3, 4, 1)
    assert source.labels.tolist() == [0, 1, 2]
    assert open_source(tfrecord(tmp_path), label="label").class_names == ("leak", "ok")
    with pytest.raises(
        ArgumentError,
        match=r"siz=3 for .*Expected options of ImageFolder.*: labels, size, mode",
    ):
        open_source(tmp_path / "set", siz=3)
    with pytest.raises(ArgumentError, match="nan='drop'"):
        open_source(tmp_path / "set", nan="drop")
    np.save(tmp_path / "nan.npy", np.full((1, 1), np.nan))
    with pytest.warns(DataWarning):
        open_source(tmp_path / "nan.npy", nan="warn", y=["a"], ids=["one"]).read([0])


@pytest.mark.parametrize(
    ("write", "given", "more"),
    [
        (hdf5, "label", ", or pass the labels as y="),
        (npz_file, "labels", ", or pass the labels as y="),
        (csv, "y", ", or pass the labels as label="),
        (npy_folder, "y", ", or pass the labels as label= or labels="),
        (packed, "y", ""),
    ],
)
def test_an_unknown_option_for_labels(write: Any, given: str, more: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=f"Fix: drop {given}={more}\\.$"):
        open_source(write(tmp_path), **{given: "cause"})


@pytest.mark.parametrize("path", [None, 3, X, b"set"], ids=lambda path: type(path).__name__)
def test_values_that_are_not_paths(path: Any) -> None:
    with pytest.raises(ArgumentError, match="a path or URL"):
        open_source(path)


@pytest.mark.parametrize("kind", [Parquet, HDF5, Npz, Zarr, ImageFolder, TFRecord, ArrayRecord])
def test_sources_refuse_values_that_are_not_paths(kind: type) -> None:
    with pytest.raises(ArgumentError, match="type int"):
        kind(3)
    with pytest.raises(DataError, match="nowhere"):
        kind("nowhere")


def test_an_empty_array(tmp_path: Path) -> None:
    np.save(tmp_path / "none.npy", X[:0])
    source = open_source(tmp_path / "none.npy")
    assert (len(source), source.read([]).shape) == (0, (0, 2))


def test_labels_next_to_images(tmp_path: Path) -> None:
    for number in range(3):
        PIL.Image.new("RGB", (2, 1)).save(tmp_path / f"{number}.png")
    (tmp_path / "labels.json").write_text('{"0.png": "ok", "2.png": "leak", "1.png": "ok"}')
    (tmp_path / "metadata.csv").write_text("id,site\n1.png,A\n0.png,B\n2.png,C\n")
    source = open_source(tmp_path)
    assert (source.ids, source.labels.tolist()) == (("0.png", "2.png", "1.png"), [1, 0, 1])
    assert source.metadata["site"].to_list() == ["B", "C", "A"]


@pytest.mark.parametrize("name", ["set.arrow", "set.npy", "set.csv"])
def test_damaged_files_are_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\x93NUMPY and not more")
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        open_source(tmp_path / name)


def test_a_truncated_arrow_file(tmp_path: Path) -> None:
    whole = feather(tmp_path).read_bytes()
    for size in range(8, len(whole), 100):
        (tmp_path / "set.feather").write_bytes(whole[:size])
        with pytest.raises(RecordError, match=r"set.feather"):
            open_source(tmp_path / "set.feather")


def test_splits_of_hugging_face_are_named(tmp_path: Path) -> None:
    datasets.DatasetDict({"train": datasets.Dataset.from_polars(FRAME)}).save_to_disk(tmp_path / "set")
    with pytest.raises(DataError, match=r"splits \['train'\].*open one split, .*<split>"):
        open_source(tmp_path / "set")
    assert len(open_source(tmp_path / "set" / "train")) == 3
    (tmp_path / "set" / "train" / "state.json").write_text("{")
    with pytest.raises(RecordError, match="train"):
        open_source(tmp_path / "set" / "train")


def test_packed_from_each_kind(tmp_path: Path) -> None:
    for number, write in enumerate((parquet, hdf5, npz_file, zarr_store, images, csv)):
        root = tmp_path / str(number)
        root.mkdir()
        source = open_source(write(root))
        pack(source, root / "packed")
        again = open_source(root / "packed")
        np.testing.assert_array_equal(again.read(range(3)), source.read(range(3)))
        np.testing.assert_array_equal(again.labels, source.labels)
