"""Files of records: NumPy (`.npy`, `.npz`), packed sets, Parquet, Arrow, record files, HDF5, Zarr, images."""

import functools
import io
import shutil
import struct
from pathlib import Path
from typing import Any

import google_crc32c
import h5py
import numpy as np
import PIL.Image
import polars as pl
import pyarrow.ipc
import pyarrow.parquet as pq
import zarr
from array_record.python.array_record_module import ArrayRecordWriter

import tailfit
from fuzz.bounds import REFUSED, answer, scratch
from fuzz.targets import parser
from tailfit.data import (
    HDF5,
    ArrayRecord,
    Arrays,
    ImageFolder,
    NpyFolder,
    Packed,
    Parquet,
    Ragged,
    Recordings,
    TFRecord,
    Zarr,
)
from tailfit.data.files.npy import read_header, read_row
from tailfit.data.files.parquet_pages import claimed_memory

X = np.arange(8.0).reshape(4, 2)
IDS, LABELS = ["a", "b", "c", "d"], ["ok", "leak", "ok", "leak"]


def saved(array: Any, **options: Any) -> bytes:
    np.save(file := io.BytesIO(), array, **options)
    return file.getvalue()


def equal(one: Any, other: Any) -> bool:
    """Whether two arrays, or nests of them, are the same to the bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, Ragged):
        return equal(one.values, other.values) and equal(one.lengths, other.lengths)
    one, other = np.asarray(one), np.asarray(other)
    return one.shape == other.shape and one.dtype == other.dtype and one.tobytes() == other.tobytes()


# -- .npy -----------------------------------------------------------------------------------------------


def npy_seeds() -> list[bytes]:
    arrays = [
        X[0],
        X.astype(">f4"),
        np.asfortranarray(X),
        np.arange(3),
        np.array(1.5),
        np.zeros((0, 2)),
        np.array([True]),
    ]
    odd = [np.array(["a"]), np.array([1j]), np.zeros(1, "i4,f4"), np.array([0], "M8[s]"), np.array([None])]
    second = io.BytesIO()
    np.lib.format.write_array(second, X[0], version=(2, 0))
    return [*map(saved, arrays), *map(saved, odd), second.getvalue()]


@parser(
    npy_seeds, words=("'descr'", "'<f8'", "'|O'", "'fortran_order'", "'shape'", "True", "(2,)", "\x93NUMPY\x01\x00")
)
def npy(data: bytes) -> None:
    root = scratch("npy")
    (root / "a.npy").write_bytes(data)
    (root / "b.npy").write_bytes(saved(X[0]))
    header = answer(lambda: read_header(str(root / "a.npy")))
    read = REFUSED if header is REFUSED else answer(lambda: NpyFolder(root, nan="keep").read([0])[0])
    by_numpy = loaded(data)
    # A type that is itself an array, "4f8", is no number.
    if by_numpy is not None and is_record(by_numpy) and f"'{by_numpy.dtype.str}'".encode() in data:
        assert read is not REFUSED, "refused what NumPy reads"
    if read is not REFUSED:
        assert by_numpy is not None, "read what NumPy refuses"
        assert equal(read, by_numpy.astype(by_numpy.dtype.newbyteorder("="))), "other values than NumPy reads"
    row = np.empty_like(X[0])
    answer(lambda: read_row(str(root / "a.npy"), row, read_header(str(root / "b.npy")), "b.npy"))
    if header is REFUSED:
        return
    second = answer(lambda: NpyFolder(root, nan="keep").read([1, 0]))
    assert second is REFUSED or equal(second, np.stack([X[0], read]))
    answer(lambda: NpyFolder(root, nan="keep", ragged=True).read([1, 0]))
    mapped = answer(lambda: tailfit.data.open(root / "a.npy", nan="keep"))
    assert mapped is REFUSED or equal(
        mapped.read(np.arange(len(mapped))), by_numpy.astype(by_numpy.dtype.newbyteorder("="))
    )


def loaded(data: bytes) -> Any:
    """The array that NumPy reads, if it takes all of the bytes."""
    try:
        file = io.BytesIO(data)
        array = np.lib.format.read_array(file, allow_pickle=False)
        return array if file.tell() == len(data) else None
    except Exception:
        return None


def is_record(array: Any) -> bool:
    return array.dtype.kind in "biuf" and array.dtype.itemsize <= 8


def npz_seeds() -> list[bytes]:
    files = []
    for save, arrays in (
        (np.savez, {"x": X, "y": LABELS, "ids": IDS}),
        (np.savez_compressed, {"X": X, "y": [0, 1, 0, 1], "y_names": ["ok", "leak"]}),
        (np.savez, {"x": np.asfortranarray(X)}),
    ):
        save(file := io.BytesIO(), **arrays)
        files.append(file.getvalue())
    return files


@parser(npz_seeds, words=("PK\x01\x02", "PK\x03\x04", "PK\x05\x06", "x.npy", "y.npy"))
def npz(data: bytes) -> None:
    path = scratch("npz") / "a.npz"
    path.write_bytes(data)
    whole = answer(lambda: tailfit.data.open(path, nan="keep").read([3, 0]))
    by_row = answer(lambda: tailfit.data.open(path, nan="keep", memory=False).read([3, 0]))
    if whole is not REFUSED and by_row is not REFUSED:
        assert equal(whole, by_row), "other records by row than from memory"


# -- packed sets ----------------------------------------------------------------------------------------


@functools.cache
def packed_root(name: str, *, ragged: bool) -> Path:
    root = scratch(name) / ("ragged" if ragged else "plain")
    records = Ragged(X, [1, 0, 2, 1]) if ragged else {"x": X, "n": np.arange(4)}
    metadata = pl.DataFrame({"id": IDS, "site": ["A", "B", "A", None]})
    tailfit.data.pack(Arrays(records, LABELS, IDS, metadata), root)
    return root


def packed(data: bytes, file: str, *, ragged: bool) -> None:
    root = packed_root(file.replace("/", "-"), ragged=ragged)
    whole = packed_file(file, ragged=ragged)
    (root / file).write_bytes(data)
    if not file.startswith("data"):
        assert (root / "data" / "00-00000.npy").exists()
    found = [
        answer(lambda: Packed(root, memory=memory, nan="keep").read([3, 0, 3]))  # noqa: B023
        for memory in (False, True)
    ]
    (root / file).write_bytes(whole)
    if all(each is not REFUSED for each in found):
        assert equal(*found), "other records from memory than from the files"


@functools.cache
def packed_file(file: str, *, ragged: bool) -> bytes:
    return (packed_root(file.replace("/", "-"), ragged=ragged) / file).read_bytes()


def packed_seeds(file: str) -> Any:
    return lambda: [packed_file(file, ragged=ragged) for ragged in (False, True)]


@parser(packed_seeds("pack.json"), json=True)
def packed_manifest(data: bytes) -> None:
    packed(data, "pack.json", ragged=b'"steps"' in data)


@parser(packed_seeds("index.parquet"), longest=1 << 14, native=True)
def packed_index(data: bytes) -> None:
    packed(data, "index.parquet", ragged=b"steps" in data)


@parser(packed_seeds("data/00-00000.npy"))
def packed_shard(data: bytes) -> None:
    packed(data, "data/00-00000.npy", ragged=len(data) % 2 == 1)


# -- Parquet and Arrow ----------------------------------------------------------------------------------

TABLE = pl.DataFrame({"id": IDS, "label": LABELS, "x": [0.5, 1.5, None, 3.0], "n": [1, 2, 3, 4]})
LISTS = pl.DataFrame({"x": [[1.0, 2.0], [3.0, 4.0]], "label": [0, 1]})


def parquet_seeds() -> list[bytes]:
    files = []
    for table in (TABLE, LISTS):
        table.write_parquet(file := io.BytesIO(), compression="uncompressed", statistics=False)
        files.append(file.getvalue())
        for options in ({"compression": "snappy"}, {"data_page_version": "2.0", "use_dictionary": False}):
            pq.write_table(table.to_arrow(), file := io.BytesIO(), row_group_size=2, store_schema=False, **options)
            files.append(file.getvalue())
    return files


@parser(parquet_seeds, longest=1 << 14, native=True)
def parquet_records(data: bytes) -> None:
    path = scratch("parquet") / "a.parquet"
    path.write_bytes(data)
    found = [
        answer(lambda: Parquet(path, nan="keep", memory=memory).read([0, 0]))  # noqa: B023
        for memory in (False, True)
    ]
    assert any(each is REFUSED for each in found) or equal(*found), "other records from memory than from the file"
    answer(lambda: Parquet(path, nan="keep", ragged=True).read([0]))


@parser(parquet_seeds, longest=1 << 14)
def parquet_claims(data: bytes) -> None:
    claimed = claimed_memory(data)
    assert isinstance(claimed, int)
    assert claimed >= 0


def arrow_seeds() -> list[bytes]:
    files = []
    for table in (TABLE.to_arrow(), LISTS.to_arrow()):
        for write in (pyarrow.ipc.new_file, pyarrow.ipc.new_stream):
            with write(file := io.BytesIO(), table.schema) as writer:
                writer.write_table(table)
            files.append(file.getvalue())
    return files


@parser(arrow_seeds, longest=1 << 14, native=True)
def arrow(data: bytes) -> None:
    path = scratch("arrow") / "a.arrow"
    path.write_bytes(data)
    answer(lambda: tailfit.data.open(path, nan="keep").read([0]))


# -- recordings -----------------------------------------------------------------------------------------

STEPS = pl.DataFrame(
    {"timestamp": [f"2024-05-31 00:00:0{k}" for k in range(4)], "x": [0.5, None, 1.5, 3.0], "class": [0, 1, None, 1]}
)


def recording_seeds() -> list[bytes]:
    """Tables with the first letter of their format in front."""
    files = []
    for table in (STEPS, STEPS.with_columns(pl.col("timestamp").str.to_datetime(), y=pl.lit(1))):
        table.write_parquet(file := io.BytesIO(), compression="uncompressed", statistics=False, row_group_size=3)
        files.append(b"p" + file.getvalue())
        table.write_ipc(file := io.BytesIO())
        files += [b"f" + file.getvalue(), b"c" + table.write_csv().encode()]
    return files


@parser(recording_seeds, longest=1 << 14, native=True, words=("timestamp", "class", "NaN", "2024-05-31T00:00:00Z"))
def recordings(data: bytes) -> None:
    suffix = {b"p": ".parquet", b"f": ".feather"}.get(data[:1], ".csv")
    root = scratch(f"recordings{suffix}")
    (root / f"a{suffix}").write_bytes(data[1:])
    for options in ({}, {"resample": "2s", "max_gap": 60}):
        source = answer(lambda: Recordings(root, memory=False, **options))  # noqa: B023
        if source is REFUSED:
            continue
        lengths = source.lengths.tolist()
        for index, steps in enumerate(lengths[:3]):
            labels = source.step_labels(index)
            assert len(labels) == steps
            assert not steps or -1 <= labels.min() <= labels.max() < len(source.class_names)
            found = answer(lambda: source.read([index]))  # noqa: B023
            assert found is REFUSED or found.values.shape == (steps, len(source.columns))


# -- files of records -----------------------------------------------------------------------------------


def field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer, of at most 127 bytes."""
    return bytes([number << 3 | 2, len(content)]) + content


