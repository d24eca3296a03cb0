"""One process at a time in a run's directory: the system takes the lock back when its holder dies, however it does."""

import os
import platform
import sys
from pathlib import Path
from typing import Any

from tailfit.errors import CheckpointError

__all__ = ["Lock"]


class Lock:
    """The file `lock` in a directory, held.

    Raises:
        CheckpointError: another process holds it, or another `fit` of this one.
        OSError: where the file can't be made.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / "lock"
        self._file: int | None = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
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
