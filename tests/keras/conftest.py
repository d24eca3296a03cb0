"""The half of the suite that needs Keras: one process a backend, compared as NumPy."""

import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras


@pytest.fixture(autouse=True)
def fresh_keras() -> None:
    """Each test starts from the same seeds and names, whatever ran before."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


# Where numbers are compared to the bit with programs that others compile, or are measured.
_AS_COMPILED = {"test_parity", "test_parity_battery", "test_steps_per_execution", "test_traps_training"}


@pytest.fixture(autouse=True, scope="module")
def quickly_compiled(request: pytest.FixtureRequest) -> Iterator[None]:
    """On JAX most of the time goes into optimising programs that run a few times: here that is left out."""
    if keras.backend.backend() != "jax" or request.module.__name__ in _AS_COMPILED:
        yield
        return
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session")
def backend() -> str:
    return str(keras.backend.backend())


# The batteries that compile most: quickly each case runs on torch and on one of the two that compile; slowly on all.
_SHARED_OUT = {"test_parity_battery", "test_steps_all"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if keras.backend.backend() == "torch":
        return
    mine = keras.backend.backend() == "jax"
    for number, item in enumerate(item for item in items if item.module.__name__ in _SHARED_OUT):
        if (number % 2 == 0) != mine:
            item.add_marker(pytest.mark.slow)
