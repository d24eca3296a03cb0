"""Losses weighted by the effective number of samples of a class.

The more samples a class has, the less a further one adds: n samples count as (1 - beta^n) / (1 - beta). With beta = 0
every class counts as one sample, so all weights are equal; as beta approaches 1 the weight approaches 1 / n.
"""

from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from tailfit.arguments import (
    REQUIRED,
    PerClass,
    checked_choice,
    checked_class_counts,
    checked_flag,
    checked_number,
)
from tailfit.hyperparameters import Scheduled, value_of
from tailfit.losses._base import ClassificationLoss
from tailfit.losses._binary import binary_sum, logits_of_sigmoid
from tailfit.losses._numerics import class_constant, prepare, prepare_rows
from tailfit.losses.focal_loss import checked_gamma
from tailfit.schedules import Schedule
from tailfit.targets import Tensor

__all__ = ["ClassBalanced", "class_balanced"]

Base = Literal["softmax", "sigmoid", "focal"]
BASES = ("softmax", "sigmoid", "focal")


def class_balanced(
    y_true: Tensor,
    y_pred: Tensor,
    class_counts: Any,
    *,
    beta: float = 0.9999,
    base: Base = "softmax",
    gamma: float = 2.0,
    from_logits: bool = REQUIRED,
) -> Tensor:
    """Return the per-sample values of `ClassBalanced`.

    >>> value = class_balanced([1], [[0.0, 0.0]], [300, 100], beta=0.999999, from_logits=True)
    >>> round(float(value[0]), 3)  # 1.5 ln 2
    1.04
    """
    weights = _weights(class_counts, beta)
    return _weighted(y_true, y_pred, weights, base=base, gamma=gamma, from_logits=from_logits)


def _weighted(y_true: Any, y_pred: Any, weights: Any, *, base: Base, gamma: Any, from_logits: bool) -> Tensor:
    base, gamma, from_logits = checked_choice(base, "base", BASES), checked_gamma(gamma), checked_flag(from_logits)
    if base == "softmax":
        labels, logits = prepare(y_true, y_pred, from_logits=from_logits)
        return labels.weighted(class_constant(weights, logits, "class_counts")).cross_entropy(logits)
    targets, logits = prepare_rows(y_true, y_pred, from_logits=from_logits, to_logits=logits_of_sigmoid, min_outputs=2)
    weight = ops.sum(targets * class_constant(weights, logits, "class_counts"), axis=-1)
    return weight * binary_sum(logits, targets, gamma=gamma if base == "focal" else 0.0)


@keras.saving.register_keras_serializable(package="tailfit")
class ClassBalanced(ClassificationLoss):
    """A base loss times the class weight `(1 - beta) / (1 - beta ** n)`, scaled so that the C weights sum to C.

    `tailfit.samplers.ClassBalanced` is a different remedy of the same name: it changes the class shares of the batches.

    Args:
        class_counts: C counts > 0, or an object with `class_counts` (`batches`).
        beta: Overlap between samples, in [0, 1), or a schedule. 0 gives all classes the same weight; with 0.9999
            weights are close to 1 / n for up to some thousand samples.
        base: The base loss: "softmax" is cross-entropy; "sigmoid" the sum of the binary cross-entropies of all C
            outputs; "focal" the focal form of this sum. The last two are for networks with C sigmoid outputs.
        gamma: Focusing exponent of "focal", >= 0, or a schedule.
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` `(batch, ...)` or `(batch, ..., C)`, `y_pred` `(batch, ..., C)`; loss `(batch, ...)`, in nats.
        With sigmoids, the weight of a soft label is the mean of its classes' weights.
    Raises:
        ArgumentError: If a count is not > 0 or an option is out of range; when called, if shapes do not match or the
            number of classes differs.
    Source: Cui et al. 2019, arXiv:1901.05555, eq. 2 and 10 to 13.

    >>> loss = ClassBalanced([1000, 100, 10], from_logits=True)
    >>> [round(weight, 4) for weight in loss.weights]
    [0.0284, 0.2713, 2.7004]
    >>> round(float(loss([2], [[2.0, 0.5, -1.0]])), 4)
    8.7528
    """

    function = staticmethod(class_balanced)

    def __init__(
        self,
        class_counts: Any,
        *,
        beta: float | Schedule = 0.9999,
        base: Base = "softmax",
        gamma: float | Schedule = 2.0,
        from_logits: bool = REQUIRED,
        name: str | None = "class_balanced",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, reduction=reduction, dtype=dtype)
        self.class_counts = checked_class_counts(class_counts)
        self.base = checked_choice(base, "base", BASES)
        self.activation = "softmax" if base == "softmax" else "sigmoid"
        self.gamma = self._schedulable("gamma", gamma, checked_gamma)
        # The weights are the variable, not beta: in float32, 1 - 0.9999 is wrong in its fourth digit.
        self.weights = self._schedulable("beta", beta, lambda value: _weights(self.class_counts, value))
        self.beta = beta if isinstance(self.weights, Scheduled) else float(beta)  # type: ignore[arg-type]

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        weights, gamma = value_of(self.weights), value_of(self.gamma)
        return _weighted(y_true, y_pred, weights, base=self.base, gamma=gamma, from_logits=self.from_logits)


def _weights(class_counts: Any, beta: Any) -> PerClass:
    counts = np.array(checked_class_counts(class_counts))
    most = np.nextafter(1.0, 0.0)
    beta = checked_number(beta, "beta", most=most, fix="use 0 for equal weights, 0.9999 for large data sets")
    if beta == 0:
        return PerClass((1.0,) * len(counts))
    # Not 1 - beta ** n, which loses digits for beta near 1 and small n.
    weights = (1 - beta) / -np.expm1(counts * np.log(beta))
    return PerClass((weights * len(counts) / weights.sum()).tolist())
