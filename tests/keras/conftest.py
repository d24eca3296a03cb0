"""The half of the suite that needs Keras: one process a backend, compared as NumPy."""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.selection import BACKENDS

if "KERAS_BACKEND" not in os.environ:  # of the run of a single process; scripts/test runs one a backend
    os.environ["KERAS_BACKEND"] = next(name for name in BACKENDS if find_spec(name))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
from support.compiling import quickly

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
    with nullcontext() if request.node.get_closest_marker("as_compiled") else quickly():
        yield


@pytest.fixture(scope="session")
def backend() -> str:
    return str(keras.backend.backend())
