"""Early-learning regularisation: predictions stay close to what the network predicted before it fitted wrong labels."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.arguments import REQUIRED, checked_flag, checked_number
from tailfit.counting import counts_labels
from tailfit.data import Source
from tailfit.errors import StepError
from tailfit.hyperparameters import as_scheduled, config_of, value_of
from tailfit.schedules import Schedule
from tailfit.steps.sample_losses import refuse_mixed
from tailfit.training.shares import over_targets, reduction_of
from tailfit.training.step import Batch, Loss, Step

__all__ = ["ELR"]

_MIN_P = 1e-4  # the authors clip probabilities to [1e-4, 1 - 1e-4]


@keras.saving.register_keras_serializable(package="tailfit")
class ELR(Step):
    """Adds `strength * log(1 - <p, t>)` to the loss; t is a running mean of the probabilities p of the same sample.

    Networks learn correct labels first. The regulariser pulls each prediction to what the network has predicted for
    this sample so far, and so cancels the gradient of labels that contradict it. Before it is used, the target t of
    each sample of the batch moves to `beta * t + (1 - beta) * p`, where p is normalised after clipping to
    [0.0001, 0.9999], the mean over the rows of a sample that is repeated in the batch, and a constant of the gradient.
    The regulariser is weighted and reduced like the loss.

    The targets, `float32 (samples, classes)`, are kept for the whole training in the variable `targets`, and saved in
    the checkpoints of `Resume`. They stay for the next `fit` if its source has as many samples; they are not saved with
    the model. In a training by `parts`, a sample that is repeated in several parts of a batch moves in each.

    Args:
        strength: Weight of the regulariser, >= 0; may follow a schedule. The authors' lambda: 3 for CIFAR-10, 7 for
            CIFAR-100.
        beta: Momentum of the targets, in [0, 1). The authors use 0.7 for CIFAR-10, 0.9 for CIFAR-100.
        from_logits: Whether the model returns logits rather than probabilities. Required.
    Shapes: one output `(batch, C)` of exclusive classes; training data in a `tailfit.Batches` with labels.
    Raises:
        ArgumentError: If a value is out of range, or `from_logits` is missing.
        StepError: If the data are no `Batches`, or at the first step, if the model has other outputs, or the samples
            are mixed.
    Source: Liu et al. 2020, arXiv:2007.00151, eq. 6 and 9.

    >>> import keras, numpy as np, tailfit
    >>> inputs = keras.Input((4,))
    >>> model = tailfit.Model(inputs, keras.layers.Dense(3)(inputs))
    >>> elr = tailfit.steps.ELR(strength=3.0, from_logits=True)
    >>> model.compile("sgd", tailfit.losses.CrossEntropy(from_logits=True), steps=[elr])
    >>> batches = tailfit.Batches(tailfit.data.Arrays(np.ones((6, 4)), np.arange(6) % 3), batch_size=2)
    >>> history = model.fit(batches, verbose=0)
    >>> tuple(elr.targets.shape), round(float(ops.sum(elr.targets[0])), 4)  # after one step: 1 - beta
    ((6, 3), 0.3)
    """

    targets: Any = None  # variable, float32 (samples, C)

    def __init__(self, *, strength: float | Schedule = 3.0, beta: float = 0.7, from_logits: bool = REQUIRED) -> None:
        self.strength = as_scheduled(strength, _checked_strength, name="strength", dtype=None)
        self.beta = checked_number(beta, "beta", most=float(np.nextafter(1, 0)), fix="the authors use 0.7 or 0.9")
        self.from_logits = checked_flag(from_logits)

    def fields(self, source: Source) -> Mapping[str, Any]:
        if source.label_kind not in ("codes", "soft"):
            raise StepError(
                f"{'multi-label' if source.labels is not None else 'unlabelled'} data for the step ELR",
                expected="one class per sample",
                fix="drop ELR from steps=",
            )
        shape = (len(source), len(source.class_names))
        if self.targets is None or tuple(self.targets.shape) != shape:
            self.targets = keras.Variable(
                "zeros", shape=shape, dtype="float32", trainable=False, autocast=False, name="targets"
            )
        return {"position": np.arange(len(source))}

    def loss(self, model: keras.Model, loss: Loss, batch: Batch, y_pred: Any) -> Any:
        value = loss(batch, y_pred)
        refuse_mixed(batch, "ELR")
        positions = ops.cast(batch.field("position"), "int32")
        self._check(y_pred)
        p = ops.cast(y_pred, "float32")
        p = ops.clip(ops.softmax(p, axis=-1) if self.from_logits else p, _MIN_P, 1 - _MIN_P)
        if counts_labels():
            self._move(positions, ops.stop_gradient(p / ops.sum(p, axis=-1, keepdims=True)))
        # In a training by parts, targets that move several times in one step may leave [0, 1].
        targets = ops.clip(ops.take(self.targets, positions, axis=0), 0.0, 1.0)
        regularizer = _Agreement(reduction=reduction_of(model))
        added, _ = over_targets(model, batch, y_pred, lambda y, weight: regularizer(targets, p, weight))
        return value + value_of(self.strength) * ops.cast(added, value.dtype)

    def _move(self, positions: Any, p: Any) -> None:
        """Move the targets of the samples at some positions; the rows of a repeated sample move it once, together."""
        same = ops.cast(ops.equal(ops.expand_dims(positions, 1), ops.expand_dims(positions, 0)), "float32")
        mean = ops.matmul(same, p) / ops.sum(same, axis=1, keepdims=True)
        # All rows of a sample write the numbers of its first one: which of them is written last does not matter.
        mean = ops.take(mean, ops.argmax(same, axis=1), axis=0)
        moved = self.beta * ops.take(self.targets, positions, axis=0) + (1 - self.beta) * mean
        self.targets.assign(ops.scatter_update(self.targets, ops.expand_dims(positions, 1), moved))

    def _check(self, y_pred: Any) -> None:
        classes = self.targets.shape[1]
        shapes = [tuple(part.shape) for part in keras.tree.flatten(y_pred)]
        if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][1] != classes:
            raise StepError(
                f"outputs of shapes {shapes} for the step ELR",
                expected=f"one output (batch, {classes}), one score for each class of the source",
                fix=f"end the network in Dense({classes})",
            )

    def get_config(self) -> dict[str, Any]:
        return {"strength": config_of(self.strength), "beta": self.beta, "from_logits": self.from_logits}


def _checked_strength(strength: Any) -> Any:
    return checked_number(strength, "strength", fix="the authors use 3 to 7; 0 switches the regulariser off")


class _Agreement(keras.losses.Loss):
    """log(1 - <p, t>) of targets t and probabilities p."""

    def __init__(self, *, reduction: str) -> None:
        super().__init__(name="agreement", reduction=reduction, dtype="float32")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.log(1 - ops.sum(y_true * y_pred, axis=-1))
