"""Skip what Keras' loop does at the end of each training step for callbacks that do nothing there."""

from typing import Any

import keras
from keras.src.utils.python_utils import is_default

from tailfit.keras_private import Replaced

__all__ = ["idle_hooks_skipped"]


def idle_hooks_skipped() -> Replaced:
    """Return a context in which Keras does not call the hook at the end of a training step if no callback has one.

    Keras calls it in another thread, which first reads the logs of the step: for a small step, that takes longer than
    the step.
    """

    def on_train_batch_end(own: Any, self: Any, batch: int, logs: Any = None) -> None:
        for callback in self.callbacks:
            if not (is_default(callback.on_train_batch_end) and is_default(callback.on_batch_end)):
                own(self, batch, logs)
                return

    return Replaced(keras.callbacks.CallbackList, "on_train_batch_end", on_train_batch_end)
