"""The base class of post-hoc corrections, which map scores to corrected scores, in NumPy or as a Keras layer.

Concepts:
- *scores* are the output of the model's last layer: logits or probabilities, as specified by `from_logits`, which has
  no default. Corrected scores are of the same kind.
- *validation data*: `fit` requires scores and labels of samples that the model was not trained on.
- A correction is a scikit-learn estimator: it has `fit`, `transform` and `get_params`, can be cloned, and the names of
  fitted attributes end in `_`.
- *as a layer*: `append_to(model)` returns a model that includes the correction, and is saved and served with it.
"""

from abc import abstractmethod
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator

from tailfit.arguments import checked_flag
from tailfit.errors import ArgumentError, DataError
from tailfit.labels import checked_probabilities, encode_labels_of
from tailfit.posthoc.layers import TINY, AffineScores
from tailfit.training.heads import refuse_contradicting_heads
from tailfit.training.model import Model

__all__ = ["Correction", "Floats", "balanced_accuracy", "checked_weights"]

Floats = NDArray[np.float64]


class Correction(BaseEstimator):
    """Base of the corrections; subclasses define `fit` and `coefficients`.

    Args:
        from_logits: Whether the scores are logits (True) or probabilities (False). Required.
    """

    def __init__(self, *, from_logits: bool) -> None:
        checked_flag(from_logits)
        self.from_logits = from_logits

    @abstractmethod
    def coefficients(self) -> tuple[Floats, Floats]:
        """Return the factor and the offset of each class' logit, each `float64[C]`."""

    @property
    def link(self) -> str:
        """The function from logits to probabilities: `"softmax"`, or `"sigmoid"` for independent labels."""
        return "softmax"

    def transform(self, scores: ArrayLike) -> Floats:
        """Return corrected scores of the same kind, logits or probabilities.

        Args:
            scores: Scores `(n, ..., C)`, logits or probabilities as specified by `from_logits`.
        Raises:
            ArgumentError: If the correction is not fitted, or the scores have a different number of classes.
            DataError: If the scores are NaN or not valid probabilities.
        """
        scale, offset = self.coefficients()
        logits = self.logits(scores, len(scale)) * scale + offset
        if self.from_logits:
            return logits
        probabilities: Floats = softmax(logits, axis=-1) if self.link == "softmax" else expit(logits)
        return probabilities

    def predict(self, scores: ArrayLike) -> NDArray[np.int64]:
        """Return the predicted class indices `(n, ...)` by the corrected scores; of equal scores the first class."""
        codes: NDArray[np.int64] = self.transform(scores).argmax(axis=-1)
        return codes

    def as_layer(self, name: str | None = None) -> keras.layers.Layer:
        """Return the correction as a Keras layer with its coefficients in the layer's configuration."""
        scale, offset = self.coefficients()
        return AffineScores(scale, offset, from_logits=self.from_logits, link=self.link, name=name)

    def append_to(self, model: keras.Model) -> keras.Model:
        """Return a model that ends in the correction; it shares the layers of `model` and is not compiled.

        Args:
            model: A functional or sequential model with one output, logits or probabilities as specified by
                `from_logits`.
        Raises:
            ArgumentError: If the model is of a different kind, or its last activation contradicts `from_logits`.
        """
        outputs = getattr(model, "outputs", None) or []
        if len(outputs) != 1:
            raise ArgumentError(
                f"the model {model.name!r} with {len(outputs) or 'unknown'} outputs",
                expected="a functional or sequential model with one output",
                fix="add the layer yourself: keras.Sequential([model, correction.as_layer()])",
            )
        refuse_contradicting_heads(model, self)
        kind = Model if isinstance(model, Model) else keras.Model
        inputs = getattr(model, "input", model.inputs)  # a Sequential model has only `inputs`
        return kind(inputs, self.as_layer()(outputs[0]), name=f"{model.name}_corrected")

    def logits(self, scores: ArrayLike, classes: int | None = None) -> Floats:
        """Check scores and return them as logits, `float64`."""
        array = np.asarray(scores, dtype=np.float64)
        if array.ndim < 2 or array.shape[-1] != (classes or array.shape[-1]):
            raise ArgumentError(
                f"scores of shape {array.shape}",
                expected=f"(n, {classes or 'C'}), one column per class",
                fix="pass the output of model.predict with the columns in the order of the classes",
            )
        rows = array.reshape(-1, array.shape[-1])
        if np.isnan(array).any():
            raise DataError(
                "scores with NaN", expected="scores without NaN", fix="find the samples for which the model returns NaN"
            )
        if self.from_logits:
            return array
        if self.link == "softmax":
            checked_probabilities(rows, what="scores with from_logits=False")
            logarithms: Floats = np.log(np.maximum(array, TINY))
            return logarithms
        if ((array < 0) | (array > 1)).any():
            raise DataError(
                "scores outside [0, 1] with from_logits=False",
                expected="probabilities",
                fix="pass from_logits=True if the scores are logits",
            )
        log_odds: Floats = np.log(np.maximum(array, TINY)) - np.log(np.maximum(1 - array, TINY))
        return log_odds

    def validation(
        self, scores: ArrayLike, y: Any, sample_weight: ArrayLike | None, classes: int | None = None
    ) -> tuple[Floats, NDArray[np.int64], Floats]:
        """Check validation data and return its logits `[n, C]`, class indices `[n]` and weights `[n]`."""
        logits = self.logits(scores, classes)
        if self.from_logits and _are_probabilities(logits):
            raise DataError(
                "scores in [0, 1] with rows that sum to 1, and from_logits=True",
                expected="logits: the output of the last layer before its softmax",
                fix="pass from_logits=False if the scores are probabilities",
            )
        encoded = encode_labels_of(y, num_classes=logits.shape[-1])
        if encoded.kind != "codes" or logits.shape[:-1] != encoded.values.shape:
            kind = "integer" if encoded.kind == "codes" else encoded.kind
            raise DataError(
                f"{kind} labels of shape {encoded.values.shape} with scores of shape {logits.shape}",
                expected="one class per sample, and one row of scores for each sample",
                fix="pass the scores of exactly the labelled samples, in the same order",
            )
        return logits, encoded.values, checked_weights(sample_weight, len(logits))

    def __sklearn_is_fitted__(self) -> bool:
        try:
            self.coefficients()
        except ArgumentError:
            return False
        return True

    def _fitted(self, name: str) -> Any:
        """Return an attribute that `fit` sets; raise if the correction is not fitted."""
        if not hasattr(self, name):
            raise ArgumentError(
                f"a {type(self).__name__} that is not fitted",
                expected="a call of fit before transform, predict and as_layer",
                fix="call fit(scores, y) with validation data",
            )
        return getattr(self, name)


