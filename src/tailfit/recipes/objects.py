"""Construction of a recipe's objects: batches, network, loss, optimizer, steps, metrics, correction."""

import functools
from collections.abc import Mapping
from typing import Any, Final, cast

import keras
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from tailfit.augment import Augmentation, Chain
from tailfit.data import Batches, Normalize, Source
from tailfit.errors import ArgumentError, DataError, TailfitError
from tailfit.networks.fitted import Network
from tailfit.networks.rocket import adapt_to
from tailfit.networks.sizes import Size, check_fits_memory, size_of
from tailfit.posthoc import TauNorm
from tailfit.posthoc.base import Correction
from tailfit.recipes import catalogue
from tailfit.recipes.averaging import averaging_options
from tailfit.recipes.choices import Named, UserFunction
from tailfit.recipes.ensembles import averaged
from tailfit.recipes.parts import Parts, record_shape, weights_of_column
from tailfit.recipes.recipe import Column, Recipe, Scheme, with_location
from tailfit.recipes.staging import StageRun
from tailfit.samplers import Sampler, Sequential
from tailfit.steps import Step
from tailfit.training import Model
from tailfit.training.generators import seeded
from tailfit.weights import class_weights, sample_weights

__all__ = [
    "apply_stage",
    "build_network",
    "compile_model",
    "compiled_model",
    "evaluation_batches",
    "fitted_correction",
    "training_batches",
]

# Network heads that these losses and steps require.
_HEADS: Final = {"LDAM": "cosine", "InfluenceBalanced": "features", "RIDE": "experts", "SADE": "experts"}
_NETWORK: Final = TypeAdapter(catalogue.Network)


def training_batches(recipe: Recipe, parts: Parts, quality: NDArray[np.float64] | None = None) -> Batches:
    """Build the batches of the training part, with the recipe's sampler, weights and transform.

    Args:
        recipe: The recipe.
        parts: Its opened data.
        quality: Further weights by the quality of each label; see `quality_weights`.
    """
    source = parts.train
    class_weight = recipe.class_weight
    if isinstance(class_weight, Scheme):
        class_weight = class_weights(source, **class_weight.model_dump())
    elif isinstance(class_weight, Named):
        class_weight = class_weight.build()
    sample_weight = recipe.sample_weight
    if isinstance(sample_weight, Column):
        sample_weight = weights_of_column(source, sample_weight.column)
    if quality is not None:
        own = sample_weights(source, sample_weight) if isinstance(sample_weight, Mapping) else sample_weight
        sample_weight = quality if own is None else quality * own
    return Batches(
        source,
        batch_size=recipe.batch_size,
        sampler=_build(recipe, "sampler", recipe.sampler, Sampler, source=source),
        seed=recipe.seed,
        class_weight=class_weight,
        sample_weight=sample_weight,
        transform=_transform(recipe),
    )


def _transform(recipe: Recipe) -> Any:
    given = recipe.transform if isinstance(recipe.transform, list) else [recipe.transform]
    functions = [
        functools.partial(each.resolve(recipe.modules), **each.options)
        if isinstance(each, UserFunction)
        else _build(recipe, "transform", each, Augmentation)
        for each in given
        if each is not None
    ]
    return Chain(functions) if len(functions) > 1 else next(iter(functions), None)


def evaluation_batches(recipe: Recipe, source: Source) -> Batches:
    """Build the batches of a validation or test part: in order, without weights."""
    return Batches(source, batch_size=recipe.batch_size, sampler=Sequential())


def build_network(
    recipe: Recipe,
    input_shape: tuple[int, ...],
    num_classes: int,
    normalize: Normalize | None,
    *,
    samples: int = 1,
    trained: int | None = None,
) -> Model:
    """Build the recipe's network, with initial weights from the recipe's seed.

    Args:
        recipe: Recipe that names the network.
        input_shape: Shape of one record.
        num_classes: Number of classes C.
        normalize: Statistics of the channels, for the first layer.
        samples: Number of training samples.
        trained: Number of values in the trained weights to be loaded; None for a network to be trained.
    Raises:
        DataError: If the network has more parameters than `trained`.
        ArgumentError: If the network does not fit into memory, or does not accept such records.
    """
    chosen = recipe.network or _NETWORK.validate_python("mlp" if len(input_shape) == 1 else "cnn")
    if isinstance(chosen, Named) and getattr(chosen, "head", None) is None:
        chosen = chosen.model_copy(update={"head": _head_for(recipe)})

    def one_network(shape: tuple[int, ...], classes: int) -> Any:
        supplied = {"input_shape": shape, "num_classes": classes, "normalize": normalize}
        return chosen.build(**supplied) if isinstance(chosen, Named) else chosen.build(recipe.modules, **supplied)

    def network(shape: tuple[int, ...], classes: int) -> Any:
        members = [one_network(shape, classes) for _ in range(recipe.ensemble)]
        return averaged(members) if recipe.ensemble > 1 else members[0]

    try:
        if isinstance(chosen, Named):  # the size of a user's network is unknown until it is built
            one = size_of(chosen.name, input_shape, num_classes, _options(chosen))
            size = Size(one.parameters * recipe.ensemble, one.activations)
            if trained is not None and size.parameters > trained:
                raise DataError(
                    f"a network of {size.parameters} parameters for trained weights of {trained} numbers",
                    expected="the network and input shape of the training",
                    fix="restore run.json and result.json, or train again",
                )
            check_fits_memory(size, min(recipe.batch_size, samples))
        return Network(network, input_shape, num_classes, seed=recipe.seed).model
    except TailfitError as error:
        raise with_location(recipe, "network", error) from error


