"""The half of the suite that needs Keras: one process a backend, compared as NumPy."""

import os

import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras


@pytest.fixture(autouse=True)
def fresh_keras() -> None:
    """Each test starts from the same seeds and names, whatever ran before."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def backend() -> str:
    return str(keras.backend.backend())
