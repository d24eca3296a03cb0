"""What callbacks remember between epochs, found by what has changed in them since before the training.

Concepts:
- Configuration (a patience, a file name) does not change, and so is never saved: a changed script is what counts.
- What Keras' own callbacks keep is known by name. Their subclasses' own attributes, and all of others, are compared.
- A callback that knows better has `get_state()`, which returns numbers, strings, arrays, lists and dicts of such, and
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
from tailfit.resume.encoding import CannotEncodeError, decode, encode
from tailfit.resume.kept import KEPT, Sound, same_kind
from tailfit.storage.reading import check_replaceable, read_whole
from tailfit.storage.writing import write_parts

__all__ = ["Remembered", "check_weights", "restore", "rewrite_log"]

_FILE: Final = "$file"  # of a CSVLogger: what is in its log
_REFUSED: Final = ("BackupAndRestore", "OrbaxCheckpoint")
_KERAS_SETS: Final = {"params", "_model", "validation_data", "model"}
# What an attribute may hold that is no state of the callback: it stays the object that the script made.
_NO_STATE: Final = (
    FunctionType, type, Enum, PurePath, logging.Logger, Batches, Source,
    keras.Model, keras.Layer, keras.Metric, keras.Loss, keras.optimizers.Optimizer, keras.Variable,
)  # fmt: skip


class Remembered:
    """The state of callbacks: that of before the training, so that what they keep can be told apart.

    Args:
        callbacks: Before `on_train_begin`.
    Raises:
        ArgumentError: for one that would resume by itself, or holds what can't be saved.
        RecordError: for a log to be written where something else than a regular file is.
    """

    def __init__(self, callbacks: Sequence[Any]) -> None:
        self.callbacks = list(callbacks)
        for callback in self.callbacks:
            _refuse_rivals(callback)
            if isinstance(callback, keras.callbacks.CSVLogger):
                check_replaceable(callback.filename)  # Keras opens it, and would wait at a pipe
        self._before = [{name: _digest(callback, name, vars(callback)[name]) for name in _own(callback)}
                        for callback in self.callbacks]  # fmt: skip

    def names(self) -> list[str]:
        """Of their classes."""
        return [type(callback).__name__ for callback in self.callbacks]

    def save(self, arrays: MutableMapping[str, Any]) -> list[dict[str, Any]]:
        """Their state as JSON; arrays in it go to `arrays`."""
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
        state.update((kept, vars(callback)[kept]) for kept in _kept(callback) if kept in vars(callback))
        if isinstance(callback, keras.callbacks.CSVLogger):
            state[_FILE] = log_of(callback)
        return {key: _encoded(callback, key, value, arrays, f"{name}.{key}") for key, value in state.items()}

    def logs(self) -> list[tuple[Any, bytes | None]]:
        """The callbacks that write a log, and what is in it."""
        loggers = [callback for callback in self.callbacks if isinstance(callback, keras.callbacks.CSVLogger)]
        return [(callback, log_of(callback)) for callback in loggers]

    def checked(
        self, saved: Sequence[Mapping[str, Any]], arrays: Mapping[str, Any], epochs: int, *, whole: bool
    ) -> list[tuple[Any, Any]]:
        """Pair the callbacks with the states that were saved of the same classes in the same order; change nothing.

        Args:
            saved, arrays: As `save` made them.
            epochs: How many were done.
            whole: Whether nothing that Keras' callbacks keep may be missing, as after a change of Keras.
        Raises:
            CheckpointError: for a state that a callback does not take.
        """
        waiting, found = list(self.callbacks), []
        for index, entry in enumerate(saved):
            callback = next((each for each in waiting if type(each).__name__ == entry["class"]), None)
            if callback is None:
                continue  # allowed by the user, or it would have been refused before
            waiting.remove(callback)
            try:
                state = _decoded(callback, entry["state"], arrays, f"callback.{index}")
                if not hasattr(callback, "set_state"):
                    _check(callback, state, epochs, whole=whole)
            except (KeyError, ValueError, TypeError) as error:
                raise _not_taken(callback, error) from error
            found.append((callback, state))
        return found


def check_weights(states: Sequence[tuple[Any, Any]], model: keras.Model) -> None:
    """Check that the weights that `EarlyStopping` keeps are those of such a model; it has to be built for that.

    Raises:
        CheckpointError: they are not.
    """
    wanted = [tuple(weight.shape) for weight in model.weights]
    for callback, state in states:
        kept = state.get("best_weights") if isinstance(callback, keras.callbacks.EarlyStopping) else None
        if kept is not None and [weight.shape for weight in kept] != wanted:
            raise _not_taken(callback, ValueError("best_weights of other shapes than the model's"))


def restore(states: Sequence[tuple[Any, Any]]) -> None:
    """Give callbacks the states that `Remembered.checked` returned: all of them, or none.

    Raises:
        CheckpointError: where a callback's own `set_state` fails.
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
            raise _not_taken(callback, error) from error
    for callback, state in states:
        if not hasattr(callback, "set_state"):
            vars(callback).update({key: value for key, value in state.items() if key != _FILE})
            if isinstance(callback, keras.callbacks.CSVLogger):
                rewrite_log(callback, state[_FILE])


