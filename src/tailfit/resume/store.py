"""The directory of a run's checkpoints: atomic writing, recovery of the newest valid checkpoint, and cleaning up.

    run/
      lock                    locked by the process that trains
      000003-000000120/       the state before step 120 of epoch 3
        state.json            position, state of callbacks, identity, names of the arrays; its own checksum
        arrays.safetensors    all variables, and the arrays in the state of callbacks
      .writing-...            an unfinished checkpoint: ignored, and removed later
      damaged-...             a damaged checkpoint, kept for inspection

A checkpoint is written under another name, synced, and renamed. At every moment the directory therefore contains either
exactly the old checkpoints or exactly the new ones. Only JSON and arrays are read, which can't execute code.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from numpy.typing import NDArray

from tailfit.errors import CheckpointError, RecordError, TailfitError
from tailfit.resume import tensors
from tailfit.storage.disk import Disk
from tailfit.storage.json_text import parsed
from tailfit.storage.reading import digest_of, read_whole
from tailfit.storage.writing import make_folder

__all__ = ["FORMAT", "Checkpoint", "Position", "Store"]

FORMAT: Final = 1  # this version and all earlier ones can be read
_NAME: Final = re.compile(r"(\d{6,})-(\d{9,})")
_MAX_STATE: Final = 1 << 30  # bytes of state.json


class Position(NamedTuple):
    """The next step to run: all epochs before `epoch`, and `step` steps of `epoch`, are done."""

    epoch: int
    step: int

    @property
    def name(self) -> str:
        """Name of the checkpoint's folder; names sort in the order of positions."""
        return f"{self.epoch:06d}-{self.step:09d}"


class Checkpoint(NamedTuple):
    """A checkpoint as read from disk: a JSON document, and arrays by name."""

    position: Position
    state: dict[str, Any]
    arrays: Mapping[str, NDArray[Any]]


