"""Corrections for the shares of the classes: by what is known of them, or by what the last layer shows of them."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from tailfit.errors import ArgumentError
from tailfit.losses._arguments import REQUIRED, checked_number, checked_per_class
from tailfit.posthoc.base import Correction, Floats, balanced_accuracy

__all__ = ["LogitAdjustment"]

_TAUS = np.linspace(0, 3, 61)


class LogitAdjustment(Correction):
    """Subtract `tau * log(share of the class)` from each logit: the Bayes decision for balanced error.

    For a model trained by plain cross-entropy on the classes as they come. A model that was trained on balanced
    batches, or by `tailfit.losses.LogitAdjusted`, is corrected already.

    Args:
        prior: C shares or counts > 0 of the stream that the model was trained on, as sampled and weighted, or what has
            them (`batches`: its `class_counts`).
        tau: Strength, >= 0; 0 changes nothing, 1 is right for calibrated scores. None: `fit` takes the one of
            0, 0.05, ... 3 that has the best balanced accuracy, of equal ones the nearest to 1.
        from_logits: Whether the scores are logits. No default.
    Attributes:
        tau_: The strength in use; after `fit`, or at once where `tau` is given.
    Shapes: scores `(n, ..., C)`, logits in nats or probabilities; corrected ones alike.
    Raises:
        ArgumentError: for a share of 0 or a negative `tau`; before `fit` with `tau=None`.
    Source: Menon et al. 2021, arXiv:2007.07314, eq. 9.

    >>> adjusted = LogitAdjustment([90, 10], from_logits=False)
    >>> adjusted.transform([[0.8, 0.2]]).round(3).tolist()  # 0.8 / 0.9 against 0.2 / 0.1
    [[0.308, 0.692]]
    >>> adjusted.predict([[0.8, 0.2]]).tolist()
    [1]
    """

    def __init__(self, prior: Any, tau: float | None = 1.0, *, from_logits: bool = REQUIRED) -> None:
        super().__init__(from_logits=from_logits)
        self.prior, self.tau = prior, tau
        self._log_prior()
        if tau is not None:
            checked_number(tau, "tau", mend="use tau=1, or None to choose it on validation data")

    def fit(self, scores: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Choose `tau` on validation data where it is None; else only check that the data fit."""
        shift = self._log_prior()
        logits, codes, weights = self.validation(scores, y, sample_weight, len(shift))
        if self.tau is None:
            reached = [balanced_accuracy(codes, (logits - tau * shift).argmax(axis=1), weights) for tau in _TAUS]
            best = _TAUS[np.isclose(reached, max(reached), rtol=0, atol=1e-12)]
            self.tau_ = float(best[np.abs(best - 1).argmin()])
        else:
            self.tau_ = float(self.tau)
        return self

    def coefficients(self) -> tuple[Floats, Floats]:
        shift = self._log_prior()
        tau = self._learned("tau_") if self.tau is None else self.tau
        return np.ones_like(shift), -tau * shift

    def _log_prior(self) -> Floats:
        counts = np.array(checked_per_class(getattr(self.prior, "class_counts", self.prior), "prior"))
        if not counts.all():
            code = int(np.argmin(counts))
            raise ArgumentError(
                f"prior with 0 for class {code}",
                allowed="shares or counts > 0: a class that is never seen has no logarithm of its share",
                mend=f"drop class {code}, or give it a pseudo-count such as 1",
            )
        shares: Floats = np.log(counts) - np.log(counts.sum())
        return shares