def checked_weights(sample_weight: ArrayLike | None, samples: int) -> Floats:
    """Return weights scaled to mean 1, `float64[n]`; 1 for every sample if None."""
    if sample_weight is None:
        return np.ones(samples)
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (samples,):
        raise DataError(
            f"sample_weight of shape {weights.shape} for {samples} samples",
            expected=f"shape ({samples},)",
            fix="pass one weight per sample",
        )
    invalid = ~(np.isfinite(weights) & (weights >= 0))
    if invalid.any() or not weights.any():
        row = int(np.argmax(invalid))
        raise DataError(
            f"sample_weight with {weights[row]:g} in row {row}" if invalid.any() else "sample_weight with only zeros",
            expected="finite weights >= 0, not all 0",
            fix="correct the weights, or omit sample_weight",
        )
    scaled: Floats = weights / weights.mean()
    return scaled


def balanced_accuracy(codes: NDArray[np.int64], predicted: NDArray[np.int64], weights: Floats) -> float:
    """Return the mean recall of the classes present.

    >>> balanced_accuracy(np.array([0, 0, 1]), np.array([0, 1, 1]), np.ones(3))
    0.75
    """
    sizes = np.bincount(codes, weights)
    hits = np.bincount(codes, weights * (codes == predicted))
    return float((hits[sizes > 0] / sizes[sizes > 0]).mean())


def _are_probabilities(rows: Floats) -> bool:
    """Return whether the rows are surely probabilities; the logits of a few samples may sum to 1 by chance."""
    return bool(len(rows) >= 8 and rows.min() >= 0 and rows.max() <= 1 and np.allclose(rows.sum(axis=1), 1, atol=1e-5))
