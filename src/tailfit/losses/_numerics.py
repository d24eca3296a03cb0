"""The numbers under every loss: logits in, log-probabilities out, and sums in which 0 * inf is 0.

Everything stays in log space. Softmax first and logarithm after loses the gradient of a sample that is
badly wrong, the one sample that should teach most: beyond a logit gap of 17 in float32, 1 - p is 1 and
a clipped p has no slope.
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
    """Logarithms of probabilities, for softmax(log p) is p.

    Probabilities below the smallest normal number (1e-38 in float32) count as that number, and have no
    gradient: which of two such probabilities was larger is lost in them, as it is not in logits.
    """
    return ops.log(at_least_tiny(p))


def prepare(
    y_true: Any,
    y_pred: Any,
    *,
    from_logits: bool,
    to_logits: Callable[[Tensor], Tensor] = logits_of_softmax,
    fewest: int = 2,
) -> tuple[Tensor, Tensor]:
    """Dense labels and logits, both `(batch, ..., C)` with C >= `fewest`, and in float32 (float64 stays)."""
    y_pred = with_shape(y_pred)
    dtype = keras.backend.standardize_dtype(y_pred.dtype)
    dtype = dtype if dtype == "float64" else "float32"
    class_count(y_pred, fewest)
    scores = ops.cast(y_pred, dtype)
    return dense_targets(y_true, y_pred, dtype), scores if from_logits else to_logits(scores)


def labelled_log_softmax(targets: Tensor, logits: Tensor) -> Tensor:
    """Log-probabilities, with 0 in place of those that their target of 0 takes out of the sum.

    A logit of -inf is how users switch a class off. Its log-probability is -inf, and 0 * inf is NaN: in the
    sum, and in the slope too unless the infinity is replaced before anything is computed from it.
    """
    log_p = ops.log_softmax(logits, axis=-1)
    return ops.where(ops.equal(targets, 0), ops.zeros_like(log_p), log_p)


def finite_log_softmax(logits: Tensor) -> Tensor:
    """Log-probabilities, with 0 in place of those of classes that are switched off: for sums that weigh by p."""
    log_p = ops.log_softmax(logits, axis=-1)
    return ops.where(ops.isinf(log_p), ops.zeros_like(log_p), log_p)


def soft_cross_entropy(targets: Tensor, logits: Tensor) -> Tensor:
    """`-sum_k y_k log p_k` of each row, whatever its targets sum to."""
    return -ops.sum(targets * labelled_log_softmax(targets, logits), axis=-1)


def log_one_minus_exp(log_p: Tensor) -> Tensor:
    """log(1 - p) from log p, finite: where 1 - p rounds to 0 it counts as the smallest normal number.

    The floor gives slope 0 where p is exactly 1, so that a power below 1 of it has the slope 0 it should have
    there, not infinity.
    """
    return ops.log(at_least_tiny(one_minus_exp(log_p)))


def one_minus_exp(log_p: Tensor) -> Tensor:
    """1 - p from log p, to the last digit, and its slope -p too.

    `-expm1` keeps every digit at p near 1, where `1 - exp` keeps none; but backends compute its slope as `expm1 + 1`,
    which is 0 where p is below 6e-8 in float32.
    """
    return ops.where(log_p > -1.0, -ops.expm1(log_p), 1.0 - ops.exp(log_p))


def class_constant(values: Sequence[float] | keras.Variable, logits: Tensor, name: str) -> Tensor:
    """One number a class as a tensor beside `logits`; refused where C differs."""
    (classes,) = np.shape(values)
    if classes != logits.shape[-1]:
        raise ArgumentError(
            f"{name} for {classes} classes beside y_pred of shape {tuple(logits.shape)}",
            expected="as many classes in both",
            fix="end the network in one output a class, and pass counts or weights of all classes",
        )
    return ops.convert_to_tensor(values, dtype=logits.dtype)


def at_least_tiny(x: Tensor) -> Tensor:
    """`x`, or the smallest normal number where `x` is below it, without a slope there."""
    tiny = float(np.finfo(keras.backend.standardize_dtype(x.dtype)).tiny)
    # Not ops.maximum: on torch it takes float64 to float32, where the tiny of float64 is 0.
    return ops.where(x < tiny, ops.full_like(x, tiny), x)