class Store:
    """The checkpoints in a directory.

    Args:
        directory: Directory of the run, created if needed.
        keep: Number of newest checkpoints that are kept.
        disk: System calls for writing; tests replace them.
    """

    def __init__(self, directory: Path, *, keep: int = 3, disk: Disk | None = None) -> None:
        self.directory, self.keep, self.disk = directory, keep, Disk() if disk is None else disk

    def write(self, position: Position, state: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write a checkpoint, wait until it is on disk, and only then remove older ones.

        Raises:
            OSError: If it could not be written; the directory is then unchanged.
        """
        self.make()
        fresh = self.directory / f".writing-{position.name}-{os.getpid()}"
        self.disk.remove(fresh)
        try:
            self.disk.make_folder(fresh)
            digest = _Digest()
            self.disk.write_file(fresh / "arrays.safetensors", digest.update(tensors.parts(arrays)))
            document = {**state, "format": FORMAT, "position": list(position), "arrays": digest.entry()}
            self.disk.write_file(fresh / "state.json", [memoryview(_with_checksum(document))])
            self.disk.sync_folder(fresh)
            self.disk.rename(fresh, self.directory / position.name)
            self.disk.sync_folder(self.directory)
        except BaseException:
            self.disk.remove(fresh)
            raise
        self._remove_old()

    def make(self) -> None:
        """Create the directory; it may have been removed during training."""
        make_folder(self.directory, 0o700)

    def positions(self) -> list[Position]:
        """Return the positions of all checkpoints, valid or not, newest first."""
        if not self.directory.is_dir():
            return []
        names = [_NAME.fullmatch(entry.name) for entry in os.scandir(self.directory) if entry.is_dir()]
        return sorted((Position(int(name[1]), int(name[2])) for name in names if name), reverse=True)

    def recover(self) -> tuple[Checkpoint | None, list[str]]:
        """Return the newest valid checkpoint, and a description of each newer one that is damaged.

        Damaged checkpoints are renamed to `damaged-...`.

        Raises:
            CheckpointError: If a checkpoint was written by a later version of tailfit.
            RecordError: If this user may not read a checkpoint.
        """
        damage: list[str] = []
        for position in self.positions():
            try:
                return self.read(position), damage
            except _NewerFormatError:
                raise
            except (CheckpointError, OSError) as error:
                if isinstance(error.__cause__, PermissionError):
                    raise
                damage.append(error.received if isinstance(error, TailfitError) else str(error))
                self._set_aside(position)
        return None, damage

    def _set_aside(self, position: Position) -> None:
        """Rename a damaged checkpoint, so that a new one can be written for its position."""
        aside = self.directory / f"damaged-{position.name}"
        self.disk.remove(aside)
        self.disk.rename(self.directory / position.name, aside)

    def read(self, position: Position) -> Checkpoint:
        """Read a checkpoint and verify its checksums.

        Raises:
            CheckpointError: If it is damaged.
            OSError: If it can't be read.
        """
        try:
            return self._read(position)
        except RecordError as error:
            if error.__cause__ is not None:  # the system's error
                raise
            raise CheckpointError(
                error.received, expected="a checkpoint as it was written", fix="delete the checkpoint's folder"
            ) from None

    def _read(self, position: Position) -> Checkpoint:
        folder = self.directory / position.name
        state = _read_verified(folder / "state.json")
        path, known = folder / "arrays.safetensors", state.get("arrays")
        size = known.get("bytes") if isinstance(known, dict) else None
        if not isinstance(size, int) or digest_of(path, size) != known or state.get("position") != list(position):
            raise _damaged(path, "bytes that do not match their checksum")
        return Checkpoint(position, state, tensors.read(path))

    def _remove_old(self) -> None:
        """Remove checkpoints beyond the newest `keep`, and unfinished ones."""
        for position in self.positions()[self.keep :]:
            aside = self.directory / f".removing-{position.name}"
            try:
                # Renamed first, because a half-removed checkpoint would look damaged.
                self.disk.rename(self.directory / position.name, aside)
            except OSError:
                continue  # keeping it does no harm
            self.disk.remove(aside)
        self.sweep_drafts()

    def sweep_drafts(self) -> None:
        """Remove unfinished checkpoints and removals; the caller holds the directory's lock."""
        for entry in list(os.scandir(self.directory)):
            if entry.name.startswith((".writing-", ".removing-")):
                self.disk.remove(Path(entry.path))


class _NewerFormatError(CheckpointError):
    """A checkpoint in a format of a later version."""


class _Digest:
    """Accumulator of the size and SHA-256 of a stream of bytes."""

    def __init__(self) -> None:
        self.size, self.sum = 0, hashlib.sha256()

    def update(self, parts: Iterator[memoryview]) -> Iterator[memoryview]:
        for part in parts:
            self.size += part.nbytes
            self.sum.update(part)
            yield part

    def entry(self) -> dict[str, Any]:
        return {"bytes": self.size, "sha256": self.sum.hexdigest()}


def _with_checksum(document: Mapping[str, Any]) -> bytes:
    """Encode a document as JSON, with its own checksum in the last line."""
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False).encode()
    seal = json.dumps({"sha256": hashlib.sha256(text).hexdigest()})
    # The checksum is the last member of the object, so that any JSON reader can read the file.
    return text[:-2] + b',\n "seal": ' + seal.encode() + b"\n}\n"


def _read_verified(path: Path) -> dict[str, Any]:
    content = read_whole(path, _MAX_STATE)
    text, mark, seal = content.rpartition(b',\n "seal": ')
    try:
        state = parsed(content)
        if isinstance(state, dict) and isinstance(version := state.get("format"), int) and version > FORMAT:
            raise _NewerFormatError(
                f"{path}: format {version}",
                expected=f"a format up to {FORMAT}",
                fix="use the version of tailfit that wrote it, or a newer one",
            )
        sound = bool(mark) and parsed(seal.rstrip()[:-1]) == {"sha256": hashlib.sha256(text + b"\n}").hexdigest()}
    except ValueError:
        sound = False
    if not sound or not isinstance(state, dict):
        raise _damaged(path, "bytes that do not match their checksum")
    state.pop("seal")
    return state


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: {what}", expected="a checkpoint as it was written", fix="delete the checkpoint's folder"
    )
