"""Checks of arguments, shared by all rooms: each returns the value as a plain Python number, or raises."""

import operator
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from tailfit.errors import ArgumentError
from tailfit.labels import class_key
from tailfit.schedules import Schedule

__all__ = [
    "REQUIRED",
    "checked_choice",
    "checked_class_counts",
    "checked_flag",
    "checked_number",
    "checked_per_class",
    "whole_number",
]

_LARGEST: Final = (1 << 63) - 1


class _Required:
    """Stands for "no default" where leaving the argument out should explain more than Python's TypeError."""

    def __repr__(self) -> str:
        return "<required>"


REQUIRED: Any = _Required()


def whole_number(name: str, value: Any, *, least: int = 0, most: int = _LARGEST) -> int:
    """Return `value` as an `int`, checked to be an integer from `least` to `most`; True and False are refused."""
    try:
        number = None if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not least <= number <= most:
        bounds = f"{name} >= {least}" if most == _LARGEST else f"{least} <= {name} <= {most}"
        raise ArgumentError(
            f"{name}={value!r}", expected=f"a whole number, {bounds}", fix=f"pass {name} within these bounds"
        )
    return number


def checked_flag(from_logits: object) -> bool:
    """`from_logits` as a bool; leaving it out is refused, with what both values mean."""
    if isinstance(from_logits, (bool, np.bool_)):
        return bool(from_logits)
    raise ArgumentError(
        "no from_logits" if from_logits is REQUIRED else f"from_logits={from_logits!r}",
        expected="from_logits=True (the last layer has no activation: y_pred are logits) or from_logits=False "
        "(it ends in softmax, a multi-label one in sigmoid: y_pred are probabilities)",
        fix="pass the one that is true of your last layer: with the other one the numbers are wrong without an error. "
        "Logits are safer: Dense(C) and from_logits=True",
    )


def checked_number(
    value: Any, name: str, *, least: float = 0.0, most: float = float("inf"), above: float | None = None, fix: str
) -> Any:
    """A finite number in `[least, most]`, or in `(above, most]`, as float. What is not a number (a variable) passes."""
    if not isinstance(value, (bool, int, float, str, np.number, type(None), list, tuple, Schedule)):
        return value
    number = float(value) if isinstance(value, (int, float, np.number)) else float("nan")
    enough = number >= least if above is None else number > above
    if isinstance(value, bool) or not (np.isfinite(number) and enough and number <= most):
        bound = f">= {least:g}" if above is None else f"> {above:g}"
        bounds = f"a finite number {bound}" + ("" if most == float("inf") else f" and <= {most:g}")
        raise ArgumentError(f"{name}={value!r}", expected=bounds, fix=fix)
    return number


def checked_choice(value: Any, name: str, choices: Sequence[Any]) -> Any:
    """One of a few values."""
    if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
        raise ArgumentError(
            f"{name}={value!r}", expected=" or ".join(map(repr, choices)), fix="choose one of them; see the docstring"
        )
    return value


def checked_per_class(values: Any, name: str) -> Any:
    """One finite number >= 0 a class, from a sequence or a dict of codes 0 to C - 1. A variable passes as it is."""
    if _is_variable(values):
        return values
    if isinstance(values, Mapping):
        by_code = {class_key(key): value for key, value in values.items()}
        if by_code.keys() != set(range(len(values))):
            raise ArgumentError(
                f"{name} with the keys {list(values)[:8]}",
                expected="the class codes 0 to C - 1, each once",
                fix="give every class a value; tailfit.weights.class_weights(y, num_classes=C) does",
            )
        values = [by_code[code] for code in range(len(values))]
    numbers = _vector(values, name)
    good = np.isfinite(numbers) & (numbers >= 0)
    return _all_good(numbers, good, name, "finite numbers >= 0", "correct the value of class {}")


def checked_class_counts(class_counts: Any) -> tuple[float, ...]:
    """C positive counts, from a sequence or from an object with `class_counts` (batches, a source)."""
    numbers = _vector(getattr(class_counts, "class_counts", class_counts), "class_counts")
    good = np.isfinite(numbers) & (numbers > 0)
    rule = "finite counts > 0: a class that is never seen has no logarithm of its share, no weight and no margin"
    fix = "drop class {} from the labels and the last layer, or give it a pseudo-count such as 1"
    return _all_good(numbers, good, "class_counts", rule, fix)


def _is_variable(value: Any) -> bool:
    # Keras is not imported for this: samplers and weights use this module without it.
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(value, keras.Variable)


def _all_good(numbers: Any, good: Any, name: str, rule: str, fix: str) -> tuple[float, ...]:
    if not good.all():
        code = int(np.argmin(good))
        raise ArgumentError(f"{name} with {numbers[code]:g} for class {code}", expected=rule, fix=fix.format(code))
    return tuple(numbers.tolist())


def _vector(values: Any, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.empty(())
    if numbers.ndim != 1 or numbers.size < 2:
        raise ArgumentError(
            f"{name}={values!r}",
            expected="a sequence of C >= 2 numbers, one a class",
            fix="pass one number a class",
        )
    return numbers
