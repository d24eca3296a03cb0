"""A packed folder as a source: loaded into memory if it fits, else read record by record from open files.

Files are read, never memory-mapped: if another process truncates a mapped file, the next access kills this process
with SIGBUS, whereas a short read is an ordinary error that names the file.
"""

import hashlib
import os
import threading
import time
import weakref
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.data.files.memory import fits_in_memory
from tailfit.data.files.npy import read_header
from tailfit.data.grouping import Grouping
from tailfit.data.records.cutting import WindowReader
from tailfit.data.records.dtypes import check_record_type
from tailfit.data.records.finite import FirstReadCheck, WindowCheck
from tailfit.data.records.ragged import Ragged, take_into, take_records
from tailfit.data.records.trees import pairs
from tailfit.data.source import Source, checked_ids
from tailfit.data.sources.packed_format import Leaf, Manifest, file_name, rebuild
from tailfit.data.tables.reading import read_table
from tailfit.errors import DataError, RecordError
from tailfit.labels import encode
from tailfit.storage.reading import open_regular

__all__ = ["Packed"]

_READ_SIZE = 1 << 24  # bytes read and hashed at once
# Seconds per record above which records come from a disk rather than the page cache; then the next batch is announced
# to the kernel before it is read.
_SLOW = 20e-6


