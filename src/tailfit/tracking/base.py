"""Common parts of the callbacks: values of an epoch as numbers, and a description of the environment."""

import importlib.metadata
import platform
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import keras
import numpy as np

from tailfit.text import TailfitWarning

__all__ = ["attempted", "environment", "scalars"]

_Result = TypeVar("_Result")
_PACKAGES: Final = ("tailfit", "keras", "numpy", "polars", "jax", "tensorflow", "torch")


def scalars(logs: Mapping[str, Any] | None) -> dict[str, float]:
    """Return the logs of an epoch that are single numbers.

    >>> scalars({"loss": np.float32(0.5), "confusion": np.zeros((2, 2))})
    {'loss': 0.5}
    """
    arrays = {name: np.asarray(value) for name, value in (logs or {}).items()}
    return {name: float(value) for name, value in arrays.items() if value.ndim == 0 and value.dtype.kind in "fiub"}


def environment() -> dict[str, str]:
    """Return the Keras backend, and the versions of Python and of the installed packages that matter."""
    found = {"backend": keras.backend.backend(), "python": platform.python_version(), "platform": platform.platform()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def attempted(what: str, action: Callable[[], _Result]) -> _Result | None:
    """Run an action of a logging library; a failure is only a warning, because the training is worth more."""
    try:
        return action()
    except Exception as error:  # a full disk, a server that has gone, and whatever the library raises
        lines = str(error).splitlines() or [""]
        warnings.warn(
            f"{what} failed, and training continues: {type(error).__name__}: {lines[0]}", TailfitWarning, stacklevel=3
        )
        return None
