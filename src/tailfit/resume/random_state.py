"""The generators of random numbers that a process has one of: Python's, NumPy's, Keras' and the backend's."""

import random
from collections.abc import Mapping, MutableMapping
from typing import Any

import keras
import numpy as np

from tailfit.keras_private import known_global_seed
from tailfit.resume.encoding import decode, encode
from tailfit.training.backends import engine

__all__ = ["restore", "save"]


def save(arrays: MutableMapping[str, Any]) -> Any:
    """Their state as JSON; arrays in it go to `arrays`."""
    seed = known_global_seed()
    state = {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002  # the one that scripts use
        "keras": None if seed is None else np.array(keras.ops.convert_to_numpy(seed.state.value)),
        keras.backend.backend(): engine.random_state(),
    }
    return encode(state, arrays, "random")


def restore(coded: Any, arrays: Mapping[str, Any]) -> None:
    """Give it back; what another backend's generators had is left."""
    state = decode(coded, arrays)
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    if state["keras"] is not None:
        known_global_seed(made=True).state.assign(state["keras"])
    own = state.get(keras.backend.backend())
    if own is not None:
        engine.set_random_state(own)
