"""Choosing Keras' backend, which can be done only before Keras is imported."""

import importlib.util
import os
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
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's notes on the machine are not the user's matter
    return chosen
