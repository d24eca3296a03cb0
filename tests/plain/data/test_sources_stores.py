"""HDF5 and Zarr: roles of arrays, and refused input. Damaged files are in the battery of formats."""

import json
import os
import pickle
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr
from support.odd_files import no_longer_than

from tailfit.data import HDF5, Zarr
from tailfit.errors import ArgumentError, DataError, PackageError, RecordError

X = np.arange(40, dtype="float32").reshape(10, 4)


def hdf5(folder: Path, **content: Any) -> Path:
    with h5py.File(folder / "set.h5", "w") as file:
        for name, value in content.items():
            file[name] = value
    return folder / "set.h5"


class TestHDF5:
    def test_labels_of_each_form(self, tmp_path: Path) -> None:
        path = hdf5(tmp_path, x=X, codes=np.arange(10) % 2, rows=np.eye(2)[np.arange(10) % 2], ids=np.arange(10) + 5)
        for name in ("codes", "rows"):
            source = HDF5(path, y=name, class_names=["ok", "leak"])
            assert source.labels.tolist() == [0, 1] * 5
            assert source.ids[0] == "5"
        assert HDF5(path).labels is None

    def test_default_names(self, tmp_path: Path) -> None:
        path = hdf5(tmp_path, X=X, Y=np.arange(10) % 2, class_names=["ok", "leak"])
        source = HDF5(path)
        assert source.class_names == ("ok", "leak")
        np.testing.assert_array_equal(source.read([3]), X[[3]])

    def test_errors_about_values_name_the_array(self, tmp_path: Path) -> None:
        path = hdf5(tmp_path, x=X, y=np.arange(10) % 3, class_names=["ok", "leak"])
        with pytest.raises(DataError, match=r"set\.h5: array 'y': labels whose row 2 \(ID '2'\) is 2"):
            HDF5(path)

    def test_missing_names(self, tmp_path: Path) -> None:
        path = hdf5(tmp_path, **{"x": X, "plant/y": np.zeros(10, int), "z": X[:3]})
        with pytest.raises(DataError, match=r"no array 'signal'; it contains \['plant/y', 'x', 'z'\]"):
            HDF5(path, "signal")
        with pytest.raises(DataError, match="no array 'plant'"):
            HDF5(path, "plant")
        with pytest.raises(RecordError, match="x: 10, z: 3"):
            HDF5(path, ("x", "z"))
        with pytest.raises(ArgumentError, match="class_names= without y="):
            HDF5(path, class_names=["a"])
        with pytest.raises(ArgumentError, match=r"x=\[\]"):
            HDF5(path, [])
        with pytest.raises(ArgumentError, match=r"y=\['x'\]"):
            HDF5(path, y=["x"])
        with pytest.raises(ArgumentError, match=r"ids=3"):
            HDF5(path, ids=3)
        assert HDF5(path, y="plant/y").class_names == ("0",)

    def test_objects_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(RecordError, match="'x' of type object"):
            HDF5(hdf5(tmp_path, x=["a", "b"]))
        with pytest.raises(RecordError, match=r"'x' of shape \(\)"):
            HDF5(hdf5(tmp_path, x=1.0))
        with pytest.raises(RecordError, match="'x' without a shape"):
            HDF5(hdf5(tmp_path, x=h5py.Empty("f")))

    @pytest.mark.parametrize("options", [{}, {"chunks": (2, 4)}, {"shape": (2**40, 2**20), "chunks": (1, 4)}], ids=str)
    def test_partly_unwritten_datasets_are_refused(self, tmp_path: Path, options: dict[str, Any]) -> None:
        with h5py.File(tmp_path / "set.h5", "w") as file:
            data = file.create_dataset("x", **{"shape": (10, 4), "dtype": "f4", **options})
            if options:
                data[:2, :4] = 1.0
        with pytest.raises(RecordError, match="partly unwritten"):
            HDF5(tmp_path / "set.h5")

    def test_other_files_are_not_read(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "other.h5", "w") as file:
            file["x"] = X
        X.tofile(tmp_path / "raw")
        with h5py.File(tmp_path / "set.h5", "w") as file:
            file["link"] = h5py.ExternalLink("other.h5", "x")
            file["broken"] = h5py.ExternalLink("nowhere.h5", "x")
            file.create_dataset("raw", X.shape, "f4", external=[(str(tmp_path / "raw"), 0, X.nbytes)])
            layout = h5py.VirtualLayout(X.shape, "f4")
            layout[...] = h5py.VirtualSource("other.h5", "x", X.shape)
            file.create_virtual_dataset("virtual", layout)
            file["soft"], file["x"] = h5py.SoftLink("/x"), X
        for name in ("link", "raw", "virtual"):
            with pytest.raises(RecordError, match=f"'{name}' whose data are in other files"):
                HDF5(tmp_path / "set.h5", name)
        with pytest.raises(DataError, match="'broken'"):
            HDF5(tmp_path / "set.h5", "broken")
        np.testing.assert_array_equal(HDF5(tmp_path / "set.h5", "soft").read([3]), X[3:4])

    def test_a_chunk_is_decoded_once_per_batch(self, tmp_path: Path) -> None:
        wide = np.zeros((64, 1 << 16), "float32")  # one chunk of 16 MiB, more than HDF5's default cache
        with h5py.File(tmp_path / "set.h5", "w") as file:
            file.create_dataset("x", data=wide, chunks=wide.shape, compression="gzip", compression_opts=1)
        source = HDF5(tmp_path / "set.h5", memory=False)
        with source._opened() as file:
            settings = file.id.get_access_plist().get_cache()
        assert settings[2] >= wide.nbytes
        assert source.read(np.arange(64)[::-1]).shape == wide.shape

    def test_without_h5py(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "h5py", None)
        with pytest.raises(PackageError, match=r"pip install 'tailfit\[hdf5\]'"):
            HDF5(tmp_path / "set.h5")


