"""The few calls that reach the disk, in one place: a test takes their place and fails each of them in turn."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

__all__ = ["Disk"]


class Disk:
    """Folders and files for one owner only, written in full, synced, renamed."""

    def make_folder(self, path: Path) -> None:
        """A new folder; its parent exists."""
        os.mkdir(path, 0o700)

    def create(self, path: Path, mode: int = 0o600) -> int:
        """A new file to write to, and never an existing one."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        return os.open(path, flags, mode)

    def write(self, file: int, content: memoryview) -> int:
        """As `os.write`: how many bytes were taken."""
        return os.write(file, content)

    def sync(self, file: int) -> None:
        """What was written to the file is on the disk when this returns."""
        os.fsync(file)

    def close(self, file: int) -> None:
        os.close(file)

    def sync_folder(self, path: Path) -> None:
        """The names in the folder are on the disk when this returns."""
        if os.name == "nt":  # Windows syncs no folders
            return
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def rename(self, old: Path, new: Path) -> None:
        os.rename(old, new)

    def remove(self, path: Path) -> None:
        """A folder and what is in it; none is fine."""
        shutil.rmtree(path, ignore_errors=True)

    def write_file(self, path: Path, parts: Iterable[memoryview]) -> None:
        """A new file of these parts, on the disk when this returns.

        A failed sync is never tried again on the same file: the kernel may have dropped what it could not write, and
        would then say that all is well.
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
