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

__all__ = [
    "KnownFile",
    "MappedFile",
    "absolute",
    "files_in",
    "known_files",
    "mapped_files",
    "read_whole",
    "read_within",
    "refuse_link_out",
]


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
        try:
            with open(name, "rb"):
                pass  # permissions are told here, not by each library in its own words
        except OSError as error:
            raise _unreadable(name, error) from error
        if not found.size:
            raise RecordError(f"{name}: empty", expected="a whole file", fix="write the file again")
        return found

    @classmethod
    def _now(cls, name: str) -> "KnownFile":
        try:
            found = os.stat(name)
        except OSError as error:
            raise _unreadable(name, error) from error
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
            raise DataError(
                f"{error.filename}: {error.strerror}", expected="a folder that can be read", fix="check the path"
            ) from error
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


def _unreadable(name: str, error: OSError) -> RecordError:
    return RecordError(
        f"{name}: {error.strerror}", expected="a file that can be read", fix="check the path and its permissions"
    )


def read_whole(path: str | PathLike[str], most: int, *, follow: bool = True) -> bytes:
    """A whole regular file. A pipe, a socket or a device is refused without waiting for it.

    Args:
        path: The file.
        most: The largest number of bytes that is read.
        follow: Whether the path may be a link.
    Raises:
        RecordError: beginning with the path: missing, unreadable, no regular file, or larger than `most` bytes.
    """
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    name = fspath(path)
    try:
        with os.fdopen(os.open(name, flags | (0 if follow else getattr(os, "O_NOFOLLOW", 0))), "rb") as file:
            found = os.fstat(file.fileno())
            if stat.S_ISREG(found.st_mode) and found.st_size <= most:
                content = file.read(found.st_size + 1)
                if len(content) <= found.st_size:
                    return content
                raise RecordError(f"{name}: a file that grows", expected="a whole file", fix="wait until it is whole")
            what = f"{found.st_size} bytes" if stat.S_ISREG(found.st_mode) else "not a regular file"
    except RecordError:
        raise
    except OSError as error:
        raise _unreadable(name, error) from error
    except ValueError as error:  # NUL in the path
        raise RecordError(f"{name!r}: {error}", expected="a path", fix="check the path") from error
    raise RecordError(
        f"{name}: {what}",
        expected=f"a regular file of at most {most} bytes",
        fix="check the path, or write the file again",
    )


def refuse_link_out(path: str | PathLike[str], root: str | PathLike[str]) -> str:
    """Where a path leads, which must be within the folder `root`.

    Raises:
        RecordError: beginning with the path.
    """
    real, within = os.path.realpath(path), os.path.realpath(root)
    if os.path.commonpath([within, real]) != within:
        raise RecordError(
            f"{fspath(path)}: a link out of the folder, to {real}",
            expected="files within the folder",
            fix="copy the file into the folder",
        )
    return real


def read_within(path: str, root: str, most: int) -> bytes:
    """A whole file that lies in the folder `root`, where it was listed.

    Raises:
        RecordError: beginning with the path: as of `read_whole`, empty, or since replaced by a link out of the folder.
    """
    real = refuse_link_out(path, root) if os.path.islink(path) else path
    # Not followed again: nobody can put a link in its place meanwhile.
    content = read_whole(real, most, follow=False)
    if not content:
        raise RecordError(f"{path}: empty", expected="a whole file", fix="write the file again, or remove it")
    return content
