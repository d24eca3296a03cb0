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

from tailfit.data.finite import FirstLook
from tailfit.data.memory import available_memory
from tailfit.data.metadata import read_table
from tailfit.data.npy import read_header
from tailfit.data.pack_format import Leaf, Manifest, file_name, rebuild
from tailfit.data.source import Source
from tailfit.errors import ArgumentError, DataError, RecordError
from tailfit.labels import encode

__all__ = ["Packed"]

_SHARE = 0.5  # of the memory that is free, for `memory="auto"`
_READ = 1 << 24  # bytes hashed at once
# Records that took longer than this came from a disk, not from the page cache: the next batch is announced first.
_SLOW = 20e-6


class Packed(Source):
    """A folder that `tailfit.data.pack` wrote.

    Args:
        path: The folder.
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
        self, path: str | PathLike[str], *, memory: bool | Literal["auto"] = "auto", nan: str = "raise"
    ) -> None:
        root = Path(fspath(path))
        if not (root / "pack.json").is_file():
            raise DataError(
                f"{root}: {'no pack.json in it' if root.is_dir() else 'no such folder'}",
                allowed="a folder that tailfit.data.pack wrote",
                mend="check the path; a folder named .<name>.partial is not finished: pack again",
            )
        if memory not in (True, False, "auto"):
            raise ArgumentError(f"memory={memory!r}", allowed="True, False or 'auto'", mend="leave it out")
        self._root: Final = root
        self._manifest: Final = Manifest.read(root / "pack.json")
        self._starts: Final = [self._checked_files(leaf) for leaf in range(len(self._manifest.leaves))]
        super().__init__(*self._read_index())
        size = self._manifest.record_bytes * len(self)
        self.in_memory = size <= _SHARE * available_memory() if memory == "auto" else memory
        self._look: Final = FirstLook(len(self), nan)
        self._lock = threading.Lock()
        self._arrays: list[NDArray[Any]] | None = None
        self._files = _Files()
        self._slow = False

    def _checked_files(self, leaf: int) -> list[int]:
        """Where the records begin in each of a leaf's files, whose headers and sizes are as they should be."""
        manifest, starts = self._manifest, []
        for shard in range(manifest.shards):
            path = self._path(leaf, shard)
            header = read_header(path)
            expected = (manifest.rows_of(shard), *manifest.leaves[leaf].shape)
            if (header.shape, header.dtype, header.fortran) != (expected, manifest.leaves[leaf].dtype, False):
                raise RecordError(
                    f"{path}: {header}",
                    allowed=f"shape {expected}, type {manifest.leaves[leaf].dtype}, as pack.json says",
                    mend="restore the file, or pack anew",
                )
            starts.append(len(header.raw))
        return starts

    def _path(self, leaf: int, shard: int) -> str:
        return str(self._root / "data" / file_name(leaf, shard))

    def _read_index(self) -> tuple[tuple[str, ...], Any, pl.DataFrame | None]:
        path = self._root / "index.parquet"
        index = read_table(path)
        manifest = self._manifest
        labelled = manifest.labels is not None
        if len(index) != manifest.samples or "id" not in index.columns or labelled != ("label" in index.columns):
            raise RecordError(
                f"{path}: {len(index)} rows with the columns {index.columns}",
                allowed=f"{manifest.samples} rows with id{', label' if labelled else ''}",
                mend="restore the file, or pack anew",
            )
        ids = tuple(index["id"].cast(pl.String).to_list())
        labels = None
        if labelled:
            values = np.array(index["label"].to_list())
            labels = encode(values, class_names=manifest.class_names, ids=ids)
        metadata = index.select("id", pl.col("^metadata\\..*$").name.map(lambda name: name.removeprefix("metadata.")))
        return ids, labels, metadata if metadata.width > 1 else None

    def _read(self, indices: NDArray[np.int64]) -> Any:
        leaves = self._from_memory(indices) if self.in_memory else self._from_files(indices)
        batch = rebuild(self._manifest.tree, leaves)
        self._look.check(indices, batch, self._named)
        return batch

    def _named(self, position: int) -> str:
        return f"the record of ID {self.ids[position]!r} in {self._root}"

    # -- held in memory --------------------------------------------------------------------------------

    def _from_memory(self, indices: NDArray[np.int64]) -> list[NDArray[Any]]:
        if self._arrays is None:
            with self._lock:
                if self._arrays is None:
                    self._arrays = [self._loaded(leaf) for leaf in range(len(self._manifest.leaves))]
        return [array.take(indices, axis=0) for array in self._arrays]

    def _loaded(self, leaf: int) -> NDArray[Any]:
        manifest, what = self._manifest, self._manifest.leaves[leaf]
        array = np.empty((manifest.samples, *what.shape), what.dtype)
        for shard in range(manifest.shards):
            path, start = self._path(leaf, shard), shard * manifest.rows
            part = array[start : start + manifest.rows_of(shard)]
            digest, body = hashlib.sha256(), _bytes_of(part)
            with open(path, "rb") as file:
                digest.update(file.read(self._starts[leaf][shard]))
                for begin in range(0, len(body), _READ):
                    piece = body[begin : begin + _READ]
                    if file.readinto(piece) != len(piece):
                        raise _truncated(path)
                    digest.update(piece)
            if digest.hexdigest() != manifest.digests[file_name(leaf, shard)]:
                raise RecordError(
                    f"{path}: another SHA-256 than pack.json says",
                    allowed="the file as it was packed",
                    mend="restore the file, or pack anew",
                )
        return array

    # -- read from the files ---------------------------------------------------------------------------

    def _from_files(self, indices: NDArray[np.int64]) -> list[NDArray[Any]]:
        shards, rows = np.divmod(indices, self._manifest.rows)
        # In the order of the files; on a disk that is the shorter way.
        order = np.argsort(indices).tolist()
        places = list(zip(order, shards[order].tolist(), rows[order].tolist(), strict=True))
        began = time.perf_counter()
        leaves = [self._leaf_from_files(leaf, what, places) for leaf, what in enumerate(self._manifest.leaves)]
        self._slow = time.perf_counter() - began > _SLOW * max(len(indices), 1) * len(leaves)
        return leaves

    def _leaf_from_files(self, leaf: int, what: Leaf, places: list[tuple[int, int, int]]) -> NDArray[Any]:
        out = np.empty((len(places), *what.shape), what.dtype)
        size, starts = what.nbytes, self._starts[leaf]
        if not size:
            return out
        body, opened = _bytes_of(out), self._files
        descriptors = {shard: opened(self._path(leaf, shard)) for shard in {shard for _, shard, _ in places}}
        if self._slow and hasattr(os, "posix_fadvise"):
            # All at once: the disk works on many while the first is waited for.
            for _, shard, row in places:
                os.posix_fadvise(descriptors[shard], starts[shard] + row * size, size, os.POSIX_FADV_WILLNEED)
        for at, shard, row in places:
            piece = body[at * size : (at + 1) * size]
            if opened.read(descriptors[shard], piece, starts[shard] + row * size) != size:
                raise _truncated(self._path(leaf, shard))
        return out

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
                    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
                    self._opened[path] = descriptor
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
    return RecordError(f"{path}: truncated", allowed="the file as it was packed", mend="restore the file, or pack anew")
