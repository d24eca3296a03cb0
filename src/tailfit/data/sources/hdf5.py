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

from tailfit.data.files.memory import DEFLATE_RATIO, available_memory
from tailfit.data.files.reading import KnownFile
from tailfit.data.sources.stored import Stored
from tailfit.data.tables.metadata import Metadata
from tailfit.errors import RecordError
from tailfit.extras import needed

__all__ = ["HDF5"]

_WHAT = "an HDF5 file"
# HDF5 does not cache a chunk that is larger than its chunk cache, and decodes it again for each record. Its default of
# 1 MiB is too small for that.
_CHUNK_CACHE_BYTES = 1 << 26
_MAX_LINKS = 16  # links that lead to links


class HDF5(Stored):
    """Datasets of an HDF5 file whose first axis counts the samples.

    Each process opens the file for itself, read-only. Random reads from a compressed file decode a whole chunk per
    record; if the records do not fit into memory, write chunks of few records, or `pack` the file.

    Args:
        path: Path of the file.
        x: Name of the dataset of records, `"group/name"` within groups; or an arbitrarily nested dict, tuple or list of
            names. If there is no `"x"`, the default is `"X"`.
        y: Name of the dataset of labels: class indices, strings, one-hot, soft or multi-label rows. Default `"y"` or
            `"Y"` if it exists.
        ids: Name of the dataset of IDs, strings or whole numbers. Default `"ids"` if it exists; else IDs are "0", "1",
            ...
        metadata: polars DataFrame, or a CSV, JSON, NDJSON or Parquet file; see `Arrays`.
        class_names: Class names in the order of the class indices. Default: the dataset `"class_names"` or `"y_names"`
            if it exists.
        id: Column of `metadata` with the IDs, if their values don't identify it.
        strip: Whether to strip whitespace around class names.
        memory: Whether to load all records into memory at the first `read`; `"auto"` does so if they take at most half
            of the free memory.
        nan: Policy for NaN and infinity, applied when a record is first read: `"raise"`, `"warn"` (once) or `"keep"`.
    Shapes: `read(indices)` returns the nest of `x` with first axis `n`, in the datasets' units and native byte order.
    Raises:
        RecordError: If the file is missing, truncated, damaged, or has changed, or if a dataset is partly unwritten,
            stored in a different file (external, virtual, a link), or contains objects. The message begins with the
            path.
        DataError: If a named dataset does not exist, or IDs or labels are invalid.
        PackageError: If h5py is not installed.

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
        """Provide the file, opened once per process: a fork must not share the handle or its position in the file."""
        try:
            self._file.check()
            if self._handle is None or self._handle[0] != os.getpid():
                # Two threads may both open it; the last handle is kept, and the other is closed after its last use.
                file = needed("h5py", "hdf5", _WHAT).File(self._file.path, "r", rdcc_nbytes=_CHUNK_CACHE_BYTES)
                self._handle = os.getpid(), file
            yield self._handle[1]
        except RecordError:
            raise
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            what = str(error).splitlines()[0]
            raise RecordError(
                f"{self._file.path}: {what}", expected="an intact HDF5 file", fix="write the file again"
            ) from error

    def _has(self, name: str) -> bool:
        with self._opened() as file:
            # Check links before following them, because opening the target of a link, such as a pipe, may block.
            if _leads_out(file, name):
                self._refuse(name, "whose data are in other files", "open those files, and join them with Concat")
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
                self._refuse(name, "whose data are in other files", "open those files, and join them with Concat")
            shape, dtype = data.shape, data.dtype
            if shape is None:
                self._refuse(name, "without a shape", "write the dataset again")
            stored, size = data.id.get_storage_size(), os.path.getsize(self._file.path)
            if stored > size:  # HDF5 asks for the memory of a chunk before it reads it
                self._refuse(name, f"of {stored} stored bytes in a file of {size} bytes", "write the dataset again")
            if data.chunks is None:
                written, expected = stored, data.nbytes
            else:
                self._check_chunks(name, data)
                grid = [-(-size // of) for size, of in zip(shape, data.chunks, strict=True)]
                written, expected = data.id.get_num_chunks(), math.prod(grid)
            if written < expected:
                self._refuse(
                    name,
                    f"of shape {shape} that is partly unwritten; the rest would read as {data.fillvalue!r}",
                    "write the dataset again, or resize it to the rows written",
                )
            return shape, dtype

    def _check_chunks(self, name: str, data: Any) -> None:
        """Refuse chunks that do not fit into memory; HDF5 decompresses a chunk of any size."""
        free, size = available_memory(), math.prod(data.chunks) * data.dtype.itemsize
        if size > free:
            self._refuse(name, f"in chunks of {size} bytes, which do not fit into memory", "write it in smaller chunks")
        if data.compression != "gzip" or data.id.get_storage_size() * DEFLATE_RATIO <= free:
            return
        large: list[tuple[int, ...]] = []

        def collect(chunk: Any) -> None:
            if chunk.size * DEFLATE_RATIO > free:
                large.append(chunk.chunk_offset)

        data.id.chunk_iter(collect)
        for offset in large:
            if _inflates_beyond(data.id.read_direct_chunk(offset)[1], size):
                self._refuse(name, f"with a chunk at {offset} of more than its {size} bytes", "write the dataset again")

    def _refuse(self, name: str, what: str, fix: str) -> NoReturn:
        raise RecordError(
            f"{self._file.path}: dataset {name!r} {what}",
            expected="a dataset that is written completely, in this file",
            fix=fix,
        )

    def _rows(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        shape, dtype = self._specs[name]
        out = np.empty((len(rows), *shape[1:]), dtype.newbyteorder("="))
        # Read runs of adjacent rows as slices; h5py is several times slower for a list of rows.
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


def _inflates_beyond(content: bytes, limit: int) -> bool:
    """Return whether a gzip stream decompresses to more bytes than a limit, without keeping them."""
    inflater, size = zlib.decompressobj(), 0
    try:
        while content and not inflater.eof and size <= limit:
            size += len(inflater.decompress(content, 1 << 20))
            content = inflater.unconsumed_tail
    except zlib.error:
        return False  # HDF5 raises the error
    return size > limit


def _leads_out(file: Any, name: str, depth: int = 0) -> bool:
    """Return whether a name is a link to a different file, or leads through one, without following external links."""
    h5py = needed("h5py", "hdf5", _WHAT)
    parts = [part for part in name.split("/") if part not in ("", ".")]
    for end in range(1, len(parts) + 1):
        link = file.get("/".join(parts[:end]), getlink=True)
        if isinstance(link, h5py.ExternalLink):
            return True
        if isinstance(link, h5py.SoftLink):
            base = [] if link.path.startswith("/") else parts[: end - 1]
            target = "/".join([*base, link.path, *parts[end:]])
            return depth == _MAX_LINKS or _leads_out(file, target, depth + 1)
        if link is None:
            return False
    return False
