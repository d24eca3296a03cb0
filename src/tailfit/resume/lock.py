"""One process at a time in a run's directory: the system takes the lock back when its holder dies, however it does."""

import os
import platform
import stat
import sys
from pathlib import Path
from typing import Any

from tailfit.errors import CheckpointError
from tailfit.storage.reading import check_replaceable, unreadable

__all__ = ["Lock"]


class Lock:
    """The file `lock` in a directory, held.

    Raises:
        CheckpointError: another process holds it, or another `fit` of this one.
        OSError: where the file can't be made.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / "lock"
        self._file: int | None = _opened(path)
        try:
            _lock(self._file)
        except BlockingIOError:
            holder = os.pread(self._file, 200, 0).decode(errors="replace").strip() if hasattr(os, "pread") else ""
            self.release()
            raise CheckpointError(
                f"{directory}, where another run is at work ({holder or 'see the file lock'})",
                expected="one run at a time in a directory",
                fix="wait for it, end it, or give this run a directory of its own",
            ) from None
        os.ftruncate(self._file, 0)
        os.write(self._file, f"process {os.getpid()} on {platform.node()}\n".encode())

    def release(self) -> None:
        """Let others in. The file stays: removing it could take it from under one who waits."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _opened(path: Path) -> int:
    """The file, made if needed. A link in its place is not followed: what is locked is written to."""
    flags = os.O_RDWR | os.O_CREAT
    for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"):
        flags |= getattr(os, name, 0)
    try:
        file = os.open(path, flags, 0o600)
    except OSError as error:
        check_replaceable(path)  # says what lies there
        raise unreadable(str(path), error) from error
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        check_replaceable(path)
    return file


def _lock(file: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        locking: Any = msvcrt.locking
        try:
            # Past the text, which others want to read.
            os.lseek(file, 1 << 20, os.SEEK_SET)
            locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            raise BlockingIOError from None
        finally:
            os.lseek(file, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
