"""Random numbers that every backend can compile, also XLA."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

__all__ = ["beta", "order_of"]

_GRID = np.linspace(0.0, 1.0, 2049, dtype="float32")


def beta(alpha: Any, *, seed: Any) -> Any:
    """Return max(b, 1 - b) for one b ~ Beta(alpha, alpha): float32 in [1/2, 1]; 1 for alpha = 0.

    `keras.random.beta` uses gamma variates, which XLA cannot compile on TensorFlow, and which underflow to 0 / 0 for
    small alpha. Here the distribution function is inverted numerically: t = log(b / (1 - b)) has the density
    (sigmoid(t) sigmoid(-t)) ** alpha, which is smooth with tails e ** (-alpha t), so the trapezoidal rule on a grid
    gives t to 4 digits.
    """
    alpha = ops.cast(alpha, "float32")
    safe = ops.maximum(alpha, 1e-6)
    end = 20.0 / safe + 15.0 / ops.sqrt(safe)  # the mass beyond is less than e ** -20
    t = ops.convert_to_tensor(_GRID) * end
    density = ops.exp(-safe * (ops.softplus(t) + ops.softplus(-t) - 2 * math.log(2.0)))
    mass = ops.cumsum((density[1:] + density[:-1]) / 2)
    below = ops.concatenate([ops.zeros((1,)), mass])
    wanted = keras.random.uniform((), seed=seed) * mass[-1]
    cell = ops.minimum(ops.sum(ops.cast(mass < wanted, "int32")), len(_GRID) - 2)
    low, high = ops.take(below, cell), ops.take(below, cell + 1)
    place = ops.cast(cell, "float32") + ops.divide_no_nan(wanted - low, high - low)
    return ops.where(alpha > 0, ops.sigmoid(place / (len(_GRID) - 1) * end), 1.0)


def order_of(count: Any, *, seed: Any) -> Any:
    """Return a random order of `count` rows, `int32 (count,)`; the count may be known only when the step runs."""
    return ops.cast(ops.argsort(keras.random.uniform((count,), seed=seed)), "int32")
