"""The public names of tailfit, a line each, with their parameters and defaults.

    KERAS_BACKEND=jax python tests/support/public_api.py > tests/public-api.txt

`keras/house/test_public_api.py` compares them with the file: a change of a public name also
changes the file, and is announced in CHANGELOG.md.
"""

import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import tailfit


def lines() -> list[str]:
    names = dict(_names(tailfit))
    classes = {value for value in names.values() if inspect.isclass(value)}
    found = []
    for path, value in names.items():
        found.append(path + (_parameters(value) if callable(value) else ""))
        if inspect.isclass(value):
            found += [f"{path}.{line}" for line in _members(value, classes - {value})]
    return sorted(set(found))


def _names(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.ismodule(value):
            yield from _names(value)
        else:
            yield f"{module.__name__}.{name}", value


def _members(cls: type, others: set[type]) -> Iterator[str]:
    """Return methods and attributes, except those of other public classes, Keras and Python."""
    for base in cls.__mro__:
        if base in others or base.__module__.split(".")[0] != "tailfit":
            continue
        for name, value in vars(base).items():
            if name.startswith("_"):
                continue
            if isinstance(value, classmethod | staticmethod):
                value = value.__func__
            yield name + (_parameters(value) if inspect.isfunction(value) else "")


def _parameters(value: Any) -> str:
    """Return parameters with their defaults, without annotations, which Python versions print differently."""
    try:
        signature = inspect.signature(value)
    except ValueError:
        return ""
    plain = [parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()]
    return re.sub(r" at 0x\w+", "", str(signature.replace(parameters=plain, return_annotation=signature.empty)))


if __name__ == "__main__":
    print("\n".join(lines()))
