"""Compilation with few optimisations: a test runs its programs a few times, and compiling takes most of its time."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import pytest


@contextmanager
def quickly() -> Iterator[None]:
    """Compile without expensive optimisations on JAX, and without XLA on TensorFlow."""
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_disable_most_optimizations", True)
        yield
        jax.config.update("jax_disable_most_optimizations", False)
    elif keras.backend.backend() == "tensorflow":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(keras.src.trainers.trainer, "model_supports_jit", lambda model: False)
            yield
    else:
        yield