def example(**features: bytes) -> bytes:
    entries = (field(1, field(1, name.encode()) + field(2, kind)) for name, kind in features.items())
    return field(1, b"".join(entries))


def examples() -> list[bytes]:
    text, whole = field(1, field(1, b"leak")), field(3, field(1, bytes([3])))
    numbers = field(2, field(1, np.arange(3, dtype="<f4").tobytes()))
    return [example(x=numbers, y=text, id=field(1, field(1, b"r1"))), example(x=numbers, n=whole, y=whole), example()]


def framed(content: bytes) -> bytes:
    def masked(part: bytes) -> bytes:
        crc = google_crc32c.value(part)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(content))
    return length + masked(length) + content + masked(content)


@parser(lambda: [b"".join(map(framed, examples())), framed(b"")])
def tfrecord(data: bytes) -> None:
    path = scratch("tfrecord") / "a.tfrecord"
    path.write_bytes(data)
    answer(lambda: TFRecord(path, parse=lambda content: np.frombuffer(content, "u1")[:1], nan="keep").read([0, 0]))


@parser(examples)
def tf_example(data: bytes) -> None:
    path = scratch("example") / "a.tfrecord"
    path.write_bytes(framed(data) + framed(data))
    features = {"x": ((3,), "float32")}
    answer(lambda: TFRecord(path, nan="keep").read([0]))
    answer(lambda: TFRecord(path, features, "y", "id", nan="keep").read([0]))
    answer(lambda: TFRecord(path, features, "y", nan="keep").read([0, 1]))
    answer(lambda: TFRecord(path, {"x": ((3,), "uint8"), "n": ((1,), "float16")}, nan="keep").read([0]))


