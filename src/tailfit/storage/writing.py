"""Atomic writing of files: each is written as a draft under another name, synced, and renamed.

Readers never see half a file, and a crash leaves none at the path. The name of a draft is random, so that nobody can
put a link there in advance. A draft is locked while its process writes it: a draft without a lock was left by a killed
process, and is removed when the same file is written again.
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self, cast

from tailfit.errors import RecordError
from tailfit.storage.disk import Disk
from tailfit.storage.reading import check_replaceable, open_regular, unreadable

try:
    import fcntl
except ImportError:  # Windows, where an open file can't be removed, so that no lock is needed
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "Draft",
    "DraftFolder",
    "draft_path",
    "is_draft",
    "make_folder",
    "remove_abandoned",
    "sweep_drafts",
    "write_parts",
    "write_text",
]

_DRAFT: Final = re.compile(r"\.(.+)\.[0-9a-f]{16}\.draft(\.keras)?", re.DOTALL)
_LONGEST: Final = 200  # bytes of a file name; file systems allow 255, and a draft's name is longer
_DISK: Final = Disk()


class Draft:
    """A new file that replaces `path` when `place` is called, and is removed otherwise.

    Args:
        path: Path of the final file. Its folder is created if needed; an existing file or link is replaced.
        private: Whether only this user may read the file.
        sweep: Whether to remove drafts of the same file that killed processes left. This lists the folder: pass
            False when writing many files to one folder, and call `remove_abandoned` once.
    Raises:
        RecordError: If a folder, pipe, socket or device is at the path.
        OSError: If the file can't be created.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Draft(f"{folder}/a.txt") as draft:
    ...         _ = draft.file.write(b"whole")
    ...         before = os.path.exists(f"{folder}/a.txt")
    ...         draft.place()
    ...     before, Path(folder, "a.txt").read_text(), len(os.listdir(folder))
    (False, 'whole', 1)
    """

    def __init__(self, path: str | os.PathLike[str], *, private: bool = False, sweep: bool = True) -> None:
        self.target = Path(path)
        check_replaceable(self.target)
        make_folder(self.target.parent)
        if sweep:
            _sweep_abandoned(self.target)
        while True:
            self.path = draft_path(self.target)
            try:
                descriptor = _DISK.create(self.path, 0o600 if private else 0o666)
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    raise unreadable(str(self.target), error) from error
                raise
            if fcntl is not None:
                with contextlib.suppress(OSError):  # a file system without locks
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:  # otherwise another process removed it before it was locked
                break
            os.close(descriptor)
        self.file: BinaryIO = cast(BinaryIO, os.fdopen(descriptor, "wb"))

    def place(self) -> None:
        """Sync the complete file, and move it to its path."""
        self.file.flush()
        _DISK.sync(self.file.fileno())
        os.replace(self.path, self.target)
        _DISK.sync_folder(self.target.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.file.close()
        finally:
            self.path.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno is not None and error.filename is None:
                error.filename = os.fspath(self.target)  # a write does not name its file


class DraftFolder:
    """A private folder next to `path`, for work on a file or folder that is moved to `path` when it is complete.

    It is removed at the end, and so are those that killed processes left.

    Args:
        path: Path of the final file or folder, whose folder is created if needed.
    Raises:
        OSError: If the folder can't be created.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with DraftFolder(Path(folder, "model")) as work:
    ...         (work.path / "graph").mkdir()
    ...         _ = (work.path / "graph" / "a.txt").write_text("whole")
    ...         work.place(work.path / "graph")
    ...     os.listdir(folder), os.listdir(f"{folder}/model")
    (['model'], ['a.txt'])
    """

    def __init__(self, path: Path) -> None:
        self.target = path
        make_folder(path.parent)
        _sweep_abandoned(path)
        while True:
            self.path = draft_path(path)
            _DISK.make_folder(self.path)
            self._lock = _locked_if_possible(self.path)
            if self.path.is_dir():  # otherwise another process removed it before it was locked
                break
            self._unlock()

    def place(self, written: Path) -> None:
        """Sync a file or folder in this folder, and move it to its path, where no other folder may be."""
        for folder, _, names in os.walk(written):
            for name in names:
                _sync(Path(folder, name))
            _DISK.sync_folder(Path(folder))
        if written.is_file():
            _sync(written)
        # First out of this folder, which is removed before the last step: a process that is killed after it leaves
        # nothing, because it may be the last one that writes to this path.
        draft = draft_path(self.target)
        lock = _locked_if_possible(written)
        try:
            _DISK.rename(written, draft)
            _DISK.remove(self.path)
            os.replace(draft, self.target)
        except BaseException:
            _DISK.remove(draft)  # a folder
            if draft.is_file():
                draft.unlink()
            raise
        finally:
            if lock is not None:
                os.close(lock)
        _DISK.sync_folder(self.target.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _DISK.remove(self.path)
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)


def _locked_if_possible(path: Path) -> int | None:
    with contextlib.suppress(OSError):  # a file system without locks, or another process is removing it
        return _locked(path)
    return None


def _sync(path: Path) -> None:
    with open_regular(path, follow=False) as file:
        _DISK.sync(file.fileno())


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Create a folder and its parents, if they do not exist.

    Raises:
        RecordError: If something other than a folder is at the path.
        OSError: If the folder can't be created.
    """
    try:
        path.mkdir(mode, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise RecordError(
            f"{path}: not a folder", expected="a folder, or a path that does not exist", fix="choose a different path"
        ) from error


def draft_path(path: Path, suffix: str = "") -> Path:
    """Return a new path next to `path`, with a random name that `is_draft` recognizes."""
    return path.with_name(f".{_stem(path)}.{secrets.token_hex(8)}.draft{suffix}")


def _stem(path: Path) -> str:
    name = path.name
    return hashlib.sha256(os.fsencode(name)).hexdigest() if len(os.fsencode(name)) > _LONGEST else name


def write_parts(
    path: str | os.PathLike[str], parts: Iterable[Any], *, private: bool = False, sweep: bool = True
) -> Path:
    """Write a file atomically from bytes or memory views, one after the other.

    Args:
        path, private, sweep: See `Draft`.
        parts: The contents.
    Raises:
        RecordError, OSError: See `Draft`.
    """
    with Draft(path, private=private, sweep=sweep) as draft:
        draft.file.writelines(parts)
        draft.place()
    return draft.target


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write a text file in UTF-8 atomically.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_text(Path(folder) / "new" / "a.txt", "whole").read_text()
    'whole'
    """
    return write_parts(path, [text.encode()])


def is_draft(name: str, of: Iterable[str] | None = None) -> bool:
    """Return whether a file name is that of a draft, and if `of` is given, of a draft of one of these files.

    >>> is_draft(".run.json.0123456789abcdef.draft", ["run.json"]), is_draft(".run.json.draft", ["run.json"])
    (True, False)
    """
    found = _DRAFT.fullmatch(name)
    return found is not None and (of is None or found[1] in of)


def sweep_drafts(directory: Path, of: Iterable[str]) -> None:
    """Remove the drafts of these files; the caller holds the lock under which they are written."""
    names = set(of)
    with os.scandir(directory) as found:
        drafts = [entry.path for entry in found if is_draft(entry.name, names)]
    for draft in drafts:
        os.unlink(draft)


def remove_abandoned(folder: Path) -> None:
    """Remove the drafts in a folder and its subfolders that no process is writing."""
    for path in _drafts_in(folder):
        _remove_if_abandoned(path)


def _drafts_in(folder: Path) -> Iterator[Path]:
    for path in folder.rglob(".*.draft"):
        if _DRAFT.fullmatch(path.name) and stat.S_ISREG(path.lstat().st_mode):
            yield path


def _sweep_abandoned(target: Path) -> None:
    """Remove the drafts of one file or folder that no process is writing."""
    stem = _stem(target)
    with contextlib.suppress(OSError), os.scandir(target.parent) as found:
        matched = [_DRAFT.fullmatch(entry.name) for entry in found]
        names = [match[0] for match in matched if match and match[1] == stem and match[2] is None]
        for name in names:
            _remove_if_abandoned(target.with_name(name))


def _remove_if_abandoned(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        with contextlib.suppress(OSError):
            if (lock := _locked(path)) is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)
        return
    with contextlib.suppress(OSError), open_regular(path, follow=False) as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()


def _locked(path: Path) -> int | None:
    """Lock a folder or file, and return its descriptor; None where folders have no locks.

    Raises:
        OSError: If another process has locked it.
    """
    if sys.platform == "win32":
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
