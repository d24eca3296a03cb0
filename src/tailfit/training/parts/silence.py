"""Callbacks that write files, which act on rank 0 only."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

__all__ = ["only_rank_zero_writes"]

_WRITERS = (
    keras.callbacks.CSVLogger,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.TensorBoard,
    keras.callbacks.BackupAndRestore,
)


@contextmanager
def only_rank_zero_writes(callbacks: Any, rank: int) -> Iterator[None]:
    """Let Keras' callbacks that write files do nothing within this context, unless this is rank 0."""
    given = callbacks.callbacks if isinstance(callbacks, keras.callbacks.CallbackList) else callbacks
    writers = [each for each in keras.tree.flatten(given or []) if isinstance(each, _WRITERS)] if rank else []
    hooks = [name for name in dir(keras.callbacks.Callback) if name.startswith("on_")]
    for writer in writers:
        vars(writer).update(dict.fromkeys(hooks, _nothing))
    try:
        yield
    finally:
        for writer in writers:
            for name in hooks:
                vars(writer).pop(name, None)


def _nothing(*args: Any, **kwargs: Any) -> None:
    pass
