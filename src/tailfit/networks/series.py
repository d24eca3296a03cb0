"""Networks for sensor records, as published: FCN, ResNet, InceptionTime and LITE.

Without the classifier and for one channel, they have 264,704, 504,000, 420,192 and 9,814 trainable parameters, as the
authors of LITE count them (Ismail-Fawaz et al. 2023).
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tailfit.arguments import whole_number
from tailfit.data import Normalize
from tailfit.errors import ArgumentError
from tailfit.networks.frame import Head, Shape, check_series, checked_sizes, input_layers, model_with_head
from tailfit.networks.padding import Steps
from tailfit.training import Model

__all__ = ["fcn", "inception_time", "lite", "resnet"]


def fcn(
    input_shape: Shape,
    num_classes: int,
    *,
    filters: Sequence[int] = (128, 256, 128),
    kernel_sizes: Sequence[int] = (8, 5, 3),
    dropout: float = 0.0,
    head: Head | None = None,
    normalize: Normalize | None = None,
    padding: float | None = None,
) -> Model:
    """Build the fully convolutional network: convolutions with batch normalization and ReLU; global mean; head.

    Args:
        input_shape: `(steps, channels)` of a record.
        num_classes: Number of classes C.
        filters: Number of channels of each convolution.
        kernel_sizes: Number of steps of each kernel, one per convolution.
        dropout, head, normalize: See `mlp`.
        padding: See `rnn`.
    Shapes: input `(batch, steps, channels)`, output logits `(batch, C)`.
    Source: Wang, Yan & Oates 2017, Time Series Classification from Scratch with Deep Neural Networks, section II B.
    Raises:
        ArgumentError: If the records do not have two axes, or an option is out of range.

    >>> fcn((128, 12), 10, filters=[8, 16], kernel_sizes=[8, 3]).output_shape
    (None, 10)
    """
    check_series("fcn", input_shape)
    inputs, x = input_layers(input_shape, normalize)
    steps = Steps(inputs, padding)
    x = steps.kept(x)
    for channels, size in _pairs(filters, kernel_sizes):
        x = _relu(steps, _convolution(steps, x, channels, size))
    return model_with_head(inputs, steps.mean(x), num_classes, dropout, head)


def resnet(
    input_shape: Shape,
    num_classes: int,
    *,
    filters: Sequence[int] = (64, 128, 128),
    kernel_sizes: Sequence[int] = (8, 5, 3),
    dropout: float = 0.0,
    head: Head | None = None,
    normalize: Normalize | None = None,
    padding: float | None = None,
) -> Model:
    """Build the residual network for series: blocks of convolutions, each with a shortcut; global mean; head.

    Args:
        input_shape: `(steps, channels)` of a record.
        num_classes: Number of classes C.
        filters: Number of channels of each block.
        kernel_sizes: Number of steps of the kernels in each block.
        dropout, head, normalize: See `mlp`.
        padding: See `rnn`.
    Shapes: input `(batch, steps, channels)`, output logits `(batch, C)`.
    Source: Wang, Yan & Oates 2017, section II C. Kernels have 8, 5 and 3 steps as in the authors' code.
    Raises:
        ArgumentError: If the records do not have two axes, or an option is out of range.

    >>> resnet((128, 12), 10, filters=[8, 16]).output_shape
    (None, 10)
    """
    check_series("resnet", input_shape)
    sizes = checked_sizes("kernel_sizes", kernel_sizes)
    inputs, x = input_layers(input_shape, normalize)
    steps = Steps(inputs, padding)
    x = steps.kept(x)
    for channels in checked_sizes("filters", filters):
        shortcut = x
        for size in sizes[:-1]:
            x = _relu(steps, _convolution(steps, x, channels, size))
        x = _convolution(steps, x, channels, sizes[-1])
        same = shortcut.shape[-1] == channels
        shortcut = steps.normalized(shortcut) if same else _convolution(steps, shortcut, channels, 1)
        x = _relu(steps, keras.layers.Add()([shortcut, x]))
    return model_with_head(inputs, steps.mean(x), num_classes, dropout, head)


def inception_time(
    input_shape: Shape,
    num_classes: int,
    *,
    depth: int = 6,
    width: int = 32,
    kernel_size: int = 40,
    dropout: float = 0.0,
    head: Head | None = None,
    normalize: Normalize | None = None,
    padding: float | None = None,
) -> Model:
    """Build one network of InceptionTime: modules with kernels of three sizes, a shortcut over every three; mean; head.

    Args:
        input_shape: `(steps, channels)` of a record.
        num_classes: Number of classes C.
        depth: Number of modules.
        width: Number of channels of each of the four branches of a module, and of its bottleneck.
        kernel_size: Number of steps of the longest kernel, at least 4; the other two have a half and a quarter.
        dropout, head, normalize: See `mlp`.
        padding: See `rnn`.
    Shapes: input `(batch, steps, channels)`, output logits `(batch, C)`.
    Source: Ismail Fawaz et al. 2020, InceptionTime, section 3. The paper's classifier is the mean of five of them.
    Raises:
        ArgumentError: If the records do not have two axes, or an option is out of range.

    >>> inception_time((128, 12), 10, depth=3, width=4).output_shape
    (None, 10)
    """
    check_series("inception_time", input_shape)
    width, longest = whole_number("width", width, least=1), whole_number("kernel_size", kernel_size, least=4)
    inputs, x = input_layers(input_shape, normalize)
    steps = Steps(inputs, padding)
    x = steps.kept(x)
    shortcut = x
    for place in range(whole_number("depth", depth, least=1)):
        x = _relu(steps, steps.normalized(_inception(steps, x, width, longest)))
        if place % 3 == 2:
            shortcut = _convolution(steps, shortcut, 4 * width, 1, bias=False)
            x = shortcut = _relu(steps, keras.layers.Add()([shortcut, x]))
    return model_with_head(inputs, steps.mean(x), num_classes, dropout, head)


def lite(
    input_shape: Shape,
    num_classes: int,
    *,
    width: int = 32,
    kernel_size: int = 40,
    dropout: float = 0.0,
    head: Head | None = None,
    normalize: Normalize | None = None,
    padding: float | None = None,
) -> Model:
    """Build LITE: one module with kernels of three sizes and fixed kernels, two separable convolutions; mean; head.

    The fixed kernels respond to increases, decreases and peaks of 2 to 96 steps in the sum of the channels.

    Args:
        input_shape: `(steps, channels)` of a record.
        num_classes: Number of classes C.
        width: Number of channels of each convolution.
        kernel_size: Number of steps of the longest kernel, at least 4.
        dropout, head, normalize: See `mlp`.
        padding: See `rnn`.
    Shapes: input `(batch, steps, channels)`, output logits `(batch, C)`.
    Source: Ismail-Fawaz et al. 2023, LITE: Light Inception with boosTing tEchniques, section III; the fixed kernels are
        from Ismail-Fawaz et al. 2022, Deep Learning for Time Series Classification Using New Hand-Crafted Convolution
        Filters. The paper's classifier is the mean of five of them.
    Raises:
        ArgumentError: If the records do not have two axes, or an option is out of range.

    >>> lite((128, 12), 10, width=4).output_shape
    (None, 10)
    """
    check_series("lite", input_shape)
    width, longest = whole_number("width", width, least=1), whole_number("kernel_size", kernel_size, least=4)
    inputs, x = input_layers(input_shape, normalize)
    steps = Steps(inputs, padding)
    x = steps.kept(x)
    branches = [_plain_convolution(x, width, longest // share) for share in (1, 2, 4)]
    x = _relu(steps, steps.normalized(keras.layers.Concatenate()([*branches, _hand_crafted(steps, x)])))
    for dilation in (2, 4):
        x = keras.layers.SeparableConv1D(
            width, longest // dilation, dilation_rate=dilation, padding="same", use_bias=False
        )(x)
        x = _relu(steps, steps.normalized(x))
    return model_with_head(inputs, steps.mean(x), num_classes, dropout, head)


def _inception(steps: Steps, x: Any, width: int, longest: int) -> Any:
    """One module: three convolutions behind a bottleneck, and one behind a maximum over three steps."""
    narrow = _plain_convolution(x, width, 1) if x.shape[-1] > 1 else x
    branches = [_plain_convolution(narrow, width, longest // share) for share in (1, 2, 4)]
    pooled = steps.smoothed(x)
    return keras.layers.Concatenate()([*branches, _plain_convolution(pooled, width, 1)])


def _hand_crafted(steps: Steps, x: Any) -> Any:
    """Responses of the fixed kernels, which weigh all channels equally, so that the sum of the channels is enough."""
    if x.shape[-1] > 1:
        x = keras.layers.Conv1D(1, 1, use_bias=False, kernel_initializer="ones", trainable=False)(x)
    kernels = fixed_kernels()
    constant = keras.initializers.Constant(kernels[:, None, :].tolist())
    size, count = kernels.shape
    x = keras.layers.Conv1D(count, size, padding="same", use_bias=False, kernel_initializer=constant, trainable=False)(
        x
    )
    return _relu(steps, x)


def fixed_kernels() -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the fixed kernels of LITE, one per column; shorter ones are padded with zeros, as `"same"` aligns them.

    >>> fixed_kernels().shape
    (96, 17)
    """
    sizes = [2, 4, 8, 16, 32, 64]
    alternating = [np.where(np.arange(size) % 2, 1.0, -1.0) for size in sizes]
    kernels = [*alternating, *(-kernel for kernel in alternating), *map(_peak, sizes[1:])]
    longest = max(map(len, kernels))
    columns = np.zeros((longest, len(kernels)))
    for column, kernel in zip(columns.T, kernels, strict=True):
        start = (longest - 1) // 2 - (len(kernel) - 1) // 2
        column[start : start + len(kernel)] = kernel
    return columns


