"""Losses weighted by the effective number of samples of a class.

A new sample of a class adds the less the more there are: n samples count as (1 - beta^n) / (1 - beta). At beta 0 every
class counts as one sample, so that all weigh alike; towards 1 the weight becomes 1 / n.
"""

from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from tailfit.arguments import REQUIRED, checked_choice, checked_class_counts, checked_flag, checked_number
from tailfit.hyperparameters import Scheduled, current, followed
from tailfit.losses._base import ClassificationLoss
from tailfit.losses._binary import binary_terms, logits_of_sigmoid
from tailfit.losses._numerics import class_constant, prepare, soft_cross_entropy
from tailfit.losses.focal import checked_gamma
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
    """Per-sample values of `ClassBalanced`, which see.

    >>> value = class_balanced([1], [[0.0, 0.0]], [300, 100], beta=0.999999, from_logits=True)
    >>> round(float(value[0]), 3)  # 1.5 ln 2
    1.04
    """
    weights = _weights(class_counts, beta)
    return _weighted(y_true, y_pred, weights, base=base, gamma=gamma, from_logits=from_logits)


def _weighted(y_true: Any, y_pred: Any, weights: Any, *, base: Base, gamma: Any, from_logits: bool) -> Tensor:
    base, gamma, from_logits = checked_choice(base, "base", BASES), checked_gamma(gamma), checked_flag(from_logits)
    if base == "softmax":
        targets, logits = prepare(y_true, y_pred, from_logits=from_logits)
        return soft_cross_entropy(targets * class_constant(weights, logits, "class_counts"), logits)
    targets, logits = prepare(y_true, y_pred, from_logits=from_logits, to_logits=logits_of_sigmoid)
    weight = ops.sum(targets * class_constant(weights, logits, "class_counts"), axis=-1)
    present, absent = binary_terms(targets, logits, gamma=gamma if base == "focal" else 0.0)
    return weight * ops.sum(present + absent, axis=-1)


@keras.saving.register_keras_serializable(package="tailfit")
class ClassBalanced(ClassificationLoss):
    """A loss times the weight of the sample's class, `(1 - beta) / (1 - beta ** n)`, scaled to the sum C over classes.

    Args:
        class_counts: C counts > 0, or what has them (`batches`).
        beta: In [0, 1), or a schedule of it; 0 weighs all classes alike, 0.9999 is near 1 / n up to some thousands.
        base: What is weighted: "softmax" cross-entropy; "sigmoid", the binary cross-entropies of all C outputs, summed;
            "focal", their focal form. The last two are for networks whose outputs are C sigmoids.
        gamma: Focusing exponent of "focal", >= 0, or a schedule of it.
        from_logits: Whether `y_pred` are logits. No default: leaving it out is an `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` codes `(batch, ...)` or `(batch, ..., 1)`, or one-hot or soft `(batch, ..., C)`; `y_pred`
        `(batch, ..., C)`; per-sample loss `(batch, ...)` in nats. Under sigmoids a soft label has its mean weight.
    Raises:
        ArgumentError: at once for a class without a sample or a value out of range; at the first call where
            the network has another number of classes.
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
        self.gamma = followed(gamma, checked_gamma, name="gamma", dtype=self.dtype)
        # Weights follow, not beta: 1 - 0.9999 of a float32 variable is wrong in its fourth digit.
        self.weights = followed(beta, lambda value: _weights(self.class_counts, value), name="beta", dtype=self.dtype)
        self.beta = beta if isinstance(self.weights, Scheduled) else float(beta)  # type: ignore[arg-type]

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        weights, gamma = current(self.weights), current(self.gamma)
        return _weighted(y_true, y_pred, weights, base=self.base, gamma=gamma, from_logits=self.from_logits)


def _weights(class_counts: Any, beta: Any) -> tuple[float, ...]:
    counts = np.array(checked_class_counts(class_counts))
    most = np.nextafter(1.0, 0.0)
    beta = checked_number(beta, "beta", most=most, fix="use 0 for equal weights, 0.9999 for large data; below 1")
    if beta == 0:
        return (1.0,) * len(counts)
    # Not 1 - beta ** n: of a large beta and few samples it keeps few digits.
    weights = (1 - beta) / -np.expm1(counts * np.log(beta))
    return tuple((weights * len(counts) / weights.sum()).tolist())