class TestZarr:
    @pytest.mark.parametrize(
        "shape", [[2**70, 2], [2**63, 2], [2, 2**70], [0, 2**61, 2**61], [2**50, 2], [2, 2**50], [1] * 70], ids=str
    )
    def test_impossible_shapes(self, tmp_path: Path, shape: list[int]) -> None:
        zarr.create_group(tmp_path / "set.zarr").create_array("x", data=np.zeros((2, 2)))
        file = tmp_path / "set.zarr/x/zarr.json"
        described = json.loads(file.read_text())
        described["shape"] = shape
        described["chunk_grid"]["configuration"]["chunk_shape"] = [1] * len(shape)
        file.write_text(json.dumps(described))
        with pytest.raises(RecordError, match=r"set\.zarr"):
            Zarr(tmp_path / "set.zarr").read([0])

    @pytest.mark.parametrize(("dtype", "place"), [("|O", "filters"), ("<f4", "filters"), ("<f4", "compressor")])
    def test_a_codec_that_unpickles_is_refused(self, tmp_path: Path, dtype: str, place: str) -> None:
        zarr.create_array(tmp_path / "set.zarr", data=X[:, 0], zarr_format=2, compressors=None)
        described = json.loads((tmp_path / "set.zarr" / ".zarray").read_text())
        codec = {"id": "pickle", "protocol": 5}
        described |= {"dtype": dtype, place: codec if place == "compressor" else [codec]}
        (tmp_path / "set.zarr" / ".zarray").write_text(json.dumps(described))
        (tmp_path / "set.zarr" / "0").write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(RecordError, match="pickle"):
            Zarr(tmp_path / "set.zarr").read([0])

    def test_only_the_requested_chunks_are_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        zarr.create_array(tmp_path / "set.zarr", data=X, chunks=(2, 4))
        source, read = Zarr(tmp_path / "set.zarr", memory=False), []
        get = zarr.storage.LocalStore.get

        async def counted(self: Any, key: str, *args: Any, **options: Any) -> Any:
            read.append(key)
            return await get(self, key, *args, **options)

        monkeypatch.setattr(zarr.storage.LocalStore, "get", counted)
        np.testing.assert_array_equal(source.read([9, 1, 0, 8, 9]), X[[9, 1, 0, 8, 9]])
        assert sorted(read) == ["c/0/0", "c/4/0"]

    def test_not_a_zarr_store(self, tmp_path: Path) -> None:
        with pytest.raises(RecordError, match="nowhere"):
            Zarr(tmp_path / "nowhere")
        (tmp_path / "empty").mkdir()
        with pytest.raises(RecordError, match="empty"):
            Zarr(tmp_path / "empty")
        zarr.create_group(tmp_path / "set.zarr").create_array("flow", data=X)
        with pytest.raises(DataError, match=r"no array 'x'; it contains \['flow'\]"):
            Zarr(tmp_path / "set.zarr")

    def test_default_names(self, tmp_path: Path) -> None:
        group = zarr.create_group(tmp_path / "set.zarr")
        for name, values in (("X", X), ("y", np.arange(10) % 2), ("class_names", np.array(["ok", "leak"]))):
            group.create_array(
                name, shape=values.shape, dtype="str" if values.ndim == 1 and name != "y" else values.dtype
            )
            group[name][:] = values
        assert Zarr(tmp_path / "set.zarr").class_names == ("ok", "leak")

    def test_by_url(self) -> None:
        zarr.create_array("memory://zarr test/set.zarr", data=X)
        np.testing.assert_array_equal(Zarr("memory://zarr test/set.zarr").read([2, 1]), X[[2, 1]])

    def test_without_zarr(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "zarr", None)
        with pytest.raises(PackageError, match=r"pip install 'tailfit\[zarr\]'"):
            Zarr(tmp_path / "set.zarr")


