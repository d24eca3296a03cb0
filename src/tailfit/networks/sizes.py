"""The size of a built-in network, computed before it is built: building it would ask for the memory at once."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from tailfit.data.files.memory import available_memory
from tailfit.errors import ArgumentError
from tailfit.networks.built_in import NETWORKS

__all__ = ["Size", "check_fits_memory", "size_of"]

_FLOAT: Final = 4  # bytes
_COPIES: Final = 3  # of each parameter while training: itself, and two moments of the optimizer


class Size(NamedTuple):
    """What a network asks for.

    Attributes:
        parameters: Its trainable numbers.
        activations: Numbers computed for one sample, at least.
    """

    parameters: int
    activations: int


def size_of(name: str, input_shape: Sequence[int], num_classes: int, options: Mapping[str, Any]) -> Size:
    """The size of a built-in network.

    Args:
        name: Of the network.
        input_shape: Of one record.
        num_classes: Outputs C.
        options: As of the network; others than those that decide its size are ignored.

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
        # The convolution's kernel and bias; scale and shift of the normalisation.
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
        parameters += 3 * units * (width + units + 2)  # of three gates: input, state, and two biases
        activations += steps * units
        width = units
    return width, Size(parameters, activations)


_BODIES: Final[Mapping[str, Callable[[Sequence[int], Mapping[str, Any]], tuple[int, Size]]]] = {
    "cnn": _cnn,
    "mlp": _mlp,
    "rnn": _rnn,
}


def check_fits_memory(size: Size, batch_size: int) -> None:
    """Refuse a network that can't be trained in the memory there is.

    Args:
        size: Of the network.
        batch_size: Samples of the largest batch.
    Raises:
        ArgumentError: the parameters with the optimizer's state, and what is computed of a batch, need more.
    """
    needed = _FLOAT * (_COPIES * size.parameters + batch_size * size.activations)
    room = available_memory()
    if needed > room:
        raise ArgumentError(
            f"a network of {size.parameters} parameters, with {size.activations} activations for each of {batch_size} "
            f"samples: {needed} bytes or more",
            expected=f"what fits into the {room} bytes of memory that are free",
            fix="use fewer or narrower layers, a smaller batch_size, or shorter records",
        )
