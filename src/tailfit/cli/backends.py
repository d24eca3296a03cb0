"""The choice of Keras' backend, which is possible only before Keras is imported."""

import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from tailfit.errors import ArgumentError

__all__ = ["Backend", "choose_backend"]


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
            with _without_startup_messages():
                importlib.import_module("tensorflow")
    return chosen


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
