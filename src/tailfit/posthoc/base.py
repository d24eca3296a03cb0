"""What every correction shares: scores in, better scores of the same kind out, in NumPy or as a Keras layer.

Concepts:
- *scores* are what the model's last layer gives: logits or probabilities, said by `from_logits`, which has no default.
  Logits stay logits, probabilities stay probabilities.
- *validation data*: `fit` wants scores of samples that the model was not trained on, and their labels.
- A correction is a scikit-learn estimator: `fit`, `transform`, `get_params`, `clone`; what `fit` finds ends in `_`.
- *as a layer*: `append_to(model)` gives a model that carries the correction, is saved with it and served with it.
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
    """Base of the corrections; subclasses give `fit` and `coefficients`.

    Args:
        from_logits: Whether the scores are logits (True) or probabilities (False). No default.
    """

    def __init__(self, *, from_logits: bool) -> None:
        checked_flag(from_logits)
        self.from_logits = from_logits

    @abstractmethod
    def coefficients(self) -> tuple[Floats, Floats]:
        """Factor and summand of each class' logit."""

    @property
    def link(self) -> str:
        """Of the probabilities: `"softmax"`, or `"sigmoid"` of each label by itself."""
        return "softmax"

    def transform(self, scores: ArrayLike) -> Floats:
        """Corrected scores, of the kind that came in.

        Args:
            scores: `(n, ..., C)`, logits or probabilities as `from_logits` says.
        Raises:
            ArgumentError: before `fit`, where it has something to learn; or for scores of other classes.
            DataError: for probabilities that are none.
        """
        scale, offset = self.coefficients()
        logits = self.logits(scores, len(scale)) * scale + offset
        if self.from_logits:
            return logits
        probabilities: Floats = softmax(logits, axis=-1) if self.link == "softmax" else expit(logits)
        return probabilities

    def predict(self, scores: ArrayLike) -> NDArray[np.int64]:
        """The class called, by the corrected scores: codes `(n, ...)`; of the first class where several are equal."""
        codes: NDArray[np.int64] = self.transform(scores).argmax(axis=-1)
        return codes

    def as_layer(self, name: str | None = None) -> keras.layers.Layer:
        """The correction as a Keras layer, its numbers in the layer's configuration."""
        scale, offset = self.coefficients()
        return AffineScores(scale, offset, from_logits=self.from_logits, link=self.link, name=name)

    def append_to(self, model: keras.Model) -> keras.Model:
        """A model that ends in the correction; it shares the layers of `model`, and is not compiled.

        Args:
            model: A functional or sequential model of one output, whose last layer gives what `from_logits` says.
        Raises:
            ArgumentError: for another model, or one whose last activation contradicts `from_logits`.
        """
        outputs = getattr(model, "outputs", None) or []
        if len(outputs) != 1:
            raise ArgumentError(
                f"the model {model.name!r} of {len(outputs) or 'unknown'} outputs",
                expected="a functional or sequential model of one output",
                fix="end it in as_layer() yourself: keras.Sequential([model, correction.as_layer()])",
            )
        refuse_contradicting_heads(model, self)
        kind = Model if isinstance(model, Model) else keras.Model
        inputs = getattr(model, "input", model.inputs)  # a Sequential has the list only
        return kind(inputs, self.as_layer()(outputs[0]), name=f"{model.name}_corrected")

    def logits(self, scores: ArrayLike, classes: int | None = None) -> Floats:
        """Scores as logits, `float64`, checked."""
        array = np.asarray(scores, dtype=np.float64)
        if array.ndim < 2 or array.shape[-1] != (classes or array.shape[-1]):
            raise ArgumentError(
                f"scores of shape {array.shape}",
                expected=f"(n, {classes or 'C'}), one column a class",
                fix="pass what predict gives, and keep the order of the classes",
            )
        rows = array.reshape(-1, array.shape[-1])
        if np.isnan(array).any():
            raise DataError("scores with NaN", expected="numbers", fix="find the samples that break the model")
        if self.from_logits:
            return array
        if self.link == "softmax":
            checked_probabilities(rows, what="scores with from_logits=False")
            logarithms: Floats = np.log(np.maximum(array, TINY))
            return logarithms
        if ((array < 0) | (array > 1)).any():
            raise DataError(
                "scores with from_logits=False outside [0, 1]", expected="probabilities", fix="pass from_logits=True"
            )
        log_odds: Floats = np.log(np.maximum(array, TINY)) - np.log(np.maximum(1 - array, TINY))
        return log_odds

    def validation(
        self, scores: ArrayLike, y: Any, sample_weight: ArrayLike | None, classes: int | None = None
    ) -> tuple[Floats, NDArray[np.int64], Floats]:
        """Logits `[n, C]`, codes and weights of validation data, checked against each other."""
        logits = self.logits(scores, classes)
        if self.from_logits and _are_probabilities(logits):
            raise DataError(
                "scores with from_logits=True whose rows all are in [0, 1] and sum to one",
                expected="logits: what the last layer gives before its softmax",
                fix="pass from_logits=False",
            )
        encoded = encode_labels_of(y, num_classes=logits.shape[-1])
        if encoded.kind != "codes" or logits.shape[:-1] != encoded.values.shape:
            raise DataError(
                f"labels of kind {encoded.kind!r} and shape {encoded.values.shape} beside scores {logits.shape}",
                expected="one class a sample, and a row of scores for each",
                fix="score exactly the labelled samples, in their order",
            )
        return logits, encoded.values, checked_weights(sample_weight, len(logits))

    def __sklearn_is_fitted__(self) -> bool:
        try:
            self.coefficients()
        except ArgumentError:
            return False
        return True

    def _learned(self, name: str) -> Any:
        """What `fit` has found; refused before it has."""
        if not hasattr(self, name):
            raise ArgumentError(
                f"a {type(self).__name__} that is not fitted",
                expected="fit before transform, predict and as_layer",
                fix="call fit(scores, y) with validation data",
            )
        return getattr(self, name)


def checked_weights(sample_weight: ArrayLike | None, samples: int) -> Floats:
    """Weights of mean one, `float64[n]`."""
    if sample_weight is None:
        return np.ones(samples)
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (samples,) or not (np.isfinite(weights) & (weights >= 0)).all() or not weights.any():
        raise DataError(
            f"sample_weight of shape {weights.shape} for {samples} samples",
            expected="a finite number >= 0 for each, not all 0",
            fix="correct the weights",
        )
    scaled: Floats = weights / weights.mean()
    return scaled


def balanced_accuracy(codes: NDArray[np.int64], called: NDArray[np.int64], weights: Floats) -> float:
    """Mean recall of the classes present.

    >>> balanced_accuracy(np.array([0, 0, 1]), np.array([0, 1, 1]), np.ones(3))
    0.75
    """
    sizes = np.bincount(codes, weights)
    hits = np.bincount(codes, weights * (codes == called))
    return float((hits[sizes > 0] / sizes[sizes > 0]).mean())


def _are_probabilities(rows: Floats) -> bool:
    """Whether it can't be chance: a few logits may happen to sum to one."""
    return bool(len(rows) >= 8 and rows.min() >= 0 and rows.max() <= 1 and np.allclose(rows.sum(axis=1), 1, atol=1e-5))
