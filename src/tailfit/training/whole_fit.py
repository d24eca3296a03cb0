"""Callbacks that take part in a `fit` as a whole, from before its data are opened until it is left, however it is."""

from contextlib import AbstractContextManager, ExitStack
from typing import Any

import keras

__all__ = ["WholeFit", "within_whole_fits"]


class WholeFit(keras.callbacks.Callback):
    """A callback whose `around` is entered before `tailfit.Model.fit` begins and left after it has ended."""

    def around(self, model: keras.Model, call: dict[str, Any]) -> AbstractContextManager[None]:
        """Around a `fit` with these arguments, which it may change."""
        raise NotImplementedError


def within_whole_fits(model: keras.Model, call: dict[str, Any]) -> ExitStack:
    """Around a `fit`: what its callbacks want to be around."""
    given = call.get("callbacks")
    callbacks = given.callbacks if isinstance(given, keras.callbacks.CallbackList) else keras.tree.flatten(given or [])
    with ExitStack() as stack:
        for callback in callbacks:
            if isinstance(callback, WholeFit):
                stack.enter_context(callback.around(model, call))
        return stack.pop_all()