def _peak(size: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A kernel for a peak of half a size between two valleys; each is a parabola up and down."""
    rise = np.linspace(0, 1, size // 4 + 1)[1:] ** 2
    hill = np.concatenate([rise, rise[::-1]])
    return np.concatenate([-hill, 2 * hill, -hill])


def _pairs(filters: Sequence[int], kernel_sizes: Sequence[int]) -> list[tuple[int, int]]:
    channels, sizes = checked_sizes("filters", filters), checked_sizes("kernel_sizes", kernel_sizes)
    if len(channels) != len(sizes):
        raise ArgumentError(
            f"{len(channels)} filters={list(filters)} and {len(sizes)} kernel_sizes={list(kernel_sizes)}",
            expected="as many kernel sizes as convolutions",
            fix="pass lists of the same length",
        )
    return list(zip(channels, sizes, strict=True))


def _convolution(steps: Steps, x: Any, channels: int, size: int, bias: bool = True) -> Any:
    """A convolution with batch normalization."""
    return steps.normalized(_plain_convolution(x, channels, size, bias))


def _plain_convolution(x: Any, channels: int, size: int, bias: bool = False) -> Any:
    return keras.layers.Conv1D(channels, size, padding="same", use_bias=bias)(x)


def _relu(steps: Steps, x: Any) -> Any:
    return steps.kept(keras.layers.Activation("relu")(x))
