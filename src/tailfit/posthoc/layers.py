"""The layers that a fitted correction becomes: numbers written into the model's configuration, nothing trained.

A correction is of logits. Where a model gives probabilities its layer takes their logarithm, corrects, and gives
probabilities again: softmax(log p) is p, sigmoid(log p - log(1 - p)) is p.
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

TINY = float(np.finfo(np.float32).tiny)  # probabilities below count as this one: the logarithm of 0 is no number


class _ScoreLayer(keras.layers.Layer):
    """What both share: they compute in float32 (float64 stays), whatever the model's policy is."""

    def __init__(self, from_logits: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs, autocast=False)  # float16 scores would lose the digits that decide
        self.from_logits = checked_flag(from_logits)
        self.supports_masking = True

    def _wide(self, scores: Tensor) -> Tensor:
        dtype = keras.backend.standardize_dtype(scores.dtype)
        return ops.cast(scores, dtype if dtype == "float64" else "float32")

    @property
    @abstractmethod
    def classes(self) -> int:
        """C."""

    def build(self, input_shape: Any) -> None:
        if input_shape[-1] != self.classes:
            raise ArgumentError(
                f"scores of shape {tuple(input_shape)} for {self.name!r}, a correction of {self.classes} classes",
                expected="as many scores as classes",
                fix="append it to the output that it was fitted on",
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
    """`scale * logit + offset`, class by class; the form of nearly every correction of this room.

    Args:
        scale: A factor for each of the C classes.
        offset: A summand for each.
        from_logits: Whether the layer gets logits, and gives logits; else it gets and gives probabilities.
        link: Of the probabilities: `"softmax"` over exclusive classes, `"sigmoid"` of each label by itself.
        **kwargs: `name`, `dtype`, as in `keras.layers.Layer`.
    Shapes: `(batch, ..., C)` in and out, out in float32 (float64 stays).
    Raises:
        ArgumentError: scale and offset are no C numbers each, or the scores are not of C classes.

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
                expected="C numbers each, and 'softmax' or 'sigmoid'",
                fix="let a fitted correction make the layer: as_layer()",
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
    """Minus the expected cost of calling each class, so that the arg max is the cheapest call.

    Args:
        costs: What it costs to call class j (column) where the truth is class i (row).
        from_logits: Whether the layer gets logits; else probabilities.
        **kwargs: `name`, `dtype`, as in `keras.layers.Layer`.
    Shapes: `(batch, ..., C)` in and out; out in the unit of the costs, negated.
    Raises:
        ArgumentError: the costs are no C x C matrix, or the scores are not of C classes.
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
                expected="a C x C matrix, a row for each true class",
                fix="write a column for each class that can be called",
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
    # Not ops.maximum: on torch it takes float64 to float32.
    return ops.log(ops.where(values < TINY, ops.full_like(values, TINY), values))
