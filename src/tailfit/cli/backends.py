"""Choosing Keras' backend, which can be done only before Keras is imported."""

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
    """What Keras can run on; also the names of the packages."""

    JAX = "jax"
    TENSORFLOW = "tensorflow"
    TORCH = "torch"


def choose_backend(wanted: Backend | None) -> Backend:
    """Set KERAS_BACKEND: to what is wanted, else to what it is set to already, else to the first one installed.

    Raises:
        ArgumentError: the backend is not installed, or none is.
    """
    installed = [backend for backend in Backend if importlib.util.find_spec(backend) is not None]
    given = os.environ.get("KERAS_BACKEND")
    if wanted is None and given in set(Backend):
        wanted = Backend(given)
    chosen = wanted or next(iter(installed), None)
    if chosen is None or chosen not in installed:
        raise ArgumentError(
            f"the backend {chosen}" if chosen else "no Keras backend installed",
            expected=f"an installed one: {', '.join(installed)}" if installed else "jax, tensorflow or torch",
            fix=f"pip install 'tailfit[{chosen or 'jax'}]'",
        )
    os.environ["KERAS_BACKEND"] = chosen
    if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:  # TensorFlow's notes on the machine are not the user's matter
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
        if chosen is Backend.TENSORFLOW and "tensorflow" not in sys.modules:
            with _without_notes():
                importlib.import_module("tensorflow")
    return chosen


# Of the libraries that TensorFlow loads, written before any setting of theirs is read.
_NOTES = ("I0000 ", "WARNING: All log messages before absl::InitializeLog()")


@contextmanager
def _without_notes() -> Iterator[None]:
    """Within, lines that begin like `_NOTES` are kept from the standard error of the process; the others come after."""
    try:
        kept = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            said.seek(0)
            for line in said.read().decode(errors="replace").splitlines(keepends=True):
                if not line.startswith(_NOTES):
                    sys.stderr.write(line)
