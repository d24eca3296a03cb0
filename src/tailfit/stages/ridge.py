"""A classifier fitted by ridge regression in closed form, on the features of a trained or fixed network.

Where there are far more features than samples, as behind `minirocket`, the training data determine neither the scale
nor most directions of the weights. Ridge regression chooses the smallest weights, and its strength by the error of each
sample when it is left out, which needs no further fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from tailfit.data import Batches
from tailfit.errors import ArgumentError, DataError
from tailfit.keras_private import Functional
from tailfit.stages.classifier import classifier_of
from tailfit.training.model import Model

__all__ = ["STRENGTHS", "Ridge", "fit_ridge", "ridge_classifier"]

Floats = NDArray[np.float64]

STRENGTHS = tuple(float(each) for each in np.logspace(-4, 2, 25))
_SMALLEST = 1e-10  # eigenvalues below this share of the largest are rounding
_LARGEST_SCALE = 100.0  # scores differ by about 2: beyond this, all probabilities are 0 or 1


def ridge_classifier(
    model: Model, batches: Batches, *, strengths: Sequence[float] | None = None, head: Any = None
) -> dict[str, float]:
    """Compute the last layer by ridge regression of the labels, -1 or 1 for each class, on the features before it.

    Every sample of the source is used once, with its weight: `class_weight="balanced"` gives all classes the same say.
    The strength is the one with the smallest weighted squared error of samples that are left out. The scores are then
    multiplied by the factor that maximises the likelihood of the samples left out, so they are logits, and can be
    calibrated and adjusted as such. Nothing is trained by steps, and the result does not depend on a seed.

    Time and memory grow with the smaller of the numbers of samples and features, its cube and its square: up to about
    10,000, as in the paper.

    Args:
        model: Functional model, trained or with fixed features, such as `tailfit.networks.minirocket`.
        batches: Batches of the training data with one class per sample.
        strengths: Strengths to choose from, > 0, in units of the mean squared norm of the centred features; by default
            25 from 0.0001 to 100.
        head: See `retrain_classifier`.
    Returns:
        The chosen `strength`, the `scale` of the logits, and `accuracy`, the share of samples that are classified
        correctly when they are left out.
    Raises:
        ArgumentError: If the last layer is not found or the model is not functional, or a strength is not positive.
        DataError: If samples have no label or several, or fewer than two have a weight.
    Source: Dempster et al. 2021, arXiv:2012.08791, section 4, where it is the classifier; errors of samples left out:
        Golub, Heath & Wahba 1979, Technometrics 21(2), eq. 1.3.

    >>> import tailfit
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(60) % 3
    >>> x = rng.normal(size=(60, 30, 2)).astype("float32") + np.where(y, y - 3, 2)[:, None, None]
    >>> model = tailfit.networks.minirocket((30, 2), 3, num_features=420, records=x)
    >>> fitted = ridge_classifier(model, tailfit.Batches(tailfit.data.Arrays(x, y)))
    >>> bool(fitted["accuracy"] > 0.8), bool((model.predict(x, verbose=0).argmax(axis=1) == y).mean() > 0.9)
    (True, True)
    """
    layer = classifier_of(model, head)
    if not isinstance(model, Functional):
        raise ArgumentError(
            f"a model of type {type(model).__name__}",
            expected="a functional model, whose features can be computed",
            fix="build it with tailfit.Model(inputs, outputs)",
        )
    strengths = STRENGTHS if strengths is None else _checked_strengths(strengths)
    features, targets, weights = _data_of(keras.Model(model.input, layer.input), batches, layer.units)
    ridge = fit_ridge(features, targets, weights, strengths, centered=layer.use_bias)
    layer.kernel.assign(ridge.scale * ridge.kernel)
    if layer.use_bias:
        layer.bias.assign(ridge.scale * ridge.bias)
    return {"strength": ridge.strength, "scale": ridge.scale, "accuracy": ridge.accuracy}


@dataclass(frozen=True)
class Ridge:
    """A ridge regression of classes.

    Attributes:
        kernel, bias: Weights `(F, C)` and offsets `(C,)` of the scores, which are about -1 to 1.
        strength: The chosen strength.
        error: Weighted sum of squared errors of the samples when they are left out.
        scale: Factor that makes logits of the scores.
        accuracy: Share of the samples that are classified correctly when they are left out.
    """

    kernel: Floats
    bias: Floats
    strength: float
    error: float
    scale: float
    accuracy: float


def fit_ridge(
    features: NDArray[Any], targets: Floats, weights: Floats, strengths: Sequence[float], *, centered: bool = True
) -> Ridge:
    """Fit a ridge regression for each strength, and return that with the smallest error of samples left out.

    Args:
        features, targets: Features `(n, F)`, and class shares `(n, C)` whose rows add up to 1.
        weights: Weights `(n,)`, >= 0.
        strengths: Strengths; see `ridge_classifier`.
        centered: Whether there are offsets, which are not shrunk.

    >>> x, y = np.array([[-1.0], [-2.0], [1.0], [3.0]]), np.eye(2)[[0, 0, 1, 1]]
    >>> ridge = fit_ridge(x, y, np.ones(4), [0.001])
    >>> [round(float(value), 3) for value in ridge.kernel[0]], ridge.accuracy
    ([-0.474, 0.474], 1.0)
    """
    x, t = np.asarray(features, np.float64), 2 * np.asarray(targets, np.float64) - 1
    used = weights > 0
    x, t, w = x[used], t[used], weights[used].astype(np.float64)
    mean_x, mean_t = (w @ each / w.sum() if centered else np.zeros(each.shape[1]) for each in (x, t))
    root = np.sqrt(w)[:, None]
    a, b = root * (x - mean_x), root * (t - mean_t)
    values, left = _left_singular(a)
    unit = values.sum() / len(a) or 1.0
    projected = left.T @ b
    offset = w / w.sum() if centered else 0.0  # the offset's part of each sample in its own prediction

    def left_out(strength: float) -> Floats:
        """Return residuals of samples left out, times the roots of their weights."""
        shrunk = values / (values + strength * unit)
        own = (left**2) @ shrunk + offset
        residuals: Floats = (b - left @ (shrunk[:, None] * projected)) / np.maximum(1 - own, 1e-12)[:, None]
        return residuals

    errors = [float(np.square(left_out(each)).sum()) for each in strengths]
    error, strength = min(zip(errors, strengths, strict=True))
    scores = t - left_out(strength) / root
    kernel = a.T @ (left @ (projected / (values + strength * unit)[:, None]))
    bias = mean_t - mean_x @ kernel
    correct = scores.argmax(axis=1) == t.argmax(axis=1)
    return Ridge(kernel, bias, strength, error, _scale_of(scores, t, w), float(correct.mean()))


def _left_singular(a: Floats) -> tuple[Floats, Floats]:
    """Return the positive eigenvalues of `a @ a.T`, and its eigenvectors in columns, from the smaller Gram matrix."""
    wide = a.shape[0] <= a.shape[1]
    values, vectors = np.linalg.eigh(a @ a.T if wide else a.T @ a)
    kept = values > _SMALLEST * max(values[-1], 0.0)
    values, vectors = values[kept], vectors[:, kept]
    return values, vectors if wide else a @ vectors / np.sqrt(values)


def _scale_of(scores: Floats, t: Floats, w: Floats) -> float:
    """Return the factor of the scores that maximises the weighted likelihood, which is concave in it."""
    shares = (t + 1) / 2

    def loss(scale: float) -> float:
        logits = scale * scores
        return float(w @ (logsumexp(logits, axis=1) - (shares * logits).sum(axis=1)))

    return float(minimize_scalar(loss, bounds=(1e-3, _LARGEST_SCALE), method="bounded").x)


def _data_of(before: keras.Model, batches: Batches, classes: int) -> tuple[NDArray[Any], Floats, Floats]:
    """Return features `(n, F)`, class shares `(n, C)` and weights `(n,)` of all samples."""
    found, targets, weights = [], [], []
    for batch in batches.in_source_order().iterate(0):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
        y = None if y is None else np.asarray(y)
        if y is None or (y.ndim != 1 and (y.shape[1] != classes or not np.allclose(y.sum(axis=1), 1, atol=1e-3))):
            raise DataError(
                "samples without a label" if y is None else f"labels of shape {y.shape} that are not one class each",
                expected=f"one of {classes} classes for each sample",
                fix="pass Batches with labels, or use retrain_classifier for labels of several classes",
            )
        found.append(np.array(keras.ops.convert_to_numpy(before.predict_on_batch(x))))
        targets.append(np.eye(classes)[y] if y.ndim == 1 else y)
        weights.append(np.ones(len(y)) if weight is None else np.asarray(weight))
    features, weight = np.concatenate(found), np.concatenate(weights)
    if features.ndim != 2 or (weight > 0).sum() < 2 or not np.isfinite(features).all():
        raise DataError(
            f"features of shape {features.shape}, {(weight > 0).sum()} samples with a weight > 0"
            + (", and features that are not finite" if not np.isfinite(features).all() else ""),
            expected="finite features (samples, features), and two samples or more with a weight",
            fix="check the model and the data; call tailfit.networks.adapt_to before using minirocket",
        )
    return features, np.concatenate(targets).astype(np.float64), weight.astype(np.float64)


def _checked_strengths(strengths: Any) -> Sequence[float]:
    values = np.asarray(strengths, dtype=object).ravel().tolist()
    if values and all(isinstance(each, int | float) and 0 < each < float("inf") for each in values):
        return [float(each) for each in values]
    raise ArgumentError(
        f"strengths={strengths!r}", expected="positive numbers", fix="drop strengths, or pass [0.01, 1]"
    )
