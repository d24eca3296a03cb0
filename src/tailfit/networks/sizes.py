"""Size of a built-in network, computed before it is built, because building it already allocates the memory."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from tailfit.data.files.memory import available_memory
from tailfit.errors import ArgumentError
from tailfit.networks.built_in import NETWORKS

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


_BODIES: Final[Mapping[str, Callable[[Sequence[int], Mapping[str, Any]], tuple[int, Size]]]] = {
    "cnn": _cnn,
    "mlp": _mlp,
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
