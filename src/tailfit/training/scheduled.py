"""What of a model follows schedules, moved to each epoch as it begins.

The value of a hyper-parameter is in a variable (see `hyperparameters.py`): a compiled step reads it anew each time,
so assigning to it between steps is all there is to do.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from tailfit.schedules import set_epoch
from tailfit.schedules.moves import followers_of, has, parts_of

__all__ = ["ScheduleMarker", "scheduled_by", "with_markers"]


class ScheduleMarker(keras.callbacks.Callback):
    """Moves what follows a schedule to the epoch that begins; what validates within it finds it there."""

    def __init__(self, followers: list[Any]) -> None:
        super().__init__()
        self.followers = followers

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        set_epoch(epoch, self.followers)


def scheduled_by(model: keras.Model) -> list[keras.callbacks.Callback]:
    """The marker that a model's `fit` needs; none where nothing follows a schedule.

    Searched are the compiled losses, in dicts and lists of them too, and everything else that the model has as an
    attribute: losses and steps that an own `train_step` uses.
    """
    # Only what says so, by `scheduled()`: other things that a model has, data say, count epochs of their own.
    parts = [part for part in parts_of(vars(model)) if has(part, "scheduled")]
    followers = [follower for part in parts for follower in followers_of(part)]
    return [ScheduleMarker(followers)] if followers else []


@contextmanager
def with_markers(call: dict[str, Any], markers: list[Any]) -> Iterator[None]:
    """Around a `fit` with these arguments: the markers run before the user's own callbacks, and no longer than it."""
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
