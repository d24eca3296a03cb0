"""Checks of the state of Keras' callbacks when it is read from a checkpoint."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from tailfit.keras_private import CALLBACK_STATE

__all__ = ["Check", "checks_of", "same_kind"]

Check = Callable[[Any], bool]


def _count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= 0


def _number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) or (isinstance(value, np.ndarray) and value.ndim == 0)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(check(each) for each in value)


def _history(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and _list_of(lambda each: _number(each) or isinstance(each, np.ndarray | list))(figures)
        for name, figures in value.items()
    )


# By the type of state that `CALLBACK_STATE` gives for an attribute.
_CHECKS: Final[Mapping[str, Check]] = {
    "count": _count,
    "count or None": _or_none(_count),
    "flag": _flag,
    "number or None": _or_none(_number),
    "epochs": _list_of(_count),
    "history": _history,
    "names or None": _or_none(_list_of(lambda value: isinstance(value, str))),
    "weights or None": _or_none(_list_of(lambda value: isinstance(value, np.ndarray | np.generic))),
}


def checks_of(name: str) -> dict[str, Check]:
    """Return a check of the value of each attribute that is state of the Keras callback with this name.

    >>> checks_of("SwapEMAWeights")["_ema_weights_in_model"](True)
    True
    """
    return {attribute: _CHECKS[kind] for attribute, kind in CALLBACK_STATE[name].items()}


def same_kind(saved: Any, now: Any) -> bool:
    """Return whether a saved value can replace the current one: text replaces text, numbers replace numbers.

    None is compatible with every value, and an array with numbers and lists.

    >>> same_kind(2.5, 0), same_kind("2.5", 0), same_kind(2.5, None)
    (True, False, True)
    """
    kinds: tuple[Any, ...] = (str, bytes, dict, (list, tuple, np.ndarray), (int, float, np.generic, np.ndarray))
    return saved is None or now is None or any(isinstance(saved, kind) and isinstance(now, kind) for kind in kinds)
