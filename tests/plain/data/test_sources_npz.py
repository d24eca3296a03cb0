"""`.npz` files: names of arrays, reading by row, and refused input. Damaged files are in the battery of formats."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tailfit.cli.data import run_inspect, run_pack
from tailfit.data import Npz
from tailfit.data import open as open_source
from tailfit.data.opening import open_alike
from tailfit.errors import ArgumentError, DataError, RecordError

X = np.arange(40, dtype="float32").reshape(10, 4)
Y = np.arange(10) % 2


def npz(folder: Path, save: Any = np.savez, **content: Any) -> Path:
    save(folder / "set.npz", **content)
    return folder / "set.npz"


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ({"x": X, "y": Y}, {}),
        ({"X": X, "Y": Y[:, None]}, {}),
        ({"X": X, "y": np.eye(2)[Y]}, {}),
        ({"x_train": X, "y_train": Y.astype("uint8")}, {"x": "x_train", "y": "y_train"}),
    ],
    ids=lambda each: " ".join(each),
)
def test_names_of_arrays(tmp_path: Path, content: Any, options: Any) -> None:
    source = open_source(npz(tmp_path, **content), **options)
    np.testing.assert_array_equal(source.read([7, 2]), X[[7, 2]])
    assert (source.labels.tolist(), source.class_names) == (Y.tolist(), ("0", "1"))


@pytest.mark.parametrize("name", ["class_names", "y_names"])
def test_class_names_in_the_file(tmp_path: Path, name: str) -> None:
    path = npz(tmp_path, X=X, y=Y, **{name: ["ok", "leak"]})
    assert open_source(path).class_names == ("ok", "leak")
    assert open_source(path, class_names=["a", "b"]).class_names == ("a", "b")
    assert open_source(npz(tmp_path, X=X, **{name: ["ok", "leak"]})).labels is None


def test_text_of_bytes_and_ids(tmp_path: Path) -> None:
    source = Npz(npz(tmp_path, x=X, y=np.array([b"ok", b"leak"] * 5), ids=np.arange(10) + 5))
    assert (source.class_names, source.ids[:2]) == (("leak", "ok"), ("5", "6"))
    with pytest.raises(RecordError, match=r"set\.npz: b'.xff' in array 'y'.*UTF-8"):
        Npz(npz(tmp_path, x=X, y=np.array([b"\xff", b"ok"] * 5)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "no array 'x'; it contains []"),
        ({"x_train": X, "y_train": Y}, "no array 'x'; it contains ['x_train', 'y_train']"),
        ({"X": X, "y": Y[:4]}, "arrays of different length (X: 10, y: 4)"),
        ({"X": 3.0}, "array 'X' of shape ()"),
        ({"X": X.astype(complex)}, "array 'X' of type complex128"),
        ({"X": X.astype(object)}, "array 'X': an object array, which is a pickle"),
        ({"X": X, "y": np.array(["ok", None] * 5)}, "array 'y': an object array, which is a pickle"),
        ({"X": X, "y": Y - 1}, "array 'y': labels whose row 0 (ID '0') is -1"),
        ({"X": X, "y": Y + 0.5}, "array 'y': labels whose row 0 (ID '0') is 0.5"),
        ({"X": X, "y": Y, "ids": ["a"] * 10}, "array 'ids': ID 'a' twice"),
        ({"X": X, "y": Y, "ids": ["a\0b"] * 10}, "array 'ids': ID 'a\\x00b'"),
        ({"X": X, "y": Y, "y_names": ["ok"]}, "array 'y': labels whose row 1 (ID '1') is 1"),
        ({"X": X, "y": Y, "y_names": ["ok", "ok"]}, "array 'y_names' of shape (2,): ['ok', 'ok']"),
        ({"X": X, "y": Y, "y_names": [["ok", "leak"]]}, "array 'y_names' of shape (1, 2)"),
        ({"X": X, "y": Y, "y_names": [0.5, 1.5]}, "array 'y_names' of shape (2,): [0.5, 1.5]"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_refused_content(tmp_path: Path, content: Any, said: str) -> None:
    path = npz(tmp_path, **content)
    with pytest.raises(DataError) as caught:
        open_source(path)
    assert caught.value.received.startswith(f"{path}: {said}")


@pytest.mark.parametrize("save", [np.savez_compressed, lambda path, x: np.savez(path, x=np.asfortranarray(x))])
def test_records_that_are_not_stored_by_row_are_loaded(tmp_path: Path, save: Any, monkeypatch: Any) -> None:
    path = npz(tmp_path, save, x=X)
    with pytest.raises(ArgumentError, match=r"memory=False for array 'x' .*numpy\.savez"):
        Npz(path, memory=False)
    monkeypatch.setattr("tailfit.data.sources.stored.fits_in_memory", lambda *_: False)
    source = Npz(path)
    np.testing.assert_array_equal(source.read([9, 0, 9]), X[[9, 0, 9]])
    monkeypatch.setattr("tailfit.data.files.npz.available_memory", lambda: 100)
    with pytest.raises(RecordError, match=r"array 'x' of 160 bytes.*numpy\.savez in C order"):
        Npz(path).read([0])


def test_zip_files_that_numpy_does_not_write(tmp_path: Path) -> None:
    path = npz(tmp_path, x=X)
    content = zipfile.ZipFile(path).read("x.npy")
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):  # which decompress without a bound
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("x.npy", content)
        with pytest.raises(RecordError, match="'x' with compression method"):
            Npz(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "not an array")
        archive.writestr("x.npy", content)
    np.testing.assert_array_equal(Npz(path).read([3]), X[3:4])
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("x.npy", content)
    with pytest.raises(RecordError, match="two arrays 'x'"):
        Npz(path)


def test_a_size_that_no_compression_reaches(tmp_path: Path) -> None:
    claims = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (268435456,), }".ljust(118)
    with zipfile.ZipFile(tmp_path / "set.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", claims)
        archive.infolist()[0].file_size = len(claims) + (1 << 31)
    with pytest.raises(RecordError, match=rf"array 'x' of {len(claims) + (1 << 31)} bytes, compressed to"):
        Npz(tmp_path / "set.npz")


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = npz(tmp_path, x_train=X, y_train=Y)
    assert run_inspect(str(path), None, None, ["x=x_train", "y=y_train"])
    assert "10 samples" in capsys.readouterr().out
    run_pack(str(path), tmp_path / "packed", ["x=x_train", "y=y_train"])
    np.testing.assert_array_equal(open_source(tmp_path / "packed").read([4]), X[4:5])


def test_labels_that_are_not_read(tmp_path: Path) -> None:
    """As `tailfit predict` opens data."""
    path = npz(tmp_path, X=X, y=np.array([{}] * 10), y_names=[3])
    source = open_alike(path, nan="raise", options={"label": "cause"}, labels=False)
    np.testing.assert_array_equal(source.read([4]), X[4:5])
    assert source.labels is None
