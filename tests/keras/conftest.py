"""The half of the suite that needs Keras: one process a backend, compared as NumPy."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

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


@pytest.fixture(autouse=True, scope="module")
def quickly_compiled(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compile with few optimisations: a test runs its programs a few times, and compiling takes most of its time."""
    if request.node.get_closest_marker("as_compiled"):
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """JAX and TensorFlow compile each case for seconds, torch does not: without --slow they share the cases of a test.

    A hash of the case's id decides, so that a new case moves no other. A test of one case runs on all three backends,
    unless it is marked `above_training`: it uses what other tests check on each backend.
    """
    here = keras.backend.backend()
    cases = Counter((item.path, getattr(item, "originalname", item.name)) for item in items)
    for item in items:
        mostly_on = item.get_closest_marker("mostly_on")
        several = cases[item.path, getattr(item, "originalname", item.name)] > 1
        if mostly_on:
            elsewhere = here not in mostly_on.args
        elif here == "torch" or not (several or item.get_closest_marker("above_training")):
            elsewhere = False
        else:
            elsewhere = here != ("jax", "tensorflow")[crc32(item.nodeid.encode()) % 2]
        if elsewhere:
            item.add_marker(pytest.mark.slow)
