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
            computes logits and attaches the features, for `InfluenceBalanced`. A recipe chooses the head that its loss
            requires.
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
) -> Model:
    """Build a network of convolutions with layer normalization, each followed by pooling; global mean; head.

    Args:
        input_shape: `(steps, channels)` of a sensor record, or `(height, width, channels)` of an image.
        num_classes: Number of classes C.
        filters: Number of channels of each convolution.
        kernel_size: Size of the kernel in steps, or in pixels along each side.
        dropout, head, normalize: See `mlp`.
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
    convolution, pooling, mean = (
        (keras.layers.Conv1D, keras.layers.MaxPooling1D, keras.layers.GlobalAveragePooling1D)
        if flat
        else (keras.layers.Conv2D, keras.layers.MaxPooling2D, keras.layers.GlobalAveragePooling2D)
    )
    inputs, x = input_layers(input_shape, normalize)
    for channels in checked_sizes("filters", filters):
        x = convolution(channels, size, padding="same")(x)
        # Layer normalization treats each position by itself. Batch statistics would depend on the sampler's class mix,
        # and their running means would lag behind in short trainings.
        x = keras.layers.Activation("relu")(keras.layers.LayerNormalization()(x))
        if min(x.shape[1:-1]) >= 2:
            x = pooling(2)(x)
    return model_with_head(inputs, mean()(x), num_classes, dropout, head)


def rnn(
    input_shape: Shape,
    num_classes: int,
    *,
    units: Sequence[int] = (64,),
    dropout: float = 0.0,
    head: Head | None = None,
    normalize: Normalize | None = None,
) -> Model:
    """Build a network of gated recurrent units over the steps of a sensor record; last state; head.

    Args:
        input_shape: `(steps, channels)` of a record.
        num_classes: Number of classes C.
        units: Width of each recurrent layer.
        dropout, head, normalize: See `mlp`.
    Shapes: input `(batch, steps, channels)`, output logits `(batch, C)`.
    Raises:
        ArgumentError: If the records do not have two axes, or an option is out of range.

    >>> rnn((20, 52), 22, units=[8, 8]).output_shape
    (None, 22)
    """
    check_series("rnn", input_shape)
    inputs, x = input_layers(input_shape, normalize)
    widths = checked_sizes("units", units)
    for place, width in enumerate(widths):
        x = keras.layers.GRU(width, return_sequences=place + 1 < len(widths))(x)
    return model_with_head(inputs, x, num_classes, dropout, head)
