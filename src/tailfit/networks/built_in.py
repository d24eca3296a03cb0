"""Networks that a recipe can name: small, sound starting points for records, images and tables.

Each is a function of one record's shape and the number of classes. Records come in as they are stored; `normalize`, the
statistics of the training part, becomes the first layer, so that a saved model takes raw records.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import keras

from tailfit.arguments import whole_number
from tailfit.data import Normalize
from tailfit.errors import ArgumentError
from tailfit.layers import CosineDense, WithFeatures
from tailfit.training import Model

__all__ = ["NETWORKS", "cnn", "mlp", "rnn"]

Shape = tuple[int, ...]
Head = Literal["dense", "cosine", "features"]


def mlp(
    input_shape: Shape,
    num_classes: int,
    *,
    units: Sequence[int] = (64, 64),
    dropout: float = 0.0,
    head: Head | None = None,
    normalize: Normalize | None = None,
) -> Model:
    """Dense layers with ReLU; records of more than one axis are flattened.

    Args:
        input_shape: Of one record.
        num_classes: Outputs C.
        units: Width of each hidden layer.
        dropout: Share dropped before the head, in [0, 1).
        head: `"dense"` logits, the default; `"cosine"` ones for LDAM; `"features"`: logits with the features beside
            them, for InfluenceBalanced. A recipe picks the one that its loss needs.
        normalize: Statistics of the channels, for a first layer.
    Shapes: input `(batch, *input_shape)`, output logits `(batch, C)`.
    Raises:
        ArgumentError: for options out of range.

    >>> mlp((20, 52), 22, units=[16]).output_shape
    (None, 22)
    """
    inputs, x = _begun(input_shape, normalize)
    x = keras.layers.Flatten()(x) if len(input_shape) > 1 else x
    for width in _whole("units", units):
        x = keras.layers.Dense(width, activation="relu")(x)
    return _ended(inputs, x, num_classes, dropout, head)


def cnn(
    input_shape: Shape,
    num_classes: int,
    *,
    filters: Sequence[int] = (64, 64),
    kernel_size: int = 5,
    dropout: float = 0.0,
    head: Head | None = None,
    normalize: Normalize | None = None,
) -> Model:
    """Convolutions with layer normalisation, halving the record after each; the mean over what is left; a head.

    Args:
        input_shape: `(steps, channels)` of a sensor record or `(height, width, channels)` of an image.
        num_classes: Outputs C.
        filters: Channels of each convolution.
        kernel_size: Steps, or pixels along each side, that one sees.
        dropout, head, normalize: As for `mlp`.
    Shapes: input `(batch, *input_shape)`, output logits `(batch, C)`.
    Raises:
        ArgumentError: for records of another rank, or options out of range.

    >>> cnn((128, 12), 10, filters=[8, 16]).output_shape, cnn((28, 28, 1), 10, kernel_size=3).output_shape
    ((None, 10), (None, 10))
    """
    if len(input_shape) not in (2, 3):
        raise ArgumentError(
            f"records of shape {input_shape} for cnn",
            expected="(steps, channels) or (height, width, channels)",
            fix="use network: mlp, or reshape the records",
        )
    size = whole_number("kernel_size", kernel_size, least=1)
    flat = len(input_shape) == 2
    convolution, pooling, mean = (
        (keras.layers.Conv1D, keras.layers.MaxPooling1D, keras.layers.GlobalAveragePooling1D)
        if flat
        else (keras.layers.Conv2D, keras.layers.MaxPooling2D, keras.layers.GlobalAveragePooling2D)
    )
    inputs, x = _begun(input_shape, normalize)
    for channels in _whole("filters", filters):
        x = convolution(channels, size, padding="same")(x)
        # Of each position by itself: nothing that follows the class mix of the batches, or is not yet learnt after
        # a few of them.
        x = keras.layers.Activation("relu")(keras.layers.LayerNormalization()(x))
        if min(x.shape[1:-1]) >= 2:
            x = pooling(2)(x)
    return _ended(inputs, mean()(x), num_classes, dropout, head)


def rnn(
    input_shape: Shape,
    num_classes: int,
    *,
    units: Sequence[int] = (64,),
    dropout: float = 0.0,
    head: Head | None = None,
    normalize: Normalize | None = None,
) -> Model:
    """Gated recurrent units over the steps of a sensor record; the last state; a head.

    Args:
        input_shape: `(steps, channels)`.
        num_classes: Outputs C.
        units: Width of each recurrent layer.
        dropout, head, normalize: As for `mlp`.
    Shapes: input `(batch, steps, channels)`, output logits `(batch, C)`.
    Raises:
        ArgumentError: for records of another rank, or options out of range.

    >>> rnn((20, 52), 22, units=[8, 8]).output_shape
    (None, 22)
    """
    if len(input_shape) != 2:
        raise ArgumentError(
            f"records of shape {input_shape} for rnn", expected="(steps, channels)", fix="use network: cnn or mlp"
        )
    inputs, x = _begun(input_shape, normalize)
    widths = _whole("units", units)
    for place, width in enumerate(widths):
        x = keras.layers.GRU(width, return_sequences=place + 1 < len(widths))(x)
    return _ended(inputs, x, num_classes, dropout, head)


NETWORKS: Final[Mapping[str, Callable[..., Model]]] = {"cnn": cnn, "mlp": mlp, "rnn": rnn}


def _begun(input_shape: Shape, normalize: Normalize | None) -> tuple[Any, Any]:
    inputs = keras.Input(input_shape)
    return inputs, inputs if normalize is None else normalize.layer()(inputs)


def _ended(inputs: Any, x: Any, num_classes: int, dropout: float, head: str | None) -> Model:
    if not 0 <= dropout < 1:
        raise ArgumentError(f"dropout={dropout!r}", expected="a number in [0, 1)", fix="use 0 for none")
    x = keras.layers.Dropout(dropout)(x) if dropout else x
    if head == "cosine":
        return Model(inputs, CosineDense(num_classes, name="classes")(x))
    scores = keras.layers.Dense(num_classes, name="classes")(x)
    return Model(inputs, WithFeatures()(scores, x) if head == "features" else scores)


def _whole(name: str, sizes: Sequence[int]) -> Sequence[int]:
    if not sizes:
        raise ArgumentError(f"{name} of none", expected="one or more", fix="give one layer at least")
    return [whole_number(name, size, least=1) for size in sizes]