class Packed(Source):
    """A folder written by `tailfit.data.pack`.

    Args:
        path: The folder.
        strip: Whether to strip whitespace around class names.
        memory: Whether to load all records into memory at the first `read` and compare their checksums; `"auto"` does
            so if they take at most half of the free memory. Otherwise `read` reads each record from its file.
        nan: Policy for NaN and infinity, applied when a record is first read: `"raise"`, `"warn"` (once) or `"keep"`.
            Default: `"keep"` for packed `Recordings`, whose NaN are missing readings; else `"raise"`.
    Shapes: `read(indices)` returns the same as `read` of the packed source: an array or a nest of arrays.
    Raises:
        RecordError: If a file is missing, truncated, altered, or does not match the manifest; the message names it.
        DataError: If the folder does not exist, or a record contains NaN; the message names its ID.

    >>> import tempfile, tailfit
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tailfit.data.pack(tailfit.data.Arrays({"a": np.eye(2), "b": np.arange(2)}), f"{folder}/set")
    ...     Packed(f"{folder}/set").read([1])
    {'a': array([[0., 1.]]), 'b': array([1])}
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        strip: bool = False,
        memory: bool | Literal["auto"] = "auto",
        nan: str | None = None,
    ) -> None:
        root = Path(fspath(path))
        if not os.path.lexists(root / "pack.json"):
            raise DataError(
                f"{root}: {'a folder without pack.json' if root.is_dir() else 'no such folder'}",
                expected="a folder written by tailfit.data.pack",
                fix="check the path; if there is only an unfinished folder .<name>.partial, pack again",
            )
        self._root: Final = root
        self._manifest: Final = Manifest.read(root / "pack.json")
        for leaf in self._manifest.leaves:
            check_record_type(leaf.dtype, f"{root / 'pack.json'}: an array", RecordError)
        self.ragged = self._manifest.ragged
        index = self._read_index()
        # n + 1 offsets of the records when all shards are concatenated: in records, and in steps if ragged.
        self._begins: Final = np.arange(len(index) + 1)
        self._steps: Final = self._read_steps(index) if self.ragged else self._begins
        self._starts: Final = [self._checked_files(leaf) for leaf in range(len(self._manifest.leaves))]
        super().__init__(*self._split_index(index, strip), self._read_groups(index))
        self.in_memory = fits_in_memory(self._manifest.nbytes, memory)
        if nan is None:
            nan = "keep" if self._manifest.keeps_missing else "raise"
        self.keeps_missing, self.channels = self._manifest.keeps_missing, self._manifest.channels
        self.step_seconds = self._manifest.step_seconds
        self._nan_check: Final = FirstReadCheck(len(self), nan)
        self._window_check: Final = WindowCheck(nan)
        self._step_labels: Final = self._read_step_labels(index) if self._manifest.step_labels else None
        if self._step_labels is not None:
            self._step_classes = self._manifest.class_names
        self._lock = threading.Lock()
        self._arrays: list[NDArray[Any] | Ragged] | None = None
        self._files = _Files()
        self._slow = False

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """See `Source.lengths`."""
        return np.diff(self._steps) if self.ragged else None

    def _begin(self, leaf: int) -> NDArray[np.int64]:
        """Return the n + 1 offsets of a leaf's records on the first axis of all its shards, concatenated."""
        return self._steps if self._manifest.leaves[leaf].ragged else self._begins

    def _shard(self, leaf: int, shard: int) -> tuple[int, int]:
        """Return the start and stop of a shard on the first axis of all shards of a leaf, concatenated."""
        first, begin = shard * self._manifest.rows, self._begin(leaf)
        return int(begin[first]), int(begin[first + self._manifest.rows_of(shard)])

    def _checked_files(self, leaf: int) -> NDArray[np.int64]:
        """Check the headers and sizes of a leaf's files; return the byte offset of the first record in each file."""
        manifest, starts = self._manifest, []
        for shard in range(manifest.shards):
            path = self._path(leaf, shard)
            header = read_header(path)
            start, stop = self._shard(leaf, shard)
            expected = (stop - start, *manifest.leaves[leaf].shape)
            if (header.shape, header.dtype, header.fortran) != (expected, manifest.leaves[leaf].dtype, False):
                raise RecordError(
                    f"{path}: {header}",
                    expected=f"shape {expected}, type {manifest.leaves[leaf].dtype}, as stated in pack.json",
                    fix="restore the file, or pack the data again",
                )
            starts.append(len(header.raw))
        return np.array(starts, dtype=np.int64)

    def _path(self, leaf: int, shard: int) -> str:
        return str(self._root / "data" / file_name(leaf, shard))

    def _read_index(self) -> pl.DataFrame:
        path = self._root / "index.parquet"
        index = read_table(path)
        manifest = self._manifest
        grouped = manifest.group_by is not None
        columns = {
            "id": True,
            "label": manifest.labels is not None,
            "steps": manifest.ragged,
            "group": grouped,
            "group_name": grouped,
            "step_labels": manifest.step_labels,
        }
        if len(index) != manifest.samples or any((name in index.columns) != has for name, has in columns.items()):
            raise RecordError(
                f"{path}: {len(index)} rows with the columns {index.columns}",
                expected=f"{manifest.samples} rows with {', '.join(name for name, has in columns.items() if has)}",
                fix="restore the file, or pack the data again",
            )
        return index

    def _read_steps(self, index: pl.DataFrame) -> NDArray[np.int64]:
        lengths = index["steps"]
        valid = lengths.dtype.is_integer() and not lengths.null_count() and (lengths >= 0).all()
        if not valid or lengths.sum() != self._manifest.steps:
            raise RecordError(
                f"{self._root / 'index.parquet'}: a column steps of type {lengths.dtype} "
                f"{'with another sum' if valid else 'with invalid values'}",
                expected=f"whole numbers >= 0 that sum to {self._manifest.steps}, as stated in pack.json",
                fix="restore the file, or pack the data again",
            )
        return np.concatenate([[0], np.cumsum(lengths.to_numpy(), dtype=np.int64)])

    def _read_step_labels(self, index: pl.DataFrame) -> NDArray[np.int32]:
        """Return the label of each step of all records."""
        lists, classes = index["step_labels"], len(self._manifest.class_names)
        valid = isinstance(lists.dtype, pl.List) and lists.dtype.inner.is_integer() and not lists.null_count()
        if valid and self.ragged and np.array_equal(lists.list.len().to_numpy(), np.diff(self._steps)):
            labels = lists.filter(lists.list.len() > 0).explode()
            if not labels.null_count() and (not len(labels) or -1 <= labels.min() <= labels.max() < classes):  # type: ignore[operator]
                return labels.to_numpy().astype(np.int32)
        raise RecordError(
            f"{self._root / 'index.parquet'}: a column step_labels of type {lists.dtype} with invalid values",
            expected=f"the class indices of all steps of each record, from -1 to {classes - 1}",
            fix="restore the file, or pack the data again",
        )

    def step_labels(self, index: int) -> NDArray[np.int32] | None:
        """See `Source.step_labels`."""
        return (
            None if self._step_labels is None else self._step_labels[self._steps[index] : self._steps[index + 1]].copy()
        )

    def _read_groups(self, index: pl.DataFrame) -> Grouping | None:
        if self._manifest.group_by is None:
            return None
        distinct = index.select("group", "group_name").unique().sort("group")
        codes, names = distinct["group"], distinct["group_name"]
        valid = codes.dtype.is_integer() and names.dtype == pl.String and not names.null_count()
        if not valid or codes.to_list() != list(range(len(codes))):
            raise RecordError(
                f"{self._root / 'index.parquet'}: columns group and group_name with invalid values",
                expected="one name for each group, numbered from 0",
                fix="restore the file, or pack the data again",
            )
        return Grouping(index["group"].to_numpy().astype(np.int64), tuple(names.to_list()), self._manifest.group_by)

    def _split_index(self, index: pl.DataFrame, strip: bool) -> tuple[tuple[str, ...], Any, pl.DataFrame | None]:
        manifest = self._manifest
        ids = checked_ids(index["id"].to_list(), len(index))
        labels = None
        if manifest.labels is not None:
            labels = encode(index["label"].to_list(), class_names=manifest.class_names, ids=ids, strip=strip)
        metadata = index.select("id", pl.col("^metadata\\..*$").name.map(lambda name: name.removeprefix("metadata.")))
        return ids, labels, metadata if metadata.width > 1 else None

    def _read(self, indices: NDArray[np.int64]) -> Any:
        memory = self._in_memory() if self.in_memory else None
        leaves = self._from_files(indices) if memory is None else [take_records(array, indices) for array in memory]
        batch = rebuild(self._manifest.tree, leaves)
        self._nan_check.check(indices, batch, self._named)
        return batch

    def _read_into(self, out: Any, indices: NDArray[np.int64]) -> None:
        if not self.in_memory or self.ragged:
            super()._read_into(out, indices)
            return
        whole = rebuild(self._manifest.tree, self._in_memory())
        for into, array in pairs(out, whole):
            take_into(into, array, indices)
        self._nan_check.check(indices, out, self._named)

    def _read_windows(self, records: NDArray[np.int64], starts: NDArray[np.int64], length: int) -> Any:
        order = np.argsort(self._steps[records] + starts)
        leaves = [
            self._windows_from_files(leaf, records, starts, length, order) for leaf in range(len(self._manifest.leaves))
        ]
        batch = rebuild(self._manifest.tree, leaves)
        self._window_check.check(records, batch, self._named)
        return batch

    def _window_reader(self, records: NDArray[np.int64], starts: NDArray[np.int64], length: int) -> WindowReader | None:
        if not self.in_memory:
            return None
        whole = rebuild(self._manifest.tree, self._in_memory())
        return WindowReader(whole, records, starts, length, self._window_check, self._named)

    def _named(self, position: int) -> str:
        return f"the record of ID {self.ids[position]!r} in {self._root}"

    # -- in memory -------------------------------------------------------------------------------------

    def _in_memory(self) -> list[NDArray[Any] | Ragged]:
        if self._arrays is None:
            with self._lock:
                if self._arrays is None:
                    self._arrays = [self._loaded(leaf) for leaf in range(len(self._manifest.leaves))]
        return self._arrays

    def _loaded(self, leaf: int) -> NDArray[Any] | Ragged:
        manifest, what, begin = self._manifest, self._manifest.leaves[leaf], self._begin(leaf)
        array = np.empty((int(begin[-1]), *what.shape), what.dtype)
        for shard in range(manifest.shards):
            path, (start, stop) = self._path(leaf, shard), self._shard(leaf, shard)
            digest, body = hashlib.sha256(), _bytes_of(array[start:stop])
            with open_regular(path) as file:
                digest.update(file.read(self._starts[leaf][shard]))
                for done in range(0, len(body), _READ_SIZE):
                    piece = body[done : done + _READ_SIZE]
                    if file.readinto(piece) != len(piece):
                        raise _truncated(path)
                    digest.update(piece)
            if digest.hexdigest() != manifest.digests[file_name(leaf, shard)]:
                raise RecordError(
                    f"{path}: content whose SHA-256 differs from the one in pack.json",
                    expected="the file as it was packed",
                    fix="restore the file, or pack the data again",
                )
        return Ragged(array, np.diff(begin)) if what.ragged else array

    # -- from the files --------------------------------------------------------------------------------

    def _from_files(self, indices: NDArray[np.int64]) -> list[NDArray[Any] | Ragged]:
        began = time.perf_counter()
        order = np.argsort(indices)  # the order in the files, for fewer seeks
        leaves = [self._leaf_from_files(leaf, what, indices, order) for leaf, what in enumerate(self._manifest.leaves)]
        self._slow = time.perf_counter() - began > _SLOW * max(len(indices), 1) * len(leaves)
        return leaves

    def _leaf_from_files(
        self, leaf: int, what: Leaf, indices: NDArray[np.int64], order: NDArray[np.int64]
    ) -> NDArray[Any] | Ragged:
        begin = self._begin(leaf)
        rows = begin[indices + 1] - begin[indices]
        values = np.empty((int(rows.sum()), *what.shape), what.dtype)
        self._read_pieces(leaf, _bytes_of(values), indices, np.zeros_like(indices), rows * what.nbytes, order)
        return Ragged(values, rows) if what.ragged else values

    def _windows_from_files(
        self,
        leaf: int,
        records: NDArray[np.int64],
        starts: NDArray[np.int64],
        length: int,
        order: NDArray[np.int64],
    ) -> NDArray[Any]:
        what = self._manifest.leaves[leaf]
        step, step_bytes = what.shape, what.nbytes
        if not what.ragged:  # a record is one row of the file, in which its steps follow each other
            step, step_bytes = what.shape[1:], what.nbytes // max(what.shape[0], 1)
        values = np.empty((len(records), length, *step), what.dtype)
        sizes = np.full(len(records), length * step_bytes)
        self._read_pieces(leaf, _bytes_of(values), records, starts * step_bytes, sizes, order)
        return values

    def _read_pieces(
        self,
        leaf: int,
        body: memoryview,
        records: NDArray[np.int64],
        skipped: NDArray[np.int64],
        sizes: NDArray[np.int64],
        order: NDArray[np.int64],
    ) -> None:
        """Read a piece of each of some records, one after the other into `body`.

        Args:
            leaf: Index of the array.
            body: Bytes to read into.
            records: Positions of the records.
            skipped, sizes: Bytes of each record before its piece, and bytes of the piece.
            order: The order in which to read the pieces.
        """
        begin, shards = self._begin(leaf), records // self._manifest.rows
        into = np.cumsum(sizes) - sizes
        before = (begin[records] - begin[shards * self._manifest.rows]) * self._manifest.leaves[leaf].nbytes
        offsets = self._starts[leaf][shards] + before + skipped
        reads = list(zip(*(part[order].tolist() for part in (shards, sizes, into, offsets)), strict=True))
        files = self._files
        descriptors = {shard: files(self._path(leaf, shard)) for shard in {shard for shard, *_ in reads}}
        if self._slow and hasattr(os, "posix_fadvise"):
            # Announce all reads first, so that the disk can reorder them and work ahead.
            for shard, size, _, offset in reads:
                os.posix_fadvise(descriptors[shard], offset, size, os.POSIX_FADV_WILLNEED)
        for shard, size, at, offset in reads:
            if size and files.read(descriptors[shard], body[at : at + size], offset) != size:
                raise _truncated(self._path(leaf, shard))

    def __getstate__(self) -> dict[str, Any]:
        # Another process reads the files itself instead of receiving the loaded arrays.
        return {**self.__dict__, "_lock": None, "_files": None, "_arrays": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock(), _files=_Files())


