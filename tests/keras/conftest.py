"""The half of the suite that needs Keras: one process a backend, compared as NumPy."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras

source = os.environ.get("TAILFIT_KERAS_SOURCE")  # of scripts/test-next
if source and Path(source).resolve() not in Path(keras.__file__).resolve().parents:
    raise RuntimeError(f"Keras {keras.__version__} of {keras.__file__} is tested, not the one of {source}")


def pytest_report_header() -> str:
    return f"keras: {keras.__version__} on {keras.backend.backend()}, {Path(keras.__file__).parent}"


@pytest.fixture(autouse=True)
def fresh_keras() -> None:
    """Each test starts from the same seeds and names, whatever ran before."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


# Where numbers are compared to the bit with programs that others compile, or are measured.
_AS_COMPILED = {"test_parity", "test_parity_battery", "test_steps_per_execution", "test_traps_training"}


@pytest.fixture(autouse=True, scope="module")
def quickly_compiled(request: pytest.FixtureRequest) -> Iterator[None]:
    """Most of the time goes into optimising programs that run a few times: here that is left out."""
    if request.module.__name__ in _AS_COMPILED:
        yield
    elif keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_disable_most_optimizations", True)
        yield
        jax.config.update("jax_disable_most_optimizations", False)
    elif keras.backend.backend() == "tensorflow":
        with pytest.MonkeyPatch.context() as patch:  # graphs as they are, not through XLA
            patch.setattr(keras.src.trainers.trainer, "model_supports_jit", lambda model: False)
            yield
    else:
        yield


@pytest.fixture(scope="session")
def backend() -> str:
    return str(keras.backend.backend())


# What uses only what other tests try on each backend: here not cases but whole tests are shared out.
_ABOVE_TRAINING = {"test_cli", "test_examples", "test_readme", "test_recipes", "test_recipes_safety", "test_sklearn"}


# What trains for long in a process of its own, whose memory is mostly that of `Batches`: quickly on JAX only.
_ON_ONE = {"test_a_set_larger_than_the_memory_it_may_take_is_trained_on_in_flat_memory"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """JAX and TensorFlow compile each case for seconds, torch none: quickly they share the cases of a test.

    So every test runs on all three, and every case on torch and one of the others; with --slow every case runs on all.
    """
    for item in items:
        if item.name in _ON_ONE and keras.backend.backend() != "jax":
            item.add_marker(pytest.mark.slow)
    if keras.backend.backend() == "torch":
        return
    shared: dict[tuple[str, str], list[pytest.Item]] = {}
    for item in items:
        test = "" if item.path.stem in _ABOVE_TRAINING else getattr(item, "originalname", item.name)
        shared.setdefault((item.path.stem, test), []).append(item)
    mine = 0 if keras.backend.backend() == "jax" else 1
    for several in shared.values():
        for number, item in enumerate(several):
            if len(several) > 1 and number % 2 != mine:
                item.add_marker(pytest.mark.slow)
