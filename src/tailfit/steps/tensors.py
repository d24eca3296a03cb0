"""Helpers shared by steps: for gradients, for the arrays of a batch, and for seeds."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tailfit.arguments import checked_number
from tailfit.errors import StepError

__all__ = ["as_floats", "checked_seed", "combined", "dense", "map_arrays"]


def as_floats(x: Any, *, purpose: str) -> Any:
    """Return one array of the inputs as a tensor.

    Args:
        x: The array.
        purpose: What a step does with inputs, such as "mixes".
    Raises:
        StepError: If it does not contain floats.
    """
    x = ops.convert_to_tensor(x)
    dtype = keras.backend.standardize_dtype(x.dtype)
    if "float" not in dtype:
        raise StepError(
            f"inputs of dtype {dtype} for a step that {purpose} inputs",
            expected="floats; a mean of two tokens or indices has no meaning",
            fix="convert numbers with x.astype('float32'), or drop the step",
        )
    return x


def dense(gradient: Any) -> Any:
    """Return a gradient as a dense tensor; None stays None.

    TensorFlow returns the gradient of an embedding as rows, with a repeated row in several parts, whose squares do not
    sum to the square of the row.
    """
    if hasattr(gradient, "dense_shape"):
        return ops.add(gradient, ops.zeros(gradient.shape, dtype=gradient.dtype))
    return None if gradient is None else ops.convert_to_tensor(gradient)


def combined(fn: Callable[..., Any], *gradients: list[Any]) -> list[Any]:
    """Return `fn` of the gradients of each variable; None counts as zeros, but if all are None the result is None."""
    return [_combined(fn, [dense(gradient) for gradient in group]) for group in zip(*gradients, strict=True)]


def _combined(fn: Callable[..., Any], group: list[Any]) -> Any:
    known = next((gradient for gradient in group if gradient is not None), None)
    if known is None:
        return None
    return fn(*(ops.zeros_like(known) if gradient is None else gradient for gradient in group))


def map_arrays(fn: Callable[..., Any], *structures: Any) -> Any:
    """Return `fn` of the corresponding arrays in equal structures; None stays None."""
    return keras.tree.map_structure(lambda *parts: None if parts[0] is None else fn(*parts), *structures)


def checked_seed(seed: Any) -> int | None:
    """Return a seed for `keras.random.SeedGenerator`: an integer, or None to derive it from `set_random_seed`."""
    return None if seed is None else int(checked_number(seed, "seed", fix="pass an integer, or drop seed="))
