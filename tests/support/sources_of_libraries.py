"""Example builders of the sources that read the formats of other libraries; see `sources.py`."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import h5py
import numpy as np
import PIL.Image
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from array_record.python.array_record_module import ArrayRecordWriter
from support.formats import example, framed, write_array_record, write_tfrecord
from support.sources import BUILDERS, SIZE, Builder, ids, labels, metadata, records

from tailfit.data import HDF5, ArrayRecord, HuggingFace, ImageFolder, Parquet, Source, Table, TFRecord, Zarr


def frame(shape: tuple[int, ...] = (), dtype: str = "float32") -> pl.DataFrame:
    """Return a table of IDs, labels, metadata and records: a column `x` of arrays, or three of numbers."""
    table = pl.DataFrame({"id": ids(), "label": labels()}).join(metadata(), on="id", maintain_order="left")
    if shape:
        return table.with_columns(x=pl.Series(records(shape, dtype)))
    return table.with_columns(**{f"c{column}": records((3,), dtype)[:, column] for column in range(3)})


def parquet(memory: bool, shape: tuple[int, ...] = ()) -> Builder:
    def build(folder: Path) -> tuple[Source, Any]:
        pq.write_table(frame(shape).to_arrow(), folder / "set.parquet", row_group_size=5)
        return Parquet(folder / "set.parquet", memory=memory), records(shape or (3,))

    return build


def parquet_of_several_files(folder: Path) -> tuple[Source, Any]:
    table = frame().with_columns(x=pl.Series(records((2, 2), "int16")))
    for start in range(0, SIZE, 9):
        pq.write_table(table[start : start + 9].to_arrow(), folder / f"part {start:02d}.parquet", row_group_size=4)
    return Parquet(folder, memory=False, columns=["x", "c1"]), {
        "x": records((2, 2), "int16"),
        "c1": records((3,))[:, 1],
    }


def lists_without_a_length(folder: Path) -> tuple[Source, Any]:
    table = pa.table({"x": pa.array(records((2, 3), "float64").tolist())})
    pq.write_table(table, folder / "lists.parquet", row_group_size=7)
    return Parquet(folder / "lists.parquet", memory=False), records((2, 3), "float64")


def polars_table(folder: Path) -> tuple[Source, Any]:
    return Table(frame((4, 3))), records((4, 3))


def arrow_table(folder: Path) -> tuple[Source, Any]:
    whole = frame(dtype="int32").to_arrow()
    chunks = pa.concat_tables([whole.slice(0, 7), whole.slice(7)])
    return Table(chunks.append_column("on", pa.array(np.arange(SIZE) % 2 == 0)), columns=["c0", "on"]), np.stack(
        [records((3,), "int32")[:, 0], (np.arange(SIZE) % 2 == 0).astype("int32")], axis=1
    )


def photos() -> Any:
    files = [io.BytesIO() for _ in range(SIZE)]
    for image, file in zip(records((4, 5, 3), "uint8"), files, strict=True):
        PIL.Image.fromarray(image).save(file, "PNG")
    return pa.table({"photo": [{"bytes": file.getvalue(), "path": None} for file in files], "id": ids()})


def table_of_images(folder: Path) -> tuple[Source, Any]:
    return Table(photos()), records((4, 5, 3), "uint8")


def parquet_of_images(folder: Path) -> tuple[Source, Any]:
    pq.write_table(photos(), folder / "set.parquet", row_group_size=5)
    return Parquet(folder / "set.parquet"), records((4, 5, 3), "uint8")


def tensors(folder: Path) -> tuple[Source, Any]:
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(records((4, 3)))
    return Table(pa.table({"x": column})), records((4, 3))


def hugging_face(change: Callable[[Any], Any], rows: Any) -> Builder:
    def build(folder: Path) -> tuple[Source, Any]:
        features = datasets.Features(
            {
                "x": datasets.Array2D((4, 3), "float32"),
                "label": datasets.ClassLabel(names=["leak", "ok", "worn"]),
                "id": datasets.Value("string"),
            }
        )
        codes = np.minimum(np.arange(SIZE) % 5, 2).tolist()
        content = {"x": records((4, 3)).tolist(), "label": codes, "id": ids()}
        dataset = datasets.Dataset.from_dict(content, features=features)
        return HuggingFace(change(dataset)), records((4, 3))[rows]

    return build


def hdf5(memory: bool, **options: Any) -> Builder:
    def build(folder: Path) -> tuple[Source, Any]:
        with h5py.File(folder / "set.h5", "w") as file:
            file.create_dataset("x", data=records(), **options)
            file["y"], file["ids"] = labels().astype(object), ids()
        return HDF5(folder / "set.h5", metadata=metadata(), memory=memory), records()

    return build


def hdf5_nest(folder: Path) -> tuple[Source, Any]:
    with h5py.File(folder / "set.h5", "w") as file:
        file["sensors/a"], file["b"] = records((2,), ">i2"), records((), "bool")
    names = {"a": "sensors/a", "rest": ("b", ["sensors/a"])}
    truth = records((2,), "int16")
    return HDF5(folder / "set.h5", names, memory=False), {"a": truth, "rest": (records((), "bool"), [truth])}


def zarr_group(memory: bool, zarr_format: Any, **options: Any) -> Builder:
    def build(folder: Path) -> tuple[Source, Any]:
        group = zarr.create_group(folder / "set.zarr", zarr_format=zarr_format)
        group.create_array("x", data=records(), **options)
        group.create_array("y", data=np.eye(3)[np.arange(SIZE) % 3])
        group.create_array("ids", shape=(SIZE,), dtype="str")[:] = np.array(ids())
        return Zarr(folder / "set.zarr", metadata=metadata(), memory=memory), records()

    return build


def zarr_array(folder: Path) -> tuple[Source, Any]:
    with zarr.storage.ZipStore(folder / "set.zip", mode="w") as store:
        zarr.create_array(store, data=records((2, 2), ">i4"), chunks=(4, 1, 2))
    return Zarr(folder / "set.zip", memory=False), records((2, 2), "int32")


def image_folder(mode: str, shape: tuple[int, ...], dtype: str, suffix: str, **options: Any) -> Builder:
    def build(folder: Path) -> tuple[Source, Any]:
        images = records(shape, dtype)
        for name, label, image in zip(ids(), labels(), images, strict=True):
            (folder / label).mkdir(exist_ok=True)
            PIL.Image.fromarray(image).save(folder / label / f"{name}{suffix}", **options)
        (folder / "ok" / "notes.txt").write_text("not an image")
        order = np.argsort(labels(), kind="stable")
        return ImageFolder(folder, mode=mode), images[order].reshape(SIZE, *shape[:2], -1)

    return build


def tfrecord(folder: Path) -> tuple[Source, Any]:
    write_tfrecord(folder / "set", records(), labels(), ids())
    features = {"x": ((4, 3), "float64")}
    return TFRecord(folder / "set", features, "y", "id", metadata=metadata()), records(dtype="float64")


def tfrecord_of_several_files(folder: Path) -> tuple[Source, Any]:
    truth = {"a": records((5,)), "b": np.arange(SIZE)}
    contents = [example(text="no number", y=n % 2, a=row, b=n) for n, row in enumerate(truth["a"])]
    for start in range(0, SIZE, 9):
        (folder / f"{start:02d}.tfrecord").write_bytes(b"".join(map(framed, contents[start : start + 9])))
    return TFRecord(folder, label="y"), truth


def array_record(folder: Path) -> tuple[Source, Any]:
    write_array_record(folder / "set", records(), labels(), ids())
    return ArrayRecord(folder / "set", label="y", id="id"), records().reshape(SIZE, 12)


def array_record_of_bytes(folder: Path) -> tuple[Source, Any]:
    writer = ArrayRecordWriter(str(folder / "set.array_record"), "group_size:4")
    for row in records((2, 2), ">i2"):
        writer.write(row.tobytes())
    writer.close()
    return ArrayRecord(folder / "set.array_record", parse=two_by_two), records((2, 2), "int16")


def two_by_two(content: bytes) -> Any:
    return np.frombuffer(content, ">i2").reshape(2, 2).astype("int16")


BUILDERS |= {
    Parquet: {
        "in memory": parquet(True),
        "from row groups": parquet(False),
        "arrays in memory": parquet(True, (4, 3)),
        "arrays from row groups": parquet(False, (4, 3)),
        "several files": parquet_of_several_files,
        "lists without a length": lists_without_a_length,
        "images": parquet_of_images,
    },
    Table: {"polars": polars_table, "arrow": arrow_table, "tensors": tensors, "images": table_of_images},
    ImageFolder: {
        "colours": image_folder("RGB", (4, 5, 3), "uint8", ".png"),
        "grey": image_folder("L", (4, 5), "uint8", ".webp", lossless=True),
        "sixteen bits": image_folder("I;16", (4, 5), "uint16", ".TIFF"),
    },
    TFRecord: {"examples": tfrecord, "several files": tfrecord_of_several_files},
    ArrayRecord: {"examples": array_record, "bytes": array_record_of_bytes},
    HDF5: {
        "in memory": hdf5(True),
        "contiguous": hdf5(False),
        "chunks": hdf5(False, chunks=(5, 4, 2), compression="gzip", shuffle=True),
        "nest": hdf5_nest,
    },
    Zarr: {
        "in memory": zarr_group(True, 3),
        "chunks": zarr_group(False, 3, chunks=(5, 4, 2)),
        "shards": zarr_group(False, 3, chunks=(2, 4, 3), shards=(8, 4, 3)),
        "format 2": zarr_group(False, 2, chunks=(5, 4, 2)),
        "one array, zipped": zarr_array,
    },
    HuggingFace: {
        "as made": hugging_face(lambda dataset: dataset, slice(None)),
        "in another order": hugging_face(lambda dataset: dataset.select(range(20, 0, -3)), slice(20, 0, -3)),
    },
}
