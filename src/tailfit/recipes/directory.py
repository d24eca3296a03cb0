"""A run's directory: what each file in it is, how it is written, and read again without running anything.

    runs/valves/
      run.json              the recipe with all defaults, and where its paths begin
      history.csv           the figures of each epoch
      checkpoints/          of `tailfit.callbacks.Resume`, from which a killed run goes on
      weights.safetensors   the network's variables at the end
      evaluation.json       all that was measured on the test part
      predictions.parquet   of each test sample: ID, class, predicted class, a score for each class
      report.html           the same as a page
      model.keras           network and correction as one Keras model, for serving
      result.json           class names, statistics, correction, variables; written last: it is there when all is

Only JSON, arrays and tables are ever read again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tailfit.errors import CheckpointError, DataError
from tailfit.evaluation.files import write_text

__all__ = ["Claim", "claimed", "damaged", "read_json"]

_RUN: Final = {"format": "tailfit.run", "version": 1}
_MOST_JSON: Final = 1 << 28  # bytes
# What may differ: a run may go on for more epochs, and what follows the training may be changed.
_FREE: Final = ("backend", "compare", "correction", "epochs", "name")


@dataclass(frozen=True)
class Claim:
    """What a run's directory belongs to.

    Attributes:
        recipe: As `Recipe.plain` gives it.
        folder: What its paths are relative to.
        backend: That it was trained on.
    """

    recipe: dict[str, Any]
    folder: str
    backend: str

    def write(self, directory: Path) -> None:
        """Make the directory this run's.

        Raises:
            CheckpointError: it is another run's already, or holds other files.
        """
        there = claimed(directory)
        if there is None:
            others = [entry.name for entry in directory.iterdir()] if directory.is_dir() else []
            if others:
                raise CheckpointError(
                    f"{directory}, in which {sorted(others)[0]} lies",
                    expected="a new or empty directory, or that of the same run",
                    fix="give the run a directory of its own",
                )
        else:
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
        if there != self:
            # What lies there is of what was claimed before: a run that is ended now must not look finished.
            (directory / "result.json").unlink(missing_ok=True)
        document = {**_RUN, "recipe": self.recipe, "folder": self.folder, "backend": self.backend}
        write_text(directory / "run.json", json.dumps(document, indent=1, allow_nan=False))


def claimed(directory: Path) -> Claim | None:
    """Whose a directory is; None where it is nobody's.

    Raises:
        DataError: for a `run.json` that is none.
    """
    if not (directory / "run.json").is_file():
        return None
    fields = read_json(directory / "run.json", _RUN)
    recipe, folder, backend = (fields.get(key) for key in ("recipe", "folder", "backend"))
    if not isinstance(recipe, dict) or not isinstance(folder, str) or not isinstance(backend, str):
        raise damaged(directory / "run.json", "a field that is missing")
    return Claim(recipe, folder, backend)


def read_json(path: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON file of a known format.

    Raises:
        DataError: for anything else.
    """
    try:
        if path.stat().st_size > _MOST_JSON:
            raise damaged(path, "more bytes than it can have")
        fields = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}", expected="a run's file", fix="check the path") from error
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"no JSON ({error})") from error
    if not isinstance(fields, dict) or fields.get("format") != known["format"]:
        raise damaged(path, f"something else than {known['format']}")
    if fields.get("version") != known["version"]:
        raise DataError(
            f"{path}: version {fields.get('version')!r}",
            expected=f"version {known['version']}",
            fix="read it with the tailfit that wrote it, or a newer one",
        )
    return fields


def damaged(path: Path, what: str) -> DataError:
    return DataError(f"{path}: {what}", expected="the file as tailfit wrote it", fix="train again, or restore the file")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 80 else text[:77] + "..."
