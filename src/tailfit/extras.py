"""Optional packages: imported where they are needed, with an error that names the extra if they are missing."""

import importlib
from typing import Any

from tailfit.errors import PackageError

__all__ = ["needed"]


def needed(module: str, extra: str, what: str) -> Any:
    """Import a module of an optional package.

    Args:
        module: Full name of the module.
        extra: The extra of tailfit that installs the package.
        what: Description of the feature that needs it, for the message.
    Raises:
        PackageError: If the package is not installed.

    >>> needed("math", "arithmetic", "a sum").prod([2, 3])
    6
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = (error.name or module).split(".")[0]
        raise PackageError(
            f"{what}, which needs {package}",
            expected=f"the package {package} installed",
            fix=f"run: pip install 'tailfit[{extra}]'",
        ) from error
