"""Calibration after training: probabilities that come true as often as they say, by minimising validation loss.

Both problems are convex in the numbers that multiply and shift the logits, so what `fit` finds is the one minimum.
Where the validation data have none (every sample is called right, and surer would always be better) it says so.
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

_SURENESS = 2.0**20  # inverse temperatures searched, and their inverses
_FLAT = 1e-6  # the largest slope that counts as a minimum


class TemperatureScaling(Correction):
    """Divide all logits by one number, so that the negative log-likelihood of validation data is least.

    The class called stays what it is; only how sure it is changes.

    Args:
        from_logits: Whether the scores are logits. No default.
    Attributes:
        temperature_: The divisor that `fit` found; above 1 where the model was too sure.
    Shapes: scores `(n, ..., C)`; corrected ones alike.
    Raises:
        DataError: `fit` on data whose likelihood has no maximum: all called right, or no better than chance.
    Source: Guo et al. 2017, arXiv:1706.04599, eq. 9.

    >>> logits = [[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [0.0, 4.0]]
    >>> scaling = TemperatureScaling(from_logits=True).fit(logits, [0, 0, 1, 1])  # 98 % sure, 75 % right
    >>> round(scaling.temperature_, 4)  # 4 / ln 3
    3.641
    """

    def __init__(self, *, from_logits: bool = REQUIRED) -> None:
        super().__init__(from_logits=from_logits)

    def fit(self, scores: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Find the temperature on validation data."""
        logits, codes, weights = self.validation(scores, y, sample_weight)
        self.classes_ = logits.shape[1]
        gaps = _finite(logits - logits[np.arange(len(codes)), codes][:, None])

        def slope(sureness: float) -> float:
            """Of the mean loss by the inverse temperature: the mean gap, as the softmax weighs it."""
            return float(np.mean(weights * (softmax(sureness * gaps, axis=1) * gaps).sum(axis=1)))

        low, high = 1.0, 1.0
        while slope(low) > 0 and low > 1 / _SURENESS:
            low /= 2
        while slope(high) < 0 and high < _SURENESS:
            high *= 2
        if not slope(low) <= 0 <= slope(high) or slope(high) == 0:
            better = "surer" if slope(low) < 0 else "less sure"
            raise DataError(
                f"{len(codes)} validation samples whose likelihood grows without end as the scores get {better}",
                expected="samples of which some are called wrong, and more are called right than by chance",
                fix="pass more validation data, in the order of their scores",
            )
        self.temperature_ = 1 / float(brentq(slope, low, high, xtol=1e-300, rtol=1e-14))
        return self

    def coefficients(self) -> tuple[Floats, Floats]:
        classes, temperature = self._learned("classes_"), self._learned("temperature_")
        return np.full(classes, 1 / temperature), np.zeros(classes)


class VectorScaling(Correction):
    """A factor and a summand for each class' logit, so that the negative log-likelihood of validation data is least.

    Of probabilities it is their logarithms that are scaled, which differ from logits by a number for each sample: the
    factors differ, too.

    Args:
        penalty: Times the mean squared distance of factors from 1 and summands from 0, is added to the mean loss: for
            few validation samples a class.
        from_logits: Whether the scores are logits. No default.
    Attributes:
        scale_: Factors, `float64[C]`.
        offset_: Summands, `float64[C]`; they sum to 0, for only their differences count.
    Shapes: scores `(n, ..., C)`; corrected ones alike.
    Raises:
        DataError: `fit` without a sample of some class, or on data whose likelihood has no maximum.
    Source: Guo et al. 2017, arXiv:1706.04599, section 4.2.

    >>> logits = [[2.0, 0.0]] * 8 + [[0.0, 1.0]] * 4
    >>> scaling = VectorScaling(from_logits=False).fit(softmax(logits, axis=1), [0] * 6 + [1] * 2 + [0] + [1] * 3)
    >>> scaling.transform([[0.9, 0.1]]).shape
    (1, 2)
    """

    def __init__(self, penalty: float = 0.0, *, from_logits: bool = REQUIRED) -> None:
        super().__init__(from_logits=from_logits)
        checked_number(penalty, "penalty", fix="use penalty=0 where there are samples enough")
        self.penalty = penalty

    def fit(self, scores: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Find factors and summands on validation data."""
        logits, codes, weights = self.validation(scores, y, sample_weight)
        classes = logits.shape[1]
        logits = _finite(logits)
        own = np.eye(classes)[codes]
        if not (weights @ own).all():
            raise DataError(
                f"validation data without a sample of class {int(np.argmin(weights @ own))}",
                expected="samples of each class",
                fix="pass more validation data, or use TemperatureScaling",
            )

        def loss(numbers: Floats) -> tuple[float, Floats]:
            scale, offset = numbers.reshape(2, classes)
            corrected = logits * scale + offset
            value = np.mean(weights * (logsumexp(corrected, axis=1) - (own * corrected).sum(axis=1)))
            off = weights[:, None] * (softmax(corrected, axis=1) - own) / len(codes)
            away = np.concatenate([scale - 1, offset])
            slopes = np.concatenate([(off * logits).sum(axis=0), off.sum(axis=0)])
            return float(value + self.penalty * np.mean(away**2)), slopes + self.penalty * away / classes

        start = np.concatenate([np.ones(classes), np.zeros(classes)])
        options = {"maxiter": 10_000, "maxfun": 100_000, "ftol": 0, "gtol": _FLAT / 10, "maxcor": 30}
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
        # Where there is no minimum the slopes vanish all the same, but twice as far is better still.
        if np.abs(loss(found.x)[1]).max() > _FLAT or loss(2 * found.x - start)[0] < found.fun:
            raise DataError(
                f"{len(codes)} validation samples whose likelihood has no maximum",
                expected="data that no factors and summands separate without an error",
                fix="pass more validation data, or penalty=0.01",
            )
        self.scale_, offset = found.x.reshape(2, classes)
        self.offset_ = offset - offset.mean()
        return self

    def coefficients(self) -> tuple[Floats, Floats]:
        return self._learned("scale_"), self._learned("offset_")


def _finite(logits: NDArray[np.float64]) -> Floats:
    """Logits of -inf, classes switched off, as ones whose softmax is 0: infinity times 0 is no number."""
    return np.maximum(logits, -1e30)
