"""Keras layers of fitted corrections; their coefficients are part of the configuration and are not trained.

Corrections apply to logits. For a model with probabilities, the layer computes log-probabilities, corrects them, and
returns probabilities again: softmax(log p) is p, and sigmoid(log p - log(1 - p)) is p.
"""

from abc import abstractmethod
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from tailfit.arguments import REQUIRED, checked_flag
from tailfit.errors import ArgumentError
from tailfit.targets import Tensor

__all__ = ["AffineScores", "ExpectedCost"]

TINY = float(np.finfo(np.float32).tiny)  # lower bound of probabilities, since log 0 is infinite


class _ScoreLayer(keras.layers.Layer):
    """Base of the layers: computes in float32 (or float64), independent of the model's dtype policy."""

    def __init__(self, from_logits: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs, autocast=False)  # in float16, rounding could change the arg max
        self.from_logits = checked_flag(from_logits)
        self.supports_masking = True

    def _wide(self, scores: Tensor) -> Tensor:
        dtype = keras.backend.standardize_dtype(scores.dtype)
        return ops.cast(scores, dtype if dtype == "float64" else "float32")

    @property
    @abstractmethod
    def classes(self) -> int:
        """C, the number of classes."""

    def build(self, input_shape: Any) -> None:
        if input_shape[-1] != self.classes:
            raise ArgumentError(
                f"scores of shape {tuple(input_shape)} for {self.name!r}, a correction of {self.classes} classes",
                expected=f"{self.classes} scores per sample, one per class",
                fix="append the correction to the output on which it was fitted",
            )

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def compute_output_spec(self, scores: Any) -> Any:
        dtype = keras.backend.standardize_dtype(scores.dtype)
        return keras.KerasTensor(scores.shape, dtype if dtype == "float64" else "float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "from_logits": self.from_logits}


@keras.saving.register_keras_serializable(package="tailfit")
class AffineScores(_ScoreLayer):
    """`scale * logit + offset` for each class, the form of nearly every correction.

    Args:
        scale: Factor of each of the C classes.
        offset: Offset of each of the C classes.
        from_logits: Whether input and output are logits (True) or probabilities (False). Required.
        link: Function from logits to probabilities: `"softmax"` for exclusive classes, `"sigmoid"` for independent
            labels.
        **kwargs: `name`, `dtype`, as in `keras.layers.Layer`.
    Shapes: `(batch, ..., C)` in and out; the output is float32 (float64 for float64).
    Raises:
        ArgumentError: If `scale` and `offset` are not C numbers each, `link` is unknown, or the scores do not have C
            classes.

    >>> layer = AffineScores([0.5, 0.5], [0.0, 1.0], from_logits=True)
    >>> np.asarray(layer(np.array([[2.0, 4.0]], "float32"))).tolist()
    [[1.0, 3.0]]
    """

    def __init__(
        self,
        scale: ArrayLike,
        offset: ArrayLike,
        *,
        from_logits: bool = REQUIRED,
        link: str = "softmax",
        **kwargs: Any,
    ) -> None:
        super().__init__(from_logits, **kwargs)
        self.scale, self.offset = (np.asarray(values, dtype=np.float64) for values in (scale, offset))
        self.link = link
        if self.scale.ndim != 1 or self.scale.shape != self.offset.shape or link not in ("softmax", "sigmoid"):
            raise ArgumentError(
                f"scale of shape {self.scale.shape}, offset of shape {self.offset.shape} and link={link!r}",
                expected="scale and offset with C numbers each, and link='softmax' or link='sigmoid'",
                fix="create the layer with as_layer() of a fitted correction",
            )

    @property
    def classes(self) -> int:
        return len(self.scale)

    def call(self, scores: Tensor) -> Tensor:
        logits = self._wide(scores)
        if not self.from_logits:
            logits = _log(logits) - (_log(1 - logits) if self.link == "sigmoid" else 0)
        scale, offset = (ops.convert_to_tensor(values, dtype=logits.dtype) for values in (self.scale, self.offset))
        logits = logits * scale + offset
        if self.from_logits:
            return logits
        return ops.softmax(logits, axis=-1) if self.link == "softmax" else ops.sigmoid(logits)

    def get_config(self) -> dict[str, Any]:
        numbers = {"scale": self.scale.tolist(), "offset": self.offset.tolist()}
        return {**super().get_config(), **numbers, "link": self.link}


@keras.saving.register_keras_serializable(package="tailfit")
class ExpectedCost(_ScoreLayer):
    """Negated expected cost of predicting each class, so that the arg max is the prediction with the lowest cost.

    Args:
        costs: C x C matrix: entry (i, j) is the cost of predicting class j for a sample of class i.
        from_logits: Whether the inputs are logits (True) or probabilities (False). Required.
        **kwargs: `name`, `dtype`, as in `keras.layers.Layer`.
    Shapes: `(batch, ..., C)` in and out; the output has the unit of the costs, negated.
    Raises:
        ArgumentError: If `costs` is not a C x C matrix, or the scores do not have C classes.
    Source: Elkan 2001, "The foundations of cost-sensitive learning", eq. 1.

    >>> layer = ExpectedCost([[0, 1], [9, 0]], from_logits=False)
    >>> [round(value, 4) for value in np.asarray(layer(np.array([[0.75, 0.25]], "float32")))[0].tolist()]
    [-2.25, -0.75]
    """

    def __init__(self, costs: ArrayLike, *, from_logits: bool = REQUIRED, **kwargs: Any) -> None:
        super().__init__(from_logits, **kwargs)
        self.costs = np.asarray(costs, dtype=np.float64)
        if self.costs.ndim != 2 or self.costs.shape[0] != self.costs.shape[1]:
            raise ArgumentError(
                f"costs of shape {self.costs.shape}",
                expected="a C x C matrix with one row per true class and one column per predicted class",
                fix="pass a square matrix: add the missing rows or columns",
            )

    @property
    def classes(self) -> int:
        return len(self.costs)

    def call(self, scores: Tensor) -> Tensor:
        scores = self._wide(scores)
        probabilities = ops.softmax(scores, axis=-1) if self.from_logits else scores
        return -ops.matmul(probabilities, ops.convert_to_tensor(self.costs, dtype=probabilities.dtype))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "costs": self.costs.tolist()}


def _log(values: Tensor) -> Tensor:
    # Not ops.maximum: on torch it casts float64 to float32.
    return ops.log(ops.where(values < TINY, ops.full_like(values, TINY), values))