class Bomb:
    def __reduce__(self) -> Any:
        return os.abort, ()


# -- chunks and links in hostile files ------------------------------------------------------------------


def test_links_to_other_files_are_not_followed(tmp_path):
    """Opening a pipe behind a link would block; links within the file are followed."""
    os.mkfifo(tmp_path / "pipe")
    with h5py.File(tmp_path / "set.h5", "w") as file:
        inner = file.create_group("inner")
        inner["x"], inner["soft"] = np.eye(2), h5py.SoftLink("x")
        file["out"] = h5py.ExternalLink(str(tmp_path / "pipe"), "/x")
        file["through"], file["circle"] = h5py.SoftLink("/out/x"), h5py.SoftLink("/circle")
    with no_longer_than(20):
        assert HDF5(tmp_path / "set.h5", "inner/soft").read([1]).tolist() == [[0, 1]]
        for name in ("out", "through", "out/x", "circle"):
            with pytest.raises(RecordError, match="whose data are in other files"):
                HDF5(tmp_path / "set.h5", name)
        with pytest.raises(DataError, match=r"no array 'x'; it contains \['inner/soft', 'inner/x'\]"):
            HDF5(tmp_path / "set.h5")


def test_chunks_fit_into_memory(tmp_path, monkeypatch):
    """By their declared size and their decompressed size: a few kilobytes may become gigabytes."""
    for module in ("hdf5", "zarr_store"):
        monkeypatch.setattr(f"tailfit.data.sources.{module}.available_memory", lambda: 1 << 25)
    bomb = zlib.compress(bytes(1 << 26), 9)
    with h5py.File(tmp_path / "set.h5", "w") as file:
        for name in ("sound", "bomb"):
            made = file.create_dataset(name, shape=(256, 512), chunks=(256, 512), dtype="f8", compression="gzip")
            made[:] = 1.0
        made.id.write_direct_chunk((0, 0), bomb)
        file.create_dataset("wide", shape=(1 << 20, 8), chunks=(1 << 20, 8), dtype="f8")
    assert HDF5(tmp_path / "set.h5", "sound").read([3]).sum() == 512
    with pytest.raises(RecordError, match=r"'bomb' with a chunk at \(0, 0\) of more than its 1048576 bytes"):
        HDF5(tmp_path / "set.h5", "bomb")
    with pytest.raises(RecordError, match="'wide' in chunks of 67108864 bytes"):
        HDF5(tmp_path / "set.h5", "wide")
    zarr.create_array(tmp_path / "set.zarr", shape=(1 << 20, 8), chunks=(1 << 20, 8), dtype="f8")
    with pytest.raises(RecordError, match=r"in chunks of shape \(1048576, 8\): 67108864 bytes"):
        Zarr(tmp_path / "set.zarr")
    group = zarr.create_array(tmp_path / "other.zarr", shape=(4, 2), chunks=(4, 2), dtype="f8")
    group[:] = 1.0
    (chunk,) = (path for path in (tmp_path / "other.zarr" / "c").rglob("*") if path.is_file())
    os.truncate(chunk, 1 << 30)
    with pytest.raises(RecordError, match="1073741824 bytes"):
        Zarr(tmp_path / "other.zarr")
