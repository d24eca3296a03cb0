"""One module a backend, all with the same names: `value_and_grad`, `function`, `Trainer`, `COMPILES`, and
`random_state` and `set_random_state` of generators that are the backend's own.

Only these modules import jax, tensorflow or torch, and only the one of the backend that Keras runs on is imported:
TensorFlow and torch abort in one process.
"""

import importlib
from typing import Any

import keras

from tailfit.errors import StepError

__all__ = ["engine"]

_SUPPORTED = ("jax", "tensorflow", "torch")


def _load() -> Any:
    backend = keras.backend.backend()
    if backend not in _SUPPORTED:
        raise StepError(
            f"the Keras backend {backend!r}",
            expected=", ".join(_SUPPORTED),
            fix="set KERAS_BACKEND before Keras is imported",
        )
    return importlib.import_module(f"tailfit.training.backends.{backend}")


engine = _load()
