"""A run's directory: checkpoints that are whole or not there, the newest sound one, and one process at a time.

    run/
      lock                    held by the process that trains
      000003-000000120/       the state before step 120 of epoch 3
        state.json            position, callbacks, identity, the names of the arrays; its own checksum
        arrays.safetensors    every variable, and what callbacks keep in arrays
      .writing-...            begun, not whole: ignored, and swept
      damaged-...             what a run did not go on from, left for you to look at

A checkpoint is written under another name, synced, and renamed: at every instant the directory holds exactly the
old or exactly the new ones. Only JSON and arrays are ever read; neither can run code.
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

FORMAT: Final = 1  # versions up to this one are read for good
_NAME: Final = re.compile(r"(\d{6,})-(\d{9,})")
_MOST_STATE: Final = 1 << 30  # bytes of state.json


class Position(NamedTuple):
    """The step that comes next: `step` steps of `epoch` are done, and all of the epochs before it."""

    epoch: int
    step: int

    @property
    def name(self) -> str:
        """Of the checkpoint's folder; names sort as positions do."""
        return f"{self.epoch:06d}-{self.step:09d}"


class Checkpoint(NamedTuple):
    """What was saved: a JSON document, and arrays by name."""

    position: Position
    state: dict[str, Any]
    arrays: Mapping[str, NDArray[Any]]


class Store:
    """The checkpoints in a directory.

    Args:
        directory: Made if there is none.
        keep: How many checkpoints stay, the newest ones.
        disk: The calls by which it writes.
    """

    def __init__(self, directory: Path, *, keep: int = 3, disk: Disk | None = None) -> None:
        self.directory, self.keep, self.disk = directory, keep, Disk() if disk is None else disk

    def write(self, position: Position, state: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Save one more; where this returns it is on the disk, and only then older ones go.

        Raises:
            OSError: it could not be written; the directory is as it was.
        """
        self.make()
        fresh = self.directory / f".writing-{position.name}-{os.getpid()}"
        self.disk.remove(fresh)
        try:
            self.disk.make_folder(fresh)
            digest = _Digest()
            self.disk.write_file(fresh / "arrays.safetensors", digest.of(tensors.parts(arrays)))
            document = {**state, "format": FORMAT, "position": list(position), "arrays": digest.entry()}
            self.disk.write_file(fresh / "state.json", [memoryview(_sealed(document))])
            self.disk.sync_folder(fresh)
            self.disk.rename(fresh, self.directory / position.name)
            self.disk.sync_folder(self.directory)
        except BaseException:
            self.disk.remove(fresh)
            raise
        self._sweep()

    def make(self) -> None:
        """Make the directory, if somebody took it away."""
        make_folder(self.directory, 0o700)

    def positions(self) -> list[Position]:
        """Of the checkpoints that are there, sound or not, the newest first."""
        if not self.directory.is_dir():
            return []
        names = [_NAME.fullmatch(entry.name) for entry in os.scandir(self.directory) if entry.is_dir()]
        return sorted((Position(int(name[1]), int(name[2])) for name in names if name), reverse=True)

    def recover(self) -> tuple[Checkpoint | None, list[str]]:
        """The newest sound checkpoint, and what is wrong with each newer one, which is renamed to `damaged-...`.

        Raises:
            CheckpointError: for one that a later version of tailfit wrote.
            RecordError: for one that this user may not read.
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
        """Out of the way of the checkpoint that is to come in its place."""
        aside = self.directory / f"damaged-{position.name}"
        self.disk.remove(aside)
        self.disk.rename(self.directory / position.name, aside)

    def read(self, position: Position) -> Checkpoint:
        """One checkpoint, its checksums compared.

        Raises:
            CheckpointError: it is damaged.
            OSError: it can't be read.
        """
        try:
            return self._read(position)
        except RecordError as error:
            if error.__cause__ is not None:  # the system's error
                raise
            raise CheckpointError(
                error.received, expected="a checkpoint as it was written", fix="delete its folder"
            ) from None

    def _read(self, position: Position) -> Checkpoint:
        folder = self.directory / position.name
        state = _unsealed(folder / "state.json")
        path, known = folder / "arrays.safetensors", state.get("arrays")
        size = known.get("bytes") if isinstance(known, dict) else None
        if not isinstance(size, int) or digest_of(path, size) != known or state.get("position") != list(position):
            raise _damaged(path, "other bytes than were written")
        return Checkpoint(position, state, tensors.read(path))

    def _sweep(self) -> None:
        """Remove older checkpoints beyond those kept, and drafts."""
        for position in self.positions()[self.keep :]:
            aside = self.directory / f".removing-{position.name}"
            try:
                # Renamed first: one that is half removed must not look like one that is damaged.
                self.disk.rename(self.directory / position.name, aside)
            except OSError:
                continue  # it only takes room
            self.disk.remove(aside)
        self.sweep_drafts()

    def sweep_drafts(self) -> None:
        """Remove what was begun and never ended; the caller holds the directory's lock."""
        for entry in list(os.scandir(self.directory)):
            if entry.name.startswith((".writing-", ".removing-")):
                self.disk.remove(Path(entry.path))


class _NewerFormatError(CheckpointError):
    """A checkpoint in a format that this version does not know."""


class _Digest:
    """Size and SHA-256 of what goes through."""

    def __init__(self) -> None:
        self.size, self.sum = 0, hashlib.sha256()

    def of(self, parts: Iterator[memoryview]) -> Iterator[memoryview]:
        for part in parts:
            self.size += part.nbytes
            self.sum.update(part)
            yield part

    def entry(self) -> dict[str, Any]:
        return {"bytes": self.size, "sha256": self.sum.hexdigest()}


def _sealed(document: Mapping[str, Any]) -> bytes:
    """A document with its own checksum as the last line."""
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False).encode()
    seal = json.dumps({"sha256": hashlib.sha256(text).hexdigest()})
    # Still one JSON document, for readers without tailfit: the seal is its last member.
    return text[:-2] + b',\n "seal": ' + seal.encode() + b"\n}\n"


def _unsealed(path: Path) -> dict[str, Any]:
    content = read_whole(path, _MOST_STATE)
    text, mark, seal = content.rpartition(b',\n "seal": ')
    try:
        state = parsed(content)
        if isinstance(state, dict) and isinstance(version := state.get("format"), int) and version > FORMAT:
            raise _NewerFormatError(
                f"{path}: format {version}",
                expected=f"formats up to {FORMAT}",
                fix="go on with the tailfit that wrote it, or a newer one",
            )
        sound = bool(mark) and parsed(seal.rstrip()[:-1]) == {"sha256": hashlib.sha256(text + b"\n}").hexdigest()}
    except ValueError:
        sound = False
    if not sound or not isinstance(state, dict):
        raise _damaged(path, "other bytes than were written")
    state.pop("seal")
    return state


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(f"{path}: {what}", expected="a checkpoint as it was written", fix="delete its folder")
