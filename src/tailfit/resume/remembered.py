"""The state of callbacks, found by comparing their attributes with those before the training.

Concepts:
- Configuration (a patience, a file name) does not change during training, and is never saved: if the script changes it,
  the new value applies.
- The state of Keras' own callbacks is the attributes listed in `keras_private.CALLBACK_STATE`. For all other
  attributes of subclasses, and for all other callbacks, those that have changed are the state.
- A callback can instead define `get_state()`, which returns numbers, strings, arrays, and lists and dicts of them, and
  `set_state(state)`.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from enum import Enum
from pathlib import PurePath
from types import FunctionType
from typing import Any, Final

import keras
import numpy as np

from tailfit.data import Batches, Source
from tailfit.data.files.memory import available_memory
from tailfit.errors import ArgumentError, CheckpointError, RecordError
from tailfit.keras_private import CALLBACK_BASICS, CALLBACK_STATE
from tailfit.resume.callback_state import Check, checks_of, same_kind
from tailfit.resume.encoding import CannotEncodeError, decode, encode
from tailfit.storage.reading import check_replaceable, read_whole
from tailfit.storage.writing import write_parts
from tailfit.workers import place

__all__ = ["Remembered", "check_weights", "restore", "rewrite_log"]

_FILE: Final = "$file"  # key of the contents of a CSVLogger's file
_REFUSED: Final = ("BackupAndRestore", "OrbaxCheckpoint")
# Values of these types are not state: they stay the objects that the script has created.
_NO_STATE: Final = (
    FunctionType, type, Enum, PurePath, logging.Logger, Batches, Source,
    keras.Model, keras.Layer, keras.Metric, keras.Loss, keras.optimizers.Optimizer, keras.Variable,
)  # fmt: skip


class Remembered:
    """Callbacks, and digests of their attributes before the training, with which changes are found.

    Args:
        callbacks: Callbacks of the fit, before `on_train_begin`.
    Raises:
        ArgumentError: If a callback resumes training itself, or has state that can't be saved.
        RecordError: If the path of a log is not a regular file.
    """

    def __init__(self, callbacks: Sequence[Any]) -> None:
        self.callbacks = list(callbacks)
        for callback in self.callbacks:
            _check_no_rival(callback)
            if isinstance(callback, keras.callbacks.CSVLogger):
                check_replaceable(callback.filename)  # Keras opens the path, and would block on a pipe
        self._before = [{name: _digest(callback, name, vars(callback)[name]) for name in _own(callback)}
                        for callback in self.callbacks]  # fmt: skip

    def names(self) -> list[str]:
        """Return the names of the callbacks' classes."""
        return [type(callback).__name__ for callback in self.callbacks]

    def save(self, arrays: MutableMapping[str, Any]) -> list[dict[str, Any]]:
        """Encode the state of all callbacks as JSON; its arrays are added to `arrays`."""
        return [
            {"class": type(callback).__name__, "state": self._state(index, callback, arrays)}
            for index, callback in enumerate(self.callbacks)
        ]

    def _state(self, index: int, callback: Any, arrays: MutableMapping[str, Any]) -> Any:
        name = f"callback.{index}"
        if hasattr(callback, "get_state"):
            return _encoded(callback, "get_state()", callback.get_state(), arrays, name)
        before = self._before[index]
        state: dict[str, Any] = {}
        for attribute in _own(callback):
            value = vars(callback)[attribute]
            if before.get(attribute, b"") != _digest(callback, attribute, value):
                state[attribute] = value
        state.update((name, vars(callback)[name]) for name in _keras_state(callback) if name in vars(callback))
        if isinstance(callback, keras.callbacks.CSVLogger):
            state[_FILE] = log_of(callback)
        return {key: _encoded(callback, key, value, arrays, f"{name}.{key}") for key, value in state.items()}

    def logs(self) -> list[tuple[Any, bytes | None]]:
        """Return the callbacks that write a log, and the contents of their logs."""
        loggers = [callback for callback in self.callbacks if isinstance(callback, keras.callbacks.CSVLogger)]
        return [(callback, log_of(callback)) for callback in loggers]

    def checked(
        self, saved: Sequence[Mapping[str, Any]], arrays: Mapping[str, Any], epochs: int, *, whole: bool
    ) -> list[tuple[Any, Any]]:
        """Pair the callbacks with the saved states, by class and order; nothing is changed.

        Args:
            saved: States of the callbacks, from `save`.
            arrays: Arrays of the states, from `save`.
            epochs: Number of epochs that were done.
            whole: Whether the state of Keras' callbacks must be complete; false after an update of Keras.
        Raises:
            CheckpointError: If a state does not fit its callback.
        """
        waiting, found = list(self.callbacks), []
        for index, entry in enumerate(saved):
            callback = next((each for each in waiting if type(each).__name__ == entry["class"]), None)
            if callback is None:
                continue  # the user allows it: otherwise the comparison of identities would have failed
            waiting.remove(callback)
            try:
                state = _decoded(callback, entry["state"], arrays, f"callback.{index}")
                if not hasattr(callback, "set_state"):
                    _check(callback, state, epochs, whole=whole)
            except (KeyError, ValueError, TypeError) as error:
                raise _state_error(callback, error) from error
            found.append((callback, state))
        return found


