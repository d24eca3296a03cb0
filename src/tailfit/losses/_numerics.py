"""Numerics shared by the losses: labels and logits in float32, log-probabilities, and constants per class.

All computations are in log space. The logarithm of a softmax would lose the gradient of badly misclassified samples,
which should be the largest: beyond a logit gap of 17 in float32, 1 - p rounds to 1, and a clipped p has gradient 0.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.arguments import PerClass
from tailfit.errors import ArgumentError
from tailfit.losses._labels import Labels, labels_of
from tailfit.targets import Tensor, class_count, dense_targets, with_shape

__all__ = [
    "at_least_tiny",
    "class_constant",
    "finite",
    "finite_log_softmax",
    "focus",
    "is_whole",
    "log_one_minus_exp",
    "logits_of_softmax",
    "one_minus_exp",
    "prepare",
    "prepare_rows",
    "whole_power",
]


def logits_of_softmax(p: Tensor) -> Tensor:
    """Return the logarithms of probabilities, which are logits: softmax(log p) is p.

    Probabilities below the smallest normal number (1e-38 in float32) are replaced with it, and have gradient 0. Logits
    would still distinguish such small probabilities.
    """
    return ops.log(at_least_tiny(p))


def prepare(y_true: Any, y_pred: Any, *, from_logits: bool) -> tuple[Labels, Tensor]:
    """Return labels in the form in which they are given, and logits `(batch, ..., C)` of a softmax over C >= 2 classes.

    Numbers are in float32, or in float64 if `y_pred` is.
    """
    y_pred = with_shape(y_pred)
    class_count(y_pred)
    scores, dtype = _in_single(y_pred)
    return labels_of(y_true, y_pred, dtype), scores if from_logits else logits_of_softmax(scores)


def prepare_rows(
    y_true: Any, y_pred: Any, *, from_logits: bool, to_logits: Callable[[Tensor], Tensor], min_outputs: int
) -> tuple[Tensor, Tensor]:
    """Return labels as rows, and logits, both `(batch, ..., C)` with C >= `min_outputs`; dtypes as in `prepare`."""
    y_pred = with_shape(y_pred)
    class_count(y_pred, min_outputs)
    scores, dtype = _in_single(y_pred)
    return dense_targets(y_true, y_pred, dtype), scores if from_logits else to_logits(scores)


def _in_single(y_pred: Tensor) -> tuple[Tensor, str]:
    """Return predictions in float32, or in float64 if they already are, and the name of that dtype."""
    y_pred = ops.convert_to_tensor(y_pred)
    dtype = keras.backend.standardize_dtype(y_pred.dtype)
    return (y_pred, dtype) if dtype in ("float32", "float64") else (ops.cast(y_pred, "float32"), "float32")


def finite_log_softmax(logits: Tensor) -> Tensor:
    """Return log-probabilities, with 0 in place of -inf (disabled classes), for sums weighted by p."""
    return finite(ops.log_softmax(logits, axis=-1))


def finite(log_p: Tensor) -> Tensor:
    """Return log-probabilities with 0 in place of -inf."""
    if keras.backend.backend() == "torch":  # one pass, and one for the gradient; a selection takes six times as long
        return ops.threshold(log_p, float(np.finfo(keras.backend.standardize_dtype(log_p.dtype)).min), 0.0)
    return ops.where(log_p == -math.inf, 0.0, log_p)


def focus(log_p: Tensor, gamma: Any) -> Tensor:
    """Return (1 - p)^gamma from log p, with a finite gradient."""
    if is_whole(gamma) and gamma > 0:
        return whole_power(one_minus_exp(log_p), int(gamma))
    return ops.exp(gamma * log_one_minus_exp(log_p))


def is_whole(exponent: Any) -> bool:
    """Return whether an exponent is a known whole number, which a variable is not."""
    return isinstance(exponent, float) and exponent.is_integer()


def whole_power(x: Tensor, exponent: int) -> Tensor:
    """Return `x ** exponent` with an exponent >= 1, by squaring: a general power takes as long as a logarithm."""
    half = x if exponent < 4 else whole_power(x, exponent // 2)
    power = x if exponent == 1 else ops.square(half)
    return power * x if exponent > 1 and exponent % 2 else power


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


def class_constant(
    values: PerClass | keras.Variable, logits: Tensor, name: str, compute: Callable[[Any], Any] | None = None
) -> Tensor:
    """Return one number per class as a tensor in the dtype of `logits`; raise if the number of classes differs.

    Args:
        values: The numbers.
        logits: Logits `(batch, ..., C)`.
        name: Name of the argument, for the message.
        compute: A function of the numbers as an array, which is called once, for a constant that depends on them only.
    """
    (classes,) = values.shape if isinstance(values, keras.Variable) else (len(values),)
    if classes != logits.shape[-1]:
        raise ArgumentError(
            f"{name} for {classes} classes with y_pred of shape {tuple(logits.shape)}",
            expected="the same number of classes in both",
            fix="end the network in one output per class, and pass one value for each class",
        )
    dtype = keras.backend.standardize_dtype(logits.dtype)
    array = values.array(compute, dtype) if isinstance(values, PerClass) else values
    return ops.convert_to_tensor(array, dtype=dtype)


def at_least_tiny(x: Tensor) -> Tensor:
    """Return the maximum of `x` and the smallest normal number, with gradient 0 where `x` is smaller."""
    tiny = float(np.finfo(keras.backend.standardize_dtype(x.dtype)).tiny)
    if keras.backend.backend() == "torch":  # faster there, see `finite`; NaN stays NaN
        return ops.threshold(x, tiny, tiny)
    return ops.where(x < tiny, ops.full_like(x, tiny), x)
