"""The loss that `fit` and `evaluate` report: the value that the loss has for the whole epoch as one batch.

Keras averages the losses of batches, weighted by their number of samples. For a loss that divides by something else,
the result is not the loss of the epoch: with the reduction "mean_with_sample_weight" a batch must count by its sum of
weights, with a mask by its unmasked positions, and "sum" must not be averaged at all. Only the reported number changes,
and only for such losses; the objective that is optimised is Keras'.

Concepts:
- `EpochAggregate`: one loss over the epoch so far, both as reported here and as Keras averages it.
- `EpochLoss`: Keras' mean, in which each loss is replaced by its `EpochAggregate`. The other terms of the mean
  (regularisers, `add_loss`, terms of a custom `train_step`) stay averaged over samples.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from enum import IntEnum
from functools import partial
from typing import Any

import keras
from keras import ops

from tailfit import keras_private as private
from tailfit.contexts import assigned
from tailfit.errors import StepError
from tailfit.training.divisor import divisor, rows_of
from tailfit.training.outputs import Head, check_waiting_labels, heads_of

__all__ = ["ReportedLoss", "Reporting", "loss_counted", "report_whole_epochs", "reporting", "reports_penalties"]


class Reporting(IntEnum):
    """The losses that count in the reported loss, while a step computes."""

    NOTHING = 0  # a further pass over the same batch, as in sharpness-aware minimisation
    PENALTIES = 1  # a pass of a step that counts its loss as a whole, at its end
    LOSSES = 2  # every loss when it is computed


_reporting: ContextVar[Reporting] = ContextVar("reporting", default=Reporting.LOSSES)


def reporting(what: Reporting) -> AbstractContextManager[None]:
    """Return a context in which no more than `what` counts."""
    return assigned(_reporting, min(what, _reporting.get()))


def reports_penalties() -> bool:
    """Return whether the penalties of a pass count."""
    return _reporting.get() >= Reporting.PENALTIES


class EpochAggregate:
    """One loss over an epoch: `sum(divisor * loss) / sum(divisor)`, or `sum(loss)`; and its mean over samples.

    Variables are created when the first batch shows that they are needed, for example because it has a mask.
    """

    def __init__(self, owner: Any, loss: Any, factor: float | None, *, always: bool) -> None:
        self.owner, self.loss, self.factor = owner, loss, 1.0 if factor is None else factor
        self.reduction = getattr(loss, "reduction", None)
        self.needed = always or self.reduction in ("sum", "mean_with_sample_weight")
        self.sums: list[Any] = []

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the loss of a batch, and count it. Keras calls this in place of the loss."""
        mask = private.get_keras_mask(y_pred)  # read first: Keras may remove it
        value = self.loss(y_true, y_pred, sample_weight)
        self.needed = self.needed or mask is not None
        if self.needed and len(value.shape) == 0 and _reporting.get() == Reporting.LOSSES:
            self.count(value, divisor(self.reduction, y_pred, sample_weight, mask), ops.shape(y_pred)[0])
        return value

    def count(self, value: Any, divisor: Any, samples: Any) -> None:
        """Add the loss of a batch, its divisor, and its number of samples."""
        if not self.sums:
            names = ("whole", "divisor", "mean", "samples")
            self.sums = [self.owner.add_variable((), "zeros", name=name) for name in names]
        dtype = self.sums[0].dtype
        value = ops.cast(ops.stop_gradient(private.unscale_loss_for_distribution(value)), dtype)
        divisor, samples = ops.cast(divisor, dtype), ops.cast(samples, dtype)
        for variable, summand in zip(self.sums, (divisor * value, divisor, samples * value, samples), strict=True):
            variable.assign_add(summand)

    def value(self) -> Any:
        """Return the loss of the epoch so far."""
        total, divisor, _, _ = self.sums
        return total.value if self.reduction == "sum" else ops.divide_no_nan(total.value, divisor.value)

    def correction(self) -> Any:
        """Return the difference between that loss and its mean over samples, times the weight of the loss."""
        _, _, total, samples = self.sums
        return self.factor * (self.value() - ops.divide_no_nan(total.value, samples.value))


