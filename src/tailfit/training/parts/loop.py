"""Keras' training loop by parts: the functions that it calls for each step, and what `fit` checks before."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tailfit.errors import ArgumentError, StepError
from tailfit.training.backends import engine
from tailfit.training.feed import Feed
from tailfit.training.parts.agreement import agree
from tailfit.training.parts.silence import only_rank_zero_writes
from tailfit.training.parts.stepper import PiecesOfBatch, Stepper, cut
from tailfit.training.step_runner import Runner
from tailfit.training.workers import Exchange
from tailfit.workers import place

__all__ = ["PartsLoop", "checked_parts", "refuse_own_step"]

_DEFAULT_BATCH = 32  # Keras' default
_COMPARED = ("epochs", "initial_epoch", "validation_freq", "validation_steps")  # arguments of fit


def checked_parts(parts: Any) -> int:
    """Return the number of parts.

    Raises:
        ArgumentError: If it is not a whole number >= 1.
    """
    if isinstance(parts, bool) or not isinstance(parts, int) or parts < 1:
        raise ArgumentError(
            f"parts={parts!r}",
            expected="a whole number >= 1",
            fix="pass parts=4, for example, to train with 1, 2 or 4 workers",
        )
    return parts


class PartsLoop:
    """The steps of the `fit` of a model that is trained by parts.

    Args:
        model: Compiled model.
        runner: Its steps, or None.
        parts: Number of pieces of a batch.
        needs_x: Whether its metrics need the inputs.
    """

    def __init__(self, model: Any, runner: Runner | None, parts: int, *, needs_x: bool) -> None:
        self._model, self.parts = model, parts
        self._stepper = Stepper(model, runner or Runner([]), parts, needs_x=needs_x)
        self._feed: Feed | None = None
        self._validation: Feed | None = None
        self._settings: dict[str, Any] = {}
        self._agreed = False  # whether all workers have compared what they are about to do
        self.training = self.evaluating = False  # which of Keras' loops runs by parts now

    @contextmanager
    def fitting(self, feed: Any, validation: Any, call: dict[str, Any]) -> Iterator[None]:
        """Train by parts within this context.

        Args:
            feed: Training data, in a feed if they are a `Batches`.
            validation: Validation data, likewise; None if they are not evaluated by parts.
            call: Arguments of `fit`.
        """
        self._check(feed, call.get("batch_size"))
        rank = place().rank
        if rank:
            call["verbose"] = 0
        self._feed = feed if isinstance(feed, Feed) else None
        self._validation = validation if isinstance(validation, Feed) else None
        for each in (self._feed, self._validation):
            if each is not None:
                each.read_in_pieces(self._own_pieces(), self.parts)
        model = self._model
        before, model.train_function = model.train_function, None
        self._settings, self._agreed = {name: call.get(name) for name in _COMPARED}, False
        self.training = True
        try:
            with only_rank_zero_writes(call.get("callbacks"), rank):
                yield
        finally:
            self.training = False
            model.train_function = before
            self._feed = self._validation = None

    @contextmanager
    def validating(self) -> Iterator[None]:
        """Run the validation inside a `fit` within this context."""
        if not self.training or self._validation is None:
            yield
            return
        model = self._model
        before, model.test_function = model.test_function, None
        self._validation.reopen()
        self.evaluating = True
        try:
            yield
        finally:
            self.evaluating = False
            model.test_function = before

    def train(self, batches: Any) -> Any:
        """Run the steps of one call of Keras' loop, and return the logs of the last."""
        logs = None
        if not self._agreed and self._feed is not None:
            agree(self._model, self._feed, self._validation, {**self._settings, "parts": self.parts})
            self._agreed = True
        for data in engine.next_batches(batches, self._model.steps_per_execution):
            logs = self._stepper.train(self._pieces(self._feed, data))
        return logs

    def trial(self, batch: Any) -> None:
        """Train on a batch without the other workers, to create all variables that a step needs."""
        self._stepper.train(cut(batch, self.parts), Exchange())

    def evaluate(self, batches: Any) -> Any:
        """Run the evaluation of one call of Keras' loop, and return the logs of the last batch."""
        logs = None
        for data in engine.next_batches(batches, self._model.steps_per_execution):
            logs = self._stepper.evaluate(self._pieces(self._validation, data))
        return logs

    def _pieces(self, feed: Feed | None, data: Any) -> PiecesOfBatch:
        if feed is None:
            return cut(data, self.parts)
        return PiecesOfBatch(*feed.next_pieces())

    def _own_pieces(self) -> range:
        here = place()
        each = self.parts // here.world
        return range(here.rank * each, (here.rank + 1) * each)

    def _check(self, feed: Any, batch_size: int | None) -> None:
        here = place()
        if self.parts % here.world:
            raise ArgumentError(
                f"parts={self.parts} with {here.world} workers",
                expected="a number of workers that divides parts",
                fix=f"compile with parts={here.world}, or start another number of workers",
            )
        if here.world > 1 and not isinstance(feed, Feed):
            raise StepError(
                f"training data of type {type(feed).__name__} with {here.world} workers",
                expected="a tailfit.Batches, of which each worker reads its part",
                fix="wrap arrays: tailfit.Batches(tailfit.data.Arrays(x, y), batch_size=64)",
            )
        batches = feed.batches if isinstance(feed, Feed) else None
        size = batch_size or _DEFAULT_BATCH if batches is None else batches.batch_size
        if size < self.parts:
            raise ArgumentError(
                f"batch_size={size} with parts={self.parts}",
                expected="batch_size >= parts, the pieces of a batch",
                fix="increase batch_size, which is that of the global batch, or compile with fewer parts",
            )
        if batches is not None and batches.given_shard not in ("auto", (0, 1)):
            raise ArgumentError(
                f"Batches with shard={batches.given_shard!r} in a training by parts",
                expected="batches of which each worker finds its own part",
                fix="drop shard=, or pass shard='auto'",
            )


def refuse_own_step(cls: type, what: str) -> StepError:
    """Return the error for a model with its own `train_step`."""
    return StepError(
        f"{what} for {cls.__name__}, which overrides train_step",
        expected="the default train_step, whose pieces tailfit can combine",
        fix="write your train_step as a tailfit.steps.Step, and pass it to compile(steps=[...])",
    )