def _head_for(recipe: Recipe) -> str | None:
    """Return the head that the loss and the steps of a recipe require; None for the default.

    Raises:
        ArgumentError: If they require different heads.
    """
    names = [getattr(each, "name", "") for each in (recipe.loss, *recipe.steps)]
    heads = {_HEADS[name]: name for name in names if name in _HEADS}
    if len(heads) > 1:
        raise ArgumentError(
            f"{recipe.at('steps')}: {' and '.join(heads.values())}, which need different last layers",
            expected="one of them",
            fix="use the loss CrossEntropy or LogitAdjusted, or drop the step",
        )
    return next(iter(heads), None)


def _options(network: Named) -> dict[str, Any]:
    given = {key: getattr(network, key) for key in network.model_fields_set}
    return {key: value for key, value in given.items() if value is not None}


def compiled_model(recipe: Recipe, parts: Parts, batches: Batches) -> Model:
    """Build the network and compile it with the recipe's loss, optimizer, steps and metrics."""
    classes = len(parts.train.class_names)
    model = build_network(recipe, record_shape(parts.train), classes, parts.normalize, samples=len(parts.train))
    adapt_to(model, parts.train, seed=recipe.seed)
    compile_model(recipe, parts, batches, model)
    return model


def compile_model(recipe: Recipe, parts: Parts, batches: Batches, model: Model) -> None:
    """Compile a network, or the part of it that is trained, with the recipe's loss, optimizer, steps and metrics."""
    names = parts.train.class_names
    of_classes = {"class_names": names, "num_classes": len(names), "from_logits": True}
    # A loss corrects the imbalance that is left after sampling and weighting, so it gets the counts of that stream.
    # Steps and metrics refer to the data as stored.
    stream = {"class_counts": batches.class_counts, "num_samples": float(batches.plan.size(0)), **of_classes}
    stored = {"class_counts": parts.train.class_counts, **of_classes}
    of_training = {"decay_steps": len(batches) * recipe.epochs, **averaging_options(recipe)}
    with seeded(recipe.seed + 1):
        model.compile(
            _build(recipe, "optimizer", recipe.optimizer, keras.optimizers.Optimizer, **of_training),
            _build(recipe, "loss", recipe.loss, keras.losses.Loss, **stream),
            metrics=[_build(recipe, "metrics", each, keras.metrics.Metric, **stored) for each in recipe.metrics],
            steps=[_build(recipe, "steps", each, Step, **stored) for each in recipe.steps],
            steps_per_execution=recipe.steps_per_execution,
            parts=recipe.parts,
        )


def apply_stage(recipe: Recipe, parts: Parts, batches: Batches, model: Model) -> None:
    """Apply the recipe's second training stage to a trained network."""
    if recipe.stage is None:
        return
    with seeded(recipe.seed + 1):
        steps = len(batches) * recipe.epochs
        optimizer = _build(recipe, "optimizer", recipe.optimizer, keras.optimizers.Optimizer, decay_steps=steps)
        run = StageRun(
            model=model,
            source=parts.train,
            training=batches,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            epochs=recipe.epochs,
            optimizer=optimizer,
        )
        try:
            recipe.stage.build().apply(run)
        except TailfitError as error:
            raise with_location(recipe, "stage", error) from error


def fitted_correction(recipe: Recipe, parts: Parts, batches: Batches, model: Model, scores: Any) -> Correction | None:
    """Build the recipe's correction and fit it on the validation part.

    Args:
        recipe: Recipe that names the correction.
        parts: Parts of the data.
        batches: Batches of the training; their class counts are the prior.
        model: The trained network.
        scores: Logits of the validation part, shape `(samples, C)`; None without a validation part.
    Returns:
        None if the recipe has no correction.
    """
    if recipe.correction is None:
        return None
    built = _build(recipe, "correction", recipe.correction, Correction, from_logits=True, prior=batches.class_counts)
    y = None if parts.validation is None else parts.validation.labels
    try:
        if isinstance(built, TauNorm):
            built.fit(model, scores, y)
        elif scores is not None:
            built.fit(scores, y)
    except TailfitError as error:
        kept = "; or remove the correction: the training is kept, and the same command continues from it"
        raise with_location(recipe, "correction", error, kept) from error
    return cast(Correction, built)


def _build(recipe: Recipe, key: str, choice: Named | UserFunction, kind: type, **supplied: Any) -> Any:
    """Build the object that the recipe names under `key`, and check its type; errors begin with the key's location."""
    try:
        built = choice.build(**supplied) if isinstance(choice, Named) else choice.build(recipe.modules, **supplied)
    except TailfitError as error:
        raise with_location(recipe, key, error) from error
    if not isinstance(built, kind):
        name = f"{kind.__module__.split('.')[0]} {kind.__name__}"
        raise ArgumentError(
            f"{recipe.at(key)}: a function that returns {type(built).__name__}",
            expected=f"a function that returns a {name}",
            fix=f"return a {name} from the function",
        )
    return built
