"""Each loss written by hand with the functions of one backend: the time that its formula takes without Keras or checks.

They expect what the benchmark passes: class indices in range (rows of exactly 0 and 1 for sigmoid losses), float32
logits, no weights, no mask; and no class disabled by a logit of -inf, no schedule, no soft labels.
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
        return -0.95 * raw.pick(log_p, y) - 0.05 * raw.total(raw.exp(log_p) * log_p)

    def normalized(z: Any, y: Any) -> Any:
        log_p = raw.log_softmax(z)
        return raw.pick(log_p, y) / raw.total(log_p)

    def active_passive(z: Any, y: Any) -> Any:
        log_p = raw.log_softmax(z)
        own = raw.pick(log_p, y)
        return own / raw.total(log_p) + 1 - raw.exp(own)

    def logit_norm(z: Any, y: Any) -> Any:
        return raw.nll(z / ((raw.total(z * z)[:, None] ** 0.5 + 1e-7) * 0.04), y)

    def mean_false_error(z: Any, y: Any) -> Any:
        sizes = raw.bincount(y, classes)
        return raw.nll(z, y) / raw.take(sizes, y) * len(y)

    def focal_terms(z: Any, y: Any) -> Any:
        # One term per label is not 0: that of the logit towards the wrong answer.
        log_wrong = raw.log_sigmoid(z * (2 * y - 1))
        return (1 - raw.exp(log_wrong)) ** 2 * -log_wrong

    def asymmetric(z: Any, y: Any) -> Any:
        p = raw.sigmoid(z)
        absent = raw.relu(p - 0.05)
        return -raw.total(y * (1 - p) * raw.log_sigmoid(z) + (1 - y) * absent**4 * raw.log(1 - absent))

    def distribution_balanced(z: Any, y: Any) -> Any:
        weights = 0.1 + raw.sigmoid(10 * (rarity / raw.total(y * rarity)[:, None] - 0.2))
        sign = 3 * y - 2
        log_right = raw.log_sigmoid((z + shift) * sign)
        return raw.total(weights * (1 - raw.exp(log_right)) ** 2 * -log_right * (0.5 + 0.5 * y))

    def equalization(z: Any, y: Any) -> Any:
        return raw.total(raw.binary(z, y) * (y + (1 - y) * kept))

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
        "Equalization": equalization,
        "BinaryFocal": lambda z, y: raw.total(focal_terms(z, y) * (0.75 - 0.5 * y)),
        "Asymmetric": asymmetric,
        "DistributionBalanced": distribution_balanced,
    }
    return {name: lambda z, y, formula=formula: raw.mean(formula(z, y)) for name, formula in formulas.items()}


class _Torch:
    def __init__(self) -> None:
        import torch
        import torch.nn.functional as functional

        self.torch, self.functional = torch, functional
        self.exp, self.log, self.relu, self.sigmoid = torch.exp, torch.log, torch.relu, torch.sigmoid
        self.log_sigmoid = functional.logsigmoid

    def constant(self, array: Any) -> Any:
        return self.torch.as_tensor(np.asarray(array, "float32"))

    def constant_of(self, z: Any) -> Any:
        return z.detach()

    def log_softmax(self, z: Any) -> Any:
        return self.functional.log_softmax(z, dim=-1)

    def nll(self, z: Any, y: Any) -> Any:
        return self.functional.cross_entropy(z, y.long(), reduction="none")

    def binary(self, z: Any, y: Any) -> Any:
        return self.functional.binary_cross_entropy_with_logits(z, y, reduction="none")

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

    def at_most_0(self, values: Any) -> Any:
        return values.clamp(max=0)

    def at_least(self, values: Any, low: float) -> Any:
        return values.clamp(min=low)


class _Jax:
    def __init__(self) -> None:
        import jax
        import jax.numpy as jnp

        self.jax, self.jnp = jax, jnp
        self.exp, self.log, self.relu, self.sigmoid = jnp.exp, jnp.log, jax.nn.relu, jax.nn.sigmoid
        self.log_sigmoid, self.log_softmax, self.constant_of = (
            jax.nn.log_sigmoid,
            jax.nn.log_softmax,
            jax.lax.stop_gradient,
        )

    def constant(self, array: Any) -> Any:
        return np.asarray(array, "float32")

    def nll(self, z: Any, y: Any) -> Any:
        return -self.pick(self.log_softmax(z), y)

    def binary(self, z: Any, y: Any) -> Any:
        return self.jnp.maximum(z, 0) - z * y + self.jnp.log1p(self.jnp.exp(-self.jnp.abs(z)))

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

    def at_most_0(self, values: Any) -> Any:
        return self.jnp.minimum(values, 0)

    def at_least(self, values: Any, low: float) -> Any:
        return self.jnp.maximum(values, low)


class _TensorFlow:
    def __init__(self) -> None:
        import tensorflow as tf

        self.tf = tf
        self.exp, self.log, self.relu, self.sigmoid = tf.exp, tf.math.log, tf.nn.relu, tf.sigmoid
        self.log_sigmoid, self.log_softmax, self.constant_of = tf.math.log_sigmoid, tf.nn.log_softmax, tf.stop_gradient

    def constant(self, array: Any) -> Any:
        return np.asarray(array, "float32")

    def nll(self, z: Any, y: Any) -> Any:
        return self.tf.nn.sparse_softmax_cross_entropy_with_logits(y, z)

    def binary(self, z: Any, y: Any) -> Any:
        return self.tf.nn.sigmoid_cross_entropy_with_logits(y, z)

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

    def at_most_0(self, values: Any) -> Any:
        return self.tf.minimum(values, 0.0)

    def at_least(self, values: Any, low: float) -> Any:
        return self.tf.maximum(values, low)


_RAW: dict[str, Callable[[], Any]] = {"torch": _Torch, "jax": _Jax, "tensorflow": _TensorFlow}
