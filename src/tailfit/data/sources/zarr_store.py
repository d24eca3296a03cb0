"""A Zarr group, or a single Zarr array, as a source."""

import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tailfit.data.files.memory import available_memory
from tailfit.data.files.reading import KnownFile, absolute, files_in
from tailfit.data.remote.fetching import http_options, is_url
from tailfit.data.sources.stored import Stored
from tailfit.data.tables.metadata import Metadata
from tailfit.errors import RecordError
from tailfit.extras import needed
from tailfit.storage.json_text import read_json

__all__ = ["Zarr"]

_WHAT = "a Zarr store"
_METADATA_FILES = {"zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"}
_MAX_METADATA_BYTES = 1 << 24  # per file


class Zarr(Stored):
    """Arrays of a Zarr store, format 2 or 3, whose first axis counts the samples.

    Each chunk that a batch touches is read and decoded once. A missing chunk reads as the array's fill value, because
    Zarr omits chunks that contain nothing else; a lost chunk can't be distinguished from such a chunk.

    Args:
        path: A folder, a `.zip` file, or a URL that Zarr opens with fsspec and reads chunk by chunk.
        x: Name of the array of records, `"group/name"` within groups; or an arbitrarily nested dict, tuple or list of
            names. If the store is a single array, its name is `"x"`.
        y, ids, metadata, class_names, id, strip, memory, nan: See `HDF5`.
    Shapes: `read(indices)` returns the nest of `x` with first axis `n`, in the arrays' units, native byte order.
    Raises:
        RecordError: If the path is not a Zarr store, a chunk is damaged, a codec unpickles, an array contains objects,
            or a file links out of the folder. The message begins with the path.
        DataError: If a named array does not exist, or IDs or labels are invalid.
        PackageError: If zarr is not installed.

    >>> import tempfile, zarr
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     group = zarr.create_group(f"{folder}/pumps.zarr")
    ...     _ = group.create_array("x", data=np.eye(3)), group.create_array("y", data=np.array([1, 0, 1]))
    ...     source = Zarr(f"{folder}/pumps.zarr")
    ...     source.read([2, 0]).tolist(), source.labels.tolist()
    ([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], [1, 0, 1])
    """

    def __init__(
        self,
        path: str | PathLike[str],
        x: Any = "x",
        y: str | None = None,
        ids: str | None = None,
        metadata: Metadata | None = None,
        *,
        class_names: Sequence[str] | None = None,
        id: str | None = None,
        strip: bool = False,
        memory: bool | Literal["auto"] = "auto",
        nan: str = "raise",
    ) -> None:
        needed("zarr", "zarr", _WHAT)
        where = path if isinstance(path, str) and is_url(path) else absolute(path)
        self._path: Final = where
        # Files whose change is detected: the metadata files of a folder, or the zip file itself.
        self._files: Final[list[KnownFile]] = _metadata_files(where) if os.path.isdir(where) else []
        if not os.path.isdir(where) and not is_url(where):
            self._files.append(KnownFile.of(where))
            with _errors_with(where):
                _check_zip(where)
        self._handle: tuple[int, dict[str, Any]] | None = None
        super().__init__(
            where, x, y, ids, metadata, class_names=class_names, id=id, strip=strip, memory=memory, nan=nan
        )

    @contextmanager
    def _opened(self) -> Iterator[dict[str, Any]]:
        """Provide the arrays by name; they are opened once per process."""
        with _errors_with(self._path):
            for file in self._files:
                file.check()
            if self._handle is None or self._handle[0] != os.getpid():
                self._handle = os.getpid(), self._open_arrays()
            yield self._handle[1]

    def _open_arrays(self) -> dict[str, Any]:
        zarr = needed("zarr", "zarr", _WHAT)
        # Given the path of a .zip file, Zarr would open it for writing too.
        store = zarr.storage.ZipStore(self._path, mode="r") if self._path.endswith(".zip") else self._path
        root = zarr.open(store, mode="r", storage_options=http_options(str(store)) or None)
        if hasattr(root, "shape"):
            return {"x": root}
        return {name: item for name, item in root.members(max_depth=None) if hasattr(item, "shape")}

    def _has(self, name: str) -> bool:
        return name in self._names()

    def _names(self) -> list[str]:
        with self._opened() as arrays:
            return list(arrays)

    def _describe(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        with self._opened() as arrays:
            array = arrays[name]
            if "pickle" in repr((array.filters, array.compressors, getattr(array, "serializer", None))).lower():
                raise RecordError(
                    f"{self._path}: array {name!r} with a codec that unpickles, which can run any code in a chunk",
                    expected="codecs for numbers and text",
                    fix="write the array again as numbers, or as text of type str",
                )
            dtype = array.dtype
            _check_size(
                f"{self._path}: array {name!r} in chunks of shape {tuple(array.chunks)}",
                math.prod(array.chunks) * getattr(dtype, "itemsize", 1),
                available_memory(),
            )
            return tuple(array.shape), dtype if isinstance(dtype, np.dtype) else np.dtype(object)

    def _rows(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        with self._opened() as arrays:
            found = np.asarray(arrays[name].oindex[rows])
        return np.ascontiguousarray(found, dtype=found.dtype.newbyteorder("="))

    def _whole(self, name: str) -> NDArray[Any]:
        with self._opened() as arrays:
            return np.asarray(arrays[name][...])

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_handle": None}


@contextmanager
def _errors_with(path: str) -> Iterator[None]:
    """Convert errors to a `RecordError` that begins with the path."""
    try:
        yield
    except RecordError:
        raise
    except Exception as error:  # zip files, and codecs of many libraries, raise their own classes of errors
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise RecordError(f"{path}: {what}", expected="an intact Zarr store", fix="write the store again") from error


def _metadata_files(folder: str) -> list[KnownFile]:
    """Return the metadata files of a store; check the sizes of all files, and refuse links out of the folder."""
    found, free = [], available_memory()
    for path in files_in(folder, deep=True, hidden=True):
        if os.path.basename(path) in _METADATA_FILES:
            found.append(KnownFile.of(path))
            read_json(path, _MAX_METADATA_BYTES)  # refuses files that are too large or not JSON
        else:  # a chunk, which is read as a whole
            _check_size(path, os.stat(path).st_size, free)
    return found


def _check_zip(path: str) -> None:
    """Refuse a zip file with a member that does not fit into memory; the zip directory states their sizes."""
    if not zipfile.is_zipfile(path):
        return  # zarr raises the error
    with zipfile.ZipFile(path) as members:
        free = available_memory()
        for member in members.infolist():
            is_metadata = os.path.basename(member.filename) in _METADATA_FILES
            _check_size(f"{path}: {member.filename}", member.file_size, _MAX_METADATA_BYTES if is_metadata else free)


def _check_size(what: str, size: int, limit: int) -> None:
    if size > limit:
        raise RecordError(f"{what}: {size} bytes", expected=f"at most {limit} bytes", fix="write the store again")
