"""Composes the steps given to `compile` with the default training step."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
from keras import ops

from tailfit import keras_private as private
from tailfit.errors import StepError
from tailfit.training.divisor import rows_of
from tailfit.training.gradients import value_and_grad
from tailfit.training.reported import Reporting, reporting, reports_penalties
from tailfit.training.shares import batch_loss, compiled_losses, mass, penalty_of
from tailfit.training.step import Batch, Compute, Forward, Loss, Step, Target

__all__ = ["Runner"]


class Runner:
    """A training step made of steps, the first the outermost.

    Raises:
        StepError: something in `steps` is none.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        if not isinstance(steps, list | tuple):
            raise StepError(
                f"steps of type {type(steps).__name__}",
                expected="a list of steps",
                fix="write compile(..., steps=[tailfit.steps.Mixup(alpha=0.2)])",
            )
        for position, step in enumerate(steps):
            if not isinstance(step, Step):
                raise StepError(
                    f"steps[{position}]={step!r}",
                    expected="instances of tailfit.steps.Step",
                    fix="call the class, tailfit.steps.SAM(); derive a step of your own from tailfit.steps.Step",
                )
        self.steps = tuple(steps)
        # A pass leaves here what penalties added to its loss.
        self.penalty = keras.Variable(0.0, trainable=False, dtype="float32", name="penalty")

    def scheduled(self) -> Iterable[Any]:
        """Every hyper-parameter of the steps that follows a schedule."""
        return [part for step in self.steps for part in step.scheduled()]

    def train_step(self, model: Any, data: Any) -> dict[str, Any]:
        """As `tailfit.Model.train_step`."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        batch = Batch(x, (Target(y, sample_weight),))
        for step in self.steps:
            batch = step.batch(model, batch)
        compute, forward = self._composed(model)
        gradients = None
        with self._reported_once(model) as report:
            if not model.trainable_variables:  # all layers frozen: Keras then only counts
                loss, y_pred = forward(batch)
            else:
                (loss, y_pred), gradients = compute(batch)
            report(loss, batch, y_pred)
        if gradients is not None:
            model.optimizer.apply(gradients, model.trainable_variables)
        first = batch.targets[0]
        logs: dict[str, Any] = model.update_metrics(loss, batch.x, first.y, y_pred, first.sample_weight)
        return logs

    def _composed(self, model: Any) -> tuple[Compute, Forward]:
        inside_out = self.steps[::-1]
        loss: Loss = partial(batch_loss, model)
        for step in inside_out:
            loss = partial(step.loss, model, loss)

        def one_pass(batch: Batch) -> tuple[Any, Any]:
            y_pred = private.call_model(model, batch.x, training=True)
            value = loss(batch, y_pred)
            penalty = penalty_of(model) if reports_penalties() else None
            if penalty is not None:
                self.penalty.assign_add(ops.stop_gradient(batch.penalties * penalty))
            return value, y_pred

        forward: Forward = one_pass
        for step in inside_out:
            forward = partial(step.forward, model, forward)

        def differentiated(batch: Batch) -> tuple[tuple[Any, Any], list[Any]]:
            return value_and_grad(lambda: forward(batch), model.trainable_variables)

        compute: Compute = differentiated
        for step in inside_out:
            compute = partial(step.gradients, model, compute)
        return compute, forward

    @contextmanager
    def _reported_once(self, model: Any) -> Iterator[Callable[[Any, Batch, Any], None]]:
        """Within, passes don't count in the loss that `fit` reports; what is yielded counts the loss of the whole step.

        A step may compute several losses, or parts of one. Where a model has several losses each counts by itself.
        """
        wholes = getattr(private.loss_tracker(model), "wholes", [])
        losses = compiled_losses(model)

        def report(loss: Any, batch: Batch, y_pred: Any) -> None:
            if len(losses) == len(wholes) == 1 and wholes[0].needed:
                value = (loss - self.penalty.value) / wholes[0].factor
                wholes[0].count(value, mass(model, batch.targets[0].sample_weight, y_pred), rows_of(batch.x))

        if len(losses) != 1:
            yield report
            return
        self.penalty.assign(0.0)
        with reporting(Reporting.PENALTIES):
            yield report
