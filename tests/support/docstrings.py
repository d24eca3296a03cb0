"""Plugin for the examples in docstrings (`scripts/docs`): which run on every backend, and which on one.

Examples of the rooms below need no Keras, or use what examples and tests of other rooms check on each backend: they run
on torch, which compiles nothing, or on JAX if torch is missing. All others, also those of a new room, run on every
backend.
"""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.compiling import quickly

ONE_BACKEND = {
    "augment", "cli", "data", "diagnosis", "distributed", "evaluation", "exporting", "processes", "recipes", "samplers",
    "storage", "tracking", "weights",
}  # fmt: skip


def needs_each(path: Path) -> bool:
    """Return whether the examples of a file of the package run on every backend."""
    parts = path.with_suffix("").parts
    inner = parts[len(parts) - parts[::-1].index("tailfit") :]
    return inner[0] not in ONE_BACKEND or inner[:2] == ("data", "feeding")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ["KERAS_BACKEND"] != ("torch" if find_spec("torch") else "jax"):
        config.hook.pytest_deselected(items=[item for item in items if not needs_each(item.path)])
        items[:] = [item for item in items if needs_each(item.path)]


@pytest.fixture(autouse=True, scope="session")
def quickly_compiled() -> Iterator[None]:
    with quickly():
        yield