def check_weights(states: Sequence[tuple[Any, Any]], model: keras.Model) -> None:
    """Check that the best weights in the state of `EarlyStopping` fit the model, which must be built.

    Raises:
        CheckpointError: If their shapes differ from those of the model's weights.
    """
    shapes = [tuple(weight.shape) for weight in model.weights]
    for callback, state in states:
        best = state.get("best_weights") if isinstance(callback, keras.callbacks.EarlyStopping) else None
        if best is not None and [weight.shape for weight in best] != shapes:
            raise _state_error(callback, ValueError("the shapes of best_weights differ from those of the model"))


def restore(states: Sequence[tuple[Any, Any]]) -> None:
    """Restore the states that `Remembered.checked` returned, either of all callbacks or of none.

    Raises:
        CheckpointError: If the `set_state` of a callback fails.
    """
    given: list[tuple[Any, Any]] = []
    for callback, state in states:
        if not hasattr(callback, "set_state"):
            continue
        given.append((callback, callback.get_state() if hasattr(callback, "get_state") else None))
        try:
            callback.set_state(state)
        except Exception as error:
            for earlier, before in reversed(given):
                if before is not None:
                    earlier.set_state(before)
            raise _state_error(callback, error) from error
    for callback, state in states:
        if not hasattr(callback, "set_state"):
            vars(callback).update({key: value for key, value in state.items() if key != _FILE})
            if isinstance(callback, keras.callbacks.CSVLogger):
                rewrite_log(callback, state[_FILE])


def _decoded(callback: Any, coded: Any, arrays: Mapping[str, Any], name: str) -> Any:
    if hasattr(callback, "set_state"):
        return decode(coded, arrays, name)
    if not isinstance(coded, dict):
        raise TypeError(f"a {type(coded).__name__} instead of attributes")
    return {key: decode(value, arrays, f"{name}.{key}") for key, value in coded.items()}


def _check(callback: Any, state: Mapping[str, Any], epochs: int, *, whole: bool) -> None:
    """Check that a state can be one of this callback.

    Raises:
        KeyError, ValueError, TypeError: If it can't.
    """
    checks = _keras_state(callback)
    is_logger = isinstance(callback, keras.callbacks.CSVLogger)
    required = (checks.keys() & vars(callback).keys() if whole else set()) | ({_FILE} if is_logger else set())
    if not required <= state.keys():
        raise KeyError(min(required - state.keys()))
    is_own = _is_own(callback)
    for key, value in state.items():
        if key in checks:
            fits = checks[key](value)
        elif is_logger and key == _FILE:
            fits = value is None or isinstance(value, bytes)
        else:
            now = vars(callback).get(key, getattr(type(callback), key, None))  # it may be a method of the class
            fits = is_own(key) and not _is_no_state(now) and same_kind(value, now)
        if not fits:
            raise ValueError(f"{key}={value!r:.60}")
    if isinstance(callback, keras.callbacks.History):
        _check_history(callback, state, epochs)


def _check_history(callback: Any, state: Mapping[str, Any], epochs: int) -> None:
    recorded = state.get("epoch", [])
    if recorded != list(range(epochs - len(recorded), epochs)):
        raise ValueError(f"epoch={recorded!r:.60} after {epochs} epochs")
    earlier = max((len(values) for values in callback.history.values()), default=0)  # entries from a previous fit
    for name, values in state.get("history", {}).items():
        if len(values) > len(recorded) + earlier:
            raise ValueError(f"history[{name!r}] of {len(values)} epochs after {len(recorded)}")


