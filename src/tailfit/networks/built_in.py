"""Small networks for tables, sensor records and images: starting points that train in seconds.

Each is a function of the shape of one record and the number of classes. The inputs are records as stored; `normalize`,
the statistics of the training part, becomes the first layer, so that a saved model accepts raw records.
"""

from collections.abc import Sequence

import keras

from tailfit.arguments import whole_number
from tailfit.data import Normalize
from tailfit.errors import ArgumentError
from tailfit.networks.frame import Head, Shape, check_series, checked_sizes, input_layers, model_with_head
from tailfit.networks.padding import Steps
from tailfit.training import Model

__all__ = ["cnn", "mlp", "rnn"]


def mlp(
    input_shape: Shape,
    num_classes: int,
    *,
    units: Sequence[int] = (64, 64),
    dropout: float = 0.0,
    head: Head | None = None,
    normalize: Normalize | None = None,
) -> Model:
    """Build a network of dense layers with ReLU; records with several axes are flattened.

    Args:
        input_shape: Shape of one record.
        num_classes: Number of classes C.
        units: Width of each hidden layer.
        dropout: Dropout rate before the head, in [0, 1).
        head: `"dense"` (default) computes logits; `"cosine"` computes cosine similarities, for `LDAM`; `"features"`
            computes logits and attaches the features, for `InfluenceBalanced`; `"experts"` computes the mean logits of
            three experts, for the steps `RIDE` and `SADE`. A recipe chooses the head that its loss or step requires.
        normalize: Statistics of the channels, for the first layer.
    Shapes: input `(batch, *input_shape)`, output logits `(batch, C)`.
    Raises:
        ArgumentError: If an option is out of range.

    >>> mlp((20, 52), 22, units=[16]).output_shape
    (None, 22)
    """
    inputs, x = input_layers(input_shape, normalize)
    x = keras.layers.Flatten()(x) if len(input_shape) > 1 else x
    for width in checked_sizes("units", units):
        x = keras.layers.Dense(width, activation="relu")(x)
    return model_with_head(inputs, x, num_classes, dropout, head)


def cnn(
    input_shape: Shape,
    num_classes: int,
    *,
    filters: Sequence[int] = (64, 64),
    kernel_size: int = 5,
    dropout: float = 0.0,
    head: Head | None = None,
    normalize: Normalize | None = None,
    padding: float | None = None,
) -> Model:
    """Build a network of convolutions with layer normalization, each followed by pooling; global mean; head.

    Args:
        input_shape: `(steps, channels)` of a sensor record, or `(height, width, channels)` of an image.
        num_classes: Number of classes C.
        filters: Number of channels of each convolution.
        kernel_size: Size of the kernel in steps, or in pixels along each side.
        dropout, head, normalize: See `mlp`.
        padding: See `rnn`; for sensor records only, which need `2 ** len(filters)` steps or more.
    Shapes: input `(batch, *input_shape)`, output logits `(batch, C)`.
    Raises:
        ArgumentError: If the records do not have two or three axes, or an option is out of range.

    >>> cnn((128, 12), 10, filters=[8, 16]).output_shape, cnn((28, 28, 1), 10, kernel_size=3).output_shape
    ((None, 10), (None, 10))
    """
    if len(input_shape) not in (2, 3):
        raise ArgumentError(
            f"records of shape {input_shape} for cnn",
            expected="records of shape (steps, channels) or (height, width, channels)",
            fix="use the network mlp, or reshape the records",
        )
    size = whole_number("kernel_size", kernel_size, least=1)
    flat = len(input_shape) == 2
    if padding is not None and not flat:
        raise ArgumentError(
            f"padding={padding!r} for records of shape {input_shape}",
            expected="padding for sensor records of shape (steps, channels)",
            fix="drop padding=, and give images one size",
        )
    inputs, x = input_layers(input_shape, normalize)
    steps = Steps(inputs, padding)
    convolution = keras.layers.Conv1D if flat else keras.layers.Conv2D
    mean = steps.mean if flat else keras.layers.GlobalAveragePooling2D()
    x = steps.kept(x)
    for channels in checked_sizes("filters", filters):
        x = convolution(channels, size, padding="same")(x)
        # Layer normalization treats each position by itself. Batch statistics would depend on the sampler's class mix,
        # and their running means would lag behind in short trainings.
        x = steps.kept(keras.layers.Activation("relu")(keras.layers.LayerNormalization()(x)))
        if min(size or 2 for size in x.shape[1:-1]) >= 2:
            x = steps.halved(x) if flat else keras.layers.MaxPooling2D(2)(x)
    return model_with_head(inputs, mean(x), num_classes, dropout, head)


def rnn(
    input_shape: Shape,
    num_classes: int,
    *,
    units: Sequence[int] = (64,),
    dropout: float = 0.0,
    head: Head | None = None,
    normalize: Normalize | None = None,
    padding: float | None = None,
) -> Model:
    """Build a network of gated recurrent units over the steps of a sensor record; last state; head.

    Args:
        input_shape: `(steps, channels)` of a record.
        num_classes: Number of classes C.
        units: Width of each recurrent layer.
        dropout, head, normalize: See `mlp`.
        padding: Value of the steps that records of different length are padded with at their end (`Pad(value=...)`).
            Steps with this value in every channel do not count: a padded record gets the scores of the record without
            padding. No real step may have it. The number of steps in `input_shape` may be None.
    Shapes: input `(batch, steps, channels)`, output logits `(batch, C)`.
    Raises:
        ArgumentError: If the records do not have two axes, or an option is out of range.

    >>> rnn((20, 52), 22, units=[8, 8]).output_shape
    (None, 22)
    """
    check_series("rnn", input_shape)
    inputs, x = input_layers(input_shape, normalize)
    steps = Steps(inputs, padding)
    widths = checked_sizes("units", units)
    for place, width in enumerate(widths):
        x = keras.layers.GRU(width, return_sequences=place + 1 < len(widths))(x, **steps.arguments())
    return model_with_head(inputs, x, num_classes, dropout, head)