def array_records() -> list[bytes]:
    files = []
    for options in ("group_size:1", "group_size:2,uncompressed"):
        writer = ArrayRecordWriter(str(path := scratch("array-record-seeds") / "a.array_record"), options)
        for content in examples():
            writer.write(content)
        writer.close()
        files.append(path.read_bytes())
    return files


@parser(array_records, longest=1 << 18, native=True)
def array_record(data: bytes) -> None:
    path = scratch("array-record") / "a.array_record"
    path.write_bytes(data)
    answer(lambda: ArrayRecord(path, nan="keep").read([0]))


# -- stores ---------------------------------------------------------------------------------------------


def hdf5_seeds() -> list[bytes]:
    files = []
    for options in ({}, {"chunks": (2, 2), "compression": "gzip"}):
        with h5py.File(path := scratch("hdf5-seeds") / "a.h5", "w") as file:
            file.create_dataset("x", data=X.astype("f4"), **options)
            file["y"] = LABELS
        files.append(path.read_bytes())
    return files


@parser(hdf5_seeds, longest=1 << 15, native=True)
def hdf5(data: bytes) -> None:
    path = scratch("hdf5") / "a.h5"
    path.write_bytes(data)
    answer(lambda: HDF5(path, nan="keep", memory=False).read([3, 0]))


