"""Writing what a server sends: never more than it announced or there is room for, and nothing left behind.

A part is a file under a name of its own, locked while its process is at work on it. So a part that a killed process
left is told from one in use, and the next download removes it.
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tailfit.errors import DataError, RecordError

try:
    import fcntl
except ImportError:  # Windows, where a file that is open can't be removed
    fcntl = None  # type: ignore[assignment]

__all__ = ["part_of", "received", "remove_abandoned"]

_COPIED = 1 << 22  # bytes at once
_SPARE = 1 << 28  # bytes of the disk left free by a file of unknown size


def received(remote: IO[bytes], out: IO[bytes], announced: int | None, folder: Path, shown: str) -> tuple[int, str]:
    """Copy what a server sends, no more than it announced; how many bytes came, and their SHA-256."""
    digest, size = hashlib.sha256(), 0
    while (announced is None or size <= announced) and (piece := remote.read(_COPIED)):
        if announced is None:
            _check_unannounced(piece if not size else b"", size, folder, shown)
        digest.update(piece)
        size += out.write(piece)
    out.flush()
    os.fsync(out.fileno())
    return size, digest.hexdigest()


def _check_unannounced(beginning: bytes, size: int, folder: Path, shown: str) -> None:
    """Bound a file of unknown size by the free room; refuse one that a server compressed for the transfer."""
    if beginning.startswith(b"\x1f\x8b") and not shown.endswith("gz"):
        raise RecordError(
            f"{shown}: sent compressed (Content-Encoding: gzip), though that was not asked for",
            expected="the bytes of the file itself",
            fix="switch the compression off on the server, or download the file by other means",
        )
    free = shutil.disk_usage(folder).free
    if free < _SPARE:
        raise DataError(
            f"{shown}: a file of unknown size, {size} bytes of which came; {free} bytes are left in {folder}",
            expected=f"a file that leaves {_SPARE} bytes free",
            fix="pass cache= a folder with more room, or check what the URL gives",
        )


@contextlib.contextmanager
def part_of(folder: Path) -> Iterator[tuple[IO[bytes], str]]:
    """A new file under a name of its own, readable by this user only; removed unless it was renamed.

    Another process may copy the same file at the same time. The lock says that this one is at work.
    """
    while True:
        handle, fresh = tempfile.mkstemp(prefix=".", suffix=".part", dir=folder)
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # else taken for an abandoned one before it was locked
            break
        os.close(handle)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file, fresh
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)


def remove_abandoned(folder: Path) -> None:
    """Remove the parts that killed processes left; those at work hold a lock on theirs."""
    for path in folder.rglob(".*.part"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
