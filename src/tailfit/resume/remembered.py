"""What callbacks remember between epochs, found by what has changed in them since before the training.

Concepts:
- Configuration (a patience, a file name) does not change, and so is never saved: a changed script is what counts.
- What Keras' own callbacks keep is known by name. Their subclasses' own attributes, and all of others, are compared.
- A callback that knows better has `get_state()`, which returns numbers, strings, arrays, lists and dicts of such, and
  `set_state(state)`.
"""

import hashlib
import logging
from collections.abc import Mapping, MutableMapping, Sequence
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
from tailfit.storage.reading import check_replaceable, read_whole
from tailfit.storage.writing import write_parts

__all__ = ["Remembered"]

_KEPT: Final[dict[str, tuple[str, ...]]] = {
    "EarlyStopping": ("wait", "stopped_epoch", "best", "best_weights", "best_epoch"),
    "History": ("epoch", "history"),
    "LambdaCallback": (),
    "LearningRateScheduler": (),
    "ModelCheckpoint": ("best", "_batches_seen_since_last_saving", "_last_batch_seen", "_current_epoch"),
    "ProgbarLogger": (),
    "ReduceLROnPlateau": ("best", "wait", "cooldown_counter"),
    "RemoteMonitor": (),
    "SwapEMAWeights": ("_ema_weights_in_model",),
    "TensorBoard": ("_global_train_batch", "_global_test_batch", "_previous_epoch_iterations"),
    "TerminateOnNaN": (),
    "CSVLogger": ("keys",),
}
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
            state["$file"] = _content(callback.filename)
        return {key: _encoded(callback, key, value, arrays, f"{name}.{key}") for key, value in state.items()}

    def restore(self, saved: Sequence[Mapping[str, Any]], arrays: Mapping[str, Any]) -> None:
        """Give back what was saved, to the callbacks of the same classes in the same order."""
        waiting = list(enumerate(self.callbacks))
        for entry in saved:
            match = next((pair for pair in waiting if type(pair[1]).__name__ == entry["class"]), None)
            if match is None:
                continue  # allowed by the user, or it would have been refused before
            waiting.remove(match)
            try:
                _give(match[1], entry["state"], arrays)
            except (KeyError, ValueError, TypeError) as error:
                raise CheckpointError(
                    f"the state of {entry['class']}, which it does not take ({type(error).__name__}: {error})",
                    expected="the state that the same callback saved",
                    fix="use the callback as it was, or give this run a directory of its own",
                ) from error


def _give(callback: Any, coded: Any, arrays: Mapping[str, Any]) -> None:
    if hasattr(callback, "set_state"):
        callback.set_state(decode(coded, arrays))
        return
    state = {key: decode(value, arrays) for key, value in coded.items()}
    content = state.pop("$file", None)
    vars(callback).update(state)
    if isinstance(callback, keras.callbacks.CSVLogger):
        _rewrite(callback, content)


def _kept(callback: Any) -> tuple[str, ...]:
    return tuple(name for kind in _keras_classes(callback) for name in _KEPT[kind.__name__])


def _keras_classes(callback: Any) -> list[type]:
    """The classes of Keras behind a callback, those whose attributes are known."""
    return [kind for kind in type(callback).__mro__ if kind.__module__.startswith("keras.") and kind.__name__ in _KEPT]


def _own(callback: Any) -> list[str]:
    """The attributes to compare: all but those that Keras' own code sets."""
    if hasattr(callback, "get_state"):
        return []
    known = _keras_classes(callback)
    behind = {base for kind in known for base in kind.__mro__ if base.__module__.startswith("keras.")}
    mentioned = {
        name
        for kind in behind
        for method in vars(kind).values()
        if isinstance(method, FunctionType)
        for name in method.__code__.co_names
    }
    return sorted(vars(callback).keys() - mentioned - _KERAS_SETS)


def _digest(callback: Any, name: str, value: Any) -> bytes:
    """What tells whether an attribute has changed."""
    if callable(value) or isinstance(value, _NO_STATE):
        return b"no state"
    arrays: dict[str, Any] = {}
    coded = _encoded(callback, name, value, arrays, "")
    digest = hashlib.blake2b(repr(coded).encode(), digest_size=16)
    for array in arrays.values():
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.digest()


def _encoded(callback: Any, attribute: str, value: Any, arrays: MutableMapping[str, Any], name: str) -> Any:
    if callable(value) or isinstance(value, _NO_STATE):
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


def _content(path: str) -> bytes | None:
    try:
        return read_whole(path, available_memory())
    except RecordError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


def _rewrite(callback: Any, content: bytes | None) -> None:
    """A log as it was: `on_train_begin` has emptied it, or rows of steps that come again are in it."""
    if callback.csv_file is not None:
        callback.csv_file.close()
    write_parts(callback.filename, [content or b""])
    callback.csv_file = open(callback.filename, "a")  # noqa: SIM115  # closed by the callback
    callback.append_header = not content
    callback.writer = None
