"""Set scheduled hyper-parameters to their values at the beginning of each epoch.

The value of a scheduled hyper-parameter is a variable (see `hyperparameters.py`), which a compiled step reads at every
call. So it is enough to assign to it between steps.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from tailfit.schedules import set_epoch
from tailfit.schedules.moves import followers_of, has, parts_of

__all__ = ["ScheduleMarker", "scheduled_by", "with_markers"]


class ScheduleMarker(keras.callbacks.Callback):
    """Sets scheduled hyper-parameters for the epoch that begins; its validation sees the same values."""

    def __init__(self, followers: list[Any]) -> None:
        super().__init__()
        self.followers = followers

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        set_epoch(epoch, self.followers)


def scheduled_by(model: keras.Model) -> list[keras.callbacks.Callback]:
    """Return the callbacks that a model's `fit` needs for its schedules: one, or none without schedules.

    Searches the compiled losses, also in dicts and lists, and all attributes of the model: a custom `train_step` may
    use losses and steps of its own.
    """
    # Only objects with `scheduled()`: other attributes, such as data, may count epochs themselves.
    parts = [part for part in parts_of(vars(model)) if has(part, "scheduled")]
    followers = [follower for part in parts for follower in followers_of(part)]
    return [ScheduleMarker(followers)] if followers else []


@contextmanager
def with_markers(call: dict[str, Any], markers: list[Any]) -> Iterator[None]:
    """Add the markers before the callbacks in the arguments of a `fit`; remove them when the context is left."""
    callbacks = call.get("callbacks")
    if not markers:
        yield
        return
    if not isinstance(callbacks, keras.callbacks.CallbackList):
        given = [] if callbacks is None else keras.tree.flatten(callbacks)
        call["callbacks"] = [*markers, *given]
        yield
        return
    callbacks.callbacks[:0] = markers
    try:
        yield
    finally:
        for marker in markers:
            callbacks.callbacks.remove(marker)