class _Files:
    """Open files by path, closed with their owner. Reads pass an offset, so threads and forks may share them."""

    def __init__(self) -> None:
        self._opened: dict[str, int] = {}
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._opened)

    def __call__(self, path: str) -> int:
        descriptor = self._opened.get(path)
        if descriptor is None:
            with self._lock:
                descriptor = self._opened.get(path)
                if descriptor is None:
                    with open_regular(path) as file:
                        self._opened[path] = descriptor = os.dup(file.fileno())
        return descriptor

    if hasattr(os, "preadv"):

        def read(self, descriptor: int, into: memoryview, offset: int) -> int:
            """Read into a buffer at an offset; return the number of bytes read."""
            return os.preadv(descriptor, [into], offset)

    else:  # Windows

        def read(self, descriptor: int, into: memoryview, offset: int) -> int:
            """Read into a buffer at an offset; return the number of bytes read."""
            with self._lock:
                os.lseek(descriptor, offset, os.SEEK_SET)
                found = os.read(descriptor, len(into))
            into[: len(found)] = found
            return len(found)


def _close(opened: dict[str, int]) -> None:
    for descriptor in opened.values():
        os.close(descriptor)


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _truncated(path: str) -> RecordError:
    return RecordError(
        f"{path}: a truncated file",
        expected="the file as it was packed",
        fix="restore the file, or pack the data again",
    )
