"""A run's directory: its files, the lock on it, and the claim that ties it to one recipe.

    runs/valves/
      lock                  locked by the process that works on the run, from start to end
      run.json              the claim: the recipe with all defaults, the base folder of its paths, the data's identity
      history.csv           loss and metrics of each epoch
      workers/              with several workers: what each of them prints, RANK.log
      members/              with `ensemble`: a run for each network
      folds/                with `weights: label_quality`: a run for each fold
      checkpoints/          checkpoints of `tailfit.callbacks.Resume`, from which an interrupted run continues
      predictions.parquet   for each test sample: ID, class, predicted class, a score for each class, metadata
      pictures.json         small pictures of the worst mistakes, if records are series or images
      evaluation.json       the evaluation on the test part
      validation.json       the evaluation on the validation part, if there is one
      rounds.json           in a race: evaluations on the validation part at some epochs
      weights.safetensors   the network's variables after training
      model.keras           network and correction as one Keras model, for serving
      result.json           claim, class names, statistics, correction, variables, and the checksums of the other files;
                            written after all of them, so its presence means that the run is finished
      report.html           the evaluation as a page, written last; a run is complete without it

Only JSON, arrays and tables are read back, so that reading a run never executes code. Each file is written as a draft
under another name and then renamed; the next process removes the drafts that a killed process left.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from tailfit.errors import ArgumentError, CheckpointError, DataError
from tailfit.recipes.data_identity import describe_change
from tailfit.resume.lock import Lock
from tailfit.storage.json_text import MOST_JSON, fields_of
from tailfit.storage.reading import check_replaceable, read_text
from tailfit.storage.writing import is_draft, make_folder, sweep_drafts, write_text

__all__ = [
    "OF_FOLD",
    "OF_REMEDY",
    "Claim",
    "check_no_other_files",
    "check_not_of_run",
    "damaged",
    "locked",
    "locked_for",
    "read_claim",
    "read_fields",
]

_RUN: Final = {"format": "tailfit.run", "version": 2}
_FIX: Final = "train again, or restore the file from a backup"
_FILES: Final = (
    "comparison.json",
    "evaluation.json",
    "model.keras",
    "pictures.json",
    "predictions.parquet",
    "quality.parquet",
    "race.json",
    "recommended.yaml",
    "report.html",
    "result.json",
    "rounds.json",
    "run.json",
    "seconds.json",
    "suspects.csv",
    "suspects.html",
    "validation.json",
    "weights.safetensors",
)
OF_REMEDY: Final = re.compile(r"\d\d-.+", re.DOTALL)  # a folder of a comparison
OF_FOLD: Final = re.compile(r"fold-\d+-of-\d+")  # a folder of a search for doubtful labels
# One of these names marks a directory without run.json as that of a comparison or a search.
_MARKS: Final = {
    "comparison": re.compile(rf"{OF_REMEDY.pattern}|comparison\.json|race\.json", re.DOTALL),
    "search": re.compile(r"suspects\.csv"),
}
# Keys that may differ when a run continues: more epochs, and what is applied after the training. The backend is checked
# separately.
_MAY_DIFFER: Final = ("backend", "compare", "correction", "epochs", "events", "name")


@dataclass(frozen=True)
class Claim:
    """The run that a directory belongs to.

    Attributes:
        recipe: The recipe, as `Recipe.plain` returns it.
        folder: Base folder of the recipe's relative paths.
        backend: Keras backend of the training.
        data: Identity of the data, as `identity_of_data` returns it.
    """

    recipe: dict[str, Any]
    folder: str
    backend: str
    data: dict[str, Any]

    @contextmanager
    def hold(self, directory: Path) -> Iterator[None]:
        """Claim the directory for this run, and lock out other processes while the context is open.

        Nothing is written before the lock is acquired. A process whose claim is refused writes nothing.

        Raises:
            CheckpointError: If the directory belongs to a different run, contains other files, or is in use by another
                process.
            RecordError: If a path of one of the run's files is not a regular file.
        """
        check_no_other_files(directory)
        with locked(directory):
            check_files_replaceable(directory)
            existing = read_claim(directory)
            if existing is not None:
                self._check_continues(existing, directory)
            if existing != self:
                # The result belongs to the previous claim: if this run is interrupted now, it must not look finished.
                (directory / "result.json").unlink(missing_ok=True)
                write_text(directory / "run.json", json.dumps({**_RUN, **self.as_json()}, indent=1, allow_nan=False))
            yield

    def as_json(self) -> dict[str, Any]:
        """Return the fields, for `run.json` and `result.json`."""
        return {"recipe": self.recipe, "folder": self.folder, "backend": self.backend, "data": self.data}

    @classmethod
    def of(cls, fields: Mapping[str, Any], path: Path) -> "Claim":
        """Create a claim from the output of `as_json`.

        Raises:
            DataError: If a field is missing or of the wrong type.
        """
        recipe, folder, backend, data = (fields.get(key) for key in ("recipe", "folder", "backend", "data"))
        sound = isinstance(recipe, dict) and isinstance(folder, str) and isinstance(backend, str)
        if not sound or not isinstance(data, dict):
            raise damaged(path, "a field that is missing or of the wrong type")
        return cls(recipe, folder, backend, data)  # type: ignore[arg-type]

    def _check_continues(self, existing: "Claim", directory: Path) -> None:
        different = [
            f"{key}: {_short(existing.recipe.get(key))} before, {_short(self.recipe.get(key))} now"
            for key in sorted({*existing.recipe, *self.recipe})
            if existing.recipe.get(key) != self.recipe.get(key) and key not in _MAY_DIFFER
        ]
        different += [f"backend: {existing.backend} before, {self.backend} now"] * (existing.backend != self.backend)
        if different:
            raise CheckpointError(
                f"{directory}, which contains a run of a different recipe ({'; '.join(different)})",
                expected="the recipe that the run was started with; only epochs, correction and events may change",
                fix="use a different directory for this run",
            )
        change = describe_change(existing.data, self.data)
        if change:
            raise CheckpointError(
                f"{directory}, which contains a run whose data have changed since it was started: {change}",
                expected="the data that the run was started with",
                fix="restore the data, or use a different directory for this run",
            )


@contextmanager
def locked(directory: Path) -> Iterator[Lock]:
    """Lock a directory of runs, creating it if needed, and remove half-written files of killed processes.

    Raises:
        CheckpointError: If another process is working in the directory.
    """
    make_folder(directory)
    lock = Lock(directory)
    try:
        sweep_drafts(directory, _FILES)
        yield lock
    finally:
        lock.release()


@contextmanager
def locked_for(directory: Path, kind: Literal["comparison", "search"]) -> Iterator[Lock]:
    """Lock the directory of a comparison or a search for doubtful labels; see `locked`.

    Raises:
        CheckpointError: If it contains other files, or another process is working in it.
        RecordError: If a path of one of its files is not a regular file.
    """
    check_no_other_files(directory, kind)
    with locked(directory) as lock:
        check_files_replaceable(directory)
        yield lock


def check_files_replaceable(directory: Path) -> None:
    """Check before a training that its files can be written, because a failure after it would waste it.

    Raises:
        RecordError: If something other than a regular file is at one of the paths.
    """
    for name in ("history.csv", *_FILES):
        check_replaceable(directory / name)


def read_claim(directory: Path) -> Claim | None:
    """Return the claim on a directory; None if it belongs to no run.

    Raises:
        DataError: If `run.json` is damaged.
    """
    path = directory / "run.json"
    return Claim.of(read_fields(path, _RUN), path) if path.is_file() else None


def check_no_other_files(directory: Path, kind: Literal["run", "comparison", "search"] = "run") -> None:
    """Check that a directory belongs to a run, a comparison or a search for doubtful labels, or is free to become one.

    Nothing is written to a directory before this check.

    Raises:
        CheckpointError: If it contains other files.
    """
    if not directory.is_dir():
        return
    names = sorted(entry.name for entry in directory.iterdir())
    others = [name for name in names if not _is_leftover(name)]
    if kind == "comparison" and OF_FOLD.fullmatch(directory.name):
        others = [name for name in others if name != "partition.json"]  # of a fold of a nested comparison
    if others and not _belongs(directory, names, kind):
        raise CheckpointError(
            f"{directory}, which contains the file {'run.json' if 'run.json' in others else others[0]}",
            expected=f"a new or empty directory, or the directory of the same {kind}",
            fix=f"use a different directory for this {kind}",
        )


def _belongs(directory: Path, names: Sequence[str], kind: str) -> bool:
    if kind == "run":
        return (directory / "run.json").is_file()
    # A fold of a nested comparison is a comparison, and a fold of a search is a run.
    other = "run.json" if kind == "comparison" else "partition.json"
    folds = [name for name in names if OF_FOLD.fullmatch(name) and not (directory / name / other).exists()]
    return "run.json" not in names and (bool(folds) or any(map(_MARKS[kind].fullmatch, names)))


def check_not_of_run(path: Path) -> None:
    """Check that a path that the user names is not that of a file of a run, other than its page.

    Raises:
        ArgumentError: If it is.
    """
    directory = path.parent
    owned = any((directory / name).is_file() for name in ("run.json", "comparison.json", "suspects.csv"))
    if owned and path.name in {*_FILES, "history.csv"} - {"report.html", "suspects.html"}:
        raise ArgumentError(
            f"{path}, a file of the run in {directory}",
            expected="a path that no file of a run has",
            fix="choose a different name or folder, so that the run stays as it is",
        )


def _is_leftover(name: str) -> bool:
    """Return whether a file is left from a process that was killed before it wrote its first file."""
    # `tailfit.training.programs` makes the folder of programs, and removes it.
    return name in ("lock", "workers") or is_draft(name, _FILES) or name.startswith(".programs-")


def read_fields(path: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    """Read a JSON file of a known format.

    Args:
        path: The file.
        known: Its `format` and `version`.
    Raises:
        DataError: If the file has a different format or version, or is damaged.
    """
    return fields_of(read_text(path, MOST_JSON), known, _FIX, name=str(path))


def damaged(path: Path, what: str) -> DataError:
    """Return the error for a file of a run that is not as it was written."""
    return DataError(f"{path}: {what}", expected="the file as tailfit wrote it", fix=_FIX)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 80 else text[:77] + "..."
