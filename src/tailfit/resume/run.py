"""One `fit` that is saved as it goes: when to save, what to restore, and where in the loop.

Concepts:
- *position*: (epoch, step) of the step that comes next. Everything drawn in a run is a function of it: order of samples
  and randomness of a `transform` (`Batches`), schedules. So a position is all there is to save of them.
- *boundary*: position (e, 0), after all callbacks have heard of the end of epoch e - 1. Others are within an epoch.
- A run that is started again repeats the steps after its last checkpoint. They come out as they did.
- A validation that takes long has a checkpoint before it, or rather before the last step in front of it: Keras can't
  begin an epoch that has no step left. So nothing but that step is lost where the process ends in the midst of it.
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
from tailfit.resume.saved import Saved, saved, spoilt, told_of
from tailfit.resume.signals import Signals
from tailfit.resume.store import Checkpoint, Position, Store
from tailfit.text import TailfitWarning
from tailfit.training import generators
from tailfit.training.feed import Feed

__all__ = ["ResumeWarning", "Run"]

_LONG: Final = 10.0  # seconds of a validation that is worth a checkpoint of its own


class ResumeWarning(TailfitWarning):
    """A checkpoint could not be written or used; training goes on."""


class Run:
    """A fit from its beginning to its end; a `StepObserver` of its feed.

    Args:
        model, feed: What is trained, and on what.
        remembered: The other callbacks.
        store: Where checkpoints go.
        identity: What the run is, for the checkpoints.
        save_freq, every_seconds: As in `Resume`.
    """

    def __init__(
        self,
        model: Any,
        feed: Feed,
        remembered: Remembered,
        store: Store,
        identity: dict[str, Any],
        save_freq: Literal["epoch"] | int,
        every_seconds: float | None,
    ) -> None:
        self._model, self._feed, self._remembered, self._store = model, feed, remembered, store
        self._identity, self._save_freq, self._every_seconds = identity, save_freq, every_seconds
        self._start, self._epoch = Position(0, 0), 0
        self._loaded: Saved | None = None  # until the model is built, and can take it
        self._folder = store.directory  # of the checkpoint
        self._before: tuple[Any, Any] = (
            {},
            {},
        )  # variables that a trial step changes, and their values
        self._generators: Mapping[str, Any] = {}  # as they were before the fit
        self._logs: list[tuple[Any, bytes | None]] = []  # likewise
        self._drawn: Mapping[str, Any] | None = None  # random state, until the first step
        self._strangers: list[tuple[Any, Any]] | None = None  # variables not known, and what they held at first
        self._saved: Position | None = None
        self._steps_saved, self._saved_at = 0, time.monotonic()
        self._call: dict[str, Any] = {}
        self._validated_since, self._validation_took = 0.0, _LONG  # until it is known

    def __enter__(self) -> Self:
        self._background, self._signals = Background(), Signals()
        self._signals.watch()
        return self

    def __exit__(self, *error: object) -> None:
        self._signals.restore()
        self._background.close()
        self._report_failures()

    def begin_at(self, checkpoint: Checkpoint | None, call: dict[str, Any]) -> None:
        """Have the fit with these arguments begin where a checkpoint was saved."""
        self._call, self._start = call, Position(call.get("initial_epoch", 0), 0)
        if checkpoint is not None:
            self._folder = self._store.directory / checkpoint.position.name
            with told_of(self._folder):
                self._loaded = saved(checkpoint, self._remembered)
                self._start = self._saved = self._position_now(checkpoint)
            self._generators, self._logs = generators.captured(), self._remembered.logs()
            epochs = call.get("epochs", 1)
            if self._start.epoch > epochs:
                raise CheckpointError(
                    f"{self._store.directory}: a run with {self._start.epoch} epochs done, beside epochs={epochs}",
                    expected=f"epochs of {self._start.epoch} or more",
                    fix="raise epochs, or give this run a directory of its own",
                )
            call["initial_epoch"] = epochs if checkpoint.state["stopped"] else self._start.epoch
        self._steps_saved = self._steps(self._start)

    def _position_now(self, checkpoint: Checkpoint) -> Position:
        """Where the batch size was changed, at the same sample."""
        epoch, step = checkpoint.position
        batches = self._feed.batches
        if step >= len(batches) and checkpoint.state["identity"] == self._identity:
            raise spoilt(f"a state before step {step}", f"one of the {len(batches)} steps of an epoch, from 0")
        step = step * checkpoint.state["identity"]["batch_size"] // batches.batch_size
        return Position(epoch, min(step, len(batches) - 1))

    def _steps(self, position: Position) -> int:
        """How many were done before it, in all."""
        return position.epoch * len(self._feed) + position.step

    # -- what the loop tells ---------------------------------------------------------------------------

    def training_begins(self) -> None:
        """All callbacks have heard of it; the model is built."""
        if self._start.step == 0:
            self._restore()
        self._strangers = [(other, variables.held(other)) for other in variables.strangers(self._variables())]

    def epoch_begins(self, epoch: int) -> None:
        """All callbacks have heard of it."""
        self._epoch = epoch
        if self._start.step > 0:
            self._restore()

    def first_step(self) -> int:
        """Of the epoch that begins, as the feed asks."""
        return self._start.step if self._feed.epoch == self._start.epoch else 0

    def before_steps(self) -> None:
        """The data of the epoch have been opened, and its first step comes next."""
        if self._drawn is not None:
            # torch's DataLoader draws from the generator that dropout draws from.
            generators.put_back(self._drawn)
            self._drawn = None

    def between_steps(self, step: int) -> None:
        """All steps of the epoch before this one are done."""
        if step < len(self._feed):  # else the end of the epoch comes next
            position = Position(self._epoch, step)
            last = self._one_call_before_the_end(position)  # asked first: it is told after every step
            self._save_if_due(position, anyway=last and self._validation_took >= _LONG and self._validates(self._epoch))

    def _one_call_before_the_end(self, position: Position) -> bool:
        return position.epoch == self._epoch and len(self._feed) - position.step <= self._model.steps_per_execution

    def _validates(self, epoch: int) -> bool:
        if self._call.get("validation_data") is None and not self._call.get("validation_split"):
            return False
        every = self._call.get("validation_freq", 1)
        return epoch + 1 in every if isinstance(every, Container) else (epoch + 1) % every == 0

    def validation_begins(self) -> None:
        """All steps of the epoch are done."""
        self._validated_since = time.monotonic()
        self._signals.at_once = self._leave_if_nothing_is_lost
        if self._signals.received:  # during the last step
            self._leave_if_nothing_is_lost()

    def validation_ends(self) -> None:
        """The end of the epoch comes next."""
        self._signals.at_once = None
        self._validation_took = time.monotonic() - self._validated_since

    def epoch_ends(self, epoch: int, *, last: bool) -> None:
        """All callbacks have heard of it."""
        whole = self._save_freq == "epoch"
        self._save_if_due(Position(epoch + 1, 0), anyway=whole or last or self._model.stop_training)

    # -- saving ----------------------------------------------------------------------------------------

    def _save_if_due(self, position: Position, *, anyway: bool) -> None:
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
        """Within a validation, by a signal; else its end is waited for."""
        if self._saved is not None and self._one_call_before_the_end(self._saved):
            self._background.wait()
            if not self._report_failures():
                self._signals.leave()

    def _save(self, position: Position) -> None:
        """Take down the state as it is; writing it is the background's work."""
        if keras.backend.backend() == "jax":
            self._model.jax_state_sync()
        known = self._variables()
        if self._strangers is not None:
            _refuse_changed(self._strangers, known)
            self._strangers = None
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
        values = {entry["array"]: variables.held(known[entry["place"]]) for entry in entries}
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
        """Whether there were any."""
        failures = self._background.failures()
        for error in failures:
            self._saved = None
            warnings.warn(
                f"No checkpoint was written to {self._store.directory}: {type(error).__name__}: {error}. "
                "Training goes on; the next one is tried when it is due.",
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
        generators.put_back(saved.random)
        if self._start.step:
            self._drawn = saved.random
        self._model.stop_training = saved.stopped

    def _values(self, saved: Saved) -> dict[str, Any]:
        """The values of all variables."""
        known = self._variables()
        if {entry["place"] for entry in saved.entries} - known.keys():
            # Some are made by the first step that needs them: have it run once.
            self._before = known, {place: variables.held(variable) for place, variable in known.items()}
            batch = self._feed.batches.read(*self._start)
            self._model._run_train_step(keras.tree.map_structure(keras.ops.convert_to_tensor, batch))
            known = self._variables()
        return variables.checked(known, saved.entries, saved.arrays)

    @contextmanager
    def _or_as_before(self) -> Iterator[None]:
        """Where the checkpoint is refused, put back what this fit has changed by then."""
        try:
            with told_of(self._folder):
                yield
        except BaseException:
            variables.assign(*self._before)
            generators.put_back(self._generators)
            for callback, content in self._logs:
                rewrite_log(callback, content)
            raise
        finally:
            self._before = {}, {}


def _refuse_changed(strangers: list[tuple[Any, Any]], known: dict[str, Any]) -> None:
    """Before the first checkpoint: a variable made or changed by these steps that is not among those saved."""
    before = {id(variable): value for variable, value in strangers}
    for other in variables.strangers(known):
        value = before.get(id(other))
        if value is None or np.asarray(value).tobytes() != np.asarray(variables.held(other)).tobytes():
            raise StepError(
                f"a training that {'makes' if value is None else 'changes'} the variable {other.path}, which Resume "
                "can't find",
                expected="variables of the model, its optimizer, losses, metrics, steps and callbacks, and of what is "
                "an attribute of them",
                fix="make its owner an attribute of the model: self.my_optimizer = ...",
            )
