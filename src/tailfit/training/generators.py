"""The generators of random numbers that a process has one of: Python's, NumPy's, Keras' and the backend's.

Keras takes every seed that is not given from Python's generator, and on torch its dropout without a seed draws from
torch's own. So what a training draws depends on all that the process has drawn before, unless all of them are seeded.
"""

import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from tailfit.keras_private import known_global_seed
from tailfit.training.backends import engine

__all__ = ["captured", "check", "drawn_from", "put_back", "seeded"]

_SEEDING = threading.RLock()


def captured() -> dict[str, Any]:
    """Copy the state of each: numbers, arrays, and tuples and dicts of them."""
    seed = known_global_seed()
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002  # the one that scripts use
        "keras": None if seed is None else np.array(keras.ops.convert_to_numpy(seed.state.value)),
        keras.backend.backend(): engine.random_state(),
    }


def put_back(state: Mapping[str, Any]) -> None:
    """Restore what `captured` returned; what another backend's generators had is left."""
    if state["keras"] is not None:
        known_global_seed(made=True).state.assign(state["keras"])
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    own = state.get(keras.backend.backend())
    if own is not None:
        engine.set_random_state(own)


def check(state: Any) -> None:
    """Check that `put_back` can restore a state; nothing is changed.

    NumPy takes positions beyond the end of its table, and then reads memory that is not its own.

    Raises:
        Exception: of some type, where it can't.
    """
    version, words, normal = state["python"]
    random.Random().setstate((version, words, normal))
    if version != 3 or not _is_normal(normal) or not all(0 <= word < 2**32 for word in words):
        raise ValueError("Python's generator: a version, 625 words, and None or a number expected")
    known = np.random.get_state(legacy=False)  # noqa: NPY002
    fresh = np.random.RandomState(getattr(np.random, known["bit_generator"])())
    _check_like(state["numpy"], known, "numpy")
    if not 0 <= state["numpy"]["state"].get("pos", 0) <= 624 or state["numpy"]["has_gauss"] not in (0, 1):
        raise ValueError("NumPy's generator: a position within its table expected")
    fresh.set_state(state["numpy"])
    seed = state["keras"]
    if seed is not None and (seed.shape != (2,) or seed.dtype.kind not in "iu"):
        raise ValueError("Keras' generator: two whole numbers expected")
    own = state.get(keras.backend.backend())
    if own is not None:
        engine.check_random_state(own)


def _is_normal(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isfinite(value))


def _check_like(value: Any, known: Any, where: str) -> None:
    """Refuse what is not of the types, shapes and names of another value."""
    alike = type(value) is type(known)
    if alike and isinstance(known, np.ndarray):
        alike = (value.dtype, value.shape) == (known.dtype, known.shape)
    elif alike and isinstance(known, dict):
        alike = value.keys() == known.keys()
    elif alike and isinstance(known, str):
        alike = value == known
    if not alike:
        raise TypeError(f"{where} of another type, shape or name")
    for key in known if isinstance(known, dict) else ():
        _check_like(value[key], known[key], f"{where}.{key}")


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Seed every global generator within the context; they are as before after it.

    They are one for all threads: of trainings that run in threads at the same time, none is reproducible by a seed.

    >>> with drawn_from(3):
    ...     first = random.random(), np.random.uniform()
    >>> with drawn_from(3):
    ...     first == (random.random(), np.random.uniform())
    True
    """
    python = random.getstate()
    known_global_seed(made=True)  # draws its own seed from Python's generator
    random.setstate(python)
    before = captured()
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    known_global_seed(made=True).state.assign(np.array([seed % 2**31, 0]))
    engine.seed_generators(seed)
    try:
        yield
    finally:
        put_back(before)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators while layers, losses or steps are made; one thread at a time.

    Threads of a grid search would share the generators.
    """
    with _SEEDING, drawn_from(seed):
        yield
