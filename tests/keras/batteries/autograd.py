"""The backend's own gradient of a Keras function, as NumPy, in float32 or float64."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """float64 everywhere: JAX has it only where it is switched on."""
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
    """d fn(x) / d x of a scalar `fn`, as float64 NumPy; computed in `dtype`."""
    backend = keras.backend.backend()
    tensor = keras.ops.convert_to_tensor(x, dtype=dtype)
    if backend == "jax":
        import jax

        slope = jax.grad(fn)(tensor)
    elif backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensor)
            value = fn(tensor)
        slope = tape.gradient(value, tensor)
    else:
        tensor = tensor.detach().clone().requires_grad_(True)
        fn(tensor).backward()
        slope = tensor.grad
    return numpy(slope)


def numpy(x: Any) -> np.ndarray:
    """Any tensor as float64 NumPy (bfloat16 has no NumPy of its own everywhere)."""
    tensor = keras.ops.convert_to_tensor(x)
    half = keras.backend.standardize_dtype(tensor.dtype) in ("bfloat16", "float16")
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32") if half else tensor).astype(np.float64)
