"""Several classifiers on the same features, whose mean scores are the prediction."""

from typing import Any

import keras
from keras import ops

from tailfit.arguments import whole_number
from tailfit.layers.attached import attach, attached

__all__ = ["Experts", "expert_scores_of"]


def expert_scores_of(y_pred: Any) -> Any:
    """Return the scores of each expert that `Experts` attached to its predictions, `(batch, experts, C)`, or None."""
    return attached("experts", y_pred)


@keras.saving.register_keras_serializable(package="tailfit")
class Experts(keras.layers.Layer):
    """Mean of the scores of several experts, each of which is a hidden layer with ReLU and a dense layer.

    Use it as the last layer, with the steps `RIDE` or `SADE`, which train each expert with a loss of its own. Without
    them the experts are one wide classifier.

    Args:
        units: C, the number of classes, >= 1.
        experts: Number of experts, >= 1.
        hidden: Width of the hidden layer of each expert; by default that of the features.
        **kwargs: `name`, `dtype`, `trainable`, as in `keras.layers.Layer`.
    Shapes: features `(batch, features)` to scores `(batch, C)`, to which those of each expert are attached,
        `(batch, experts, C)`.
    Raises:
        ArgumentError: If a number is not a whole number >= 1.
    Source: Wang et al. 2021 (RIDE), arXiv:2010.01809; Zhang et al. 2022 (SADE), arXiv:2107.09249. The experts of the
        papers also have their own last blocks of the network, in place of the hidden layer.

    >>> scores = Experts(4, experts=3)(ops.ones((2, 8)))
    >>> tuple(scores.shape), tuple(expert_scores_of(scores).shape)
    ((2, 4), (2, 3, 4))
    """

    def __init__(self, units: int, *, experts: int = 3, hidden: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = whole_number("units", units, least=1)
        self.experts = whole_number("experts", experts, least=1)
        self.hidden = None if hidden is None else whole_number("hidden", hidden, least=1)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        features = int(input_shape[-1] or 0)
        width, policy = self.hidden or features, self.dtype_policy
        numbers = range(self.experts)
        self.inner = [keras.layers.Dense(width, "relu", dtype=policy, name=f"hidden_{each}") for each in numbers]
        self.outer = [keras.layers.Dense(self.units, dtype=policy, name=f"scores_{each}") for each in numbers]
        for inner, outer in zip(self.inner, self.outer, strict=True):
            inner.build((None, features))
            outer.build((None, width))
        self.input_spec = keras.layers.InputSpec(ndim=2, axes={-1: features})

    def call(self, inputs: Any) -> Any:
        each = [outer(inner(inputs)) for inner, outer in zip(self.inner, self.outer, strict=True)]
        scores = ops.stack(each, axis=1)
        mean = ops.mean(scores, axis=1)
        attach("experts", mean, scores)
        return mean

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "experts": self.experts, "hidden": self.hidden}
