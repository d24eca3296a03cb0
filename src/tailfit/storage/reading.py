"""The one way to open a file for reading: a regular file, without waiting for it, and no larger than expected.

What lies at a path may be anything: a pipe that nobody writes to, a socket, a device that never ends, a terabyte of
nothing. None of them is waited for, and nothing is read of what is larger than it may be.
"""

import codecs
import errno
import hashlib
import os
import stat
from io import BufferedReader
from os import PathLike, fspath
from typing import Any, Final, cast

from tailfit.errors import RecordError

__all__ = [
    "check_replaceable",
    "decoded",
    "digest_of",
    "open_regular",
    "read_text",
    "read_whole",
    "read_within",
    "refuse_link_out",
    "unreadable",
]

# O_NONBLOCK: opening a pipe would wait for somebody to write to it.
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
# The longer byte-order mark first: UTF-32's begins with UTF-16's.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)


def open_regular(
    path: str | PathLike[str], most: int | None = None, *, follow: bool = True, buffering: int = -1
) -> BufferedReader:
    """Open a regular file for reading in binary mode. A pipe, a socket or a device is refused without waiting for it.

    Args:
        path: The file.
        most: The largest size in bytes; None if the caller bounds what it reads.
        follow: Whether the path may be a link.
        buffering: As for the built-in `open`.
    Raises:
        RecordError: beginning with the path: missing, unreadable, not a regular file, or larger than `most` bytes. Its
            `__cause__` is the system's error, if there was one.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     open_regular(folder)  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    tailfit.errors.RecordError: Received ...: not a regular file (a folder). Expected a regular file. Fix: ...
    """
    name = fspath(path)
    try:
        # Looked at first: opening a device may set it to work.
        _check(name, os.stat(name, follow_symlinks=follow), most)
        descriptor = os.open(name, _FLAGS | (0 if follow else _NO_FOLLOW))
    except RecordError:
        raise
    except OSError as error:
        raise unreadable(name, error) from error
    except ValueError as error:  # NUL in the path
        raise RecordError(f"{name!r}: {error}", expected="a path", fix="check the path") from error
    try:
        _check(name, os.fstat(descriptor), most)  # what was opened need not be what was looked at
        return cast(BufferedReader, os.fdopen(descriptor, "rb", buffering))
    except BaseException:
        os.close(descriptor)
        raise


def _check(name: str, found: os.stat_result, most: int | None) -> None:
    regular = stat.S_ISREG(found.st_mode)
    if regular and (most is None or found.st_size <= most):
        return
    kind = next((what for is_kind, what in _KINDS if is_kind(found.st_mode)), "something else")
    raise RecordError(
        f"{name}: {f'{found.st_size} bytes' if regular else f'not a regular file ({kind})'}",
        expected="a regular file" if most is None else f"a regular file of at most {most} bytes",
        fix="check the path, or write the file again" if regular else "check the path",
    )


def unreadable(name: str, error: OSError, what: str = "a file") -> RecordError:
    """The error for a file, or a folder, that the system does not open."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return RecordError(
            f"{name}: {error.strerror}",
            expected="a limit that leaves room for one more open file",
            fix="raise the limit on open files (ulimit -n), or close what is not needed",
        )
    return RecordError(
        f"{name}: {error.strerror or error}",
        expected=f"{what} that can be read",
        fix="check the path and its permissions",
    )


def read_whole(path: str | PathLike[str], most: int, *, follow: bool = True) -> bytes:
    """Read a whole regular file.

    Args:
        path: The file.
        most: The largest number of bytes that is read.
        follow: Whether the path may be a link.
    Raises:
        RecordError: as `open_regular`, and for a file that grows while it is read.
    """
    with open_regular(path, most, follow=follow) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            content = file.read(size + 1)
        except OSError as error:
            raise unreadable(fspath(path), error) from error
    if len(content) > size:
        raise RecordError(f"{fspath(path)}: a file that grows", expected="a whole file", fix="wait until it is whole")
    return content


def read_text(path: str | PathLike[str], most: int) -> str:
    """Read a whole file of text: UTF-8, or what its byte-order mark says.

    Raises:
        RecordError: as `read_whole`, and for other bytes, naming their line.
    """
    return decoded(read_whole(path, most), fspath(path))


def decoded(content: bytes, name: str) -> str:
    """Decode text: UTF-8, or what its byte-order mark says.

    Raises:
        RecordError: beginning with `name`, and naming the line.

    >>> decoded(b"\\xff\\xfea\\x00", "labels.csv")
    'a'
    """
    encoding = next((encoding for mark, encoding in _MARKS if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RecordError(
            f"{name}: the byte 0x{content[error.start]:02x} in line {line}, which is not {encoding.upper()}",
            expected="text in UTF-8, or UTF-16 with a byte-order mark",
            fix="save it as UTF-8 ('CSV UTF-8' in Excel)",
        ) from error


def digest_of(path: str | PathLike[str], most: int | None = None) -> dict[str, Any]:
    """Size and SHA-256 of a regular file, as JSON.

    Raises:
        RecordError: as `open_regular`.
    """
    with open_regular(path, most) as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": os.fstat(file.fileno()).st_size, "sha256": checksum}


def refuse_link_out(path: str | PathLike[str], root: str | PathLike[str]) -> str:
    """Resolve a path, which must lead to a place within the folder `root`.

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
    """Read a whole file that was listed in the folder `root`.

    Raises:
        RecordError: beginning with the path: as of `read_whole`, empty, or since replaced by a link out of the folder.
    """
    real = refuse_link_out(path, root) if os.path.islink(path) else path
    # Not followed again: nobody can put a link in its place meanwhile.
    content = read_whole(real, most, follow=False)
    if not content:
        raise RecordError(f"{path}: empty", expected="a whole file", fix="write the file again, or remove it")
    return content


def check_replaceable(path: str | PathLike[str]) -> None:
    """Refuse to write where something else than a regular file is.

    Others may open such a path for writing themselves, and would wait at a pipe, or write into a device.

    Raises:
        RecordError: beginning with the path.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise unreadable(fspath(path), error) from error
    _check(fspath(path), found, None)
