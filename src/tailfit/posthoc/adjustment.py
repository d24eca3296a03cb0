"""Corrections for class imbalance: by the class shares, or by the norms of the last layer's weights."""

from collections.abc import Callable
from typing import Any, Self

import keras
import numpy as np
from numpy.typing import ArrayLike

from tailfit.arguments import REQUIRED, checked_number, checked_per_class
from tailfit.errors import ArgumentError
from tailfit.posthoc.base import Correction, Floats, balanced_accuracy
from tailfit.stages.classifier import classifier_of, inverse_norms

__all__ = ["LogitAdjustment", "TauNorm"]

_TAUS = np.linspace(0, 3, 61)  # a step is 0.05


class LogitAdjustment(Correction):
    """Subtract `tau * log(share of the class)` from each logit: the Bayes decision for balanced error.

    Use it for a model trained with plain cross-entropy on the original class distribution. A model trained on balanced
    batches, or with `tailfit.losses.LogitAdjusted`, is corrected already.

    Args:
        prior: C shares or counts > 0 of the training data as sampled and weighted, or an object with `class_counts`
            (`batches`).
        tau: Strength, >= 0; 0 changes nothing, 1 is right for calibrated scores. With None, `fit` chooses the value
            of 0, 0.05, ... 3 with the best balanced accuracy; of equal ones the nearest to 1.
        from_logits: Whether the scores are logits. Required: omitting it raises `ArgumentError`.
    Attributes:
        tau_: The strength in use, set by `fit`.
    Shapes: scores `(n, ..., C)`, logits in nats or probabilities; corrected scores have the same shape.
    Raises:
        ArgumentError: If a share is 0 or `tau` is negative; in `transform`, if `tau` is None and `fit` was not called.
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
            checked_number(tau, "tau", fix="use tau=1, or None to choose it on validation data")

    def fit(self, scores: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Choose `tau` on validation data if it is None; else only check the data.

        Args:
            scores: Scores of validation data, `(n, C)`.
            y: Class indices `(n,)` or one-hot rows.
            sample_weight: Weights `(n,)`, or None.
        """
        shift = self._log_prior()
        logits, codes, weights = self.validation(scores, y, sample_weight, len(shift))
        self.tau_ = _best(_TAUS, lambda tau: logits - tau * shift, codes, weights) if self.tau is None else self.tau
        return self

    def coefficients(self) -> tuple[Floats, Floats]:
        shift = self._log_prior()
        tau = self._fitted("tau_") if self.tau is None else self.tau
        return np.ones_like(shift), -tau * shift

    def _log_prior(self) -> Floats:
        counts = np.array(checked_per_class(getattr(self.prior, "class_counts", self.prior), "prior"))
        if not counts.all():
            index = int(np.argmin(counts))
            raise ArgumentError(
                f"prior with 0 for class {index}",
                expected="shares or counts > 0, since their logarithms are used",
                fix=f"remove class {index}, or give it a pseudo-count such as 1",
            )
        shares: Floats = np.log(counts) - np.log(counts.sum())
        return shares


class TauNorm(Correction):
    """Divide each class' logit, without the bias, by the norm of its last-layer weights to the power `tau`.

    `tailfit.stages.normalize_classifier` does the same to the weights of a model. This correction leaves the model
    unchanged, and can choose `tau` on validation data.

    Args:
        tau: Power, >= 0; 0 only removes the bias, 1 makes all norms 1. With None, `fit` chooses the value of 0, 0.05,
            ... 1 with the best balanced accuracy; of equal ones the largest.
        from_logits: Must be True: probabilities determine logits only up to a constant per sample, which would be
            scaled with them.
    Attributes:
        tau_: The power in use, after `fit`.
    Shapes: scores `(n, ..., C)`, logits; corrected scores have the same shape.
    Raises:
        ArgumentError: If `from_logits` is False or `tau` is negative; in `fit`, if the last layer of the model can't be
            determined, or `tau` is None and no scores are given.
    Source: Kang et al. 2020, arXiv:1910.09217, eq. 3.

    >>> import keras
    >>> inputs = keras.Input((2,))
    >>> model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    >>> model.layers[-1].set_weights([np.array([[3.0, 0.0], [4.0, 2.0]]), np.ones(2)])
    >>> norm = TauNorm(tau=1.0, from_logits=True).fit(model)
    >>> norm.transform([[8.0, 3.0]]).round(3).tolist()  # of the features (1, 1)
    [[1.4, 1.0]]
    """

    def __init__(self, tau: float | None = 1.0, *, from_logits: bool = True) -> None:
        super().__init__(from_logits=from_logits)
        if not from_logits:
            raise ArgumentError(
                "from_logits=False",
                expected="from_logits=True: the norms apply to logits",
                fix="pass the scores before the softmax",
            )
        if tau is not None:
            checked_number(tau, "tau", fix="use tau=1, or None to choose it on validation data")
        self.tau = tau

    def fit(
        self,
        model: keras.Model,
        scores: ArrayLike | None = None,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        head: Any = None,
    ) -> Self:
        """Read the norms from a model, and choose `tau` on validation data if it is None.

        Args:
            model: A trained model.
            scores: Logits of the model for validation data, `(n, C)`; required only if `tau` is None.
            y, sample_weight: Labels and weights of the validation data.
            head: The last layer, if it can't be determined from the model: it is not functional, or the layer is not
                its output.
        """
        layer = classifier_of(model, head)
        bias = keras.ops.convert_to_numpy(layer.bias).astype(np.float64) if layer.use_bias else 0.0
        if self.tau is not None:
            self.tau_ = self.tau
        elif scores is None:
            raise ArgumentError(
                "tau=None without scores",
                expected="fit(model, scores, y) with validation data",
                fix="pass scores and labels to fit, or a number as tau",
            )
        else:
            logits, codes, weights = self.validation(scores, y, sample_weight, layer.kernel.shape[-1])
            powers = _TAUS[_TAUS <= 1]
            self.tau_ = _best(powers, lambda tau: (logits - bias) * inverse_norms(layer, tau), codes, weights)
        self.scale_ = inverse_norms(layer, self.tau_)
        self.offset_ = -bias * self.scale_
        return self

    def coefficients(self) -> tuple[Floats, Floats]:
        return self._fitted("scale_"), self._fitted("offset_")


def _best(taus: Floats, corrected: Callable[[float], Floats], codes: Any, weights: Floats) -> float:
    """Return the `tau` with the best balanced accuracy; of equal ones the nearest to 1."""
    reached = [balanced_accuracy(codes, corrected(float(tau)).argmax(axis=1), weights) for tau in taus]
    best = taus[np.isclose(reached, max(reached), rtol=0, atol=1e-12)]
    return float(best[np.abs(best - 1).argmin()])
