"""Lossless encoding of Python values as JSON and arrays, for the state of callbacks.

JSON has no tuples, arrays, NaN, or keys other than strings. Such a value is written as an object with one key that
begins with `$`; arrays are stored separately, by name.
"""

import math
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tailfit.resume.tensors import known

__all__ = ["CannotEncodeError", "decode", "encode"]

_FLOATS: Final = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class CannotEncodeError(Exception):
    """A value that can't be encoded. Its arguments are the path to the value, and the name of its type."""


def encode(value: Any, arrays: MutableMapping[str, NDArray[Any]], name: str, where: str = "") -> Any:
    """Encode a value as JSON; its arrays are added to `arrays`, with names that begin with `name`.

    Raises:
        CannotEncodeError: If the value is not a number, string, None, bytes, an array, or a list, tuple or dict of
            these.

    >>> arrays = {}
    >>> encode({"best": (1, float("inf")), "weights": [np.zeros(2)]}, arrays, "stop")
    {'best': {'$tuple': [1, {'$float': 'inf'}]}, 'weights': [{'$array': 'stop.weights.0'}]}
    >>> arrays
    {'stop.weights.0': array([0., 0.])}
    """
    if value is None or (isinstance(value, bool | str | int) and type(value) in (bool, str, int)):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"$float": str(value)}
    if isinstance(value, np.ndarray | np.generic) and known(value.dtype):
        arrays[name + where] = np.array(value)
        return {"$array" if isinstance(value, np.ndarray) else "$scalar": name + where}
    if type(value) is bytes:
        arrays[name + where] = np.frombuffer(value, np.uint8)
        return {"$bytes": name + where}
    if type(value) in (list, tuple):
        items = [encode(item, arrays, name, f"{where}.{index}") for index, item in enumerate(value)]
        return items if type(value) is list else {"$tuple": items}
    if isinstance(value, dict):
        if all(type(key) is str and not key.startswith("$") for key in value):
            return {key: encode(item, arrays, name, f"{where}.{key}") for key, item in value.items()}
        pairs = [[key, item] for key, item in value.items()]
        return {"$items": encode(pairs, arrays, name, where)}
    raise CannotEncodeError(where.lstrip("."), type(value).__name__)


def decode(coded: Any, arrays: Mapping[str, NDArray[Any]], name: str) -> Any:
    """Decode the output of `encode` with the same name.

    Raises:
        KeyError, ValueError, TypeError: If `encode` can't have returned this value, or two arrays have been exchanged.

    >>> decode({"weights": [{"$array": "stop.weights.0"}]}, {"stop.weights.0": np.zeros(2)}, "stop")
    {'weights': [array([0., 0.])]}
    """
    try:
        return _decoded(coded, arrays, name)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _decoded(coded: Any, arrays: Mapping[str, NDArray[Any]], at: str) -> Any:
    if isinstance(coded, list):
        return [_decoded(item, arrays, f"{at}.{index}") for index, item in enumerate(coded)]
    if not isinstance(coded, dict):
        return coded
    key = next(iter(coded), "")
    if not (len(coded) == 1 and key.startswith("$")):
        return {name: _decoded(item, arrays, f"{at}.{name}") for name, item in coded.items()}
    match key, coded[key]:
        case "$float", str(text):
            return _FLOATS[text]
        case "$array" | "$scalar" | "$bytes", str(name):
            if name != at:
                raise ValueError(f"the array {name!r} in the place of {at!r}")
            return _from_array(key, arrays[name])
        case "$tuple", list(items):
            return tuple(_decoded(items, arrays, at))
        case "$items", list(pairs):
            return dict(_decoded(pairs, arrays, at))
    raise ValueError(f"{key} of {type(coded[key]).__name__}")


def _from_array(key: str, array: NDArray[Any]) -> Any:
    if key == "$array":
        return array
    sound = array.ndim == 0 if key == "$scalar" else array.ndim == 1 and array.dtype == np.uint8
    if not sound:
        raise ValueError(f"{key} of an array of {array.dtype} with {array.ndim} axes")
    return array.tobytes() if key == "$bytes" else array[()]
