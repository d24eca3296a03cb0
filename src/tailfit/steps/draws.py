"""Random draws that every backend compiles, XLA included."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

__all__ = ["beta", "order_of"]

_GRID = np.linspace(0.0, 1.0, 2049, dtype="float32")


def beta(alpha: Any, *, seed: Any) -> Any:
    """max(b, 1 - b) of one b ~ Beta(alpha, alpha), float32 in [1/2, 1]; 1 at alpha = 0.

    `keras.random.beta` needs gamma draws, which XLA can't compile on TensorFlow, and which underflow to 0 / 0 for small
    alpha. Here the distribution function is inverted: t = log(b / (1 - b)) has the density
    (sigmoid(t) sigmoid(-t)) ** alpha, smooth with tails e ** (-alpha t), so that a grid of it, summed by trapezoids,
    gives t to 4 digits.
    """
    alpha = ops.cast(alpha, "float32")
    safe = ops.maximum(alpha, 1e-6)
    end = 20.0 / safe + 15.0 / ops.sqrt(safe)  # beyond it lies less than e ** -20 of the mass
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
    """A random order of `count` rows, `int32 (count,)`; the count may be known only when the step runs."""
    return ops.cast(ops.argsort(keras.random.uniform((count,), seed=seed)), "int32")
