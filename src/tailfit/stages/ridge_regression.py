"""Ridge regression of classes, with the errors of samples that are left out, in closed form."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

__all__ = ["Floats", "Ridge", "fit_ridge"]

Floats = NDArray[np.float64]

_SMALLEST = 1e-10  # eigenvalues below this share of the largest are rounding
_ROUNDING = 1e-12  # added where a sample would determine its own prediction
_LARGEST_SCALE = 100.0  # scores differ by about 2: beyond this, all probabilities are 0 or 1


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
    features: NDArray[Any],
    targets: Floats,
    weights: Floats,
    strengths: Sequence[float],
    *,
    copies: int = 1,
    centered: bool = True,
) -> Ridge:
    """Fit a ridge regression for each strength, and return that with the smallest error of samples left out.

    Args:
        features, targets: Features `(n, F)`, and class shares `(n, C)` whose rows add up to 1.
        weights: Weights `(n,)`, >= 0.
        strengths: Strengths; see `ridge_classifier`.
        copies: Number of rows of each sample, which are left out together: all samples once, all again, and so on.
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
    unit = copies * values.sum() / len(a) or 1.0  # so that equal copies change nothing
    projected = left.T @ b

    def together(rows: Floats) -> Floats:
        """Return the rows of each sample together, (samples, copies, columns)."""
        return rows.reshape(copies, -1, rows.shape[1]).transpose(1, 0, 2)

    of_sample, roots = together(left), together(root)
    # The offset's part of each row in the predictions of its sample.
    offset = roots @ roots.transpose(0, 2, 1) / w.sum() if centered else 0.0

    def left_out(strength: float) -> Floats:
        """Return residuals of samples left out, times the roots of their weights."""
        shrunk = values / (values + strength * unit)
        own = (of_sample * shrunk) @ of_sample.transpose(0, 2, 1) + offset
        remaining = (1 + _ROUNDING) * np.eye(copies) - own
        residuals = np.linalg.solve(remaining, together(b - left @ (shrunk[:, None] * projected)))
        return np.asarray(residuals.transpose(1, 0, 2).reshape(b.shape), np.float64)

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