class EpochLoss(keras.metrics.Mean):
    """Keras' mean loss, corrected by the aggregate of each loss."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.aggregates: list[EpochAggregate] = []
        self.updated = False  # whether the step that runs, or is traced, has updated it

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        self.updated = True
        super().update_state(values, sample_weight=sample_weight)

    def reset_state(self) -> None:
        for variable in self.variables:
            variable.assign(0.0)

    def result(self) -> Any:
        result = super().result()
        for aggregate in self.aggregates:
            if aggregate.sums:
                result = result + ops.cast(aggregate.correction(), result.dtype)
        return result


class OutputLoss(keras.metrics.Mean):
    """The loss of one of several outputs. On TensorFlow, Keras' mean ignores batch sizes that are not static."""

    def __init__(self, name: str, aggregate: EpochAggregate) -> None:
        super().__init__(name=name)
        self.aggregate = aggregate

    def result(self) -> Any:
        return ops.cast(self.aggregate.value(), self.dtype) if self.aggregate.sums else super().result()


class ReportedLoss(private.CompileLoss):
    """The compiled losses, each counted over the epoch."""

    def __init__(self, epoch: EpochLoss, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.epoch = epoch
        self.heads: list[Head] | None = None  # until built

    def build(self, y_true: Any, y_pred: Any) -> None:
        super().build(y_true, y_pred)
        entries = private.flat_losses(self)
        self.heads = heads_of(entries, self.output_names, y_pred)
        several = bool(self.metrics)
        for number, entry in enumerate(entries):
            aggregate = EpochAggregate(self.epoch, entry.loss, entry.loss_weights, always=several)
            self.epoch.aggregates.append(aggregate)
            entries[number] = entry._replace(loss=aggregate)
            if several:
                self.metrics[number] = OutputLoss(self.metrics[number].name, aggregate)
        check_waiting_labels(self.heads)

    def call(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        if self.heads is not None:
            # Again: errors of `build` are lost while Keras calls the loss to learn shapes; it then calls it once more.
            check_waiting_labels(self.heads)
        elif y_true is None and private.in_symbolic_scope():
            return ops.zeros((), self.dtype)  # a custom train_step passes labels to the loss itself
        return super().call(y_true, y_pred, sample_weight)


def report_whole_epochs(model: keras.Model) -> None:
    """Make a model that was just compiled report the losses of whole epochs."""
    private.replace_loss_tracker(model, EpochLoss("loss"))
    compiled = private.compiled_loss(model)
    if compiled is not None:
        if type(compiled) is not private.CompileLoss:  # a container of another Keras version, say
            raise StepError(
                f"a model whose compiled losses are a {type(compiled).__name__}, with Keras {keras.__version__}",
                expected="a keras CompileLoss",
                fix="install a Keras version that tailfit supports: pip install -U tailfit",
            )
        private.replace_compiled_loss(model, partial(ReportedLoss, private.loss_tracker(model)))


@contextmanager
def loss_counted(model: keras.Model, data: Any) -> Iterator[Callable[[Any], Any]]:
    """Yield a function for the logs of a step, which counts a `loss` in them if the step has not counted it.

    Keras reports its own mean of the loss, which stays 0 for a step that only returns a `loss`.
    """
    tracker = private.loss_tracker(model)
    if isinstance(tracker, EpochLoss):
        tracker.updated = False

    def counted(logs: Any) -> Any:
        if not isinstance(tracker, EpochLoss) or tracker.updated or not isinstance(logs, dict) or "loss" not in logs:
            return logs
        if [metric for metric in model.metrics if metric.name == "loss"] != [tracker]:
            return logs  # the user's own metric
        tracker.update_state(private.unscale_loss_for_distribution(logs["loss"]), sample_weight=rows_of(data))
        return {**logs, "loss": tracker.result()}

    yield counted
