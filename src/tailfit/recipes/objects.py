"""From a recipe and its data to what trains: batches, network, loss, optimizer, steps, metrics."""

import functools
from typing import Any, Final, cast

import keras
from pydantic import TypeAdapter

from tailfit.data import Batches, Normalize, Source
from tailfit.errors import ArgumentError, DataError, TailfitError
from tailfit.networks.fitted import Network
from tailfit.networks.sizes import check_fits_memory, size_of
from tailfit.posthoc import TauNorm
from tailfit.posthoc.base import Correction
from tailfit.recipes import catalogue
from tailfit.recipes.choices import Named, Own
from tailfit.recipes.parts import Parts, record_shape, weights_of_column
from tailfit.recipes.recipe import Column, Recipe, Scheme
from tailfit.samplers import Sampler, Sequential
from tailfit.steps import Step
from tailfit.training import Model
from tailfit.training.generators import seeded
from tailfit.weights import class_weights

__all__ = ["compiled_model", "fitted_correction", "held_back", "network_of", "training_batches"]

_HEADS: Final = {"LDAM": "cosine", "InfluenceBalanced": "features"}  # of losses that need other than plain logits
_NETWORK: Final = TypeAdapter(catalogue.Network)


def training_batches(recipe: Recipe, parts: Parts) -> Batches:
    """The training part in the recipe's order, with its weights."""
    source = parts.train
    class_weight = recipe.class_weight
    if isinstance(class_weight, Scheme):
        class_weight = class_weights(source, **class_weight.model_dump())
    elif isinstance(class_weight, Named):
        class_weight = class_weight.build()
    sample_weight = recipe.sample_weight
    if isinstance(sample_weight, Column):
        sample_weight = weights_of_column(source, sample_weight.column)
    transform = recipe.transform
    return Batches(
        source,
        recipe.batch_size,
        _made(recipe, "sampler", recipe.sampler, Sampler, source=source),
        recipe.seed,
        class_weight,
        sample_weight,
        None if transform is None else functools.partial(transform.found(recipe.modules), **transform.options),
    )


def held_back(recipe: Recipe, source: Source) -> Batches:
    """Another part, from first to last, unweighted."""
    return Batches(source, recipe.batch_size, Sequential())


def network_of(
    recipe: Recipe,
    input_shape: tuple[int, ...],
    num_classes: int,
    normalize: Normalize | None,
    *,
    samples: int = 1,
    trained: int | None = None,
) -> Model:
    """The recipe's network, its weights drawn from the recipe's seed.

    Args:
        recipe: What it says.
        input_shape: Of one record.
        num_classes: Outputs C.
        normalize: Statistics of the channels.
        samples: In the part that is trained on.
        trained: How many numbers its trained weights have, where there are some.
    Raises:
        DataError: it is larger than its trained weights.
        ArgumentError: it would not fit into memory, or is no network for such records.
    """
    chosen = recipe.network or _NETWORK.validate_python("mlp" if len(input_shape) == 1 else "cnn")
    if isinstance(chosen, Named) and getattr(chosen, "head", None) is None:
        chosen = chosen.model_copy(update={"head": _HEADS.get(getattr(recipe.loss, "name", ""))})

    def network(shape: tuple[int, ...], classes: int) -> Any:
        told = {"input_shape": shape, "num_classes": classes, "normalize": normalize}
        return chosen.build(**told) if isinstance(chosen, Named) else chosen.build(recipe.modules, **told)

    try:
        if isinstance(chosen, Named):  # nothing is known of others before they are built
            size = size_of(chosen.name, input_shape, num_classes, _options(chosen))
            if trained is not None and size.parameters > trained:
                raise DataError(
                    f"a network of {size.parameters} parameters for trained weights of {trained} numbers",
                    expected="the network and the input shape that were trained",
                    fix="restore run.json and result.json, or train again",
                )
            check_fits_memory(size, min(recipe.batch_size, samples))
        return Network(network, input_shape, num_classes, seed=recipe.seed).model
    except TailfitError as error:
        raise _at(recipe, "network", error) from error


def _options(network: Named) -> dict[str, Any]:
    said = {key: getattr(network, key) for key in network.model_fields_set}
    return {key: value for key, value in said.items() if value is not None}


def compiled_model(recipe: Recipe, parts: Parts, batches: Batches) -> Model:
    """The network, compiled with the recipe's loss, optimizer, steps and metrics."""
    names = parts.train.class_names
    model = network_of(recipe, record_shape(parts.train), len(names), parts.normalize, samples=len(parts.train))
    of_classes = {"class_names": names, "num_classes": len(names), "from_logits": True}
    # A loss corrects for the stream as sampled and weighted; a step or metric speaks of the data as they are.
    stream = {"class_counts": batches.class_counts, "num_samples": float(batches.plan.size(0)), **of_classes}
    stored = {"class_counts": parts.train.class_counts, **of_classes}
    steps_in_all = len(batches) * recipe.epochs
    with seeded(recipe.seed + 1):
        model.compile(
            _made(recipe, "optimizer", recipe.optimizer, keras.optimizers.Optimizer, decay_steps=steps_in_all),
            _made(recipe, "loss", recipe.loss, keras.losses.Loss, **stream),
            metrics=[_made(recipe, "metrics", each, keras.metrics.Metric, **stored) for each in recipe.metrics],
            steps=[_made(recipe, "steps", each, Step, **stored) for each in recipe.steps],
            steps_per_execution=recipe.steps_per_execution,
        )
    return model


def fitted_correction(recipe: Recipe, parts: Parts, batches: Batches, model: Model, scores: Any) -> Correction | None:
    """The recipe's correction, fitted.

    Args:
        batches: Of the training, whose class counts are the prior.
        scores: Of the validation part; None where there is none.
    """
    if recipe.correction is None:
        return None
    made = _made(recipe, "correction", recipe.correction, Correction, from_logits=True, prior=batches.class_counts)
    y = None if parts.validation is None else parts.validation.labels
    try:
        if isinstance(made, TauNorm):
            made.fit(model, scores, y)
        elif scores is not None:
            made.fit(scores, y)
    except TailfitError as error:
        kept = "; or leave it out: the training is kept, and the same command goes on from there"
        raise _at(recipe, "correction", error, kept) from error
    return cast(Correction, made)


def _made(recipe: Recipe, place: str, thing: Named | Own, kind: type, **told: Any) -> Any:
    """What can be named there, made; errors say where the recipe names it."""
    try:
        made = thing.build(**told) if isinstance(thing, Named) else thing.build(recipe.modules, **told)
    except TailfitError as error:
        raise _at(recipe, place, error) from error
    if not isinstance(made, kind):
        raise ArgumentError(
            f"{recipe.at(place)}: a function that returns {type(made).__name__}",
            expected=f"one that returns a {kind.__module__.split('.')[0]} {kind.__name__}",
            fix="return one",
        )
    return made


def _at(recipe: Recipe, place: str, error: TailfitError, more: str = "") -> TailfitError:
    """The error, with the place in the recipe that led to it."""
    return type(error)(f"{recipe.at(place)}: {error.received}", expected=error.expected, fix=error.fix + more)
