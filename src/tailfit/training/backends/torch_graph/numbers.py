"""Numbers and flags of Python that a step may change, such as a counter: a recording would not repeat the change."""

from collections.abc import Callable, Iterator
from typing import Any

import keras

__all__ = ["numbers_around", "numbers_of"]

_SIMPLE = (bool, int, float, str)


def numbers_of(model: keras.Model) -> dict[str, Any]:
    """Return the attributes of a model and its layers that are numbers, flags or strings."""
    found: dict[str, Any] = {}
    for number, layer in enumerate(model._flatten_layers()):
        label = "" if layer is model else f" of the layer {layer.name} ({number})"
        for name, value in vars(layer).items():
            if isinstance(value, _SIMPLE) and name != "training":  # a mode, on which recordings depend
                found[f"the attribute {name}{label}"] = value
    return found


def numbers_around(fn: Callable[..., Any]) -> dict[str, Any]:
    """Return the numbers, flags and strings in the closure of a function, and of the object whose method it is."""
    found = {f"the captured variable {name}": value for name, value in _closure(fn) if isinstance(value, _SIMPLE)}
    owner = getattr(fn, "__self__", None)
    for name, value in getattr(owner, "__dict__", {}).items():
        if isinstance(value, _SIMPLE):
            found[f"the attribute {name}"] = value
    return found


def _closure(fn: Callable[..., Any], deep: bool = True) -> Iterator[tuple[str, Any]]:
    """Yield the captured variables of a function, and of functions among them."""
    code, cells = getattr(fn, "__code__", None), getattr(fn, "__closure__", None) or ()
    for name, cell in zip(code.co_freevars if code else (), cells, strict=False):
        try:
            value = cell.cell_contents
        except ValueError:  # not yet assigned
            continue
        yield name, value
        if deep and callable(value):
            yield from _closure(value, deep=False)
