"""Packages that only some sources need: imported when such a source is made, and named where they are missing."""

import importlib
from typing import Any

from tailfit.errors import PackageError

__all__ = ["needed"]


def needed(module: str, extra: str, what: str) -> Any:
    """The module.

    Args:
        module: Its name, dots included.
        extra: Which of tailfit's extras installs it.
        what: What needs it, for the message.
    Raises:
        PackageError: if it is not installed.

    >>> needed("math", "arithmetic", "a sum").prod([2, 3])
    6
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        name = error.name or module
        raise PackageError(
            f"{what}, which needs {name.split('.')[0]}",
            expected="that package installed",
            fix=f"pip install 'tailfit[{extra}]'",
        ) from error
