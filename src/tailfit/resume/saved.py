"""Decoding and checking of a whole checkpoint, before anything in the run is changed.

Checksums show that a checkpoint is as it was written. These checks show that its content is a state of this run.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import keras

from tailfit.errors import CheckpointError
from tailfit.resume import random_state, variables
from tailfit.resume.remembered import Remembered
from tailfit.resume.store import Checkpoint

__all__ = ["Saved", "check_document", "decoded", "errors_name", "invalid"]

_KINDS: Final = {"stopped": bool, "identity": dict, "variables": list, "callbacks": list, "random": dict, "keras": str}


class Saved(NamedTuple):
    """A decoded checkpoint, of which only the values of the model's variables remain to be checked.

    Attributes:
        stopped: Whether a callback had stopped the training.
        entries: Place, shape and array name of each variable.
        arrays: Arrays by name.
        callbacks: Pairs of a callback of this run and its state.
        random: State of the global random generators.
    """

    stopped: bool
    entries: Sequence[Mapping[str, Any]]
    arrays: Mapping[str, Any]
    callbacks: Sequence[tuple[Any, Any]]
    random: Mapping[str, Any]


def check_document(checkpoint: Checkpoint) -> None:
    """Check the types of the fields in the checkpoint's document.

    Raises:
        CheckpointError: If `Run` can't have saved a field.
    """
    state = checkpoint.state
    wrong = [key for key, kind in _KINDS.items() if not isinstance(state.get(key), kind)]
    if wrong:
        kind = _KINDS[wrong[0]].__name__
        raise invalid(f"state.json with {wrong[0]}={state.get(wrong[0])!r:.60}", f"{wrong[0]} of type {kind}")
    size, names = state["identity"].get("batch_size"), state["identity"].get("callbacks")
    if type(size) is not int or size < 1:
        raise invalid(f"state.json with the batch_size {size!r:.60}", "a batch_size >= 1")
    found = [each.get("class") if isinstance(each, dict) and "state" in each else None for each in state["callbacks"]]
    if found != names or not all(isinstance(name, str) for name in found):
        raise invalid(f"state.json with states of the callbacks {found!r:.60}", f"states of {names!r:.60}")


def decoded(checkpoint: Checkpoint, remembered: Remembered) -> Saved:
    """Decode and check a checkpoint that `check_document` has accepted; nothing is changed.

    Raises:
        CheckpointError: If a part of it does not fit the run.
    """
    state, arrays = checkpoint.state, checkpoint.arrays
    entries = variables.saved_entries(state["variables"])
    variables.check_arrays(entries, arrays)
    whole = state["keras"] == keras.__version__
    return Saved(
        stopped=state["stopped"],
        entries=entries,
        arrays=arrays,
        callbacks=remembered.checked(state["callbacks"], arrays, checkpoint.position.epoch, whole=whole),
        random=random_state.checked(state["random"], arrays),
    )


@contextmanager
def errors_name(folder: Path) -> Iterator[None]:
    """Add the checkpoint's folder to errors about it."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error.received}", expected=error.expected, fix=error.fix) from error


def invalid(received: str, expected: str) -> CheckpointError:
    """Return the error for a checkpoint that `Run` can't have saved."""
    return CheckpointError(
        received,
        expected=expected,
        fix="delete this checkpoint; the run then continues from an older one, or starts again",
    )
