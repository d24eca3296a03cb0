"""Checks of arguments, shared by all modules: each returns the value as plain Python, or raises `ArgumentError`."""

import math
import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tailfit.errors import ArgumentError
from tailfit.labels import class_key
from tailfit.schedules import Schedule

__all__ = [
    "REQUIRED",
    "PerClass",
    "checked_choice",
    "checked_class_counts",
    "checked_flag",
    "checked_number",
    "checked_per_class",
    "whole_number",
]

_LARGEST: Final = (1 << 63) - 1


class _Required:
    """The type of `REQUIRED`, the default of arguments whose omission deserves a better message than a TypeError."""

    def __repr__(self) -> str:
        return "<required>"


REQUIRED: Any = _Required()


class PerClass(tuple[float, ...]):
    """One checked number per class. An array that is computed from them is kept for the next call.

    >>> PerClass([1.0, 3.0]).array(np.log, "float32").tolist()
    [0.0, 1.0986123085021973]
    """

    def array(self, compute: Callable[[Any], Any] | None, dtype: str) -> NDArray[Any]:
        """Return `compute(numbers)`, computed from float64, or the numbers themselves; do not change it."""
        kept: dict[Any, NDArray[Any]] = self.__dict__.setdefault("_kept", {})
        if (compute, dtype) not in kept:
            numbers = np.array(self)
            kept[compute, dtype] = np.asarray(numbers if compute is None else compute(numbers)).astype(dtype)
        return kept[compute, dtype]

    def __reduce__(self) -> Any:
        return type(self), (tuple(self),)


class ClassCounts(PerClass):
    """Counts, all > 0."""


def whole_number(name: str, value: Any, *, least: int = 0, most: int = _LARGEST) -> int:
    """Return `value` as an `int`, checked to be an integer from `least` to `most`; True and False are refused."""
    try:
        number = None if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not least <= number <= most:
        bounds = f">= {least}" if most == _LARGEST else f"from {least} to {most}"
        example = max(least, min(most, 1 if number is None else number))
        raise ArgumentError(
            f"{name}={value!r}", expected=f"a whole number {bounds}", fix=f"pass {name}={example}, for example"
        )
    return number


def checked_flag(from_logits: object) -> bool:
    """Return `from_logits` as a bool; raise if it was omitted, and explain both values."""
    if isinstance(from_logits, (bool, np.bool_)):
        return bool(from_logits)
    raise ArgumentError(
        "no from_logits" if from_logits is REQUIRED else f"from_logits={from_logits!r}",
        expected="from_logits=True if y_pred are logits (the last layer has no activation), or from_logits=False if "
        "they are probabilities (it ends in softmax, or in sigmoid for multi-label data)",
        fix="pass the value that matches your last layer, since the wrong one gives wrong numbers without an error; "
        "Dense(C) with from_logits=True is numerically safest",
    )


def checked_number(
    value: Any, name: str, *, least: float = 0.0, most: float = float("inf"), above: float | None = None, fix: str
) -> Any:
    """Return a finite number in `[least, most]` or `(above, most]` as a float; variables and tensors pass unchecked."""
    if not isinstance(value, (bool, int, float, str, np.number, type(None), list, tuple, Schedule)):
        return value
    number = float(value) if isinstance(value, (int, float, np.number)) else float("nan")
    enough = number >= least if above is None else number > above
    if isinstance(value, bool) or not (math.isfinite(number) and enough and number <= most):
        bound = f">= {least:g}" if above is None else f"> {above:g}"
        bounds = f"a finite number {bound}" + ("" if most == float("inf") else f" and <= {most:g}")
        raise ArgumentError(f"{name}={value!r}", expected=bounds, fix=fix)
    return number


def checked_choice(value: Any, name: str, choices: Sequence[Any]) -> Any:
    """Return `value` if it is one of `choices`; the error suggests the most similar one."""
    if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
        near = get_close_matches(str(value), [choice for choice in choices if isinstance(choice, str)], n=1)
        raise ArgumentError(
            f"{name}={value!r}",
            expected=" or ".join(map(repr, choices)),
            fix=f"pass {name}={near[0]!r}" if near else f"pass {name}={choices[0]!r}, for example",
        )
    return value


def checked_per_class(values: Any, name: str) -> Any:
    """Return one finite number >= 0 per class, from a sequence or a dict by class index. Variables pass unchecked."""
    if isinstance(values, PerClass) or _is_variable(values):
        return values
    if isinstance(values, Mapping):
        by_class = {class_key(key): value for key, value in values.items()}
        if by_class.keys() != set(range(len(values))):
            raise ArgumentError(
                f"{name} with the keys {list(values)[:8]}",
                expected="the class indices 0 to C - 1 as keys, each once",
                fix="pass a value for every class, for example from tailfit.weights.class_weights(y, num_classes=C)",
            )
        values = [by_class[index] for index in range(len(values))]
    numbers = _vector(values, name)
    valid = np.isfinite(numbers) & (numbers >= 0)
    return PerClass(_all_valid(numbers, valid, name, "finite numbers >= 0", "correct the value of class {}"))


def checked_class_counts(class_counts: Any) -> ClassCounts:
    """Return C counts > 0, from a sequence or an object with `class_counts` (batches, a source)."""
    if isinstance(class_counts, ClassCounts):
        return class_counts
    numbers = _vector(getattr(class_counts, "class_counts", class_counts), "class_counts")
    valid = np.isfinite(numbers) & (numbers > 0)
    rule = "finite counts > 0, since weights, margins and logarithms of shares are undefined for a count of 0"
    fix = "remove class {} from the labels and the last layer, or give it a pseudo-count such as 1"
    return ClassCounts(_all_valid(numbers, valid, "class_counts", rule, fix))


def _is_variable(value: Any) -> bool:
    # Do not import Keras here: samplers and weights use this module without it.
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(value, keras.Variable)


def _all_valid(numbers: Any, valid: Any, name: str, rule: str, fix: str) -> tuple[float, ...]:
    if not valid.all():
        index = int(np.argmin(valid))
        raise ArgumentError(f"{name} with {numbers[index]:g} for class {index}", expected=rule, fix=fix.format(index))
    return tuple(numbers.tolist())


def _vector(values: Any, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        numbers = np.empty(())
    if numbers.ndim != 1 or numbers.size < 2:
        raise ArgumentError(
            f"{name}={values!r}",
            expected="a sequence of C >= 2 numbers, one per class",
            fix=f"pass {name} as a list with one number per class",
        )
    return numbers
