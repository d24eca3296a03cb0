"""Tables of weights by class, and the weights that they give to samples."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailfit.errors import ArgumentError
from tailfit.labels import Encoded, class_key

__all__ = ["by_class", "checked_table", "class_table", "shown_names", "split_table"]

_LARGEST = float(np.finfo(np.float64).max)


def by_class(encoded: Encoded, weights: Mapping[int, float]) -> NDArray[np.float64]:
    """Return the weight of each sample from weights by class index; classes not in the table weigh 1.

    A soft label gets the expected weight of its classes, a multi-label sample the product.

    >>> from tailfit.labels import encode
    >>> by_class(encode(["ok", "leak"]), {0: 2.0}).tolist()
    [1.0, 2.0]
    """
    per_class = np.ones(encoded.num_classes)
    per_class[list(weights)] = list(weights.values())
    result: NDArray[np.float64]
    if encoded.kind == "codes":
        result = per_class[encoded.values]
    elif encoded.kind == "soft":
        result = encoded.values.astype(np.float64) @ per_class
    else:
        result = np.where(encoded.values > 0, per_class, 1.0).prod(axis=1)
    return result


def class_table(weights: Any, names: Sequence[str]) -> dict[int, float]:
    """Return weights by class index, given weights by class name or index; classes may be missing.

    Raises:
        ArgumentError: If `weights` is not a dict, names an unknown class, or has a weight that is negative or not
            finite.

    >>> class_table({"leak": 2.0}, ["ok", "leak"])
    {1: 2.0}
    """
    no_condition = "correct the name, or pass conditions as sample_weight="
    return split_table(checked_table(weights), names, has_conditions=False, otherwise=no_condition)[0]


def checked_table(weights: Any) -> dict[str | int, float]:
    """Return a table of weights with plain keys and values: names and conditions as `str`, class indices as `int`.

    Raises:
        ArgumentError: If `weights` is not a dict, a key can't be a class or a condition, or a weight is negative or
            not finite.
    """
    if not isinstance(weights, Mapping):
        raise ArgumentError(
            f"weights of type {type(weights).__name__}",
            expected="a dict of weights by class name or by condition",
            fix="pass an array with one weight per sample as sample_weight= directly",
        )
    table: dict[str | int, float] = {}
    for key, weight in weights.items():
        name = class_key(key)
        if name is None:
            raise ArgumentError(
                f"the key {key!r}",
                expected="class names, class indices (integers) or conditions",
                fix="write names and conditions as strings, and class indices as integers from 0",
            )
        number = isinstance(weight, int | float | np.integer | np.floating) and not isinstance(weight, bool)
        plain = weight.item() if isinstance(weight, np.generic) else weight  # float32 can't be compared with _LARGEST
        if not (number and 0 <= plain <= _LARGEST):  # False for NaN
            raise ArgumentError(
                f"the weight {weight!r} for {key!r}",
                expected="finite numbers >= 0",
                fix="pass 0 to ignore the samples, or 1 to leave their weight unchanged",
            )
        table[name] = float(weight)
    return table


def split_table(
    table: Mapping[str | int, float],
    names: Sequence[str],
    *,
    has_conditions: bool,
    otherwise: str = "pass a source with metadata if this is a condition",
) -> tuple[dict[int, float], dict[str, float]]:
    """Split a table into weights by class index and weights by condition.

    Args:
        table: A checked table.
        names: Names of the classes.
        has_conditions: Whether a string that is not a class name is a condition; otherwise it is an error.
        otherwise: The fix that this error suggests where no class name is similar.
    Raises:
        ArgumentError: If a key is not a class, or means two classes, or two keys mean the same class.
    """
    position = {name: code for code, name in enumerate(names)}
    codes: dict[int, float] = {}
    conditions: dict[str, float] = {}
    for key, weight in table.items():
        code = position.get(key) if isinstance(key, str) else key
        if isinstance(key, str) and code is None and has_conditions:
            conditions[key] = weight
            continue
        if code is None or not 0 <= code < len(names):
            raise _unknown(key, names, otherwise)
        if position.get(str(key), code) != code:
            raise ArgumentError(
                f"a weight for the class {key!r}, which is the index of {names[code]!r} and the name of another class",
                expected="a key that means one class",
                fix=f"write the name as a string: {names[code]!r} or {str(key)!r}",
            )
        if code in codes:
            raise ArgumentError(
                f"weights for {names[code]!r} twice, by name and by class index",
                expected="one weight per class",
                fix="remove one of the two",
            )
        codes[code] = weight
    return codes, conditions


def shown_names(names: Sequence[str]) -> str:
    """Return the class names as a message lists them, the first 20."""
    return ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "")


def _unknown(key: str | int, names: Sequence[str], otherwise: str) -> ArgumentError:
    near = get_close_matches(str(key), names, n=1)
    return ArgumentError(
        f"a weight for the unknown class {key!r}",
        expected=f"the class names {shown_names(names)}, or their indices"
        if names
        else "no class, as there are no labels",
        fix=f"use {near[0]!r} if that is meant" if near else otherwise,
    )
