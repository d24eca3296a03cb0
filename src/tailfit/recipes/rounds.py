"""Files of a run of a race in its directory: evaluations on the validation part at some epochs, and times."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import keras

from tailfit.errors import DataError
from tailfit.evaluation import Evaluation
from tailfit.recipes.data_identity import describe_change
from tailfit.recipes.directory import Claim, read_fields
from tailfit.recipes.racing import Pace
from tailfit.recipes.recipe import Recipe
from tailfit.storage.json_text import parsed
from tailfit.storage.writing import write_text

__all__ = ["Stopwatch", "read_pace", "read_round", "write_pace", "write_round"]

_ROUNDS: Final = {"format": "tailfit.rounds", "version": 1}
_SECONDS: Final = {"format": "tailfit.seconds", "version": 1}


def write_round(directory: Path, claim: Claim, epochs: int, evaluation: Evaluation) -> None:
    """Add the evaluation after some epochs to `rounds.json`."""
    rounds = {**_rounds(directory, claim.recipe, claim.data), str(epochs): parsed(evaluation.to_json())}
    fields = {**_ROUNDS, **claim.as_json(), "rounds": rounds}
    write_text(directory / "rounds.json", json.dumps(fields, allow_nan=False, separators=(",", ":")))


def read_round(directory: Path, recipe: Recipe, data: Mapping[str, Any], epochs: int) -> Evaluation | None:
    """Return the evaluation after some epochs of a run; None if it was not measured, or is damaged."""
    found = _rounds(directory, recipe.plain(), data).get(str(epochs))
    try:
        return None if found is None else Evaluation.from_json(json.dumps(found))
    except DataError:
        return None


def _rounds(directory: Path, recipe: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    path = directory / "rounds.json"
    try:
        fields = read_fields(path, _ROUNDS)
        claim = Claim.of(fields, path)
    except (DataError, OSError):
        return {}
    same = claim.recipe == recipe and claim.backend == keras.backend.backend() and not describe_change(claim.data, data)
    rounds = fields.get("rounds")
    return rounds if same and isinstance(rounds, dict) else {}


def write_pace(directory: Path, pace: Pace) -> None:
    """Write the measured times of a run; the file is removed once `race.json` contains them."""
    text = json.dumps({**_SECONDS, "start": pace.start, "epoch": pace.epoch}, allow_nan=False)
    write_text(directory / "seconds.json", text)


def read_pace(directory: Path) -> Pace | None:
    """Return the measured times of a run, or None if they were not measured."""
    try:
        fields = read_fields(directory / "seconds.json", _SECONDS)
        return Pace.of(fields)
    except (DataError, OSError, KeyError, TypeError, ValueError, OverflowError):
        return None


class Stopwatch:
    """Times of a training, from the ends of its epochs.

    Args:
        clock: Function that returns seconds.

    >>> times = iter([0.0, 5.0, 7.0, 8.0])
    >>> watch = Stopwatch(lambda: next(times))
    >>> watch.epoch_ended(), watch.epoch_ended(), watch.pace()
    (None, None, Pace(start=4.0, epoch=2.0))
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._times = [clock()]

    def epoch_ended(self) -> None:
        """Note the end of an epoch."""
        self._times.append(self._clock())

    @property
    def epochs(self) -> int:
        """Number of epochs that have ended."""
        return len(self._times) - 1

    def pace(self) -> Pace:
        """Return the pace; with fewer than two epochs, as if all of the time had been one epoch."""
        total, epochs = self._clock() - self._times[0], self.epochs
        if epochs < 2:
            return Pace(0.0, total)
        epoch = self._times[-1] - self._times[-2]
        return Pace(max(0.0, total - epochs * epoch), epoch)
