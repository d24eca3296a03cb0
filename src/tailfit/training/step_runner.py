"""Composition of the steps passed to `compile` with the default training step."""

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
    """A training step composed of steps, the first of which is the outermost.

    Raises:
        StepError: If `steps` has an object that is not a step.
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
                    fix="pass instances, such as tailfit.steps.SAM(); derive your own class from tailfit.steps.Step",
                )
        self.steps = tuple(steps)
        # Sum of the penalties in the losses of the passes of one step.
        self.penalty = keras.Variable(0.0, trainable=False, dtype="float32", name="penalty")

    def scheduled(self) -> Iterable[Any]:
        """Return the hyper-parameters of all steps that follow a schedule."""
        return [part for step in self.steps for part in step.scheduled()]

    def train_step(self, model: Any, data: Any) -> dict[str, Any]:
        """Train on one batch; see `tailfit.Model.train_step`."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        batch = Batch(x, (Target(y, sample_weight),))
        for step in self.steps:
            batch = step.batch(model, batch)
        compute, forward = self.composed(model)
        gradients = None
        with self._reported_once(model) as report:
            if not model.trainable_variables:  # all layers frozen: as Keras does, update the metrics only
                loss, y_pred = forward(batch)
            else:
                (loss, y_pred), gradients = compute(batch)
            report(loss, batch, y_pred)
        if gradients is not None:
            model.optimizer.apply(gradients, model.trainable_variables)
        first = batch.targets[0]
        logs: dict[str, Any] = model.update_metrics(loss, batch.x, first.y, y_pred, first.sample_weight)
        return logs

    def composed(self, model: Any) -> tuple[Compute, Forward]:
        """Return the functions that compute `((loss, y_pred), gradients)` and `(loss, y_pred)` of a batch."""
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
        """Yield a function that reports the loss of the whole step once; single passes within are not reported.

        A step may compute several losses, or parts of one. With several compiled losses, each is reported by itself.
        """
        aggregates = getattr(private.loss_tracker(model), "aggregates", [])
        losses = compiled_losses(model)

        def report(loss: Any, batch: Batch, y_pred: Any) -> None:
            if len(losses) == len(aggregates) == 1 and aggregates[0].needed:
                value = (loss - self.penalty.value) / aggregates[0].factor
                aggregates[0].count(value, mass(model, batch.targets[0].sample_weight, y_pred), rows_of(batch.x))

        if len(losses) != 1:
            yield report
            return
        self.penalty.assign(0.0)
        with reporting(Reporting.PENALTIES):
            yield report
