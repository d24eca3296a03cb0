"""Module attributes that are imported on first use (PEP 562)."""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["lazy_attributes"]


def lazy_attributes(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the functions `__getattr__` and `__dir__` of a package that imports some of its names on first use.

    Import the same names under `if TYPE_CHECKING:`, so that type checkers and editors find them; a test compares both.

    Args:
        package: `__name__` of the package.
        homes: Full name of the module that defines each name. A submodule of the package is its own home.

    >>> __getattr__, __dir__ = lazy_attributes("tailfit", {"errors": "tailfit.errors", "DataError": "tailfit.errors"})
    >>> __getattr__("DataError").__name__, __getattr__("errors").__name__
    ('DataError', 'tailfit.errors')
    """

    def get(name: str) -> Any:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(home)
        return module if home == f"{package}.{name}" else getattr(module, name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return get, names
