"""A blocking lock between processes, for work that one of them does for all."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["one_at_a_time"]


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a lock on a file, which is created if needed, after waiting for other processes that hold it.

    The operating system releases the lock of a process that ends. On a file system without locks, nothing is locked.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with one_at_a_time(Path(folder, "lock")):
    ...         os.listdir(folder)
    ['lock']
    """
    flags = os.O_RDWR | os.O_CREAT
    for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"):
        flags |= getattr(os, name, 0)
    file = os.open(path, flags, 0o600)
    try:
        if sys.platform == "win32":
            import msvcrt

            locking: Any = msvcrt.locking
            locking(file, msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