def _decoded(callback: Any, coded: Any, arrays: Mapping[str, Any], name: str) -> Any:
    if hasattr(callback, "set_state"):
        return decode(coded, arrays, name)
    if not isinstance(coded, dict):
        raise TypeError(f"{type(coded).__name__} in the place of attributes")
    return {key: decode(value, arrays, f"{name}.{key}") for key, value in coded.items()}


def _check(callback: Any, state: Mapping[str, Any], epochs: int, *, whole: bool) -> None:
    """Hold a state against what the callback keeps.

    Raises:
        KeyError, ValueError, TypeError: it is not its state.
    """
    sound = _kept(callback)
    logs = isinstance(callback, keras.callbacks.CSVLogger)
    missing = (sound.keys() & vars(callback).keys() if whole else set()) | ({_FILE} if logs else set())
    if not missing <= state.keys():
        raise KeyError(min(missing - state.keys()))
    free = _free(callback)
    for key, value in state.items():
        if key in sound:
            fits = sound[key](value)
        elif logs and key == _FILE:
            fits = value is None or isinstance(value, bytes)
        else:
            now = vars(callback).get(key, getattr(type(callback), key, None))  # a method, say
            fits = free(key) and not _is_no_state(now) and same_kind(value, now)
        if not fits:
            raise ValueError(f"{key}={value!r:.60}")
    if isinstance(callback, keras.callbacks.History):
        _check_history(callback, state, epochs)


def _check_history(callback: Any, state: Mapping[str, Any], epochs: int) -> None:
    told = state.get("epoch", [])
    if told != list(range(epochs - len(told), epochs)):
        raise ValueError(f"epoch={told!r:.60} after {epochs} epochs")
    earlier = max((len(figures) for figures in callback.history.values()), default=0)  # of another fit
    for name, figures in state.get("history", {}).items():
        if len(figures) > len(told) + earlier:
            raise ValueError(f"history[{name!r}] of {len(figures)} epochs after {len(told)}")


def _not_taken(callback: Any, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"the state of {type(callback).__name__}, which it does not take ({type(error).__name__}: {error})",
        expected="the state that the same callback saved",
        fix="use the callback as it was, or give this run a directory of its own",
    )


def _kept(callback: Any) -> dict[str, Sound]:
    return {name: sound for kind in _keras_classes(callback) for name, sound in KEPT[kind.__name__].items()}


def _keras_classes(callback: Any) -> list[type]:
    """The classes of Keras behind a callback, those whose attributes are known."""
    return [kind for kind in type(callback).__mro__ if kind.__module__.startswith("keras.") and kind.__name__ in KEPT]


def _free(callback: Any) -> Callable[[str], bool]:
    """Whether an attribute is the callback's own: not one that Keras' code sets."""
    known = _keras_classes(callback)
    behind = {base for kind in known for base in kind.__mro__ if base.__module__.startswith("keras.")}
    mentioned = {
        name
        for kind in behind
        for method in vars(kind).values()
        if isinstance(method, FunctionType)
        for name in method.__code__.co_names
    }
    taken = mentioned | _KERAS_SETS
    return lambda name: name not in taken


def _own(callback: Any) -> list[str]:
    """The attributes to compare: all but those that Keras' own code sets."""
    return [] if hasattr(callback, "get_state") else sorted(filter(_free(callback), vars(callback)))


def _is_no_state(value: Any) -> bool:
    return callable(value) or isinstance(value, _NO_STATE)


def _digest(callback: Any, name: str, value: Any) -> bytes:
    """What tells whether an attribute has changed."""
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
        f"the callback {type(callback).__name__} beside Resume: its {attribute} is of type {kind}",
        expected="callbacks that keep numbers, strings, arrays, and lists and dicts of them",
        fix=f"give {type(callback).__name__} the methods get_state(), which returns what it keeps as such (an empty "
        "dict if there is nothing to go on with), and set_state(state)",
    )


def _refuse_rivals(callback: Any) -> None:
    rivals = [kind.__name__ for kind in type(callback).__mro__ if kind.__name__ in _REFUSED]
    if rivals:
        raise ArgumentError(
            f"{rivals[0]} beside Resume", expected="one callback that resumes a run", fix=f"leave {rivals[0]} out"
        )


def log_of(callback: Any) -> bytes | None:
    """The file of a `CSVLogger`; None where there is none."""
    try:
        return read_whole(callback.filename, available_memory())
    except RecordError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


def rewrite_log(callback: Any, content: bytes | None) -> None:
    """Restore a log: `on_train_begin` has emptied it, or rows of steps that come again are in it."""
    if callback.csv_file is not None:
        callback.csv_file.close()
    write_parts(callback.filename, [content or b""])
    callback.csv_file = open(callback.filename, "a")  # noqa: SIM115  # closed by the callback
    callback.append_header = not content
    callback.writer = None
