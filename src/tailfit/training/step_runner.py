"""Composition of the steps passed to `compile` with the default training step."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from tailfit import keras_private as private
from tailfit.data import Source
from tailfit.data.feeding.fields import split_fields
from tailfit.errors import StepError
from tailfit.training.divisor import rows_of
from tailfit.training.gradients import value_and_grad
from tailfit.training.reachable import reachable
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

    def prepare(self, model: Any) -> None:
        """Let the steps create variables that depend on the model."""
        for step in self.steps:
            step.prepare(model)

    @property
    def trainable_variables(self) -> list[Any]:
        """Variables of the steps that are trained together with the weights of the model."""
        return [variable for step in self.steps for variable in step.trainable_variables]

    def train_step(self, model: Any, data: Any) -> dict[str, Any]:
        """Train on one batch; see `tailfit.Model.train_step`."""
        batch = self.batch(model, data)
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

    def batch(self, model: Any, data: Any) -> Batch:
        """Return the batch to train on, as the steps have changed it."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        x, fields = split_fields(x)
        batch = Batch(x, (Target(y, sample_weight),), fields=fields)
        for step in self.steps:
            batch = step.batch(model, batch)
        return batch

    def fields(self, source: Source | None) -> tuple[dict[str, NDArray[Any]], bool]:
        """Return the fields that the steps ask for, and whether steps created variables, which programs must read.

        Args:
            source: Source of the training data; None if they are not a `Batches`.
        Raises:
            StepError: If there is no source, two steps ask for different fields of one name, or a field is invalid.
        """
        asking = [step for step in self.steps if type(step).fields is not Step.fields]
        if asking and source is None:
            raise StepError(
                f"training data other than a tailfit.Batches for the step {type(asking[0]).__name__}",
                expected="a tailfit.Batches, from whose source the step reads values of each sample",
                fix="wrap arrays: tailfit.Batches(tailfit.data.Arrays(x, y), batch_size=64)",
            )
        before = {id(variable) for variable in reachable(asking, set())}
        fields: dict[str, NDArray[Any]] = {}
        for step in asking:
            for name, values in step.fields(cast(Source, source)).items():
                checked = _checked_field(type(step).__name__, name, values, len(cast(Source, source)))
                if name in fields and not np.array_equal(fields[name], checked):
                    raise StepError(
                        f"two different fields {name!r} from the steps {[type(each).__name__ for each in asking]}",
                        expected="one meaning of each name",
                        fix="rename the field in one of the steps",
                    )
                fields[name] = checked
        return fields, before != {id(variable) for variable in reachable(asking, set())}

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


def _checked_field(step: str, name: str, values: Any, samples: int) -> NDArray[Any]:
    """Return a field as an array of a dtype that every backend keeps."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf" or array.shape[:1] != (samples,):
        raise StepError(
            f"the field {name!r} of shape {array.shape} and dtype {array.dtype} from {step}.fields",
            expected=f"numbers, one row for each of the {samples} samples of the source",
            fix="return an array in the order of the source; number groups with np.unique(..., return_inverse=True)",
        )
    if array.dtype.kind in "iu":
        if array.size and not -(2**31) <= int(array.min()) <= int(array.max()) < 2**31:
            raise StepError(
                f"the field {name!r} with values from {array.min()} to {array.max()} from {step}.fields",
                expected="integers of 32 bits, which all backends have",
                fix="number the values with np.unique(..., return_inverse=True)",
            )
        return array.astype(np.int32)
    return array.astype(np.float32) if array.dtype.kind == "f" else array
