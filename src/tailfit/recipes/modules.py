"""The user's own modules, of which a recipe may name functions: imported because the user named them."""

import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from tailfit.errors import ArgumentError

__all__ = ["imported_modules"]


def imported_modules(names: Sequence[str] | Mapping[str, ModuleType]) -> dict[str, ModuleType]:
    """The modules, by the names that a recipe calls them.

    Args:
        names: Importable names, or paths of `.py` files, which are called by the name of the file; or what this gave.
    Raises:
        ArgumentError: for a module that is not there or fails as it is imported.
    """
    if isinstance(names, Mapping):
        return dict(names)
    found: dict[str, ModuleType] = {}
    for name in [names] if isinstance(names, str) else names:
        path = Path(name) if name.endswith(".py") else None
        called = name if path is None else path.stem
        if called in found:
            raise ArgumentError(f"the module {called!r} twice", expected="each once", fix="leave one out")
        try:
            found[called] = importlib.import_module(name) if path is None else _from_file(called, path)
        except Exception as error:  # whatever the user's code raises as it is imported
            raise ArgumentError(
                f"the module {name!r}, at whose import {type(error).__name__}: {error}",
                expected="a module that can be imported, or the path of a .py file",
                fix="correct the name, or the module",
            ) from error
    return found


def _from_file(called: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(called, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    # Under its name, so that what it defines can be pickled for the processes that read batches.
    sys.modules[called] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[called]
        raise
    return module
