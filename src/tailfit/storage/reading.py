"""Opening of files for reading: only regular files, without blocking, and of bounded size.

A path may lead to a pipe without a writer, a socket, an endless device, or a sparse file of a terabyte. Opening one of
them never blocks, and nothing is read from a file larger than the caller allows.
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

# O_NONBLOCK: without it, opening a pipe would wait for a writer.
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
    """Open a regular file for reading in binary mode; pipes, sockets and devices are refused without blocking.

    Args:
        path: The file.
        most: Largest size in bytes; None if the caller bounds the number of bytes that it reads.
        follow: Whether the path may be a link.
        buffering: See the built-in `open`.
    Raises:
        RecordError: If the file is missing, unreadable, not a regular file, or larger than `most` bytes. The message
            begins with the path; `__cause__` is the system's error, if there was one.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     open_regular(folder)  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    tailfit.errors.RecordError: Received ...: not a regular file (a folder). Expected a regular file. Fix: ...
    """
    name = fspath(path)
    try:
        # Checked before opening, because opening a device may have side effects.
        _check(name, os.stat(name, follow_symlinks=follow), most)
        descriptor = os.open(name, _FLAGS | (0 if follow else _NO_FOLLOW))
    except RecordError:
        raise
    except OSError as error:
        raise unreadable(name, error) from error
    except ValueError as error:  # NUL in the path
        raise RecordError(f"{name!r}: {error}", expected="a valid path", fix="correct the path") from error
    try:
        _check(name, os.fstat(descriptor), most)  # again, because the file may have been replaced in between
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
    """Return the error for a file or folder that the system can't open or read.

    Args:
        name: Path in the message.
        error: The system's error.
        what: `"a file"` or `"a folder"`.
    """
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return RecordError(
            f"{name}: {error.strerror}",
            expected="fewer open files than the limit",
            fix="raise the limit on open files (ulimit -n), or close files that are not needed",
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
        most: Largest size in bytes.
        follow: Whether the path may be a link.
    Raises:
        RecordError: If the file grows while it is read; also see `open_regular`.
    """
    with open_regular(path, most, follow=follow) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            content = file.read(size + 1)
        except OSError as error:
            raise unreadable(fspath(path), error) from error
    if len(content) > size:
        raise RecordError(
            f"{fspath(path)}: a file that grows while it is read",
            expected="a complete file",
            fix="wait until the file is complete",
        )
    return content


def read_text(path: str | PathLike[str], most: int) -> str:
    """Read a whole text file, in UTF-8 or the encoding of its byte-order mark.

    Raises:
        RecordError: If the bytes are not valid text, with the line number; also see `read_whole`.
    """
    return decoded(read_whole(path, most), fspath(path))


def decoded(content: bytes, name: str) -> str:
    """Decode text in UTF-8 or the encoding of its byte-order mark.

    Raises:
        RecordError: If the bytes are not valid text. The message begins with `name`, and contains the line number.

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
    """Return size and SHA-256 of a regular file, as JSON.

    Raises:
        RecordError: See `open_regular`.
    """
    with open_regular(path, most) as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": os.fstat(file.fileno()).st_size, "sha256": checksum}


def refuse_link_out(path: str | PathLike[str], root: str | PathLike[str]) -> str:
    """Resolve the links of a path, which must stay inside the folder `root`.

    Raises:
        RecordError: If the path leads out of the folder. The message begins with the path.
    """
    real, within = os.path.realpath(path), os.path.realpath(root)
    if os.path.commonpath([within, real]) != within:
        raise RecordError(
            f"{fspath(path)}: a link out of the folder, to {real}",
            expected="a file inside the folder",
            fix="copy the file into the folder",
        )
    return real


def read_within(path: str, root: str, most: int) -> bytes:
    """Read a whole file that was listed in the folder `root`.

    Raises:
        RecordError: If the file is empty, or is a link out of the folder; also see `read_whole`.
    """
    real = refuse_link_out(path, root) if os.path.islink(path) else path
    # follow=False, because the file may have been replaced by a link since the check.
    content = read_whole(real, most, follow=False)
    if not content:
        raise RecordError(f"{path}: empty", expected="a file with contents", fix="write the file again, or remove it")
    return content


def check_replaceable(path: str | PathLike[str]) -> None:
    """Check that a path is free or a regular file, so that it can be replaced by a new file.

    Other libraries that open the path for writing would otherwise block on a pipe, or write to a device.

    Raises:
        RecordError: If something other than a regular file is at the path. The message begins with the path.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise unreadable(fspath(path), error) from error
    _check(fspath(path), found, None)
