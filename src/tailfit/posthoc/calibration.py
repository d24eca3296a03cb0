"""Calibration after training: minimise the validation loss, so that probabilities match observed frequencies.

Both problems are convex in the numbers that multiply and shift the logits, so `fit` finds the global minimum. If the
validation data have none (all samples are predicted correctly, so more confidence is always better), `fit` raises.
"""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, minimize
from scipy.special import logsumexp, softmax

from tailfit.arguments import REQUIRED, checked_number
from tailfit.errors import DataError
from tailfit.posthoc.base import Correction, Floats

__all__ = ["TemperatureScaling", "VectorScaling"]

_MAX_INVERSE_TEMPERATURE = 2.0**20  # the search is between 1 / this and this
_GRADIENT_TOLERANCE = 1e-6  # largest gradient entry at a minimum


class TemperatureScaling(Correction):
    """Divide all logits by one number that minimises the negative log-likelihood of the validation data.

    The predicted class does not change, only its confidence.

    Args:
        from_logits: Whether the scores are logits. Required: omitting it raises `ArgumentError`.
    Attributes:
        temperature_: The fitted divisor; above 1 if the model is over-confident.
    Shapes: scores `(n, ..., C)`; corrected scores have the same shape.
    Raises:
        DataError: In `fit`, if the likelihood has no maximum: all predictions are correct, or no better than chance.
    Source: Guo et al. 2017, arXiv:1706.04599, eq. 9.

    >>> logits = [[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [0.0, 4.0]]
    >>> scaling = TemperatureScaling(from_logits=True).fit(logits, [0, 0, 1, 1])  # confidence 98 %, accuracy 75 %
    >>> round(scaling.temperature_, 4)  # 4 / ln 3
    3.641
    """

    def __init__(self, *, from_logits: bool = REQUIRED) -> None:
        super().__init__(from_logits=from_logits)

    def fit(self, scores: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Find the temperature on validation data: scores `(n, C)`, labels `(n,)` and weights `(n,)`."""
        logits, codes, weights = self.validation(scores, y, sample_weight)
        self.classes_ = logits.shape[1]
        gaps = _finite(logits - logits[np.arange(len(codes)), codes][:, None])

        def slope(inverse: float) -> float:
            """Return the derivative of the mean loss with respect to `inverse`: the softmax-weighted mean gap."""
            return float(np.mean(weights * (softmax(inverse * gaps, axis=1) * gaps).sum(axis=1)))

        low, high = 1.0, 1.0
        while slope(low) > 0 and low > 1 / _MAX_INVERSE_TEMPERATURE:
            low /= 2
        while slope(high) < 0 and high < _MAX_INVERSE_TEMPERATURE:
            high *= 2
        if not slope(low) <= 0 <= slope(high) or slope(high) == 0:
            better = "more" if slope(low) < 0 else "less"
            raise DataError(
                f"{len(codes)} validation samples whose likelihood has no maximum: it grows with {better} confidence",
                expected="some wrong predictions, and more correct ones than by chance",
                fix="pass more validation data, and check that scores and labels are in the same order",
            )
        self.temperature_ = 1 / float(brentq(slope, low, high, xtol=1e-300, rtol=1e-14))
        return self

    def coefficients(self) -> tuple[Floats, Floats]:
        classes, temperature = self._fitted("classes_"), self._fitted("temperature_")
        return np.full(classes, 1 / temperature), np.zeros(classes)


class VectorScaling(Correction):
    """A factor and an offset for each class' logit that minimise the negative log-likelihood of the validation data.

    For probabilities, their logarithms are scaled, which differ from the logits by a constant per sample; so the
    factors differ, too. (`tailfit.losses.VectorScaling` is a different method of the same name: a training loss.)

    Args:
        penalty: Weight of the mean squared distance of the factors from 1 and of the offsets from 0 in the minimised
            loss, >= 0. Use it if there are few validation samples per class.
        from_logits: Whether the scores are logits. Required: omitting it raises `ArgumentError`.
    Attributes:
        scale_: Factors, `float64[C]`.
        offset_: Offsets, `float64[C]`; they sum to 0, since only their differences matter.
    Shapes: scores `(n, ..., C)`; corrected scores have the same shape.
    Raises:
        ArgumentError: If `penalty` is negative.
        DataError: In `fit`, if a class has no sample, or the likelihood has no maximum.
    Source: Guo et al. 2017, arXiv:1706.04599, section 4.2.

    >>> logits = [[2.0, 0.0]] * 8 + [[0.0, 1.0]] * 4
    >>> scaling = VectorScaling(from_logits=False).fit(softmax(logits, axis=1), [0] * 6 + [1] * 2 + [0] + [1] * 3)
    >>> scaling.transform([[0.9, 0.1]]).shape
    (1, 2)
    """

    def __init__(self, penalty: float = 0.0, *, from_logits: bool = REQUIRED) -> None:
        super().__init__(from_logits=from_logits)
        checked_number(penalty, "penalty", fix="use penalty=0 if there are enough samples")
        self.penalty = penalty

    def fit(self, scores: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Find factors and offsets on validation data: scores `(n, C)`, labels `(n,)` and weights `(n,)`."""
        logits, codes, weights = self.validation(scores, y, sample_weight)
        classes = logits.shape[1]
        logits = _finite(logits)
        own = np.eye(classes)[codes]
        if not (weights @ own).all():
            raise DataError(
                f"validation data without a sample of class {int(np.argmin(weights @ own))}",
                expected="at least one sample of each class",
                fix="pass more validation data, or use TemperatureScaling",
            )

        def loss(numbers: Floats) -> tuple[float, Floats]:
            scale, offset = numbers.reshape(2, classes)
            corrected = logits * scale + offset
            value = np.mean(weights * (logsumexp(corrected, axis=1) - (own * corrected).sum(axis=1)))
            error = weights[:, None] * (softmax(corrected, axis=1) - own) / len(codes)
            distance = np.concatenate([scale - 1, offset])
            gradient = np.concatenate([(error * logits).sum(axis=0), error.sum(axis=0)])
            return float(value + self.penalty * np.mean(distance**2)), gradient + self.penalty * distance / classes

        start = np.concatenate([np.ones(classes), np.zeros(classes)])
        options = {"maxiter": 10_000, "maxfun": 100_000, "ftol": 0, "gtol": _GRADIENT_TOLERANCE / 10, "maxcor": 30}
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
        # Without a minimum the gradient vanishes, too, but the loss is still lower at twice the distance.
        if np.abs(loss(found.x)[1]).max() > _GRADIENT_TOLERANCE or loss(2 * found.x - start)[0] < found.fun:
            raise DataError(
                f"{len(codes)} validation samples whose likelihood has no maximum",
                expected="validation data that cannot be separated without an error by scaling and shifting the logits",
                fix="pass more validation data, or penalty=0.01",
            )
        self.scale_, offset = found.x.reshape(2, classes)
        self.offset_ = offset - offset.mean()
        return self

    def coefficients(self) -> tuple[Floats, Floats]:
        return self._fitted("scale_"), self._fitted("offset_")


def _finite(logits: NDArray[np.float64]) -> Floats:
    """Replace logits of -inf (disabled classes) with finite ones whose softmax is 0, since inf * 0 is NaN."""
    return np.maximum(logits, -1e30)
