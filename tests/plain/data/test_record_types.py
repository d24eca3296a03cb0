"""Dtypes that networks can't be trained on are refused by every source."""

from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest
import zarr

from tailfit.data import HDF5, Arrays, Batches, Mapped, MapStyle, NpyFolder, Npz, Ragged, Windows, Zarr, open, pack
from tailfit.data.files.tf_example import Examples
from tailfit.data.sources.packed_format import Manifest
from tailfit.errors import ArgumentError, DataError
from tailfit.samplers import Sequential

BAD = {
    "complex": (np.ones(4, "complex64"), "np.stack"),
    "text": (np.array(["a", "b", "c", "d"]), "encode the text"),
    "bytes": (np.array([b"a", b"b", b"c", b"d"]), "encode the text"),
    "dates": (np.zeros(4, "datetime64[s]"), "timedelta64"),
    "durations": (np.zeros(4, "timedelta64[s]"), "timedelta64"),
    "structures": (np.zeros(4, [("flow", "f4")]), "dict"),
    "long doubles": (np.zeros(4, np.longdouble), "float64"),
}
GOOD = ["bool", "uint8", "int64", "float16", "float32", ">f8", ml_dtypes.bfloat16]


def saved(path: Path, array: Any) -> Path:
    for row in range(len(array)):
        np.save(path / f"{row}.npy", array[row : row + 1])
    return path


def packed(path: Path, array: Any) -> Path:
    pack(Arrays(np.zeros(4, "float32")), path / "packed")
    manifest = path / "packed/pack.json"
    manifest.write_text(manifest.read_text().replace("<f4", array.dtype.str))
    assert Manifest.read(manifest).leaves[0].dtype == array.dtype
    return path / "packed"


def one_file(path: Path, array: Any) -> Path:
    np.save(path / "x.npy", array)
    return path / "x.npy"


ANY = {
    "Arrays": lambda path, array: Arrays(array),
    "a nest": lambda path, array: Arrays({"a": np.zeros(4), "b": (array,)}),
    "Ragged": lambda path, array: Arrays(Ragged(array, [1, 3])),
    "NpyFolder": lambda path, array: NpyFolder(saved(path, array)),
    "one .npy file": lambda path, array: open(one_file(path, array)),
    "MapStyle": lambda path, array: MapStyle(array).read([0]),
    "Mapped": lambda path, array: Mapped(Arrays(np.zeros(4)), lambda batch: array[: len(batch)]).read([0]),
    "Windows": lambda path, array: Windows(array, 2),
    "transform": lambda path, array: Batches(
        Arrays(np.zeros(4), [0, 1, 0, 1]), 4, Sequential(), transform=lambda batch, rng: (array, batch[1])
    )[0],
}
STORES = {
    "Packed": lambda path, array: open(packed(path, array)),
    "HDF5": lambda path, array: in_hdf5(path / "set.h5", array),
    "Zarr": lambda path, array: in_zarr(path / "set.zarr", array),
    "Npz": lambda path, array: in_npz(path / "set.npz", array),
}


def in_hdf5(path: Path, array: Any) -> HDF5:
    with h5py.File(path, "w") as file:
        file["x"] = array
    return HDF5(path)


def in_npz(path: Path, array: Any) -> Npz:
    np.savez(path, x=array)
    return Npz(path)


def in_zarr(path: Path, array: Any) -> Zarr:
    zarr.create_group(path).create_array("x", data=array)
    return Zarr(path)


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("make", ANY.values(), ids=ANY)
def test_unsupported_dtypes_are_refused(make: Any, kind: str, tmp_path: Path) -> None:
    array, fix = BAD[kind]
    with pytest.raises(DataError, match=f"of type .*real numbers.*{fix}"):
        make(tmp_path, array)


@pytest.mark.parametrize(
    ("store", "kind"),
    [
        ("Packed", "complex"),
        ("Packed", "dates"),
        ("HDF5", "complex"),
        ("HDF5", "structures"),
        ("Zarr", "complex"),
        ("Npz", "text"),
    ],
)
def test_unsupported_dtypes_in_stores_are_refused(store: str, kind: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"set\..*of type|pack.json.*of type"):
        STORES[store](tmp_path, BAD[kind][0])


@pytest.mark.parametrize("dtype", GOOD, ids=str)
def test_numbers_are_read(dtype: Any) -> None:
    source = Arrays(np.ones((2, 3), dtype))
    assert source.read([0]).astype("float32").tolist() == [[1.0, 1.0, 1.0]]


def test_dtypes_of_features() -> None:
    with pytest.raises(ArgumentError, match="real numbers"):
        Examples({"signal": ((2,), "complex64")})
