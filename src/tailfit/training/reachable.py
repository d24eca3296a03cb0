"""The variables and seed generators that can be reached from an object by attributes and items."""

from collections.abc import Iterator, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any

import keras
import numpy as np

from tailfit.data import Batches, Source
from tailfit.training.feed import Feed

__all__ = ["reachable"]

# Types that contain no variables of the model, or through which everything could be reached.
_OPAQUE = (str, bytes, int, float, complex, np.ndarray, np.generic, type, FunctionType, MethodType, ModuleType)
_ELSEWHERE = (Batches, Feed, Source, keras.KerasTensor, keras.DTypePolicy, keras.initializers.Initializer)


def reachable(part: Any, seen: set[int], depth: int = 0) -> Iterator[Any]:
    """Yield the variables in an object and, recursively, in its attributes or items; each object is visited once.

    Args:
        part: The object.
        seen: IDs of visited objects, to which those visited now are added.
        depth: Depth of the recursion so far.
    """
    if part is None or isinstance(part, (*_OPAQUE, *_ELSEWHERE)) or id(part) in seen or depth > 12:
        return
    seen.add(id(part))
    if isinstance(part, keras.Variable):
        yield part
    elif isinstance(part, Mapping):
        for value in list(part.values()):
            yield from reachable(value, seen, depth + 1)
    elif isinstance(part, list | tuple):
        for value in part:
            yield from reachable(value, seen, depth + 1)
    elif isinstance(part, keras.random.SeedGenerator):
        yield part.state
    elif not keras.ops.is_tensor(part):
        if isinstance(part, keras.Layer | keras.Metric | keras.optimizers.Optimizer):
            yield from part.variables
        # Sorted by name, because threads or branches may set attributes in a different order.
        attributes = getattr(part, "__dict__", {})
        for name in sorted(attributes):
            yield from reachable(attributes[name], seen, depth + 1)
