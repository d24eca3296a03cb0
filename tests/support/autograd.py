"""The backend's own gradient of a Keras function, as NumPy, in float32 or float64."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """Compute in float64 within this context; JAX must be configured for it."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


def gradient(fn: Callable[[Any], Any], x: np.ndarray, dtype: str = "float32") -> np.ndarray:
    """Return the gradient of a scalar function of one array, computed in `dtype`, as float64 NumPy."""
    return gradients(fn, [x], dtype)[0]


def gradients(fn: Callable[..., Any], arrays: Sequence[np.ndarray], dtype: str = "float32") -> list[np.ndarray]:
    """Return the gradients of a scalar function of several arrays; see `gradient`."""
    return [numpy(slope) for slope in slopes(fn, [keras.ops.convert_to_tensor(x, dtype=dtype) for x in arrays])]


def slopes(fn: Callable[..., Any], tensors: Sequence[Any]) -> Sequence[Any]:
    """Return the gradients of a scalar function of tensors by the backend's autograd, differentiable again."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.grad(fn, argnums=tuple(range(len(tensors))))(*tensors)
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = fn(*tensors)
        return tape.gradient(value, list(tensors))
    import torch

    with torch.enable_grad():
        leaves = [part if part.requires_grad else part.detach().clone().requires_grad_(True) for part in tensors]
        return torch.autograd.grad(fn(*leaves), leaves, create_graph=True)


def numpy(x: Any) -> np.ndarray:
    """Return a tensor as float64 NumPy; not every backend converts bfloat16 itself."""
    tensor = keras.ops.convert_to_tensor(x)
    half = keras.backend.standardize_dtype(tensor.dtype) in ("bfloat16", "float16")
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32") if half else tensor).astype(np.float64)