def _state_error(callback: Any, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"a state that does not fit the callback {type(callback).__name__} ({type(error).__name__}: {error})",
        expected="a state saved by the same callback",
        fix="configure the callback as in the saved run, or use a different directory for this run",
    )


def _keras_state(callback: Any) -> dict[str, Check]:
    """Return a check of each attribute that is state according to Keras' classes of the callback."""
    return {name: check for kind in _keras_classes(callback) for name, check in checks_of(kind.__name__).items()}


def _keras_classes(callback: Any) -> list[type]:
    """Return the Keras classes of a callback whose state is known."""
    kinds = type(callback).__mro__
    return [kind for kind in kinds if kind.__module__.startswith("keras.") and kind.__name__ in CALLBACK_STATE]


def _is_own(callback: Any) -> Callable[[str], bool]:
    """Return a predicate: whether an attribute belongs to a user's class, not to Keras' code."""
    known = _keras_classes(callback)
    behind = {base for kind in known for base in kind.__mro__ if base.__module__.startswith("keras.")}
    # Keras' attributes are those that its code names. A written list would be shorter, but would have to follow every
    # release of Keras; `test_the_state_of_callbacks` compares the result with what a training really changes.
    mentioned = {
        name
        for kind in behind
        for method in vars(kind).values()
        if isinstance(method, FunctionType)
        for name in method.__code__.co_names
    }
    taken = mentioned | CALLBACK_BASICS
    return lambda name: name not in taken


def _own(callback: Any) -> list[str]:
    """Return the attributes to compare: all except those that Keras' own code sets."""
    return [] if hasattr(callback, "get_state") else sorted(filter(_is_own(callback), vars(callback)))


def _is_no_state(value: Any) -> bool:
    return callable(value) or isinstance(value, _NO_STATE)


def _digest(callback: Any, name: str, value: Any) -> bytes:
    """Return a digest of an attribute's value, to detect changes."""
    if _is_no_state(value):
        return b"no state"
    arrays: dict[str, Any] = {}
    coded = _encoded(callback, name, value, arrays, "")
    digest = hashlib.blake2b(repr(coded).encode(), digest_size=16)
    for array in arrays.values():
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.digest()


def _encoded(callback: Any, attribute: str, value: Any, arrays: MutableMapping[str, Any], name: str) -> Any:
    if _is_no_state(value):
        raise _unsavable(callback, attribute, type(value).__name__)
    try:
        return encode(value, arrays, name)
    except CannotEncodeError as error:
        where, kind = error.args
        raise _unsavable(callback, f"{attribute}.{where}" if where else attribute, kind) from None


def _unsavable(callback: Any, attribute: str, kind: str) -> ArgumentError:
    return ArgumentError(
        f"the callback {type(callback).__name__} in a fit with Resume: its {attribute} is of type {kind}",
        expected="callbacks whose state consists of numbers, strings, arrays, and lists and dicts of them",
        fix=f"define {type(callback).__name__}.get_state(), which returns the state in this form (an empty dict if "
        "there is none), and set_state(state)",
    )


def _check_no_rival(callback: Any) -> None:
    rivals = [kind.__name__ for kind in type(callback).__mro__ if kind.__name__ in _REFUSED]
    if rivals:
        raise ArgumentError(
            f"{rivals[0]} in a fit with Resume",
            expected="one callback that resumes the run",
            fix=f"remove {rivals[0]}",
        )


def log_of(callback: Any) -> bytes | None:
    """Read the file of a `CSVLogger`; return None if it does not exist."""
    try:
        return read_whole(callback.filename, available_memory())
    except RecordError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


def rewrite_log(callback: Any, content: bytes | None) -> None:
    """Restore the log of a `CSVLogger`, which `on_train_begin` has emptied, or which has rows of repeated steps."""
    if place().rank:
        return  # the log is that of rank 0
    if callback.csv_file is not None:
        callback.csv_file.close()
    write_parts(callback.filename, [content or b""])
    callback.csv_file = open(callback.filename, "a")  # noqa: SIM115  # closed by the callback
    callback.append_header = not content
    callback.writer = None
