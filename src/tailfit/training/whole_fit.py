"""Callbacks with a context around the whole `fit`, from before its data are opened until it returns or raises."""

from contextlib import AbstractContextManager, ExitStack
from typing import Any

import keras

__all__ = ["WholeFit", "within_whole_fits"]


class WholeFit(keras.callbacks.Callback):
    """A callback whose `fit_context` is entered before `tailfit.Model.fit` begins and left after it has ended."""

    def fit_context(self, model: keras.Model, call: dict[str, Any]) -> AbstractContextManager[None]:
        """Return the context for a `fit` with the arguments `call`, which it may change."""
        raise NotImplementedError


def within_whole_fits(model: keras.Model, call: dict[str, Any]) -> ExitStack:
    """Enter the contexts that the callbacks of a `fit` ask for."""
    given = call.get("callbacks")
    callbacks = given.callbacks if isinstance(given, keras.callbacks.CallbackList) else keras.tree.flatten(given or [])
    with ExitStack() as stack:
        for callback in callbacks:
            if isinstance(callback, WholeFit):
                stack.enter_context(callback.fit_context(model, call))
        return stack.pop_all()
