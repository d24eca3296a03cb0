"""An HDF5 file as a source."""

import math
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import Any, Final, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from tailfit.data.files.memory import available_memory
from tailfit.data.files.reading import KnownFile
from tailfit.data.sources.stored import Stored
from tailfit.data.tables.metadata import Metadata
from tailfit.errors import RecordError
from tailfit.extras import needed

__all__ = ["HDF5"]

_WHAT = "an HDF5 file"
# HDF5 keeps no chunk that is larger than its cache, and decodes it anew for each record: 1 MiB is small.
_CHUNKS = 1 << 26
_INFLATED = 1032  # bytes that gzip makes of one at most
_DEEPEST = 16  # links that lead to links


class HDF5(Stored):
    """Datasets of an HDF5 file whose first axis counts the samples.

    The file is opened by each process that reads it, and never written to. Random reads from a compressed file decode a
    whole chunk a record: where they do not fit into memory, write chunks of few records, or `pack` the file.

    Args:
        path: The file.
        x: Name of the dataset of records, `"group/name"` within groups; or a dict, tuple or list of names, nested as
            one likes.
        y: Name of the labels: codes, strings, one-hot, soft or multi-label rows. `"y"` if there is one.
        ids: Name of the IDs, strings or whole numbers. `"ids"` if there is one; else they are numbered, "0", "1", ...
        metadata: polars DataFrame, or a CSV, JSON, NDJSON or Parquet file, as of `Arrays`.
        class_names: Names of the classes in the order of their codes.
        id: The column of `metadata` that holds the IDs, where their values don't tell it.
        strip: Whether white space around names of classes is dropped.
        memory: Whether the records are read into memory at the first `read`; `"auto"`: if they take no more than half
            of what is free.
        nan: What to do with NaN or infinity in a record, when it is read for the first time: `"raise"`, `"warn"` (once)
            or `"keep"`.
    Shapes: `read(indices)` gives the nest of `x` with first axis `n`, in the datasets' units, native byte order.
    Raises:
        RecordError: beginning with the path: missing, truncated, damaged, or changed since it was opened; a dataset
            that was never wholly written, lies in another file (external, virtual, a link), or is of objects.
        DataError: if there is no dataset of a name, or IDs or labels are not what they must be.
        PackageError: without h5py.

    >>> import tempfile, h5py
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with h5py.File(f"{folder}/pumps.h5", "w") as file:
    ...         file["x"], file["y"] = np.eye(3), ["ok", "leak", "ok"]
    ...     source = HDF5(f"{folder}/pumps.h5")
    ...     source.read([2, 0]).tolist(), source.class_names
    ([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], ('leak', 'ok'))
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
        needed("h5py", "hdf5", _WHAT)
        self._file: Final = KnownFile.of(path)
        self._handle: tuple[int, Any] | None = None
        super().__init__(
            self._file.path, x, y, ids, metadata, class_names=class_names, id=id, strip=strip, memory=memory, nan=nan
        )

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """The file, opened once a process: a forked one shares neither the handle nor its place in the file."""
        try:
            self._file.check()
            if self._handle is None or self._handle[0] != os.getpid():
                # Two threads may both open it: the last one stays, the other is closed with its last use.
                file = needed("h5py", "hdf5", _WHAT).File(self._file.path, "r", rdcc_nbytes=_CHUNKS)
                self._handle = os.getpid(), file
            yield self._handle[1]
        except RecordError:
            raise
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            what = str(error).splitlines()[0]
            raise RecordError(
                f"{self._file.path}: {what}", expected="a whole HDF5 file", fix="write it again"
            ) from error

    def _has(self, name: str) -> bool:
        with self._opened() as file:
            # Looked at before it is followed: what a link names in the place of a file may be waited for.
            if _leads_out(file, name):
                self._refuse(name, "lies in other files", "open those, and join them with Concat")
            return isinstance(file.get(name), needed("h5py", "hdf5", _WHAT).Dataset)

    def _names(self) -> list[str]:
        found: list[str] = []
        with self._opened() as file:
            file.visit_links(found.append)
            return [name for name in found if not _leads_out(file, name) and self._has(name)]

    def _describe(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        with self._opened() as file:
            data = file[name]
            if (
                data.is_virtual
                or data.external
                or os.path.realpath(data.file.filename) != os.path.realpath(self._file.path)
            ):
                self._refuse(name, "lies in other files", "open those, and join them with Concat")
            shape, dtype = data.shape, data.dtype
            if shape is None:
                self._refuse(name, "is empty", "write it again")
            if data.chunks is None:
                written, expected = data.id.get_storage_size(), data.nbytes
            else:
                self._check_chunks(name, data)
                grid = [-(-size // of) for size, of in zip(shape, data.chunks, strict=True)]
                written, expected = data.id.get_num_chunks(), math.prod(grid)
            if written < expected:
                self._refuse(
                    name,
                    f"of shape {shape} was never wholly written: the rest would read as {data.fillvalue!r}",
                    "write it again, or resize it to what was written",
                )
            return shape, dtype

    def _check_chunks(self, name: str, data: Any) -> None:
        """Refuse chunks that would not fit into memory decoded; HDF5 decodes whatever one holds."""
        room, size = available_memory(), math.prod(data.chunks) * data.dtype.itemsize
        if size > room:
            self._refuse(name, f"in chunks of {size} bytes, which do not fit into memory", "write it in smaller chunks")
        if data.compression != "gzip" or data.id.get_storage_size() * _INFLATED <= room:
            return
        large: list[tuple[int, ...]] = []

        def look(chunk: Any) -> None:
            if chunk.size * _INFLATED > room:
                large.append(chunk.chunk_offset)

        data.id.chunk_iter(look)
        for offset in large:
            if _inflates_beyond(data.id.read_direct_chunk(offset)[1], size):
                self._refuse(name, f"with a chunk at {offset} that holds more than its {size} bytes", "write it again")

    def _refuse(self, name: str, what: str, fix: str) -> NoReturn:
        raise RecordError(
            f"{self._file.path}: dataset {name!r} {what}", expected="a dataset that is whole, in the file", fix=fix
        )

    def _rows(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        shape, dtype = self._kinds[name]
        out = np.empty((len(rows), *shape[1:]), dtype.newbyteorder("="))
        # Runs of neighbours, each a slice: h5py takes a multiple of the time for a list of rows.
        begins = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        ends = np.append(begins[1:], len(rows))
        with self._opened() as file:
            data = file[name]
            for begin, end in zip(begins.tolist(), ends.tolist(), strict=False):
                first = int(rows[begin])
                out[begin:end] = data[first : first + end - begin]
        return out

    def _whole(self, name: str) -> NDArray[Any]:
        with self._opened() as file:
            whole: NDArray[Any] = file[name][...]
        return whole

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_handle": None}


def _inflates_beyond(content: bytes, most: int) -> bool:
    """Whether gzip's stream holds more than so many bytes, told piece by piece."""
    inflater, size = zlib.decompressobj(), 0
    try:
        while content and not inflater.eof and size <= most:
            size += len(inflater.decompress(content, 1 << 20))
            content = inflater.unconsumed_tail
    except zlib.error:
        return False  # HDF5 will say so
    return size > most


def _leads_out(file: Any, name: str, depth: int = 0) -> bool:
    """Whether a name in a file is, or leads through, a link to another file; nothing is followed to tell it."""
    h5py = needed("h5py", "hdf5", _WHAT)
    parts = [part for part in name.split("/") if part not in ("", ".")]
    for end in range(1, len(parts) + 1):
        link = file.get("/".join(parts[:end]), getlink=True)
        if isinstance(link, h5py.ExternalLink):
            return True
        if isinstance(link, h5py.SoftLink):
            begun = [] if link.path.startswith("/") else parts[: end - 1]
            aim = "/".join([*begun, link.path, *parts[end:]])
            return depth == _DEEPEST or _leads_out(file, aim, depth + 1)
        if link is None:
            return False
    return False
