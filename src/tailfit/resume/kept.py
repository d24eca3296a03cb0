"""What Keras' own callbacks keep from step to step, by name, and what each of it must be when it is read back."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

__all__ = ["KEPT", "Sound", "same_kind"]

Sound = Callable[[Any], bool]


def _count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= 0


def _number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) or (isinstance(value, np.ndarray) and value.ndim == 0)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _or_none(sound: Sound) -> Sound:
    return lambda value: value is None or sound(value)


def _list_of(sound: Sound) -> Sound:
    return lambda value: isinstance(value, list) and all(sound(each) for each in value)


def _history(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and _list_of(lambda each: _number(each) or isinstance(each, np.ndarray | list))(figures)
        for name, figures in value.items()
    )


_weights = _or_none(_list_of(lambda value: isinstance(value, np.ndarray | np.generic)))

KEPT: Final[Mapping[str, Mapping[str, Sound]]] = {
    "EarlyStopping": {
        "wait": _count,
        "stopped_epoch": _count,
        "best": _or_none(_number),
        "best_weights": _weights,
        "best_epoch": _count,
    },
    "History": {"epoch": _list_of(_count), "history": _history},
    "LambdaCallback": {},
    "LearningRateScheduler": {},
    "ModelCheckpoint": {
        "best": _or_none(_number),
        "_batches_seen_since_last_saving": _count,
        "_last_batch_seen": _or_none(_count),
        "_current_epoch": _count,
    },
    "ProgbarLogger": {},
    "ReduceLROnPlateau": {"best": _or_none(_number), "wait": _count, "cooldown_counter": _count},
    "RemoteMonitor": {},
    "SwapEMAWeights": {"_ema_weights_in_model": _flag},
    "TensorBoard": {"_global_train_batch": _count, "_global_test_batch": _count, "_previous_epoch_iterations": _count},
    "TerminateOnNaN": {},
    "CSVLogger": {"keys": _or_none(_list_of(lambda value: isinstance(value, str)))},
}


def same_kind(saved: Any, now: Any) -> bool:
    """Whether a value can stand in the place of another one: text for text, numbers for numbers.

    None goes with everything, and an array with a number and with a list.

    >>> same_kind(2.5, 0), same_kind("2.5", 0), same_kind(2.5, None)
    (True, False, True)
    """
    kinds: tuple[Any, ...] = (str, bytes, dict, (list, tuple, np.ndarray), (int, float, np.generic, np.ndarray))
    return saved is None or now is None or any(isinstance(saved, kind) and isinstance(now, kind) for kind in kinds)
