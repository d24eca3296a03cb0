"""The system calls that write to disk, in one class, so that a test can replace it and make each call fail."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

__all__ = ["Disk"]


class Disk:
    """System calls for folders and files that only their owner may read."""

    def make_folder(self, path: Path) -> None:
        """Create a folder in an existing one."""
        os.mkdir(path, 0o700)

    def create(self, path: Path, mode: int = 0o600) -> int:
        """Create a file for writing, and return its descriptor; an existing file is an error."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        return os.open(path, flags, mode)

    def write(self, file: int, content: memoryview) -> int:
        """Write bytes, and return how many were written; see `os.write`."""
        return os.write(file, content)

    def sync(self, file: int) -> None:
        """Wait until everything written to the file is on disk."""
        os.fsync(file)

    def close(self, file: int) -> None:
        os.close(file)

    def sync_folder(self, path: Path) -> None:
        """Wait until the names in the folder are on disk."""
        if os.name == "nt":  # Windows can't sync folders
            return
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def rename(self, old: Path, new: Path) -> None:
        os.rename(old, new)

    def remove(self, path: Path) -> None:
        """Remove a folder and its contents, if it exists."""
        shutil.rmtree(path, ignore_errors=True)

    def write_file(self, path: Path, parts: Iterable[memoryview]) -> None:
        """Create a file from parts, and wait until it is on disk.

        A failed sync is never repeated on the same file: the kernel may have dropped the pages that it could not write,
        and the second sync would then report success.
        """
        file = self.create(path)
        try:
            for part in parts:
                view = part.cast("B") if part.nbytes else memoryview(b"")
                while view.nbytes:
                    view = view[self.write(file, view) :]
            self.sync(file)
        finally:
            self.close(file)
