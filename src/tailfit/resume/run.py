"""The state of one `fit` with `Resume`: when to save, what to restore, and where the loop continues.

Concepts:
- *position*: (epoch, step) of the next step. The order of samples, the randomness of a `transform` (`Batches`) and
  schedules are functions of the position, so nothing else needs to be saved for them.
- *boundary*: position (e, 0), after `on_epoch_end` of epoch e - 1 has been called for all callbacks. All other
  positions are inside an epoch.
- A run that continues repeats the steps after its last checkpoint, with the same results.
- A long validation has a checkpoint before the last step that precedes it, because Keras can't start an epoch without
  steps. If the process ends during the validation, only that step is lost.
"""

import time
import warnings
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Literal, Self

import keras
import numpy as np

import tailfit
from tailfit.errors import CheckpointError, StepError
from tailfit.resume import random_state, variables
from tailfit.resume.background import Background
from tailfit.resume.remembered import Remembered, check_weights, restore, rewrite_log
from tailfit.resume.saved import Saved, decoded, errors_name, invalid
from tailfit.resume.signals import Signals
from tailfit.resume.store import Checkpoint, Position, Store
from tailfit.text import TailfitWarning
from tailfit.training import generators
from tailfit.training.feed import Feed
from tailfit.workers import place

__all__ = ["ResumeWarning", "Run"]

_LONG: Final = 10.0  # seconds; a longer validation has a checkpoint before it


class ResumeWarning(TailfitWarning):
    """A checkpoint could not be written or used; training continues."""


