"""What a checkpoint says, decoded and checked whole: nothing of a run is changed before all of it is known to fit.

Checksums tell that a checkpoint is as it was written. This tells that what was written is the state of such a run.
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

__all__ = ["Saved", "check_document", "saved", "spoilt", "told_of"]

_KINDS: Final = {"stopped": bool, "identity": dict, "variables": list, "callbacks": list, "random": dict, "keras": str}


class Saved(NamedTuple):
    """A checkpoint's content, which only has to be held against the variables of the run.

    Attributes:
        stopped: Whether a callback had ended the training.
        entries: Of each variable its place, shape, and the name of its array.
        arrays: By name.
        callbacks: Pairs of a callback of this run and its state.
        random: The state of the global generators.
    """

    stopped: bool
    entries: Sequence[Mapping[str, Any]]
    arrays: Mapping[str, Any]
    callbacks: Sequence[tuple[Any, Any]]
    random: Mapping[str, Any]


def check_document(checkpoint: Checkpoint) -> None:
    """Check the types of what is in the checkpoint's document.

    Raises:
        CheckpointError: for something that no run saves.
    """
    state = checkpoint.state
    wrong = [key for key, kind in _KINDS.items() if not isinstance(state.get(key), kind)]
    if wrong:
        raise spoilt(f"state.json with {wrong[0]}={state.get(wrong[0])!r:.60}", _KINDS[wrong[0]].__name__)
    size, names = state["identity"].get("batch_size"), state["identity"].get("callbacks")
    if type(size) is not int or size < 1:
        raise spoilt(f"state.json with the batch_size {size!r:.60}", "a whole number from 1")
    told = [each.get("class") if isinstance(each, dict) and "state" in each else None for each in state["callbacks"]]
    if told != names or not all(isinstance(name, str) for name in told):
        raise spoilt(f"state.json with states of the callbacks {told!r:.60}", f"those of {names!r:.60}")


def saved(checkpoint: Checkpoint, remembered: Remembered) -> Saved:
    """Decode and check a checkpoint whose document is sound; nothing is changed.

    Raises:
        CheckpointError: for anything that does not fit.
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
def told_of(folder: Path) -> Iterator[None]:
    """Name the checkpoint in errors about it."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error.received}", expected=error.expected, fix=error.fix) from error


def spoilt(received: str, expected: str) -> CheckpointError:
    """The error of a checkpoint that no run has saved."""
    return CheckpointError(
        received, expected=expected, fix="delete this checkpoint; an older one is used then, or the run begins anew"
    )
