"""Networks, augmentation, optimizer and budget, which all remedies share, and how a remedy is trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers
from store import Figures, confusion_figures

import tailfit
from tailfit import losses, stages, steps
from tailfit.callbacks import AverageWeights
from tailfit.layers import CosineDense, Experts
from tailfit.recipes.distilling import frozen_copy, start_anew
from tailfit.samplers import Sampler

PLAIN = "plain cross-entropy"


@dataclass(frozen=True)
class Budget:
    """Epochs, batch size, peak learning rate of a cosine decay, and transform: the same for every remedy."""

    epochs: int
    batch_size: int
    learning_rate: float
    transform: Any = None


@dataclass(frozen=True)
class Remedy:
    """The differences of a remedy from plain cross-entropy.

    Losses and steps are functions of the batches. With `deferred`, class weights count in the last fifth of the
    training; with `averaged`, the weights are the mean of the last quarter of the epochs; with `grouped`, each class is
    a group. `after` names what follows: corrections, each with a row of its own, or the second stage of the method.
    With `cosine` or `experts`, the network ends in such a layer.
    """

    loss: Callable[[tailfit.Batches, int], Any] = lambda batches, epochs: losses.CrossEntropy(from_logits=True)
    steps: Callable[[tailfit.Batches], Sequence[Any]] = lambda batches: ()
    sampler: Sampler | None = None
    class_weight: Any = None
    deferred: bool = False
    averaged: bool = False
    grouped: bool = False
    cosine: bool = False
    experts: bool = False
    transform: Any = None
    after: tuple[str, ...] = ()


def trained(
    network: Callable[..., tailfit.Model], source: Any, remedy: Remedy, budget: Budget, seed: int
) -> tuple[tailfit.Model, tailfit.Batches]:
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    transform = remedy.transform or budget.transform
    source = source.grouped(source.labels) if remedy.grouped else source
    weights = deferred_weights(source, budget.epochs) if remedy.deferred else remedy.class_weight
    batches = tailfit.Batches(source, budget.batch_size, remedy.sampler, seed, weights, transform=transform)
    model = network(cosine=remedy.cosine, experts=remedy.experts)
    model.compile(
        decayed(budget.learning_rate, budget.epochs * len(batches)),
        remedy.loss(batches, budget.epochs),
        steps=list(remedy.steps(batches)),
    )
    averaging = [AverageWeights(budget.epochs - budget.epochs // 4, batches)] if remedy.averaged else []
    model.fit(batches, epochs=budget.epochs, callbacks=averaging, verbose=0)
    return model, batches


def deferred_weights(of: Any, epochs: int) -> tailfit.schedules.Deferred:
    """Return equal class weights at first, and those of the effective number in the last fifth of the training."""
    counts = of.class_counts
    table = tailfit.weights.class_weights(of, "effective_number", normalize="sum")
    after = [table[code] for code in range(len(counts))]
    return tailfit.schedules.Deferred(before=[1.0] * len(counts), after=after, at=0.8 * epochs)


def decayed(peak: float, count: int) -> keras.optimizers.Optimizer:
    rate = keras.optimizers.schedules.CosineDecay(
        peak / 10, count - count // 20, warmup_target=peak, warmup_steps=count // 20
    )
    return keras.optimizers.AdamW(rate, weight_decay=1e-4)


def rows_of(
    name: str,
    model: tailfit.Model,
    batches: tailfit.Batches,
    remedy: Remedy,
    budget: Budget,
    scored: dict[str, tuple[np.ndarray, np.ndarray]],
) -> dict[str, Figures]:
    """Return the figures of the network as trained and after each correction; keys begin with the prefix of a set."""

    def figures(decide: Callable[[np.ndarray], np.ndarray] = lambda logits: logits.argmax(axis=1)) -> Figures:
        found = {}
        for prefix, (x, y) in scored.items():
            called = decide(model.predict(x, batch_size=500, verbose=0))
            found |= {
                prefix + key: value for key, value in confusion_figures(y, called, len(batches.class_names)).items()
            }
        return found

    rows = {name: figures()}
    if "post-hoc logit adjustment" in remedy.after:
        adjustment = tailfit.posthoc.LogitAdjustment(batches, from_logits=True)
        rows["post-hoc logit adjustment"] = figures(adjustment.predict)
    if "tau-normalisation" in remedy.after:
        weights = model.get_weights()
        stages.normalize_classifier(model)
        rows["tau-normalisation"] = figures()
        model.set_weights(weights)
    if {"cRT", "MiSLAS"} & {*remedy.after}:  # last: they train the network on
        balanced = tailfit.samplers.ClassBalanced()
        second = tailfit.Batches(batches.source, budget.batch_size, balanced, batches.seed, transform=budget.transform)
        epochs = max(1, budget.epochs // 10)
        optimizer = decayed(budget.learning_rate, epochs * len(second))
        if "cRT" in remedy.after:
            stages.retrain_classifier(model, second, epochs=epochs, optimizer=optimizer, verbose=0)
            rows["cRT" if name == PLAIN else f"{name} + cRT"] = figures()
        else:
            stages.mislas_classifier(model, second, epochs=epochs, optimizer=optimizer)
            rows["MiSLAS"] = figures()
    if "DiVE" in remedy.after:  # last: the network becomes the student
        teacher = frozen_copy(model)
        start_anew(model)
        loss = losses.BalancedSoftmax(batches, from_logits=True)
        optimizer = decayed(budget.learning_rate, budget.epochs * len(batches))
        model.compile(optimizer, loss, steps=[steps.DiVE(teacher=teacher)])
        model.fit(batches, epochs=budget.epochs, verbose=0)
        rows["DiVE"] = figures()
    return rows


def head(x: Any, classes: int, cosine: bool, experts: bool) -> Any:
    kind = CosineDense if cosine else Experts if experts else layers.Dense
    return kind(classes)(x)


def convnet(*, cosine: bool = False, experts: bool = False) -> tailfit.Model:
    """Build a network of five convolutions for images of 28 x 28 and 10 classes, with 0.15 million weights."""
    inputs = keras.Input((28, 28, 1))
    x = inputs
    for filters, count in ((32, 2), (64, 2), (128, 1)):
        for _ in range(count):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.MaxPooling2D(2)(x)
    return tailfit.Model(inputs, head(layers.Dropout(0.5)(layers.Flatten()(x)), 10, cosine, experts))


def shifted(batch: tuple[Any, ...], rng: np.random.Generator, most: int = 2) -> tuple[Any, ...]:
    """Shift each image by up to `most` pixels in both directions, and fill with black."""
    x = batch[0]
    size = x.shape[1]
    padded = np.pad(x, ((0, 0), (most, most), (most, most), (0, 0)))
    down, right = (rng.integers(0, 2 * most + 1, len(x))[:, None] + np.arange(size) for _ in range(2))
    return (padded[np.arange(len(x))[:, None, None], down[:, :, None], right[:, None, :]], *batch[1:])
