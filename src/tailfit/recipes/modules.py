"""Import of the user's modules whose functions a recipe may name; only those that the user lists are imported."""

import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from tailfit.errors import ArgumentError

__all__ = ["import_modules"]


def import_modules(names: Sequence[str] | Mapping[str, ModuleType]) -> dict[str, ModuleType]:
    """Import modules, and return them by the names that a recipe uses.

    Args:
        names: Importable names, or paths of `.py` files, which a recipe refers to by the file's name without suffix;
            or a mapping that this function returned.
    Raises:
        ArgumentError: If a module does not exist, or its import fails.
    """
    if isinstance(names, Mapping):
        return dict(names)
    found: dict[str, ModuleType] = {}
    for name in [names] if isinstance(names, str) else names:
        path = Path(name) if name.endswith(".py") else None
        called = name if path is None else path.stem
        if called in found:
            raise ArgumentError(
                f"two modules named {called!r}",
                expected="modules with different names",
                fix="rename or drop one of them",
            )
        try:
            found[called] = importlib.import_module(name) if path is None else _from_file(called, path)
        except Exception as error:  # the user's code may raise anything
            raise ArgumentError(
                f"the module {name!r}, whose import failed with {type(error).__name__}: {error}",
                expected="a module that can be imported, or the path of a .py file",
                fix="correct the name, or fix the module",
            ) from error
    return found


def _from_file(called: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(called, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    # Registered under its name, so that its functions can be pickled for worker processes.
    sys.modules[called] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[called]
        raise
    return module
