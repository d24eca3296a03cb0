"""Files of a data set: listed without following links out of their folder, and known again when they are read."""

import mmap
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

import numpy as np

from tailfit.errors import ArgumentError, DataError, RecordError
from tailfit.storage.reading import open_regular, refuse_link_out, unreadable

__all__ = ["KnownFile", "MappedFile", "absolute", "files_in", "known_files", "mapped_files"]


@dataclass(frozen=True)
class KnownFile:
    """A file as it was when its source was made: offsets and shapes read from it then hold for that one only.

    Attributes:
        path: Where it is.
        size, changed: Its bytes, and the time of its last change in nanoseconds.
    """

    path: str
    size: int
    changed: int

    @classmethod
    def of(cls, path: str | PathLike[str]) -> "KnownFile":
        """The regular file at a path.

        Raises:
            RecordError: beginning with the path: missing, unreadable, empty, or none.
        """
        name = absolute(path)
        found = cls._now(name)
        open_regular(name).close()  # permissions are told here, not by each library in its own words
        if not found.size:
            raise RecordError(f"{name}: empty", expected="a whole file", fix="write the file again")
        return found

    @classmethod
    def _now(cls, name: str) -> "KnownFile":
        try:
            found = os.stat(name)
        except OSError as error:
            raise unreadable(name, error) from error
        if not stat.S_ISREG(found.st_mode):
            raise RecordError(f"{name}: not a regular file", expected="a file", fix="check the path")
        return cls(name, found.st_size, found.st_mtime_ns)

    def check(self) -> None:
        """Refuse the file if it was changed, truncated or taken away since.

        Raises:
            RecordError: beginning with the path.
        """
        now = self._now(self.path)
        if now != self:
            raise RecordError(
                f"{self.path}: changed since it was opened ({self.size} bytes then, {now.size} now)",
                expected="files that stay as they are while they are read",
                fix="open the source again when the file is whole",
            )


@dataclass(frozen=True)
class MappedFile:
    """A file that an array is mapped from: reading past its end ends the process (SIGBUS), not the call.

    Attributes:
        path, inode: Which file.
        needed: Bytes that it must have.
    """

    path: str
    inode: int
    needed: int

    @classmethod
    def of(cls, array: np.memmap[Any, Any]) -> "MappedFile | None":
        """Of a memmap or a view of one; None where its file has no name."""
        base: Any = array
        while isinstance(base, np.ndarray):
            base = base.base
        if array.filename is None or not isinstance(base, mmap.mmap):
            return None
        start = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY  # what is mapped begins with a page
        name = os.path.abspath(fspath(array.filename))
        try:
            return cls(name, os.stat(name).st_ino, start + len(base))
        except OSError:  # removed meanwhile: what is mapped stays
            return None

    def check(self) -> None:
        """Refuse the file if it is shorter by now. Between this look and the reading it may still become so.

        Raises:
            RecordError: beginning with the path.
        """
        try:
            found = os.stat(self.path)
        except OSError:
            return
        if found.st_ino == self.inode and found.st_size < self.needed:
            raise RecordError(
                f"{self.path}: truncated to {found.st_size} bytes while it is mapped",
                expected=f"the {self.needed} bytes that the array lies in",
                fix="open it again when it is whole; to replace a file, rename another one to its name",
            )


def mapped_files(arrays: Iterable[Any]) -> tuple[MappedFile, ...]:
    """Those of the memmaps among some arrays."""
    files = [MappedFile.of(array) for array in arrays if isinstance(array, np.memmap)]
    return tuple(file for file in files if file is not None)


def known_files(
    path: str | PathLike[str] | Sequence[str | PathLike[str]], suffixes: Collection[str]
) -> list[KnownFile]:
    """One file; those of a folder, by name, that end in one of `suffixes`; or a list of files, in its order.

    Raises:
        DataError: if there is none.
        RecordError: for one that can't be read.
    """
    if isinstance(path, Sequence) and not isinstance(path, str | bytes):
        paths = [absolute(one) for one in path]
    elif os.path.isdir(absolute(path)):
        paths = sorted(entry for entry in files_in(path) if entry.lower().endswith(tuple(suffixes)))
    else:
        paths = [absolute(path)]
    if not paths:
        raise DataError(
            f"{path}: no file to read", expected=f"files that end in {', '.join(suffixes)}", fix="check the path"
        )
    return [KnownFile.of(one) for one in paths]


def files_in(folder: str | PathLike[str], *, deep: bool = False, hidden: bool = False) -> Iterator[str]:
    """The paths of a folder's files, and with `deep` of those in the folders within it; `.name`s only if `hidden`.

    Raises:
        DataError: if there is no such folder.
        RecordError: for a link out of it, or what is neither a file nor a folder.
    """
    pending = [absolute(folder)]
    root = os.path.realpath(pending[0])
    while pending:
        try:
            entries = sorted(os.scandir(pending.pop()), key=lambda entry: entry.name)
        except OSError as error:
            raise unreadable(str(error.filename), error, "a folder") from error
        for entry in entries:
            if entry.name.startswith(".") and not hidden:
                continue
            if entry.is_symlink():
                refuse_link_out(entry.path, root)
            if entry.is_dir(follow_symlinks=False):
                if deep:
                    pending.append(entry.path)
            elif entry.is_file():
                yield entry.path
            else:
                raise RecordError(f"{entry.path}: not a regular file", expected="files and folders", fix="remove it")


def absolute(path: str | PathLike[str]) -> str:
    """The whole path.

    Raises:
        ArgumentError: for what is none.
    """
    if not isinstance(path, str | PathLike):
        raise ArgumentError(f"a path of type {type(path).__name__}", expected="text or a Path", fix="pass one")
    return os.path.abspath(fspath(path))
