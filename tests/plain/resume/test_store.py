"""The directory of checkpoints: always exactly the old or exactly the new ones, whichever disk operation fails."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

from tailfit.errors import CheckpointError, RecordError
from tailfit.resume.background import Background
from tailfit.resume.lock import Lock
from tailfit.resume.store import FORMAT, Position, Store
from tailfit.storage.disk import Disk

OLD, NEW, NEXT = Position(0, 8), Position(0, 16), Position(1, 0)


def write(store, position, value=None):
    value = position.step if value is None else value
    store.write(position, {"value": value}, {"weights": np.full(1000, value, np.float32)})


def newest(directory):
    """Return position and value of the newest valid checkpoint, which must be consistent; None without one."""
    checkpoint, damage = Store(directory).recover()
    assert damage == []
    if checkpoint is None:
        return None
    assert set(checkpoint.arrays["weights"].tolist()) == {float(checkpoint.state["value"])}
    return checkpoint.position, checkpoint.state["value"]


def test_the_newest_is_read_and_older_ones_are_removed(tmp_path):
    store = Store(tmp_path / "deep" / "run", keep=2)
    for step in (3, 6, 9, 12):
        write(store, Position(2, step))
    assert store.positions() == [(2, 12), (2, 9)]
    assert newest(store.directory) == ((2, 12), 12)
    assert sorted(os.listdir(store.directory)) == ["000002-000000009", "000002-000000012"]


def test_order_is_by_position_not_by_clock(tmp_path):
    store = Store(tmp_path)
    for position in (Position(10, 0), Position(9, 999), Position(1000000, 1)):
        write(store, position)
        os.utime(tmp_path / position.name, (1, 1))
    assert newest(tmp_path)[0] == (1000000, 1)


def test_files_are_readable_without_tailfit_and_private(tmp_path):
    from safetensors.numpy import load_file

    write(Store(tmp_path), OLD)
    folder = tmp_path / OLD.name
    state = json.loads((folder / "state.json").read_text())
    assert state["value"] == 8
    assert state["format"] == FORMAT
    assert load_file(folder / "arrays.safetensors")["weights"][0] == 8
    if os.name != "nt":
        modes = [folder.stat().st_mode & 0o077, *(path.stat().st_mode & 0o077 for path in folder.iterdir())]
        assert modes == [0, 0, 0]


# -- damage --------------------------------------------------------------------------------------------


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)


DAMAGE = {
    "a bit of the arrays": lambda folder: flip(folder / "arrays.safetensors", -1),
    "a bit of their header": lambda folder: flip(folder / "arrays.safetensors", 20),
    "arrays cut off": lambda folder: os.truncate(folder / "arrays.safetensors", 100),
    "arrays empty": lambda folder: os.truncate(folder / "arrays.safetensors", 0),
    "no arrays": lambda folder: (folder / "arrays.safetensors").unlink(),
    "a bit of the state": lambda folder: flip(folder / "state.json", 12),
    "state cut off": lambda folder: os.truncate(folder / "state.json", 30),
    "state empty": lambda folder: os.truncate(folder / "state.json", 0),
    "state of text": lambda folder: (folder / "state.json").write_bytes(b"\xff\xfe"),
    "state nested without end": lambda folder: (folder / "state.json").write_text("[" * 200_000),
    "no state": lambda folder: (folder / "state.json").unlink(),
    "no file at all": lambda folder: [path.unlink() for path in folder.iterdir()],
    "files of another checkpoint": lambda folder: shutil.copytree(folder.parent / OLD.name, folder, dirs_exist_ok=True),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_checkpoint_is_set_aside_and_the_older_one_used(tmp_path, what):
    store = Store(tmp_path, keep=2)
    write(store, OLD)
    write(store, NEW)
    DAMAGE[what](tmp_path / NEW.name)
    checkpoint, damage = store.recover()
    assert checkpoint.position == OLD
    assert len(damage) == 1
    assert NEW.name in damage[0]
    assert (tmp_path / f"damaged-{NEW.name}").is_dir()
    store.keep = 1
    write(store, NEW)  # the run reaches the position again
    assert newest(tmp_path) == (NEW, 16)
    assert store.positions() == [NEW]


def test_a_later_format_is_refused_but_is_not_damage(tmp_path, monkeypatch):
    monkeypatch.setattr("tailfit.resume.store.FORMAT", FORMAT + 1)
    write(Store(tmp_path), OLD)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=f"format {FORMAT + 1}.*newer"):
        Store(tmp_path).recover()
    assert Store(tmp_path).positions() == [OLD]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_checkpoint_without_permission_is_not_damaged(tmp_path):
    write(Store(tmp_path), OLD)
    (tmp_path / OLD.name / "state.json").chmod(0)
    with pytest.raises(RecordError, match="Permission denied"):
        Store(tmp_path).recover()


# -- failing disk operations ----------------------------------------------------------------------------


class Crash(BaseException):
    """Simulates a crash of the machine."""


class FailingDisk(Disk):
    """Disk whose n-th call fails or crashes; after a crash all calls fail. It records what was not synced."""

    CALLS = ("make_folder", "create", "write", "sync", "close", "sync_folder", "rename")

    def __init__(self, fail_at, how):
        self.fail_at, self.how, self.count, self.failed = fail_at, how, 0, None
        self.unsynced, self.renamed, self.names, self.synced_after_failure = {}, [], {}, []

    def _next(self, name, *args):
        if self.failed and self.how == "crash":
            raise Crash
        self.count += 1
        if self.count == self.fail_at and not self.failed:
            self.failed = name
            if self.how == "crash":
                raise Crash
            if self.how == "short" and name == "write":
                return "short"
            raise OSError(errno.ENOSPC if self.how == "full" else errno.EIO, os.strerror(errno.EIO))
        return None

    def make_folder(self, path):
        self._next("make_folder")
        super().make_folder(path)

    def create(self, path):
        self._next("create")
        file = super().create(path)
        self.names[file] = path
        self.unsynced[path] = 0
        return file

    def write(self, file, content):
        if self._next("write") == "short":
            return super().write(file, content[: max(1, content.nbytes // 3)])
        return super().write(file, content)

    def sync(self, file):
        if self.failed == "sync":
            self.synced_after_failure.append(self.names[file])
        self._next("sync")
        super().sync(file)
        self.unsynced.pop(self.names[file])

    def close(self, file):
        super().close(file)
        self._next("close")

    def sync_folder(self, path):
        self._next("sync_folder")
        super().sync_folder(path)
        self.renamed = [pair for pair in self.renamed if pair[1].parent != path]

    def rename(self, old, new):
        self._next("rename")
        super().rename(old, new)
        self.renamed.append((old, new))
        self.unsynced = {new / path.relative_to(old) if old in path.parents else path: 0 for path in self.unsynced}

    def remove(self, path):
        if not (self.failed and self.how == "crash"):
            super().remove(path)

    def lose(self, *, names):
        """Lose what a power failure may lose: bytes, and renames in folders, that were not synced."""
        for path in self.unsynced:
            if path.exists():
                os.truncate(path, path.stat().st_size // 2)
        for old, new in reversed(self.renamed if names else []):
            if new.exists() and not old.exists():
                os.rename(new, old)


def calls_of_a_write(directory):
    disk = FailingDisk(0, "never")
    store = Store(directory, keep=1, disk=disk)
    write(store, OLD)
    before = disk.count
    write(store, NEW)
    return before, disk.count


def test_every_call_is_counted(tmp_path):
    before, after = calls_of_a_write(tmp_path)
    assert after - before >= 12  # two files, two folders, two renames: else the cases below test nothing


@pytest.mark.parametrize("how", ["crash", "crash, names lost", "error", "full", "short"])
def test_old_or_new_whatever_fails(tmp_path, how):
    """Each call of a save in turn fails, or is the last one before a power failure."""
    before, after = calls_of_a_write(tmp_path / "count")
    outcomes = set()
    for number in range(1, after - before + 1):
        directory = tmp_path / str(number)
        write(Store(directory, keep=1), OLD)
        disk = FailingDisk(number, how.split(",")[0])
        store = Store(directory, keep=1, disk=disk)
        try:
            write(store, NEW)
            told = None
        except (OSError, Crash) as error:
            told = error
        assert disk.failed
        if how.startswith("crash"):
            disk.lose(names="names" in how)
        found = newest(directory)
        assert found in ((OLD, 8), (NEW, 16)), (number, disk.failed)
        if told is None or (how == "short" and disk.failed == "write"):
            assert told is None
            assert found == (NEW, 16)  # saved is saved
        assert disk.synced_after_failure == []
        outcomes.add(found)
        write(Store(directory, keep=1), NEXT, value=5)  # and the next save works, and sweeps
        assert newest(directory) == (NEXT, 5)
        assert sorted(os.listdir(directory)) == [NEXT.name]
    assert outcomes == {(OLD, 8), (NEW, 16)}


def test_a_removed_directory_is_created_again(tmp_path):
    store = Store(tmp_path / "run")
    write(store, OLD)
    shutil.rmtree(tmp_path / "run")
    write(store, NEW)
    assert newest(tmp_path / "run") == (NEW, 16)


# -- lock and thread -----------------------------------------------------------------------------------


def test_one_process_at_a_time(tmp_path):
    held = Lock(tmp_path)
    with pytest.raises(CheckpointError, match=f"process {os.getpid()} on"):
        Lock(tmp_path)
    ask = f"from pathlib import Path; from tailfit.resume.lock import Lock; Lock(Path({str(tmp_path)!r}))"
    other = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False)
    assert other.returncode == 1
    assert "another run is at work" in other.stderr
    held.release()
    Lock(tmp_path).release()


def test_the_lock_of_a_killed_process_is_released(tmp_path):
    code = (
        "import os, signal; from pathlib import Path; from tailfit.resume.lock import Lock; "
        f"Lock(Path({str(tmp_path)!r})); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    Lock(tmp_path).release()


def test_the_background_thread_runs_jobs_in_order_limits_them_and_reports_failures():
    background, gate, done = Background(), threading.Event(), []

    def fail():
        raise OSError("full")

    background.submit(gate.wait)
    background.submit(fail)
    third = threading.Thread(target=lambda: background.submit(lambda: done.append(3)))
    third.start()
    third.join(0.2)
    assert third.is_alive()  # two are pending, so a third one waits
    assert background.failures() == []
    gate.set()
    third.join(10)
    background.wait()
    assert [str(error) for error in background.failures()] == ["full"]
    assert background.failures() == []
    assert done == [3]
    background.close()
