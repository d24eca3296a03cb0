"""Shared by both halves of the suite: `plain/` (NumPy only, run once) and `keras/` (run once a backend)."""

import os
import sys
import threading
from collections.abc import Iterator

import polars  # noqa: F401  # sets a variable of its allocator when it is first imported: not in a test
import pytest

pytest.register_assert_rewrite("support")


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """No test leaves a tailfit thread running or the environment changed."""
    environment, tensorflow = dict(os.environ), "tensorflow" in sys.modules
    yield
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("tailfit")]
    assert not left, f"threads left running: {left}"
    if not tensorflow and "tensorflow" in sys.modules:
        return  # Keras imports TensorFlow on its own (its data adapters do), and TensorFlow sets variables
    changed = {
        key
        for key in environment.keys() | os.environ.keys()
        if environment.get(key) != os.environ.get(key) and key != "PYTEST_CURRENT_TEST"
    }
    assert not changed, f"environment changed: {sorted(changed)}"
