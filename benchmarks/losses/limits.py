"""Each loss written by hand with the functions of one backend: the time that its formula takes without Keras or checks.

The backend differentiates them, except sums of sigmoid terms on torch, whose closed form is several times as fast. On
TensorFlow, tailfit can be faster than the limit, because it has closed forms there, too (losses/_slopes.py).

They compute the same function, disabled classes (logits of -inf) and, in sigmoid losses, soft labels included. They
expect what the benchmark passes: class indices in range, float32 logits, no weights, no mask, options as numbers.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

__all__ = ["limits"]


def limits(classes: int, counts: Any, num_samples: float) -> dict[str, Callable[[Any, Any], Any]]:
    """Return functions `(logits, labels) -> mean loss`, by the names in the benchmark."""
    raw = _RAW[keras.backend.backend()]()
    n = np.asarray(counts, "float64")
    const = raw.constant
    prior, fraction = np.log(n / n.sum()), n / n.max()
    margins, log_n = const(0.5 * (n / n.min()) ** -0.25), const(np.log(n))
    beta_weights = (1 - 0.9999) / (1 - 0.9999**n)
    beta_weights = const(beta_weights * classes / beta_weights.sum())
    frequent = const(0.1 + 0.3 * np.sin(np.pi / 2 * (n - n.min()) / (n.max() - n.min())))
    kept = const(n / n.sum() >= 0.01)
    rarity, shift = const(n.min() / n), const(0.05 / 2 * -np.log(num_samples / n - 1))
    prior, scale = const(prior), const(fraction**0.3)
    low = float(np.log(0.01))

    def smoothed(z: Any, y: Any, share: Any) -> Any:
        log_p = raw.log_softmax(z)
        return -((1 - share) * raw.pick(log_p, y) + share / classes * raw.total(log_p))

    def seesaw(z: Any, y: Any) -> Any:
        log_p = raw.log_softmax(raw.constant_of(z))
        own = raw.pick(log_p, y)[:, None]
        mitigation = 0.8 * raw.at_most_0(log_n - raw.take(log_n, y)[:, None])
        return raw.nll(z + mitigation + 2 * raw.relu(log_p - raw.at_least(own, low)), y)

    def asymmetric_single_label(z: Any, y: Any) -> Any:
        log_p = raw.log_softmax(z)
        own, terms = raw.pick(log_p, y), raw.exp(4 * log_p) * log_p
        return -(0.9 * own + 0.1 / classes * (raw.total(terms) + own - raw.pick(terms, y)))

    def bootstrapping(z: Any, y: Any) -> Any:
        log_p = raw.log_softmax(z)
        return -0.95 * raw.pick(log_p, y) - 0.05 * raw.total(raw.exp(log_p) * raw.finite(log_p))

    def normalized(z: Any, y: Any) -> Any:
        log_p = raw.log_softmax(z)
        return raw.pick(log_p, y) / raw.total(raw.finite(log_p))

    def active_passive(z: Any, y: Any) -> Any:
        log_p = raw.log_softmax(z)
        own = raw.pick(log_p, y)
        return own / raw.total(raw.finite(log_p)) + 1 - raw.exp(own)

    def logit_norm(z: Any, y: Any) -> Any:
        finite = raw.finite(z)
        scaled = finite / ((raw.total(finite * finite)[:, None] ** 0.5 + 1e-7) * 0.04)
        return raw.nll(raw.where(z == -np.inf, -np.inf, scaled), y)

    def mean_false_error(z: Any, y: Any) -> Any:
        sizes = raw.bincount(y, classes)
        return raw.nll(z, y) / raw.take(sizes, y) * y.shape[0]

    def distribution_balanced(z: Any, y: Any) -> Any:
        weights = 0.1 + raw.sigmoid(10 * (rarity / raw.at_least(raw.total(y * rarity)[:, None], 1e-38) - 0.2))
        present = weights * y
        return raw.focal_sum((z + shift) * (2 - y), present, (weights - present) / 2)

    formulas: dict[str, Callable[[Any, Any], Any]] = {
        "CrossEntropy": raw.nll,
        "CrossEntropy, smoothed": lambda z, y: smoothed(z, y, 0.1),
        "Focal": lambda z, y: (1 - raw.exp(-(nll := raw.nll(z, y)))) ** 2 * nll,
        "ClassBalanced": lambda z, y: raw.take(beta_weights, y) * raw.nll(z, y),
        "LDAM": lambda z, y: raw.nll(30 * raw.add_at(z, y, -raw.take(margins, y)), y),
        "BalancedSoftmax": lambda z, y: raw.nll(z + prior, y),
        "LogitAdjusted": lambda z, y: raw.nll(z + prior, y),
        "VectorScaling": lambda z, y: raw.nll(z * scale + prior, y),
        "Seesaw": seesaw,
        "AsymmetricSingleLabel": asymmetric_single_label,
        "Poly1": lambda z, y: (nll := raw.nll(z, y)) + 1 - raw.exp(-nll),
        "GeneralizedCrossEntropy": lambda z, y: (1 - raw.exp(-0.7 * raw.nll(z, y))) / 0.7,
        "SymmetricCrossEntropy": lambda z, y: 0.1 * (nll := raw.nll(z, y)) + 9.21034 * (1 - raw.exp(-nll)),
        "Bootstrapping": bootstrapping,
        "ActivePassive": active_passive,
        "MeanAbsolute": lambda z, y: 1 - raw.exp(-raw.nll(z, y)),
        "NormalizedCrossEntropy": normalized,
        "LabelAwareSmoothing": lambda z, y: smoothed(z, y, raw.take(frequent, y)),
        "LogitNorm": logit_norm,
        "MeanFalseError": mean_false_error,
        "Equalization": lambda z, y: raw.binary_sum(z, y, (1 - y) * kept),
        "BinaryFocal": lambda z, y: raw.focal_sum(z, 0.25 * y, 0.75 - 0.75 * y),
        "Asymmetric": raw.asymmetric,
        "DistributionBalanced": distribution_balanced,
    }
    return {name: lambda z, y, formula=formula: raw.mean(formula(z, y)) for name, formula in formulas.items()}


class _Raw:
    where: Callable[..., Any]

    def finite(self, values: Any) -> Any:
        return self.where(values == -np.inf, 0.0, values)

    def binary_sum(self, z: Any, present: Any, absent: Any) -> Any:
        z = self.clip(z)
        return -self.total(present * self.log_sigmoid(z) + absent * self.log_sigmoid(-z))

    def focal_sum(self, z: Any, present: Any, absent: Any) -> Any:
        z = self.clip(z)
        log_p, log_q = self.log_sigmoid(z), self.log_sigmoid(-z)
        return -self.total(present * self.exp(2 * log_q) * log_p + absent * self.exp(2 * log_p) * log_q)

    def asymmetric(self, z: Any, y: Any) -> Any:
        z = self.clip(z)
        log_p = self.log_sigmoid(z)
        shifted = self.relu(self.exp(log_p) - 0.05)
        squared = shifted * shifted
        return -self.total(y * self.sigmoid(-z) * log_p + (1 - y) * squared * squared * self.log1p(-shifted))


class _Torch(_Raw):
    def __init__(self) -> None:
        import limits_torch
        import torch
        import torch.nn.functional as functional

        self.binary_sum, self.focal_sum = limits_torch.binary_sum, limits_torch.focal_sum
        self.asymmetric = limits_torch.asymmetric

        self.torch, self.functional = torch, functional
        self.exp, self.log1p, self.relu, self.sigmoid = torch.exp, torch.log1p, torch.relu, torch.sigmoid
        self.log_sigmoid, self.where = functional.logsigmoid, torch.where

    def constant(self, array: Any) -> Any:
        return self.torch.as_tensor(np.asarray(array, "float32"))

    def constant_of(self, z: Any) -> Any:
        return z.detach()

    def log_softmax(self, z: Any) -> Any:
        return self.functional.log_softmax(z, dim=-1)

    def nll(self, z: Any, y: Any) -> Any:
        return self.functional.cross_entropy(z, y.long(), reduction="none")

    def pick(self, values: Any, y: Any) -> Any:
        return values.gather(1, y.long()[:, None])[:, 0]

    def take(self, row: Any, y: Any) -> Any:
        return row[y]

    def add_at(self, z: Any, y: Any, values: Any) -> Any:
        return z.scatter_add(1, y.long()[:, None], values[:, None])

    def bincount(self, y: Any, classes: int) -> Any:
        return self.torch.bincount(y, minlength=classes)

    def total(self, values: Any) -> Any:
        return values.sum(-1)

    def mean(self, values: Any) -> Any:
        return values.mean()

    def clip(self, values: Any) -> Any:  # the gradient of a clamp takes four passes
        return values.nan_to_num(nan=float("nan"), posinf=1e30, neginf=-1e30)

    def finite(self, values: Any) -> Any:
        return self.functional.threshold(values, -3.4e38, 0.0)

    def at_most_0(self, values: Any) -> Any:
        return values.clamp(max=0)

    def at_least(self, values: Any, low: float) -> Any:
        return values.clamp(min=low)


class _Jax(_Raw):
    def __init__(self) -> None:
        import jax
        import jax.numpy as jnp

        self.jax, self.jnp, self.where = jax, jnp, jnp.where
        self.exp, self.log1p, self.relu, self.sigmoid = jnp.exp, jnp.log1p, jax.nn.relu, jax.nn.sigmoid
        self.log_sigmoid, self.log_softmax, self.constant_of = (
            jax.nn.log_sigmoid,
            jax.nn.log_softmax,
            jax.lax.stop_gradient,
        )

    def constant(self, array: Any) -> Any:
        return np.asarray(array, "float32")

    def nll(self, z: Any, y: Any) -> Any:
        return -self.pick(self.log_softmax(z), y)

    def _hot(self, y: Any, classes: int) -> Any:
        return y[:, None] == np.arange(classes, dtype="int32")

    def pick(self, values: Any, y: Any) -> Any:
        return self.jnp.where(self._hot(y, values.shape[-1]), values, 0).sum(-1)

    def take(self, row: Any, y: Any) -> Any:
        return self.jnp.asarray(row)[y]

    def add_at(self, z: Any, y: Any, values: Any) -> Any:
        return z + self.jnp.where(self._hot(y, z.shape[-1]), values[:, None], 0)

    def bincount(self, y: Any, classes: int) -> Any:
        return self._hot(y, classes).sum(0)

    def total(self, values: Any) -> Any:
        return values.sum(-1)

    def mean(self, values: Any) -> Any:
        return values.mean()

    def clip(self, values: Any) -> Any:
        return self.jnp.clip(values, -1e30, 1e30)

    def at_most_0(self, values: Any) -> Any:
        return self.jnp.minimum(values, 0)

    def at_least(self, values: Any, low: float) -> Any:
        return self.jnp.maximum(values, low)


class _TensorFlow(_Raw):
    def __init__(self) -> None:
        import tensorflow as tf

        self.tf, self.where = tf, tf.where
        self.exp, self.log1p, self.relu, self.sigmoid = tf.exp, tf.math.log1p, tf.nn.relu, tf.sigmoid
        self.log_sigmoid, self.log_softmax, self.constant_of = tf.math.log_sigmoid, tf.nn.log_softmax, tf.stop_gradient

    def constant(self, array: Any) -> Any:
        return np.asarray(array, "float32")

    def nll(self, z: Any, y: Any) -> Any:
        return self.tf.nn.sparse_softmax_cross_entropy_with_logits(y, z)

    def pick(self, values: Any, y: Any) -> Any:
        return self.tf.gather(values, y, batch_dims=1)

    def take(self, row: Any, y: Any) -> Any:
        return self.tf.gather(row, y)

    def add_at(self, z: Any, y: Any, values: Any) -> Any:
        return z + self.tf.one_hot(y, z.shape[-1]) * values[:, None]

    def bincount(self, y: Any, classes: int) -> Any:
        return self.tf.reduce_sum(self.tf.one_hot(y, classes), 0)

    def total(self, values: Any) -> Any:
        return self.tf.reduce_sum(values, -1)

    def mean(self, values: Any) -> Any:
        return self.tf.reduce_mean(values)

    def clip(self, values: Any) -> Any:
        return self.tf.clip_by_value(values, -1e30, 1e30)

    def at_most_0(self, values: Any) -> Any:
        return self.tf.minimum(values, 0.0)

    def at_least(self, values: Any, low: float) -> Any:
        return self.tf.maximum(values, low)


_RAW: dict[str, Callable[[], Any]] = {"torch": _Torch, "jax": _Jax, "tensorflow": _TensorFlow}
