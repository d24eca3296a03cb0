"""The key `averaging` of a recipe: weights that are averaged over steps or epochs."""

from typing import Any

import keras

from tailfit.callbacks import AverageWeights
from tailfit.data import Batches
from tailfit.recipes.recipe import Averaging, Recipe

__all__ = ["averaging_callbacks", "averaging_options"]


def averaging_options(recipe: Recipe) -> dict[str, Any]:
    """Return the options of an optimizer that keeps the exponential mean of the weights; none without such a mean."""
    averaging = _of(recipe)
    return {"use_ema": True, "ema_momentum": averaging.momentum} if averaging and averaging.name == "ema" else {}


def averaging_callbacks(recipe: Recipe, batches: Batches) -> list[keras.callbacks.Callback]:
    """Build the callbacks that average weights.

    Args:
        recipe: The recipe.
        batches: Batches of the training.
    """
    averaging = _of(recipe)
    if averaging is None:
        return []
    if averaging.name == "ema":  # the optimizer averages; with this, the validation uses the mean
        return [keras.callbacks.SwapEMAWeights()]
    last = averaging.epochs or max(1, recipe.epochs // 4)
    return [AverageWeights(recipe.epochs - last, batches)]


def _of(recipe: Recipe) -> Averaging | None:
    given = recipe.averaging
    return Averaging.model_validate({"name": given}) if isinstance(given, str) else given
