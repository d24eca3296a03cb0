"""A run's directory: what each file in it is, how it is written, and read again without running anything.

    runs/valves/
      lock                  held by the process that works on the run, from its claim to its end
      run.json              whose directory it is: the recipe with all defaults, where its paths begin, its data
      history.csv           the figures of each epoch
      checkpoints/          of `tailfit.callbacks.Resume`, from which a killed run goes on
      predictions.parquet   of each test sample: ID, class, predicted class, a score for each class
      evaluation.json       all that was measured on the test part
      weights.safetensors   the network's variables at the end
      model.keras           network and correction as one Keras model, for serving
      result.json           what was trained on what, class names, statistics, correction, variables, and the checksums
                            of the other files; written when all of them are there: it says that the run is finished
      report.html           the evaluation as a page, written last: a run is whole without it

Only JSON, arrays and tables are ever read again. Each file is written under another name and renamed; such drafts of a
process that was killed are removed by the next one.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tailfit.errors import CheckpointError, DataError
from tailfit.recipes.data_identity import changed_data
from tailfit.resume.lock import Lock
from tailfit.storage.json_text import MOST_JSON, fields_of
from tailfit.storage.reading import check_replaceable, read_text
from tailfit.storage.writing import is_draft, make_folder, sweep_drafts, write_text

__all__ = ["Claim", "claimed", "damaged", "locked", "read_fields"]

_RUN: Final = {"format": "tailfit.run", "version": 2}
_FIX: Final = "train again, or restore the file"
_FILES: Final = (
    "comparison.json",
    "evaluation.json",
    "model.keras",
    "predictions.parquet",
    "report.html",
    "result.json",
    "run.json",
    "weights.safetensors",
)
# What may differ: a run may go on for more epochs, and what follows the training may be changed.
_FREE: Final = ("backend", "compare", "correction", "epochs", "name")


@dataclass(frozen=True)
class Claim:
    """What a run's directory belongs to.

    Attributes:
        recipe: As `Recipe.plain` gives it.
        folder: What its paths are relative to.
        backend: That it was trained on.
        data: What `identity_of_data` says of its data.
    """

    recipe: dict[str, Any]
    folder: str
    backend: str
    data: dict[str, Any]

    @contextmanager
    def held(self, directory: Path) -> Iterator[None]:
        """Make the directory this run's, and keep every other process out while the context lasts.

        Nothing is written before the lock is held, and nothing by a process that is refused.

        Raises:
            CheckpointError: it is another run's already, holds other files, or another process is at work there.
            RecordError: something else than a regular file is in the place of one of the run's.
        """
        _refuse_others_files(directory)
        with locked(directory):
            for name in ("history.csv", *_FILES):  # known before the training, which would be for nothing
                check_replaceable(directory / name)
            there = claimed(directory)
            if there is not None:
                self._refuse_another(there, directory)
            if there != self:
                # What lies there is of what was claimed before: a run that is ended now must not look finished.
                (directory / "result.json").unlink(missing_ok=True)
                write_text(directory / "run.json", json.dumps({**_RUN, **self.as_json()}, indent=1, allow_nan=False))
            yield

    def as_json(self) -> dict[str, Any]:
        """The fields, for `run.json` and `result.json`."""
        return {"recipe": self.recipe, "folder": self.folder, "backend": self.backend, "data": self.data}

    @classmethod
    def of(cls, fields: Mapping[str, Any], path: Path) -> "Claim":
        """Read what `as_json` wrote.

        Raises:
            DataError: it did not.
        """
        recipe, folder, backend, data = (fields.get(key) for key in ("recipe", "folder", "backend", "data"))
        sound = isinstance(recipe, dict) and isinstance(folder, str) and isinstance(backend, str)
        if not sound or not isinstance(data, dict):
            raise damaged(path, "a field that is missing")
        return cls(recipe, folder, backend, data)  # type: ignore[arg-type]

    def _refuse_another(self, there: "Claim", directory: Path) -> None:
        different = [
            f"{key}: {_short(there.recipe.get(key))} there, {_short(self.recipe.get(key))} now"
            for key in sorted({*there.recipe, *self.recipe})
            if there.recipe.get(key) != self.recipe.get(key) and key not in _FREE
        ]
        different += [f"backend: {there.backend} there, {self.backend} now"] * (there.backend != self.backend)
        if different:
            raise CheckpointError(
                f"{directory}, the run of another recipe ({'; '.join(different)})",
                expected="the run that was begun there; epochs and correction may change",
                fix="give this run a directory of its own",
            )
        changed = changed_data(there.data, self.data)
        if changed:
            raise CheckpointError(
                f"{directory}, a run whose data have changed since it was begun: {changed}",
                expected="the data that it was begun with",
                fix="restore them, or give this run a directory of its own",
            )


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Lock a directory of runs, creating it if needed; remove half-written files of killed processes.

    Raises:
        CheckpointError: another process is at work there.
    """
    make_folder(directory)
    lock = Lock(directory)
    try:
        sweep_drafts(directory, _FILES)
        yield
    finally:
        lock.release()


def claimed(directory: Path) -> Claim | None:
    """Whose a directory is; None where it is nobody's.

    Raises:
        DataError: for a `run.json` that is none.
    """
    path = directory / "run.json"
    return Claim.of(read_fields(path, _RUN), path) if path.is_file() else None


def _refuse_others_files(directory: Path) -> None:
    if (directory / "run.json").is_file() or not directory.is_dir():
        return
    others = sorted(entry.name for entry in directory.iterdir() if not _is_ours(entry.name))
    if others:
        raise CheckpointError(
            f"{directory}, in which {others[0]} lies",
            expected="a new or empty directory, or that of the same run",
            fix="give the run a directory of its own",
        )


def _is_ours(name: str) -> bool:
    """Of a run that was killed before its first file was whole."""
    return name == "lock" or is_draft(name, _FILES)


def read_fields(path: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    """Read a JSON file of a known format.

    Raises:
        DataError: for anything else.
    """
    return fields_of(read_text(path, MOST_JSON), known, _FIX, name=str(path))


def damaged(path: Path, what: str) -> DataError:
    return DataError(f"{path}: {what}", expected="the file as tailfit wrote it", fix=_FIX)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 80 else text[:77] + "..."