class Run:
    """One fit, from start to end; it is the `StepObserver` of the feed.

    Args:
        model: The model to be trained.
        feed: The batches it is trained on.
        remembered: State of the other callbacks.
        store: Directory of the checkpoints.
        identity: Identity of the run; see `identity_of`.
        save_freq, every_seconds: See `Resume`.
    """

    def __init__(
        self,
        model: Any,
        feed: Feed,
        remembered: Remembered,
        store: Store,
        identity: dict[str, Any],
        *,
        save_freq: Literal["epoch"] | int,
        every_seconds: float | None,
    ) -> None:
        self._model, self._feed, self._remembered, self._store = model, feed, remembered, store
        self._identity, self._save_freq, self._every_seconds = identity, save_freq, every_seconds
        self._start, self._epoch = Position(0, 0), 0
        self._loaded: Saved | None = None  # the checkpoint, until it is restored into the built model
        self._folder = store.directory  # folder of the checkpoint
        self._before: tuple[Any, Any] = ({}, {})  # variables that a trial step changes, and their values before
        self._generators: Mapping[str, Any] = {}  # their state before the fit
        self._logs: list[tuple[Any, bytes | None]] = []  # their contents before the fit
        self._drawn: Mapping[str, Any] | None = None  # restored random state, until the first step
        self._untracked: list[tuple[Any, Any]] | None = None  # variables that are not saved, and their first values
        self._saved: Position | None = None
        self._steps_saved, self._saved_at = 0, time.monotonic()
        self._call: dict[str, Any] = {}
        self._validation_start, self._validation_seconds = 0.0, _LONG  # the first one is assumed to be long

    def __enter__(self) -> Self:
        self._background, self._signals = Background(), Signals()
        self._signals.watch()
        return self

    def __exit__(self, *error: object) -> None:
        self._signals.restore()
        self._background.close()
        self._report_failures()

    def leave_if_signalled(self) -> None:
        """Exit if a signal was received; called when another worker has left, which it does at the same signal."""
        self._signals.leave()

    def begin_at(self, checkpoint: Checkpoint | None, call: dict[str, Any]) -> None:
        """Set the position at which the fit with the arguments `call` starts: that of the checkpoint, if any."""
        self._call, self._start = call, Position(call.get("initial_epoch", 0), 0)
        if checkpoint is not None:
            self._folder = self._store.directory / checkpoint.position.name
            with errors_name(self._folder):
                self._loaded = decoded(checkpoint, self._remembered)
                self._start = self._saved = self._current_position(checkpoint)
            self._generators, self._logs = generators.captured(), self._remembered.logs()
            epochs = call.get("epochs", 1)
            if self._start.epoch > epochs:
                raise CheckpointError(
                    f"epochs={epochs} for {self._store.directory}, which contains a run of {self._start.epoch} epochs",
                    expected=f"epochs >= {self._start.epoch}",
                    fix="increase epochs, or use a different directory for this run",
                )
            call["initial_epoch"] = epochs if checkpoint.state["stopped"] else self._start.epoch
        self._steps_saved = self._steps(self._start)

    def _current_position(self, checkpoint: Checkpoint) -> Position:
        """Map the saved position to the current batch size: the same sample, rounded down to a batch."""
        epoch, step = checkpoint.position
        batches = self._feed.batches
        if step >= len(batches) and checkpoint.state["identity"] == self._identity:
            raise invalid(f"a state before step {step}", f"a step from 0 to {len(batches) - 1}, the last of an epoch")
        step = step * checkpoint.state["identity"]["batch_size"] // batches.batch_size
        return Position(epoch, min(step, len(batches) - 1))

    def _steps(self, position: Position) -> int:
        """Return the number of steps of the whole run before a position."""
        return position.epoch * len(self._feed) + position.step

    # -- events of the loop ----------------------------------------------------------------------------

    def training_begins(self) -> None:
        """Restore a checkpoint at a boundary; called after `on_train_begin` of all callbacks, with a built model."""
        if self._start.step == 0:
            self._restore()
        self._untracked = [(each, variables.snapshot(each)) for each in variables.untracked(self._variables())]

    def epoch_begins(self, epoch: int) -> None:
        """Restore a checkpoint inside an epoch; called after `on_epoch_begin` of all callbacks."""
        self._epoch = epoch
        if self._start.step > 0:
            self._restore()

    def first_step(self) -> int:
        """Return the first step to run of the epoch that begins; called by the feed."""
        return self._start.step if self._feed.epoch == self._start.epoch else 0

    def before_steps(self) -> None:
        """Restore the random state again; called when the data of the epoch are open, before its first step."""
        if self._drawn is not None:
            # Opening torch's DataLoader draws from the generator that dropout uses.
            generators.restore_states(self._drawn)
            self._drawn = None

    def between_steps(self, step: int) -> None:
        """Save if due; called when all steps of the epoch before `step` are done."""
        if step < len(self._feed):  # otherwise the epoch ends next, and `epoch_ends` saves
            position = Position(self._epoch, step)
            # This runs after every step, so the cheapest condition comes first.
            last = self._one_call_before_the_end(position)
            validation_is_long = last and self._validation_seconds >= _LONG and self._validates(self._epoch)
            self._save_if_due(position, anyway=validation_is_long)

    def _one_call_before_the_end(self, position: Position) -> bool:
        return position.epoch == self._epoch and len(self._feed) - position.step <= self._model.steps_per_execution

    def _validates(self, epoch: int) -> bool:
        if self._call.get("validation_data") is None and not self._call.get("validation_split"):
            return False
        every = self._call.get("validation_freq", 1)
        return epoch + 1 in every if isinstance(every, Container) else (epoch + 1) % every == 0

    def validation_begins(self) -> None:
        """Let signals interrupt the validation; called after all steps of the epoch."""
        self._validation_start = time.monotonic()
        self._signals.at_once = self._leave_if_nothing_is_lost
        if self._signals.received:  # during the last step
            self._leave_if_nothing_is_lost()

    def validation_ends(self) -> None:
        """Measure the duration of the validation; called before the end of the epoch."""
        self._signals.at_once = None
        self._validation_seconds = time.monotonic() - self._validation_start

    def epoch_ends(self, epoch: int, *, last: bool) -> None:
        """Save if due; called after `on_epoch_end` of all callbacks."""
        every_epoch = self._save_freq == "epoch"
        self._save_if_due(Position(epoch + 1, 0), anyway=every_epoch or last or self._model.stop_training)

    # -- saving ----------------------------------------------------------------------------------------

    def _save_if_due(self, position: Position, *, anyway: bool) -> None:
        if place().rank:
            return  # rank 0 saves; at a signal it leaves, and then all others do
        self._report_failures()
        by_steps = self._save_freq != "epoch" and (
            self._steps(position) // self._save_freq > self._steps_saved // self._save_freq
        )
        by_time = self._every_seconds is not None and time.monotonic() - self._saved_at >= self._every_seconds
        if anyway or by_steps or by_time or self._signals.received:
            self._save(position)
        if self._signals.received:
            self._background.wait()
            self._report_failures()
            self._signals.leave()

    def _leave_if_nothing_is_lost(self) -> None:
        """Exit during a validation if the checkpoint before it was written; otherwise continue to its end."""
        if not place().rank and self._saved is not None and self._one_call_before_the_end(self._saved):
            self._background.wait()
            if not self._report_failures():
                self._signals.leave()

    def _save(self, position: Position) -> None:
        """Capture the current state, and queue it for writing in the background."""
        if keras.backend.backend() == "jax":
            self._model.jax_state_sync()
        known = self._variables()
        if self._untracked is not None:
            _check_unchanged(self._untracked, known)
            self._untracked = None
        arrays: dict[str, Any] = {}
        entries = variables.described(known)
        state = {
            "tailfit": tailfit.__version__,
            "keras": keras.__version__,
            "stopped": bool(self._model.stop_training),
            "identity": self._identity,
            "variables": entries,
            "callbacks": self._remembered.save(arrays),
            "random": random_state.save(arrays),
        }
        values = {entry["array"]: variables.snapshot(known[entry["place"]]) for entry in entries}
        store = self._store

        def write() -> None:
            store.write(position, state, {**arrays, **{name: np.asarray(value) for name, value in values.items()}})

        self._background.submit(write)
        self._saved = position
        self._steps_saved, self._saved_at = self._steps(position), time.monotonic()

    def _variables(self) -> dict[str, Any]:
        others = {f"callback {index}": vars(callback) for index, callback in enumerate(self._remembered.callbacks)}
        return variables.variables_of(self._model, others)

    def _report_failures(self) -> bool:
        """Warn of checkpoints that could not be written, and return whether there were any."""
        failures = self._background.failures()
        for error in failures:
            self._saved = None
            warnings.warn(
                f"No checkpoint was written to {self._store.directory}: {type(error).__name__}: {error}. "
                "Training continues; the next checkpoint is written when it is due.",
                ResumeWarning,
                stacklevel=2,
            )
        return bool(failures)

    # -- restoring -------------------------------------------------------------------------------------

    def _restore(self) -> None:
        saved, self._loaded = self._loaded, None
        if saved is None:
            return
        with self._or_as_before():
            values = self._values(saved)
            check_weights(saved.callbacks, self._model)
            restore(saved.callbacks)
        variables.assign(self._variables(), values)
        generators.restore_states(saved.random)
        if self._start.step:
            self._drawn = saved.random
        self._model.stop_training = saved.stopped

    def _values(self, saved: Saved) -> dict[str, Any]:
        """Return the checked values of all variables."""
        known = self._variables()
        if {entry["place"] for entry in saved.entries} - known.keys():
            # Some variables are created by the first step that uses them: run one step to create them.
            self._before = known, {place: variables.snapshot(variable) for place, variable in known.items()}
            batch = self._feed.batches.read(*self._start)
            self._model._trial_step(batch)
            known = self._variables()
        return variables.checked(known, saved.entries, saved.arrays)

    @contextmanager
    def _or_as_before(self) -> Iterator[None]:
        """If the checkpoint is refused, undo everything that this fit has changed so far."""
        try:
            with errors_name(self._folder):
                yield
        except BaseException:
            variables.assign(*self._before)
            generators.restore_states(self._generators)
            for callback, content in self._logs:
                rewrite_log(callback, content)
            raise
        finally:
            self._before = {}, {}


def _check_unchanged(untracked: list[tuple[Any, Any]], known: dict[str, Any]) -> None:
    """Check that the steps before the first checkpoint created or changed no variable that is not saved."""
    before = {id(variable): value for variable, value in untracked}
    for other in variables.untracked(known):
        value = before.get(id(other))
        if value is None or np.asarray(value).tobytes() != np.asarray(variables.snapshot(other)).tobytes():
            raise StepError(
                f"a training that {'creates' if value is None else 'changes'} the variable {other.path}, which Resume "
                "can't find",
                expected="changes only to variables that can be reached by attributes from the model, its optimizer, "
                "losses, metrics, steps and callbacks",
                fix="make the owner of the variable an attribute of the model: self.my_optimizer = ...",
            )
