"""The loss that `fit` and `evaluate` report: what the loss itself would say of the whole epoch as one batch.

Keras averages the losses of batches by their number of samples. For a loss that divides by something else that is
another number than the loss of the epoch: with the reduction "mean_with_sample_weight" a batch must count by its sum of
weights, under a mask by its unmasked positions, and "sum" must not be averaged at all. The objective that is optimised
stays Keras'; only the number shown changes, and for other losses not even that.

Concepts:
- `Whole`: one loss over the epoch so far, both ways: as reported here, and as Keras has it.
- `EpochLoss`: Keras' mean, with every loss in it exchanged for its `Whole`. What else is in the mean (regularisers,
  `add_loss`, what a `train_step` adds) stays averaged over samples.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum
from functools import partial
from typing import Any

import keras
from keras import ops

from tailfit import keras_private as private
from tailfit.errors import StepError
from tailfit.training.divisor import divisor, rows_of
from tailfit.training.outputs import Head, check_waiting_labels, heads_of

__all__ = ["ReportedLoss", "Reporting", "loss_counted", "report_whole_epochs", "reporting", "reports_penalties"]


class Reporting(IntEnum):
    """What counts in the loss that `fit` reports while a step computes."""

    NOTHING = 0  # a second look at a batch, as sharpness-aware steps take
    PENALTIES = 1  # a pass of a step that counts its loss as a whole
    LOSSES = 2  # each loss as it is computed


_reporting: ContextVar[Reporting] = ContextVar("reporting", default=Reporting.LOSSES)


@contextmanager
def reporting(what: Reporting) -> Iterator[None]:
    """Within, no more than this counts."""
    token = _reporting.set(min(what, _reporting.get()))
    try:
        yield
    finally:
        _reporting.reset(token)


def reports_penalties() -> bool:
    """Whether the penalties of a pass count."""
    return _reporting.get() >= Reporting.PENALTIES


class Whole:
    """One loss over an epoch: `sum(divisor * loss) / sum(divisor)`, or `sum(loss)`; and averaged over samples.

    It has variables only once it is known to need them: a mask shows in the first batch.
    """

    def __init__(self, owner: Any, loss: Any, factor: float | None, *, always: bool) -> None:
        self.owner, self.loss, self.factor = owner, loss, 1.0 if factor is None else factor
        self.reduction = getattr(loss, "reduction", None)
        self.needed = always or self.reduction in ("sum", "mean_with_sample_weight")
        self.sums: list[Any] = []

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch, as Keras calls it; counted on the way."""
        mask = private.get_keras_mask(y_pred)  # Keras may take it off the predictions
        value = self.loss(y_true, y_pred, sample_weight)
        self.needed = self.needed or mask is not None
        if self.needed and len(value.shape) == 0 and _reporting.get() == Reporting.LOSSES:
            self.count(value, divisor(self.reduction, y_pred, sample_weight, mask), ops.shape(y_pred)[0])
        return value

    def count(self, value: Any, divisor: Any, samples: Any) -> None:
        """Add the loss of a batch, what it was divided by, and how many samples it was of."""
        if not self.sums:
            names = ("whole", "divisor", "mean", "samples")
            self.sums = [self.owner.add_variable((), "zeros", name=name) for name in names]
        dtype = self.sums[0].dtype
        value = ops.cast(ops.stop_gradient(private.unscale_loss_for_distribution(value)), dtype)
        divisor, samples = ops.cast(divisor, dtype), ops.cast(samples, dtype)
        for variable, summand in zip(self.sums, (divisor * value, divisor, samples * value, samples), strict=True):
            variable.assign_add(summand)

    def value(self) -> Any:
        """The loss of the epoch so far."""
        total, divisor, _, _ = self.sums
        return total.value if self.reduction == "sum" else ops.divide_no_nan(total.value, divisor.value)

    def correction(self) -> Any:
        """What the mean over samples lacks to be that."""
        _, _, total, samples = self.sums
        return self.factor * (self.value() - ops.divide_no_nan(total.value, samples.value))


class EpochLoss(keras.metrics.Mean):
    """Keras' mean loss, corrected by the `Whole` of each loss that has one."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.wholes: list[Whole] = []
        self.updated = False  # by the step that runs, or is traced

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        self.updated = True
        super().update_state(values, sample_weight=sample_weight)

    def reset_state(self) -> None:
        for variable in self.variables:
            variable.assign(0.0)

    def result(self) -> Any:
        result = super().result()
        for whole in self.wholes:
            if whole.sums:
                result = result + ops.cast(whole.correction(), result.dtype)
        return result


class OutputLoss(keras.metrics.Mean):
    """The loss of one of several outputs. Keras' mean counts batches alike on TensorFlow, where their size is open."""

    def __init__(self, name: str, whole: Whole) -> None:
        super().__init__(name=name)
        self.whole = whole

    def result(self) -> Any:
        return ops.cast(self.whole.value(), self.dtype) if self.whole.sums else super().result()


class ReportedLoss(private.CompileLoss):
    """The losses given to `compile`, watched."""

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
            whole = Whole(self.epoch, entry.loss, entry.loss_weights, always=several)
            self.epoch.wholes.append(whole)
            entries[number] = entry._replace(loss=whole)
            if several:
                self.metrics[number] = OutputLoss(self.metrics[number].name, whole)
        check_waiting_labels(self.heads)

    def call(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        if self.heads is not None:
            # Again: Keras, when it tries a loss out for its shapes, catches what is raised there and tries once more.
            check_waiting_labels(self.heads)
        elif y_true is None and private.in_symbolic_scope():
            return ops.zeros((), self.dtype)  # a train_step of the user's own gives the loss what it compares with
        return super().call(y_true, y_pred, sample_weight)


def report_whole_epochs(model: keras.Model) -> None:
    """Make a model that has just been compiled report the losses of whole epochs."""
    private.replace_loss_tracker(model, EpochLoss("loss"))
    compiled = private.compiled_loss(model)
    if compiled is not None:
        if type(compiled) is not private.CompileLoss:  # a container that ReportedLoss would not be a version of
            raise StepError(
                f"losses that Keras {keras.__version__} keeps in a {type(compiled).__name__}",
                expected="a CompileLoss, whose losses are watched to report those of whole epochs",
                fix="use a Keras version that tailfit allows: pip install -U tailfit",
            )
        private.replace_compiled_loss(model, partial(ReportedLoss, private.loss_tracker(model)))


@contextmanager
def loss_counted(model: keras.Model, data: Any) -> Iterator[Callable[[Any], Any]]:
    """Around a user's step, whose logs go through what is yielded: a `loss` in them is counted if the step did not.

    Keras shows its own mean of `loss`, which is 0 in the logs of a step that only returns one.
    """
    tracker = private.loss_tracker(model)
    if isinstance(tracker, EpochLoss):
        tracker.updated = False

    def counted(logs: Any) -> Any:
        if not isinstance(tracker, EpochLoss) or tracker.updated or not isinstance(logs, dict) or "loss" not in logs:
            return logs
        if [metric for metric in model.metrics if metric.name == "loss"] != [tracker]:
            return logs  # a mean of the user's own
        tracker.update_state(private.unscale_loss_for_distribution(logs["loss"]), sample_weight=rows_of(data))
        return {**logs, "loss": tracker.result()}

    yield counted
