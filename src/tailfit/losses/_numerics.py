"""Numerics shared by the losses: log-probabilities from logits, and sums in which 0 * inf counts as 0.

All computations are in log space. The logarithm of a softmax would lose the gradient of badly misclassified samples,
which should be the largest: beyond a logit gap of 17 in float32, 1 - p rounds to 1, and a clipped p has gradient 0.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.errors import ArgumentError
from tailfit.targets import Tensor, class_count, dense_targets, with_shape

__all__ = [
    "at_least_tiny",
    "class_constant",
    "finite_log_softmax",
    "labelled_log_softmax",
    "log_one_minus_exp",
    "logits_of_softmax",
    "one_minus_exp",
    "prepare",
    "soft_cross_entropy",
]


def logits_of_softmax(p: Tensor) -> Tensor:
    """Return the logarithms of probabilities, which are logits: softmax(log p) is p.

    Probabilities below the smallest normal number (1e-38 in float32) are replaced with it, and have gradient 0. Logits
    would still distinguish such small probabilities.
    """
    return ops.log(at_least_tiny(p))


def prepare(
    y_true: Any,
    y_pred: Any,
    *,
    from_logits: bool,
    to_logits: Callable[[Tensor], Tensor] = logits_of_softmax,
    min_outputs: int = 2,
) -> tuple[Tensor, Tensor]:
    """Return dense labels and logits, both `(batch, ..., C)` with C >= `min_outputs`, in float32 or float64."""
    y_pred = with_shape(y_pred)
    dtype = keras.backend.standardize_dtype(y_pred.dtype)
    dtype = dtype if dtype == "float64" else "float32"
    class_count(y_pred, min_outputs)
    scores = ops.cast(y_pred, dtype)
    return dense_targets(y_true, y_pred, dtype), scores if from_logits else to_logits(scores)


def labelled_log_softmax(targets: Tensor, logits: Tensor) -> Tensor:
    """Return log-probabilities, with 0 in place of those whose target is 0.

    Users disable a class with a logit of -inf. Its log-probability is -inf, and 0 * inf is NaN: in the sum, and in the
    gradient, too, unless the infinity is replaced before anything is computed from it.
    """
    log_p = ops.log_softmax(logits, axis=-1)
    return ops.where(ops.equal(targets, 0), ops.zeros_like(log_p), log_p)


def finite_log_softmax(logits: Tensor) -> Tensor:
    """Return log-probabilities, with 0 in place of -inf (disabled classes), for sums weighted by p."""
    log_p = ops.log_softmax(logits, axis=-1)
    return ops.where(ops.isinf(log_p), ops.zeros_like(log_p), log_p)


def soft_cross_entropy(targets: Tensor, logits: Tensor) -> Tensor:
    """Return `-sum_k y_k log p_k` of each row; targets need not sum to 1."""
    return -ops.sum(targets * labelled_log_softmax(targets, logits), axis=-1)


def log_one_minus_exp(log_p: Tensor) -> Tensor:
    """Return log(1 - p) from log p; finite, since 1 - p is at least the smallest normal number.

    With this lower bound the gradient is 0 where p is exactly 1. Without it, the gradient of (1 - p)^gamma would be
    infinite there for gamma < 1.
    """
    return ops.log(at_least_tiny(one_minus_exp(log_p)))


def one_minus_exp(log_p: Tensor) -> Tensor:
    """Return 1 - p from log p with full precision, also in its gradient -p.

    `-expm1` is precise for p near 1, where `1 - exp` loses all digits. But backends compute its gradient as
    `expm1 + 1`, which is 0 for p below 6e-8 in float32; so smaller p use `1 - exp`.
    """
    return ops.where(log_p > -1.0, -ops.expm1(log_p), 1.0 - ops.exp(log_p))


def class_constant(values: Sequence[float] | keras.Variable, logits: Tensor, name: str) -> Tensor:
    """Return one number per class as a tensor in the dtype of `logits`; raise if the number of classes differs."""
    (classes,) = np.shape(values)
    if classes != logits.shape[-1]:
        raise ArgumentError(
            f"{name} for {classes} classes with y_pred of shape {tuple(logits.shape)}",
            expected="the same number of classes in both",
            fix="end the network in one output per class, and pass one value for each class",
        )
    return ops.convert_to_tensor(values, dtype=logits.dtype)


def at_least_tiny(x: Tensor) -> Tensor:
    """Return the maximum of `x` and the smallest normal number, with gradient 0 where `x` is smaller."""
    tiny = float(np.finfo(keras.backend.standardize_dtype(x.dtype)).tiny)
    # Not ops.maximum: on torch it casts float64 to float32, in which this number is 0.
    return ops.where(x < tiny, ops.full_like(x, tiny), x)
