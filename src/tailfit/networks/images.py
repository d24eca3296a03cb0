"""A residual network for small images."""

from typing import Any

import keras

from tailfit.arguments import whole_number
from tailfit.data import Normalize
from tailfit.errors import ArgumentError
from tailfit.networks.frame import Head, Shape, input_layers, model_with_head
from tailfit.training import Model

__all__ = ["image_resnet"]


def image_resnet(
    input_shape: Shape,
    num_classes: int,
    *,
    blocks: int = 3,
    width: int = 16,
    dropout: float = 0.0,
    head: Head | None = None,
    normalize: Normalize | None = None,
) -> Model:
    """Build the residual network for small images: three stages of blocks; global mean; head.

    The paper's network for CIFAR-10, which most papers on long-tailed CIFAR use: `blocks=3` is ResNet-20, and
    `blocks=5` is ResNet-32. Shortcuts have no parameters (option A): between stages they keep every second row and
    column, and new channels are 0.

    Args:
        input_shape: `(height, width, channels)` of an image, at least 4 x 4.
        num_classes: Number of classes C.
        blocks: Number of blocks per stage, of two convolutions each.
        width: Number of channels of the first stage; the second has twice, the third four times as many.
        dropout, head, normalize: See `mlp`.
    Shapes: input `(batch, height, width, channels)`, output logits `(batch, C)`.
    Source: He et al. 2016, Deep Residual Learning for Image Recognition, section 4.2.
    Raises:
        ArgumentError: If the records are not images of this size, or an option is out of range.

    >>> image_resnet((28, 28, 1), 10, blocks=1, width=4).output_shape
    (None, 10)
    """
    if len(input_shape) != 3 or min(input_shape[:2]) < 4:
        raise ArgumentError(
            f"records of shape {input_shape} for image_resnet",
            expected="images of shape (height, width, channels), at least 4 x 4",
            fix="use the network cnn or mlp, or reshape the records",
        )
    width = whole_number("width", width, least=1)
    inputs, x = input_layers(input_shape, normalize)
    x = keras.layers.Activation("relu")(_convolution(x, width))
    for stage in range(3):
        for place in range(whole_number("blocks", blocks, least=1)):
            x = _block(x, width * 2**stage, 2 if stage and not place else 1)
    return model_with_head(inputs, keras.layers.GlobalAveragePooling2D()(x), num_classes, dropout, head)


def _block(x: Any, channels: int, strides: int) -> Any:
    shortcut = x
    if strides > 1:
        shortcut = keras.layers.AveragePooling2D(1, strides)(shortcut)
        nothing = keras.layers.Rescaling(0.0)(shortcut)
        shortcut = keras.layers.Concatenate()([shortcut, nothing])
    x = keras.layers.Activation("relu")(_convolution(x, channels, strides))
    x = keras.layers.Add()([shortcut, _convolution(x, channels)])
    return keras.layers.Activation("relu")(x)


def _convolution(x: Any, channels: int, strides: int = 1) -> Any:
    """A convolution of 3 x 3 pixels with batch normalization."""
    x = keras.layers.Conv2D(channels, 3, strides, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    return keras.layers.BatchNormalization()(x)
