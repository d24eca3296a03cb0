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
_DESCRIPTIONS = {"zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"}  # the files that say what the arrays are
_DESCRIBED = 1 << 24  # bytes of such a file


class Zarr(Stored):
    """Arrays of a Zarr store, format 2 or 3, whose first axis counts the samples.

    Each chunk that a batch touches is read and decoded once. A chunk that is not there reads as the array's fill value:
    that is how Zarr writes chunks of nothing else, so one that was lost can't be told from it.

    Args:
        path: A folder, a `.zip` file, or a URL that Zarr opens with fsspec, chunk by chunk as they are asked for.
        x: Name of the array of records, `"group/name"` within groups; or a dict, tuple or list of names, nested as one
            likes. A store that is one array itself is `"x"`.
        y, ids, metadata, class_names, id, strip, memory, nan: As of `HDF5`.
    Shapes: `read(indices)` gives the nest of `x` with first axis `n`, in the arrays' units, native byte order.
    Raises:
        RecordError: beginning with the path: no Zarr store, a damaged chunk, a codec that unpickles, objects, or a link
            out of the folder.
        DataError: if there is no array of a name, or IDs or labels are not what they must be.
        PackageError: without zarr.

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
        # Where the store is a folder: the files that say what its arrays are.
        self._known: Final[list[KnownFile]] = _checked_folder(where) if os.path.isdir(where) else []
        if not os.path.isdir(where) and not is_url(where):
            self._known.append(KnownFile.of(where))
            with _damage(where):
                _check_members(where)
        self._handle: tuple[int, dict[str, Any]] | None = None
        super().__init__(
            where, x, y, ids, metadata, class_names=class_names, id=id, strip=strip, memory=memory, nan=nan
        )

    @contextmanager
    def _opened(self) -> Iterator[dict[str, Any]]:
        """The arrays by name, opened once a process."""
        with _damage(self._path):
            for file in self._known:
                file.check()
            if self._handle is None or self._handle[0] != os.getpid():
                self._handle = os.getpid(), self._arrays_in()
            yield self._handle[1]

    def _arrays_in(self) -> dict[str, Any]:
        zarr = needed("zarr", "zarr", _WHAT)
        # A string ending in .zip would be opened as one for writing, too.
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
                    f"{self._path}: array {name!r} with a codec that unpickles: that can run any code in a chunk",
                    expected="codecs of numbers and text",
                    fix="write it again without, e.g. as numbers, or text of type str",
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
def _damage(path: str) -> Iterator[None]:
    """Raise what goes wrong as a `RecordError` that begins with the path."""
    try:
        yield
    except RecordError:
        raise
    except Exception as error:  # zip files, and the codecs of many libraries, each with errors of its own
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise RecordError(f"{path}: {what}", expected="a whole Zarr store", fix="write it again") from error


def _checked_folder(folder: str) -> list[KnownFile]:
    """The files that say what a store's arrays are; none of its files is a link out of it."""
    known, room = [], available_memory()
    for path in files_in(folder, deep=True, hidden=True):
        if os.path.basename(path) in _DESCRIPTIONS:
            known.append(KnownFile.of(path))
            read_json(path, _DESCRIBED)
        else:  # a chunk, which is read whole
            _check_size(path, os.stat(path).st_size, room)
    return known


def _check_members(path: str) -> None:
    """Refuse a zip file whose members would not fit into memory unpacked; their sizes are in its directory."""
    if not zipfile.is_zipfile(path):
        return  # zarr will say what is wrong with it
    with zipfile.ZipFile(path) as members:
        room = available_memory()
        for member in members.infolist():
            described = os.path.basename(member.filename) in _DESCRIPTIONS
            _check_size(f"{path}: {member.filename}", member.file_size, _DESCRIBED if described else room)


def _check_size(what: str, size: int, most: int) -> None:
    if size > most:
        raise RecordError(f"{what}: {size} bytes", expected=f"at most {most} bytes", fix="write the store again")
