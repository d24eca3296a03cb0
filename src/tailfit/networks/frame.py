"""Common parts of all built-in networks: the input with its normalization, and the head."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import keras

from tailfit.arguments import whole_number
from tailfit.data import Normalize
from tailfit.errors import ArgumentError
from tailfit.layers import CosineDense, Experts, WithFeatures
from tailfit.training import Model

__all__ = ["Head", "Shape", "check_series", "checked_sizes", "input_layers", "model_with_head"]

Shape: TypeAlias = tuple[int, ...]
Head: TypeAlias = Literal["dense", "cosine", "features", "experts"]


def input_layers(input_shape: Shape, normalize: Normalize | None) -> tuple[Any, Any]:
    """Return the input, and the records with standardised channels."""
    inputs = keras.Input(input_shape)
    return inputs, inputs if normalize is None else normalize.layer()(inputs)


def model_with_head(
    inputs: Any,
    x: Any,
    num_classes: int,
    dropout: float,
    head: str | None,
    *,
    kernel_initializer: str = "glorot_uniform",
) -> Model:
    """Build the model from the input to the scores of the classes, computed from the features `x` by the head.

    The kernel initializer is that of heads with logits, not of `"cosine"` and `"experts"`.
    """
    if not 0 <= dropout < 1:
        raise ArgumentError(f"dropout={dropout!r}", expected="a number in [0, 1)", fix="use 0 for no dropout")
    x = keras.layers.Dropout(dropout)(x) if dropout else x
    if head == "cosine":
        return Model(inputs, CosineDense(num_classes, name="classes")(x))
    if head == "experts":
        return Model(inputs, Experts(num_classes, name="classes")(x))
    scores = keras.layers.Dense(num_classes, kernel_initializer=kernel_initializer, name="classes")(x)
    return Model(inputs, WithFeatures()(scores, x) if head == "features" else scores)


def checked_sizes(name: str, sizes: Sequence[int]) -> Sequence[int]:
    """Check that a network has layers, and that each has a size >= 1."""
    if not sizes:
        raise ArgumentError(
            f"an empty {name}", expected="the size of one or more layers", fix=f"pass {name}=[64], for example"
        )
    return [whole_number(name, size, least=1) for size in sizes]


def check_series(name: str, input_shape: Shape) -> None:
    """Check that records are series.

    Raises:
        ArgumentError: If records do not have two axes.
    """
    if len(input_shape) != 2:
        raise ArgumentError(
            f"records of shape {input_shape} for {name}",
            expected="records of shape (steps, channels)",
            fix="use the network mlp, or cnn or image_resnet for images; add an axis of channels to records (steps,)",
        )
