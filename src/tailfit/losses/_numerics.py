"""The numbers under every loss: logits in, log-probabilities out, and sums in which 0 * inf is 0.

Everything stays in log space. Softmax first and logarithm after loses the gradient of a sample that is
badly wrong, the one sample that should teach most: beyond a logit gap of 17 in float32, 1 - p is 1 and
a clipped p has no slope.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

import keras
from keras import ops
from tailfit.errors import ArgumentError
from tailfit.losses._targets import Tensor, class_count, dense_targets, with_shape

__all__ = ["class_constant", "class_sum", "log_one_minus_exp", "prepare"]


def prepare(y_true: Any, y_pred: Any, *, from_logits: bool) -> tuple[Tensor, Tensor]:
    """Dense labels and logits, both `(batch, ..., C)` and in float32 (float64 stays)."""
    y_pred = with_shape(y_pred)
    dtype = keras.backend.standardize_dtype(y_pred.dtype)
    dtype = dtype if dtype == "float64" else "float32"
    class_count(y_pred)
    return dense_targets(y_true, y_pred, dtype), _logits(y_pred, dtype, from_logits=from_logits)


def _logits(y_pred: Tensor, dtype: str, *, from_logits: bool) -> Tensor:
    """Logits, of probabilities their logarithms, for softmax(log p) is p.

    Probabilities below the smallest normal number (1e-38 in float32) count as that number, and have no
    gradient: which of two such probabilities was larger is lost in them, as it is not in logits.
    """
    y_pred = ops.cast(y_pred, dtype)
    return y_pred if from_logits else ops.log(ops.maximum(y_pred, _tiny(y_pred)))


def class_sum(targets: Tensor, values: Tensor) -> Tensor:
    """Sum over the classes of `targets * values`, where a target of 0 takes nothing, even of infinity.

    A logit of -inf is how users switch a class off; its log-probability is -inf, and 0 * inf is NaN.
    """
    return ops.sum(ops.where(ops.equal(targets, 0), ops.zeros_like(values), targets * values), axis=-1)


def log_one_minus_exp(log_p: Tensor) -> Tensor:
    """log(1 - p) from log p, finite: where 1 - p rounds to 0 it counts as the smallest normal number.

    `-expm1` keeps every digit at p near 1, where `1 - exp` keeps none. The maximum gives slope 0 where p
    is exactly 1, so that a power below 1 of it has the slope 0 it should have there, not infinity.
    """
    return ops.log(ops.maximum(-ops.expm1(log_p), _tiny(log_p)))


def class_constant(values: Sequence[float], logits: Tensor, name: str) -> Tensor:
    """One number a class as a tensor beside `logits`; refused where C differs."""
    if len(values) != logits.shape[-1]:
        raise ArgumentError(
            f"{name} for {len(values)} classes beside y_pred of shape {tuple(logits.shape)}",
            allowed="as many classes in both",
            mend="end the network in one output a class, and pass counts or weights of all classes",
        )
    return ops.convert_to_tensor(values, dtype=logits.dtype)


def _tiny(x: Tensor) -> float:
    return float(np.finfo(keras.backend.standardize_dtype(x.dtype)).tiny)
