"""File formats for the tests of damaged files: how each is written and opened, and which of its files to damage."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import h5py
import numpy as np
import PIL.Image
import polars as pl
import pyarrow.parquet as pq
import zarr
from array_record.python.array_record_module import ArrayRecordWriter

from tailfit.data import HDF5, ArrayRecord, ImageFolder, Npz, Parquet, Source, TFRecord, Zarr


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        write: `write(root, x, y, ids)`, x `[n, ...]`, y names or codes.
        open: `open(root, nan=...)`.
        file: The file to damage, under root.
        named: Start of its error messages; by default the file.
        listed: Whether the source finds the file in a folder by itself.
        known_as: The ID that a record gets, by its name and label.
        watched: Whether every change of the file is detected.
        empties: Whether it can store a data set without samples; otherwise the file is empty, which is refused.
        floats: Whether records may be NaN.
        unique: Whether the format itself keeps IDs unique.
    """

    write: Callable[[Path, Any, Any, list[str]], None]
    open: Callable[..., Source]
    file: str
    named: str | None = None
    listed: bool = True
    watched: bool = True
    empties: bool = True
    floats: bool = True
    unique: bool = False
    known_as: Callable[[str, str], str] = lambda name, label: name


def write_parquet(root: Path, x: Any, y: Any, ids: list[str]) -> None:
    root.mkdir()
    columns = {"id": pl.Series(ids, dtype=pl.String), "label": pl.Series(np.asarray(y)), "x": pl.Series(x)}
    pq.write_table(pl.DataFrame(columns).to_arrow(), root / "set.parquet", row_group_size=4)


def write_hdf5(root: Path, x: Any, y: Any, ids: list[str]) -> None:
    root.mkdir()
    with h5py.File(root / "set.h5", "w") as file:
        # Without checksums (fletcher32), HDF5 does not detect a flipped bit.
        chunks = {"chunks": (2, 4, 3), "compression": "gzip", "fletcher32": True} if len(x) else {}
        file.create_dataset("x", data=x, **chunks)
        file.create_dataset("y", data=y, dtype=h5py.string_dtype())
        file.create_dataset("ids", data=ids, dtype=h5py.string_dtype())


def write_zarr(root: Path, x: Any, y: Any, ids: list[str]) -> None:
    group = zarr.create_group(root)
    group.create_array("x", data=x, chunks=(4, 4, 3), compressors=zarr.codecs.ZstdCodec(checksum=True))
    for name, values in (("y", y), ("ids", ids)):
        group.create_array(name, shape=(len(values),), dtype="str")[:] = np.array(values, dtype="U")


def write_npz(root: Path, x: Any, y: Any, ids: list[str]) -> None:
    root.mkdir()
    np.savez(root / "set.npz", x=x, y=np.asarray(y), ids=np.asarray(ids, str))


def write_images(root: Path, x: Any, y: Any, ids: list[str]) -> None:
    root.mkdir()
    for image, label, name in zip(x, y, ids, strict=True):
        (root / label).mkdir(exist_ok=True)
        PIL.Image.fromarray(image.astype("uint8")).save(root / label / f"{name}.png")


def open_images(root: Path, nan: str = "") -> Source:
    return ImageFolder(root, mode="L")


def framed(content: bytes) -> bytes:
    """Return a record as TensorFlow's TFRecordWriter writes it."""

    def masked(part: bytes) -> bytes:
        crc = google_crc32c.value(part)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(content))
    return length + masked(length) + content + masked(content)


def example(**features: Any) -> bytes:
    """A serialized tf.train.Example by hand: fields of (number, length, content), packed lists."""

    def field(number: int, content: bytes) -> bytes:
        size, head = len(content), bytes([number << 3 | 2])
        while size > 127:
            head, size = head + bytes([size & 127 | 128]), size >> 7
        return head + bytes([size]) + content

    entries = b""
    for name, value in features.items():
        if isinstance(value, str | bytes):
            kind = field(1, field(1, value.encode() if isinstance(value, str) else value))
        elif np.asarray(value).dtype.kind == "f":
            kind = field(2, field(1, np.asarray(value, "<f4").tobytes()))
        else:
            kind = field(3, field(1, bytes(np.ravel(value).tolist())))  # whole numbers below 128: a byte each
        entries += field(1, field(1, name.encode()) + field(2, kind))
    return field(1, entries)


def write_tfrecord(root: Path, x: Any, y: Any, ids: list[str]) -> None:
    root.mkdir()
    contents = [example(x=row, y=label, id=name) for row, label, name in zip(x, y, ids, strict=True)]
    (root / "set.tfrecord").write_bytes(b"".join(map(framed, contents)))


def write_array_record(root: Path, x: Any, y: Any, ids: list[str]) -> None:
    root.mkdir()
    writer = ArrayRecordWriter(str(root / "set.array_record"), "group_size:1")
    for row, label, name in zip(x, y, ids, strict=True):
        writer.write(example(x=row, y=label, id=name))
    writer.close()


FEATURES = {"features": {"x": ((4, 3), "float32")}, "label": "y", "id": "id"}
FORMATS = {
    "Parquet": Format(write_parquet, lambda root, **options: Parquet(root, memory=False, **options), "set.parquet"),
    "HDF5": Format(
        write_hdf5, lambda root, **options: HDF5(root / "set.h5", memory=False, **options), "set.h5", listed=False
    ),
    "Zarr": Format(write_zarr, lambda root, **options: Zarr(root, memory=False, **options), "x/zarr.json"),
    "Zarr, a chunk": Format(
        write_zarr, lambda root, **options: Zarr(root, memory=False, **options), "x/c/1/0/0", named="", watched=False
    ),
    "Npz": Format(
        write_npz, lambda root, **options: Npz(root / "set.npz", memory=False, **options), "set.npz", listed=False
    ),
    "ImageFolder": Format(
        write_images,
        open_images,
        "ok/r2 ä日.png",
        floats=False,
        unique=True,
        known_as=lambda name, label: f"{label}/{name}.png",
        watched=False,
    ),
    "TFRecord": Format(
        write_tfrecord, lambda root, **options: TFRecord(root, **FEATURES, **options), "set.tfrecord", empties=False
    ),
    "ArrayRecord": Format(
        write_array_record, lambda root, **options: ArrayRecord(root, **FEATURES, **options), "set.array_record"
    ),
}
