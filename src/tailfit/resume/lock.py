"""A lock on a run's directory; the operating system releases it when its process ends, even if it is killed.

Worker processes inherit the lock of the process that started them. If that one is killed, its workers end by
themselves a moment later, and only then the lock is released: whoever acquires it is alone.
"""

import os
import platform
import stat
import sys
import time
from pathlib import Path
from typing import Any, Final

from tailfit.errors import CheckpointError, RecordError
from tailfit.storage.reading import check_replaceable, open_regular, unreadable

__all__ = ["Lock", "is_locked"]

_ORPHANS_END: Final = 10.0  # seconds that the workers of a killed process may take to end


class Lock:
    """An acquired lock on the file `lock` in a directory.

    Args:
        directory: The existing directory.
    Raises:
        CheckpointError: If another process holds the lock, or another `fit` in this process.
        OSError: If the file can't be created.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / "lock"
        self._file: int | None = _open_lock_file(path)
        give_up = time.monotonic() + _ORPHANS_END
        while True:
            try:
                _acquire(self._file)
                break
            except BlockingIOError:
                holder = os.pread(self._file, 200, 0).decode(errors="replace").strip() if hasattr(os, "pread") else ""
                if _has_ended(holder) and time.monotonic() < give_up:
                    time.sleep(0.02)
                    continue
                self.release()
                raise CheckpointError(
                    f"{directory}, where another run is at work ({holder or 'see the file lock'})",
                    expected="one run at a time in a directory",
                    fix="wait for the other run, stop it, or use a different directory for this run",
                ) from None
        os.ftruncate(self._file, 0)
        os.write(self._file, f"process {os.getpid()} on {platform.node()}\n".encode())

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors that worker processes inherit, to hold the lock as long as they run."""
        return () if self._file is None else (self._file,)

    def release(self) -> None:
        """Release the lock. The file is kept, because another process may be about to lock it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _has_ended(holder: str) -> bool:
    """Return whether the process named in a lock file ran on this machine and has ended."""
    words = holder.split(" ", 3)
    if (
        sys.platform == "win32"
        or len(words) != 4
        or words[3] != platform.node()
        or not (words[1].isascii() and words[1].isdigit())
    ):
        return False
    try:
        os.kill(int(words[1]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass
    return False


def _open_lock_file(path: Path) -> int:
    """Open the file, creating it if needed. Links are not followed, because the file is written to."""
    flags = os.O_RDWR | os.O_CREAT
    for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"):
        flags |= getattr(os, name, 0)
    try:
        file = os.open(path, flags, 0o600)
    except OSError as error:
        check_replaceable(path)  # raises a more specific error
        raise unreadable(str(path), error) from error
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        check_replaceable(path)
    return file


def _acquire(file: int, shared: bool = False) -> None:
    if sys.platform == "win32":
        import msvcrt

        locking: Any = msvcrt.locking
        try:
            # Lock a byte beyond the text, so that other processes can still read it.
            os.lseek(file, 1 << 20, os.SEEK_SET)
            locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            raise BlockingIOError from None
        finally:
            os.lseek(file, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def is_locked(directory: Path) -> bool:
    """Return whether a process holds the lock on a directory; nothing is written.

    A shared lock is tried and released at once, so a process that starts at that very moment may be refused.
    """
    try:
        file = open_regular(directory / "lock", follow=False)
    except RecordError:
        return False
    with file:
        try:
            _acquire(file.fileno(), shared=True)
        except OSError:
            return True
    return False
