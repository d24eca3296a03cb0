"""What several steps do with gradients, with the arrays of a batch and with their arguments."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tailfit.arguments import checked_number

__all__ = ["checked_seed", "combined", "dense", "map_arrays"]


def dense(gradient: Any) -> Any:
    """A gradient as a plain tensor; None stays None.

    TensorFlow gives that of an embedding by rows, and a row that occurs twice in two parts: their squares don't add up.
    """
    if hasattr(gradient, "dense_shape"):
        return ops.add(gradient, ops.zeros(gradient.shape, dtype=gradient.dtype))
    return None if gradient is None else ops.convert_to_tensor(gradient)


def combined(fn: Callable[..., Any], *gradients: list[Any]) -> list[Any]:
    """`fn` of the gradients of each variable, taken as zeros where some, but not all, are None."""
    return [_combined(fn, [dense(gradient) for gradient in group]) for group in zip(*gradients, strict=True)]


def _combined(fn: Callable[..., Any], group: list[Any]) -> Any:
    known = next((gradient for gradient in group if gradient is not None), None)
    if known is None:
        return None
    return fn(*(ops.zeros_like(known) if gradient is None else gradient for gradient in group))


def map_arrays(fn: Callable[..., Any], *structures: Any) -> Any:
    """`fn` of the arrays in structures alike; None stays None."""
    return keras.tree.map_structure(lambda *parts: None if parts[0] is None else fn(*parts), *structures)


def checked_seed(seed: Any) -> int | None:
    """A seed for `keras.random.SeedGenerator`: a whole number, or None for one that `set_random_seed` decides."""
    return None if seed is None else int(checked_number(seed, "seed", fix="pass a whole number, or leave it out"))
