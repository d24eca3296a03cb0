"""The choice of Keras' backend, which is possible only before Keras is imported."""

import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from tailfit.cli.importing import imports_uncollected
from tailfit.errors import ArgumentError

if TYPE_CHECKING:
    from tailfit.recipes.document import Document

__all__ = ["Backend", "choose_backend", "choose_backend_of", "read_recipe"]


class Backend(StrEnum):
    """Backends of Keras, by the names of their packages."""

    JAX = "jax"
    TENSORFLOW = "tensorflow"
    TORCH = "torch"


def choose_backend(requested: Backend | None) -> Backend:
    """Set KERAS_BACKEND to the requested backend, else leave it if it is set, else set it to the first one installed.

    Raises:
        ArgumentError: If the backend is not installed, or none is.
    """
    installed = [backend for backend in Backend if importlib.util.find_spec(backend) is not None]
    given = os.environ.get("KERAS_BACKEND")
    if requested is None and given in set(Backend):
        requested = Backend(given)
    chosen = requested or next(iter(installed), None)
    if chosen is None or chosen not in installed:
        raise ArgumentError(
            f"the backend {chosen}, which is not installed" if chosen else "no Keras backend installed",
            expected=f"an installed one: {', '.join(installed)}" if installed else "jax, tensorflow or torch installed",
            fix=f"run: pip install 'tailfit[{chosen or 'jax'}]'",
        )
    os.environ["KERAS_BACKEND"] = chosen
    if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:  # hide TensorFlow's messages about the machine
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
        if chosen is Backend.TENSORFLOW and "tensorflow" not in sys.modules:
            with _without_startup_messages(), imports_uncollected():
                importlib.import_module("tensorflow")
    return chosen


def read_recipe(recipe: Path, settings_given: list[str] | None, backend: Backend | None) -> "Document":
    """Read a recipe, apply the settings, and choose the backend, before Keras is imported."""
    with imports_uncollected():
        from tailfit.recipes.document import read
        from tailfit.recipes.overriding import parse_settings, with_changes

    document = with_changes(read(recipe), parse_settings(settings_given or []))
    named = document.value.get("backend") if isinstance(document.value, dict) else None
    choose_backend(backend or _named(named))
    return document


def choose_backend_of(run: Path, backend: Backend | None) -> None:
    """Choose the backend given, or else that of a run's training."""
    from tailfit.recipes.directory import read_claim

    claim = read_claim(run)
    choose_backend(backend or (_named(claim.backend) if claim is not None else None))


def _named(backend: object) -> Backend | None:
    return Backend(backend) if isinstance(backend, str) and backend in set(Backend) else None


# Written by libraries that TensorFlow loads, before they read any log level.
_STARTUP_MESSAGES = ("I0000 ", "WARNING: All log messages before absl::InitializeLog()")


@contextmanager
def _without_startup_messages() -> Iterator[None]:
    """Capture the standard error of the process, and write it on exit without lines that begin as startup messages."""
    try:
        stderr = os.dup(2)
    except OSError:  # standard error is closed
        yield
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            captured.seek(0)
            for line in captured.read().decode(errors="replace").splitlines(keepends=True):
                if not line.startswith(_STARTUP_MESSAGES):
                    sys.stderr.write(line)
