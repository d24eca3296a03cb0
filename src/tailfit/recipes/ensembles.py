"""Ensembles: networks of several seeds, whose probabilities are averaged.

Each member is a run in a directory of its own, `members/0`, so that an interrupted call continues exactly. The network
of the whole run contains all of them: it is evaluated, exported and used like any other.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import keras

from tailfit.errors import ArgumentError
from tailfit.hashing import hash_words
from tailfit.keras_private import Functional
from tailfit.recipes.recipe import Recipe
from tailfit.training import Model

__all__ = ["MemberTrainer", "averaged", "check_ensemble", "is_member", "member_recipe", "train_members"]

Progress: TypeAlias = Callable[[int, Mapping[str, float]], None]
_TINY = 1e-30  # added to probabilities before the logarithm, since log 0 is infinite


class MemberTrainer(Protocol):
    """A function that trains a recipe in a directory as a run, unless it is finished."""

    def __call__(self, recipe: Recipe, place: Path, *, progress: Progress | None = None) -> None: ...


def member_recipe(recipe: Recipe, number: int) -> Recipe:
    """Return the recipe of a member: with its own seed, without a correction, which is fitted to the whole."""
    # Hashed, not added: member 1 of seed 0 must not be member 0 of seed 1.
    seed = hash_words(recipe.seed, number) % (1 << 32)
    return recipe.model_copy(update={"ensemble": 1, "seed": seed, "correction": None})


def check_ensemble(recipe: Recipe, callbacks: Sequence[Any], until: int | None) -> None:
    """Check that an ensemble has no options that require a single training.

    Raises:
        ArgumentError: If the recipe is an ensemble, and there are callbacks, or the training is to be interrupted.
    """
    if recipe.ensemble > 1 and (callbacks or until is not None):
        raise ArgumentError(
            f"ensemble: {recipe.ensemble} with " + ("callbacks" if callbacks else "a budget"),
            expected="one network per recipe" if callbacks else "remedies that can be stopped and compared on the way",
            fix="name Keras' callbacks in the recipe, or drop ensemble" if callbacks else "drop the budget or ensemble",
        )


def train_members(
    recipe: Recipe, place: Path, train: MemberTrainer, load: Callable[[Path], Model], progress: Progress | None
) -> Model:
    """Train the members of an ensemble, and return the network of all of them.

    Args:
        recipe: Recipe of the whole.
        place: Directory of the run.
        train: See `MemberTrainer`.
        load: Function that returns the trained network of a finished run.
        progress: See `tailfit.recipes.train`; figures have the number of the `member`, from 1.
    """
    models = []
    for number in range(recipe.ensemble):
        own = place / "members" / str(number)

        def of_member(epoch: int, figures: Mapping[str, float], member: int = number + 1) -> None:
            if progress is not None:
                progress(epoch, {**figures, "member": float(member)})

        train(member_recipe(recipe, number), own, progress=of_member)
        models.append(load(own))
    return averaged(models)


def averaged(models: Sequence[Model]) -> Model:
    """Build a network whose logits are the logarithms of the mean probabilities of several networks.

    Args:
        models: Functional networks with the same input and an output of logits `(batch, C)`.
    Raises:
        ArgumentError: If a network is not functional.

    >>> import numpy as np
    >>> inputs = keras.Input((1,))
    >>> layers = [keras.layers.Dense(2, kernel_initializer=each) for each in ("zeros", "identity")]
    >>> models = [Model(inputs, layer(inputs)) for layer in layers]
    >>> np.exp(averaged(models).predict(np.array([[100.0]]), verbose=0)).round(4).tolist()
    [[0.75, 0.25]]
    """
    for number, model in enumerate(models):
        if not isinstance(model, Functional):
            raise ArgumentError(
                f"a network of the type {type(model).__name__} in an ensemble",
                expected="functional networks, such as all of tailfit.networks",
                fix="return tailfit.Model(inputs, outputs) from your function, or drop ensemble",
            )
        model.name = f"member_{number}"
    inputs = keras.Input(models[0].input_shape[1:])
    # In float32 even for networks in lower precision: the logarithm of a small probability needs its digits.
    parts = [keras.layers.Softmax(dtype="float32")(model(inputs)) for model in models]
    mean = keras.layers.Average(dtype="float32")(parts)
    return Model(inputs, keras.ops.log(keras.layers.Rescaling(1.0, _TINY, dtype="float32")(mean)))


def is_member(layer: Any) -> bool:
    """Return whether a layer is a network of an ensemble."""
    return isinstance(layer, Functional) and layer.name.startswith("member_")
