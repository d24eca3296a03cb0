"""A packed folder as a source: held in memory if it fits there, else read record by record from open files.

Files are read, never mapped: a mapped file that is truncated by somebody else ends the process without a word
(SIGBUS), a read that comes back short is an error with a name.
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
from tailfit.data.records.dtypes import check_record_type
from tailfit.data.records.finite import FirstLook
from tailfit.data.records.ragged import Ragged, take_into, taken
from tailfit.data.records.trees import pairs
from tailfit.data.source import Source, checked_ids
from tailfit.data.sources.packed_format import Leaf, Manifest, file_name, rebuild
from tailfit.data.tables.reading import read_table
from tailfit.errors import DataError, RecordError
from tailfit.labels import encode
from tailfit.storage.reading import open_regular

__all__ = ["Packed"]

_READ = 1 << 24  # bytes hashed at once
# Records that took longer than this came from a disk, not from the page cache: the next batch is announced first.
_SLOW = 20e-6


class Packed(Source):
    """A folder that `tailfit.data.pack` wrote.

    Args:
        path: The folder.
        strip: Whether white space around names of classes is dropped.
        memory: Whether the records are read into memory, at the first `read`, their checksums compared; `"auto"`: if
            they take no more than half of what is free. Otherwise each is read from its file when it is asked for.
        nan: What to do with NaN or infinity in a record, when it is read for the first time: `"raise"`, `"warn"` (once)
            or `"keep"`.
    Shapes: `read(indices)` gives what the packed source gave, an array or a nest of arrays.
    Raises:
        RecordError: naming a file that is missing, truncated, altered, or not what the manifest says.
        DataError: if there is no such folder, or a record has a NaN in it; the ID is named.

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
        nan: str = "raise",
    ) -> None:
        root = Path(fspath(path))
        if not os.path.lexists(root / "pack.json"):
            raise DataError(
                f"{root}: {'no pack.json in it' if root.is_dir() else 'no such folder'}",
                expected="a folder that tailfit.data.pack wrote",
                fix="check the path; a folder named .<name>.partial is not finished: pack again",
            )
        self._root: Final = root
        self._manifest: Final = Manifest.read(root / "pack.json")
        for leaf in self._manifest.leaves:
            check_record_type(leaf.dtype, f"{root / 'pack.json'}: an array", RecordError)
        self.ragged = self._manifest.ragged
        index = self._read_index()
        # Where each record begins among all, and their end: in records, and in steps where they differ in length.
        self._begins: Final = np.arange(len(index) + 1)
        self._steps: Final = self._read_steps(index) if self.ragged else self._begins
        self._starts: Final = [self._checked_files(leaf) for leaf in range(len(self._manifest.leaves))]
        super().__init__(*self._split_index(index, strip))
        self.in_memory = fits_in_memory(self._manifest.nbytes, memory)
        self._look: Final = FirstLook(len(self), nan)
        self._lock = threading.Lock()
        self._arrays: list[NDArray[Any] | Ragged] | None = None
        self._files = _Files()
        self._slow = False

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """As `Source.lengths`."""
        return np.diff(self._steps) if self.ragged else None

    def _begin(self, leaf: int) -> NDArray[np.int64]:
        """Where each record of a leaf begins in all shards end to end, and their end."""
        return self._steps if self._manifest.leaves[leaf].ragged else self._begins

    def _shard(self, leaf: int, shard: int) -> tuple[int, int]:
        """Where a shard begins and ends in all shards of a leaf end to end."""
        first, begin = shard * self._manifest.rows, self._begin(leaf)
        return int(begin[first]), int(begin[first + self._manifest.rows_of(shard)])

    def _checked_files(self, leaf: int) -> NDArray[np.int64]:
        """Where the records begin in each of a leaf's files, whose headers and sizes are as they should be."""
        manifest, starts = self._manifest, []
        for shard in range(manifest.shards):
            path = self._path(leaf, shard)
            header = read_header(path)
            start, stop = self._shard(leaf, shard)
            expected = (stop - start, *manifest.leaves[leaf].shape)
            if (header.shape, header.dtype, header.fortran) != (expected, manifest.leaves[leaf].dtype, False):
                raise RecordError(
                    f"{path}: {header}",
                    expected=f"shape {expected}, type {manifest.leaves[leaf].dtype}, as pack.json says",
                    fix="restore the file, or pack anew",
                )
            starts.append(len(header.raw))
        return np.array(starts, dtype=np.int64)

    def _path(self, leaf: int, shard: int) -> str:
        return str(self._root / "data" / file_name(leaf, shard))

    def _read_index(self) -> pl.DataFrame:
        path = self._root / "index.parquet"
        index = read_table(path)
        manifest = self._manifest
        wanted = {"id": True, "label": manifest.labels is not None, "steps": manifest.ragged}
        if len(index) != manifest.samples or any((name in index.columns) != there for name, there in wanted.items()):
            raise RecordError(
                f"{path}: {len(index)} rows with the columns {index.columns}",
                expected=f"{manifest.samples} rows with {', '.join(name for name, there in wanted.items() if there)}",
                fix="restore the file, or pack anew",
            )
        return index

    def _read_steps(self, index: pl.DataFrame) -> NDArray[np.int64]:
        lengths = index["steps"]
        sound = lengths.dtype.is_integer() and not lengths.null_count() and (lengths >= 0).all()
        if not sound or lengths.sum() != self._manifest.steps:
            raise RecordError(
                f"{self._root / 'index.parquet'}: steps of type {lengths.dtype}",
                expected=f"whole numbers that sum to {self._manifest.steps}, as pack.json says",
                fix="restore the file, or pack anew",
            )
        return np.concatenate([[0], np.cumsum(lengths.to_numpy(), dtype=np.int64)])

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
        leaves = self._from_files(indices) if memory is None else [taken(array, indices) for array in memory]
        batch = rebuild(self._manifest.tree, leaves)
        self._look.check(indices, batch, self._named)
        return batch

    def _read_into(self, out: Any, indices: NDArray[np.int64]) -> None:
        if not self.in_memory or self.ragged:
            super()._read_into(out, indices)
            return
        whole = rebuild(self._manifest.tree, self._in_memory())
        for into, array in pairs(out, whole):
            take_into(into, array, indices)
        self._look.check(indices, out, self._named)

    def _named(self, position: int) -> str:
        return f"the record of ID {self.ids[position]!r} in {self._root}"

    # -- held in memory --------------------------------------------------------------------------------

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
                for done in range(0, len(body), _READ):
                    piece = body[done : done + _READ]
                    if file.readinto(piece) != len(piece):
                        raise _truncated(path)
                    digest.update(piece)
            if digest.hexdigest() != manifest.digests[file_name(leaf, shard)]:
                raise RecordError(
                    f"{path}: another SHA-256 than pack.json says",
                    expected="the file as it was packed",
                    fix="restore the file, or pack anew",
                )
        return Ragged(array, np.diff(begin)) if what.ragged else array

    # -- read from the files ---------------------------------------------------------------------------

    def _from_files(self, indices: NDArray[np.int64]) -> list[NDArray[Any] | Ragged]:
        began = time.perf_counter()
        order = np.argsort(indices)  # that of the files; on a disk it is the shorter way
        leaves = [self._leaf_from_files(leaf, what, indices, order) for leaf, what in enumerate(self._manifest.leaves)]
        self._slow = time.perf_counter() - began > _SLOW * max(len(indices), 1) * len(leaves)
        return leaves

    def _leaf_from_files(
        self, leaf: int, what: Leaf, indices: NDArray[np.int64], order: NDArray[np.int64]
    ) -> NDArray[Any] | Ragged:
        begin, shards = self._begin(leaf), indices // self._manifest.rows
        rows = begin[indices + 1] - begin[indices]
        values = np.empty((int(rows.sum()), *what.shape), what.dtype)
        # In bytes: size of each record, its place in the batch, and in its file.
        sizes = rows * what.nbytes
        into = np.cumsum(sizes) - sizes
        offsets = self._starts[leaf][shards] + (begin[indices] - begin[shards * self._manifest.rows]) * what.nbytes
        places = list(zip(*(part[order].tolist() for part in (shards, sizes, into, offsets)), strict=True))
        body, opened = _bytes_of(values), self._files
        descriptors = {shard: opened(self._path(leaf, shard)) for shard in {shard for shard, *_ in places}}
        if self._slow and hasattr(os, "posix_fadvise"):
            # All at once: the disk works on many while the first is waited for.
            for shard, size, _, offset in places:
                os.posix_fadvise(descriptors[shard], offset, size, os.POSIX_FADV_WILLNEED)
        for shard, size, at, offset in places:
            if size and opened.read(descriptors[shard], body[at : at + size], offset) != size:
                raise _truncated(self._path(leaf, shard))
        return Ragged(values, rows) if what.ragged else values

    def __getstate__(self) -> dict[str, Any]:
        # Not what was loaded: another process reads the files, rather than receive them.
        return {**self.__dict__, "_lock": None, "_files": None, "_arrays": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock(), _files=_Files())


class _Files:
    """Open files by path, closed with their owner. Reading says where, so threads and forks may share them."""

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
            """Bytes read at an offset."""
            return os.preadv(descriptor, [into], offset)

    else:  # Windows

        def read(self, descriptor: int, into: memoryview, offset: int) -> int:
            """Bytes read at an offset."""
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
    return RecordError(f"{path}: truncated", expected="the file as it was packed", fix="restore the file, or pack anew")