@functools.cache
def zarr_root(version: int) -> Path:
    root = scratch("zarr") / f"{version}.zarr"
    group = zarr.create_group(root, zarr_format=version)
    group.create_array("x", data=X, chunks=(2, 2))
    group.create_array("y", data=np.array([0, 1, 0, 1]))
    return root


@parser(
    lambda: [(zarr_root(2) / "x" / ".zarray").read_bytes(), (zarr_root(3) / "x" / "zarr.json").read_bytes()], json=True
)
def zarr_array(data: bytes) -> None:
    for version, name in ((2, ".zarray"), (3, "zarr.json")):
        path = zarr_root(version) / "x" / name
        path.write_bytes(data)
        answer(lambda: Zarr(zarr_root(version), nan="keep", memory=False).read([3, 0]))  # noqa: B023


@parser(
    lambda: [b'{"zarr_format": 2}', b"{}", (zarr_root(3) / "zarr.json").read_bytes(), b'{"attributes": {}}'], json=True
)
def zarr_group(data: bytes) -> None:
    root = scratch("zarr-group") / "a.zarr"
    if not root.exists():
        shutil.copytree(zarr_root(3), root)
    (root / "zarr.json").write_bytes(data)
    answer(lambda: tailfit.data.open(root, nan="keep").read([0]))


def zarr_zips() -> list[bytes]:
    store = zarr.storage.ZipStore(path := scratch("zarr-seeds") / "a.zip", mode="w")
    zarr.create_array(store, data=X.astype("f4"), compressors=None)
    store.close()
    return [path.read_bytes()]


@parser(zarr_zips)
def zarr_zip(data: bytes) -> None:
    path = scratch("zarr-zip") / "a.zip"
    path.write_bytes(data)
    answer(lambda: tailfit.data.open(path, nan="keep").read([0]))


# -- images ---------------------------------------------------------------------------------------------


def images() -> list[bytes]:
    files = []
    for kind, mode in [
        ("PNG", "RGB"),
        ("PNG", "I;16"),
        ("PNG", "P"),
        ("JPEG", "L"),
        ("GIF", "P"),
        ("BMP", "RGB"),
        ("TIFF", "L"),
    ]:
        PIL.Image.new(mode, (3, 2)).save(file := io.BytesIO(), kind)
        files.append(file.getvalue())
    PIL.Image.new("RGB", (3, 2)).save(file := io.BytesIO(), "WEBP", lossless=True)
    return [*files, file.getvalue()]


@parser(images)
def image(data: bytes) -> None:
    path = scratch("image") / "a.png"
    path.write_bytes(data)
    for mode in ("RGB", "I;16"):
        found = answer(lambda: ImageFolder(path.parent, mode=mode, threads=1, max_pixels=1 << 16).read([0]))  # noqa: B023
        assert found is REFUSED or found.nbytes <= 4 << 16
    scaled = answer(lambda: ImageFolder(path.parent, size=(2, 2), threads=1, max_pixels=1 << 16).read([0]))
    assert scaled is REFUSED or scaled.shape == (1, 2, 2, 3)
