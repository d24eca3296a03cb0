"""Lists of the files of a data set without links out of their folder, and detection of files that changed."""

import mmap
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from tailfit.errors import ArgumentError, DataError, RecordError
from tailfit.storage.reading import open_regular, refuse_link_out, unreadable

__all__ = ["KnownFile", "MappedFile", "absolute", "files_in", "known_files", "mapped_files"]


@dataclass(frozen=True)
class KnownFile:
    """The state of a file when its source was made, on which offsets and shapes in the source depend.

    Attributes:
        path: Absolute path.
        size: Size in bytes.
        changed: Modification time in nanoseconds.
    """

    path: str
    size: int
    changed: int

    @classmethod
    def of(cls, path: str | PathLike[str]) -> "KnownFile":
        """Return the state of the regular file at a path.

        Raises:
            RecordError: If the file is missing, unreadable, empty, or not a regular file. The message begins with its
                path.
        """
        name = absolute(path)
        with open_regular(name, buffering=0) as opened:  # so that missing permissions give one error for all formats
            found = os.fstat(opened.fileno())
        if not found.st_size:
            raise RecordError(f"{name}: an empty file", expected="an intact file", fix="write the file again")
        return cls(name, found.st_size, found.st_mtime_ns)

    @classmethod
    def _now(cls, name: str) -> "KnownFile":
        try:
            found = os.stat(name)
        except OSError as error:
            raise unreadable(name, error) from error
        if not stat.S_ISREG(found.st_mode):
            raise RecordError(f"{name}: not a regular file", expected="a regular file", fix="check the path")
        return cls(name, found.st_size, found.st_mtime_ns)

    def check(self) -> None:
        """Check that the file is unchanged.

        Raises:
            RecordError: If it was changed, truncated or removed. The message begins with its path.
        """
        now = self._now(self.path)
        if now != self:
            raise RecordError(
                f"{self.path}: changed since it was opened ({self.size} bytes then, {now.size} now)",
                expected="files that do not change while they are read",
                fix="open the source again when the file is complete",
            )


@dataclass(frozen=True)
class MappedFile:
    """The file of a memory-mapped array; reading past its end would kill the process with SIGBUS.

    Attributes:
        path, inode: Path and inode of the file.
        needed: Minimum size in bytes.
    """

    path: str
    inode: int
    needed: int

    @classmethod
    def of(cls, array: np.memmap[Any, Any]) -> "MappedFile | None":
        """Return the file of a memmap or a view of one; None if the file has no name."""
        base: Any = array
        while isinstance(base, np.ndarray):
            base = base.base
        if array.filename is None or not isinstance(base, mmap.mmap):
            return None
        start = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY  # a mapping starts at a page boundary
        name = str(Path(fspath(array.filename)).absolute())
        try:
            return cls(name, os.stat(name).st_ino, start + len(base))
        except OSError:  # the file was removed, but its mapping remains valid
            return None

    def check(self) -> None:
        """Check that the file was not truncated; it could still be truncated between this check and the read.

        Raises:
            RecordError: If it is too short. The message begins with its path.
        """
        try:
            found = os.stat(self.path)
        except OSError:
            return
        if found.st_ino == self.inode and found.st_size < self.needed:
            raise RecordError(
                f"{self.path}: truncated to {found.st_size} bytes while it is memory-mapped",
                expected=f"a file of at least the {self.needed} bytes of the array",
                fix="open it again when it is complete; to replace a file, rename a new file to its name",
            )


def mapped_files(arrays: Iterable[Any]) -> tuple[MappedFile, ...]:
    """Return the files of all memmaps among some arrays."""
    files = [MappedFile.of(array) for array in arrays if isinstance(array, np.memmap)]
    return tuple(file for file in files if file is not None)


def known_files(
    path: str | PathLike[str] | Sequence[str | PathLike[str]], suffixes: Collection[str]
) -> list[KnownFile]:
    """Return a file, the files of a folder that end in one of `suffixes` sorted by name, or a list of files.

    Raises:
        DataError: If there is no file.
        RecordError: If a file can't be read.
    """
    if isinstance(path, Sequence) and not isinstance(path, str | bytes):
        paths = [absolute(one) for one in path]
    elif os.path.isdir(absolute(path)):
        paths = sorted(entry for entry in files_in(path) if entry.lower().endswith(tuple(suffixes)))
    else:
        paths = [absolute(path)]
    if not paths:
        raise DataError(
            f"{path}: no such files", expected=f"files that end in {', '.join(suffixes)}", fix="check the path"
        )
    return [KnownFile.of(one) for one in paths]


def files_in(folder: str | PathLike[str], *, deep: bool = False, hidden: bool = False) -> Iterator[str]:
    """Yield the paths of the files in a folder, with `deep` also in its subfolders, with `hidden` also `.name`s.

    Raises:
        DataError: If the folder does not exist.
        RecordError: If it contains a link out of it, or anything except files and folders.
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
                raise RecordError(
                    f"{entry.path}: not a regular file", expected="only files and folders", fix="remove it"
                )


def absolute(path: str | PathLike[str]) -> str:
    """Return the absolute path.

    Raises:
        ArgumentError: If `path` is not a path.
    """
    if not isinstance(path, str | PathLike):
        raise ArgumentError(
            f"a path of type {type(path).__name__}", expected="a str or Path", fix="pass the path of a file or folder"
        )
    text = fspath(path)
    if isinstance(text, str) and os.path.isabs(text) and os.path.normpath(text) == text:
        return text  # the usual case, of the files in a folder
    return str(Path(text).absolute())
