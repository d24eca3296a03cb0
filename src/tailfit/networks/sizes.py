"""Size of a built-in network, computed before it is built, because building it already allocates the memory."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from tailfit.data.files.memory import available_memory
from tailfit.errors import ArgumentError
from tailfit.networks.named import NETWORKS

__all__ = ["Size", "check_fits_memory", "size_of"]

_FLOAT: Final = 4  # bytes
_COPIES: Final = 3  # values per parameter in training: the parameter, and two moments of the optimizer


class Size(NamedTuple):
    """Size of a network.

    Attributes:
        parameters: Number of trainable parameters.
        activations: Number of activations per sample, a lower bound.
    """

    parameters: int
    activations: int


def size_of(name: str, input_shape: Sequence[int], num_classes: int, options: Mapping[str, Any]) -> Size:
    """Compute the size of a built-in network.

    Args:
        name: Name of the network.
        input_shape: Shape of one record.
        num_classes: Number of classes C.
        options: Options of the network; those that do not affect its size are ignored.

    >>> size_of("mlp", (20, 52), 22, {"units": [16]})
    Size(parameters=17030, activations=1078)
    """
    known = inspect.signature(NETWORKS[name]).parameters
    chosen = {key: options.get(key, each.default) for key, each in known.items()}
    features, size = _BODIES[name](tuple(input_shape), chosen)
    if chosen["head"] == "experts":
        size = Size(size.parameters + 3 * features * (features + 1), size.activations + 3 * (features + num_classes))
        return Size(size.parameters + 3 * (features + 1) * num_classes, size.activations + num_classes)
    bias = 0 if chosen["head"] == "cosine" else num_classes
    return Size(size.parameters + features * num_classes + bias, size.activations + num_classes)


def _mlp(shape: Sequence[int], options: Mapping[str, Any]) -> tuple[int, Size]:
    width, parameters, activations = math.prod(shape), 0, math.prod(shape)
    for units in options["units"]:
        parameters += (width + 1) * units
        activations += units
        width = units
    return width, Size(parameters, activations)


def _cnn(shape: Sequence[int], options: Mapping[str, Any]) -> tuple[int, Size]:
    *sides, channels = shape or (1,)
    parameters, activations = 0, math.prod(shape)
    for filters in options["filters"]:
        # Kernel and bias of the convolution; scale and shift of the normalization.
        parameters += options["kernel_size"] ** len(sides) * channels * filters + 3 * filters
        activations += 3 * math.prod(sides) * filters
        channels = filters
        if min(sides, default=0) >= 2:
            sides = [side // 2 for side in sides]
    return channels, Size(parameters, activations)


def _rnn(shape: Sequence[int], options: Mapping[str, Any]) -> tuple[int, Size]:
    steps, width = math.prod(shape[:-1]), math.prod(shape[-1:])
    parameters, activations = 0, math.prod(shape)
    for units in options["units"]:
        parameters += 3 * units * (width + units + 2)  # three gates with weights of input and state, and two biases
        activations += steps * units
        width = units
    return width, Size(parameters, activations)


def _fcn(shape: Sequence[int], options: Mapping[str, Any]) -> tuple[int, Size]:
    steps, channels = _series(shape)
    parts = []
    for filters, size in zip(options["filters"], options["kernel_sizes"], strict=False):
        parts.append(_convolution(size, channels, filters, steps, bias=1))
        channels = filters
    return channels, _sum(shape, parts)


def _resnet(shape: Sequence[int], options: Mapping[str, Any]) -> tuple[int, Size]:
    steps, channels = _series(shape)
    parts = []
    for filters in options["filters"]:
        if channels == filters:
            parts.append(Size(2 * filters, steps * filters))  # the shortcut's normalization
        else:
            parts.append(_convolution(1, channels, filters, steps, bias=1))
        for size in options["kernel_sizes"]:
            parts.append(_convolution(size, channels, filters, steps, bias=1))
            channels = filters
    return channels, _sum(shape, parts)


def _inception_time(shape: Sequence[int], options: Mapping[str, Any]) -> tuple[int, Size]:
    steps, channels = _series(shape)
    width, first = options["width"], channels
    parts = []
    for place in range(options["depth"]):
        narrow = width if channels > 1 else 1
        kernels = sum(options["kernel_size"] // share for share in (1, 2, 4))
        weights = (channels > 1) * channels * width + kernels * narrow * width + channels * width
        parts.append(Size(weights + 8 * width, 4 * steps * width))
        channels = 4 * width
        if place % 3 == 2:
            parts.append(_convolution(1, first, channels, steps))
            first = channels
    return channels, _sum(shape, parts)


def _lite(shape: Sequence[int], options: Mapping[str, Any]) -> tuple[int, Size]:
    steps, channels = _series(shape)
    width, longest = options["width"], options["kernel_size"]
    branches = sum(longest // share for share in (1, 2, 4)) * channels * width
    channels = 3 * width + 17  # fixed kernels
    parts = [Size(branches + 2 * channels, steps * channels)]
    for dilation in (2, 4):
        parts.append(Size(longest // dilation * channels + channels * width + 2 * width, steps * width))
        channels = width
    return channels, _sum(shape, parts)


def _minirocket(shape: Sequence[int], options: Mapping[str, Any]) -> tuple[int, Size]:
    """The kernels, means and deviations are not trained; the responses to one dilation are in memory at a time."""
    steps, _ = _series(shape)
    features = options["num_features"] // 84 * 84
    return features, Size(0, math.prod(shape) + 84 * steps + features)


def _image_resnet(shape: Sequence[int], options: Mapping[str, Any]) -> tuple[int, Size]:
    height, across, channels = shape if len(shape) == 3 else (1, 1, math.prod(shape))
    width = options["width"]
    parts = [_convolution(9, channels, width, height * across)]
    channels = width
    for stage in range(3):
        if stage:
            height, across = -(-height // 2), -(-across // 2)
        for _ in range(options["blocks"]):
            parts.append(_convolution(9, channels, width * 2**stage, height * across))
            channels = width * 2**stage
            parts.append(_convolution(9, channels, channels, height * across))
    return channels, _sum(shape, parts)


def _series(shape: Sequence[int]) -> tuple[int, int]:
    return math.prod(shape[:-1]), math.prod(shape[-1:])


def _convolution(size: int, channels: int, filters: int, places: int, bias: int = 0) -> Size:
    """A convolution with batch normalization, which has a scale and a shift per filter."""
    return Size((size * channels + bias + 2) * filters, places * filters)


def _sum(shape: Sequence[int], parts: Sequence[Size]) -> Size:
    return Size(sum(each.parameters for each in parts), math.prod(shape) + sum(each.activations for each in parts))


_BODIES: Final[Mapping[str, Callable[[Sequence[int], Mapping[str, Any]], tuple[int, Size]]]] = {
    "cnn": _cnn,
    "fcn": _fcn,
    "image_resnet": _image_resnet,
    "inception_time": _inception_time,
    "lite": _lite,
    "minirocket": _minirocket,
    "mlp": _mlp,
    "resnet": _resnet,
    "rnn": _rnn,
}


def check_fits_memory(size: Size, batch_size: int) -> None:
    """Check that a network can be trained in the available memory.

    Args:
        size: Size of the network.
        batch_size: Number of samples of the largest batch.
    Raises:
        ArgumentError: If the parameters, the optimizer's state and the activations of a batch need more memory.
    """
    needed = _FLOAT * (_COPIES * size.parameters + batch_size * size.activations)
    free = available_memory()
    if needed > free:
        raise ArgumentError(
            f"a network of {size.parameters} parameters, with {size.activations} activations for each of {batch_size} "
            f"samples, which needs {needed} bytes or more",
            expected=f"a network that fits into the {free} bytes of free memory",
            fix="use fewer or narrower layers, a smaller batch_size, or shorter records",
        )
