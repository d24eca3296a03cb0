"""Values that a layer attaches to the predictions it returns, in the way that Keras passes masks."""

import weakref
from typing import Any

__all__ = ["attach", "attached"]

# Keyed by the id of a live tensor: tracers accept no attributes, and tensors are not hashable.
_values: dict[tuple[str, int], Any] = {}


def attach(name: str, tensor: Any, value: Any) -> None:
    """Attach a value to a tensor, for as long as the tensor exists."""
    key = (name, id(tensor))
    _values[key] = value
    weakref.finalize(tensor, _values.pop, key, None)


def attached(name: str, tensor: Any) -> Any:
    """Return the value that was attached to a tensor under a name, or None."""
    return _values.get((name, id(tensor)))
