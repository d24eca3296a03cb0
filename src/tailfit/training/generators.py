"""The global random generators of a process: Python's, NumPy's, Keras' and the backend's.

Keras draws missing seeds from Python's generator, and on torch, its dropout without a seed uses torch's generator. So a
training depends on everything that the process has drawn before, unless all of these generators are seeded.
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

__all__ = ["captured", "check", "drawn_from", "restore_states", "seeded"]

_SEEDING = threading.RLock()


def captured() -> dict[str, Any]:
    """Return a copy of the states of all generators: numbers and arrays, in tuples and dicts."""
    seed = known_global_seed()
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002  # the global generator, which scripts use
        "keras": None if seed is None else np.array(keras.ops.convert_to_numpy(seed.state.value)),
        keras.backend.backend(): engine.random_state(),
    }


def restore_states(state: Mapping[str, Any]) -> None:
    """Restore states that `captured` returned; those of another backend are ignored."""
    if state["keras"] is not None:
        known_global_seed(made=True).state.assign(state["keras"])
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    own = state.get(keras.backend.backend())
    if own is not None:
        engine.set_random_state(own)


def check(state: Any) -> None:
    """Check that `restore_states` can restore these states, without changing anything.

    NumPy itself accepts positions beyond the end of its table, and then reads foreign memory.

    Raises:
        Exception: If it cannot, of any type.
    """
    version, words, normal = state["python"]
    random.Random().setstate((version, words, normal))
    if version != 3 or not _is_normal(normal) or not all(0 <= word < 2**32 for word in words):
        raise ValueError("the state of Python's generator is not version 3, 625 words, and None or a number")
    known = np.random.get_state(legacy=False)  # noqa: NPY002
    fresh = np.random.RandomState(getattr(np.random, known["bit_generator"])())
    _check_like(state["numpy"], known, "numpy")
    if not 0 <= state["numpy"]["state"].get("pos", 0) <= 624 or state["numpy"]["has_gauss"] not in (0, 1):
        raise ValueError("the state of NumPy's generator has a position outside its table")
    fresh.set_state(state["numpy"])
    seed = state["keras"]
    if seed is not None and (seed.shape != (2,) or seed.dtype.kind not in "iu"):
        raise ValueError("the state of Keras' generator is not two integers")
    own = state.get(keras.backend.backend())
    if own is not None:
        engine.check_random_state(own)


def _is_normal(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isfinite(value))


def _check_like(value: Any, known: Any, where: str) -> None:
    """Check that a value has the types, shapes, keys and texts of a known one."""
    alike = type(value) is type(known)
    if alike and isinstance(known, np.ndarray):
        alike = (value.dtype, value.shape) == (known.dtype, known.shape)
    elif alike and isinstance(known, dict):
        alike = value.keys() == known.keys()
    elif alike and isinstance(known, str):
        alike = value == known
    if not alike:
        raise TypeError(f"the state of the generator differs in {where}")
    for key in known if isinstance(known, dict) else ():
        _check_like(value[key], known[key], f"{where}.{key}")


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Seed all global generators within this context, and restore them afterwards.

    Threads share these generators, so trainings that run in several threads at once are not reproducible.

    >>> with drawn_from(3):
    ...     first = random.random(), np.random.uniform()
    >>> with drawn_from(3):
    ...     first == (random.random(), np.random.uniform())
    True
    """
    python = random.getstate()
    known_global_seed(made=True)  # its creation draws from Python's generator
    random.setstate(python)
    before = captured()
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    known_global_seed(made=True).state.assign(np.array([seed % 2**31, 0]))
    engine.seed_generators(seed)
    try:
        yield
    finally:
        restore_states(before)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators while layers, losses or steps are created; one thread at a time.

    Without the lock, threads of a grid search would draw from the same generators.
    """
    with _SEEDING, drawn_from(seed):
        yield
