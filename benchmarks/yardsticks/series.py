"""The networks and remedies of the yardsticks on series: Tennessee Eastman and three sets of the UCR archive."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from catalogue import catalogue
from heads import Scored, rows_of_heads
from store import Figures, confusion_figures
from training import Budget, Remedy, trained

import tailfit
from tailfit import augment, samplers
from tailfit.layers import CosineDense, Experts

# Authors' learning rate for the linear classifier of MiniRocket: a step of Adam moves ten thousand weights at once.
ROCKET_RATE = 1e-4
VARIANTS = 5  # of each record, for ridge regression of augmented records


def remedies() -> dict[str, Remedy]:
    """Remedies for the networks of series, with their authors' settings; plain training is the first."""
    known = catalogue()
    varied = augment.Chain([augment.Jitter(), augment.Scaling(), augment.TimeWarp()])
    of_tail = augment.Chain(
        [augment.Jitter(only_repeats=True), augment.Scaling(only_repeats=True), augment.TimeWarp(only_repeats=True)]
    )
    adjusted = known["logit-adjusted loss"]
    return {
        "plain cross-entropy": Remedy(after=("scores",)),
        "logit-adjusted loss": adjusted,
        "augmentation": Remedy(transform=varied),
        "logit-adjusted + augmentation": replace(adjusted, transform=varied),
        "balanced batches, copies augmented": Remedy(sampler=samplers.ClassBalanced(), transform=of_tail),
        "balanced batches, mixed within the class": Remedy(
            sampler=samplers.ClassBalanced(), transform=augment.MixWithinClass()
        ),
        "LDAM-DRW": known["LDAM-DRW"],
        "class weights": known["class weights"],
        "Mixup": known["Mixup"],
        "logit-adjusted + Mixup": known["logit-adjusted + Mixup"],
        "square-root batches + logit-adjusted + Mixup(1)": known["square-root batches + logit-adjusted + Mixup(1)"],
        "logit-adjusted + SAM": known["logit-adjusted + SAM"],
        "GCL": replace(known["GCL"], after=()),
        "second stages": Remedy(after=("stages",)),
        "ridge regression": Remedy(after=("ridge",)),
        "ridge regression, time warps": Remedy(transform=augment.TimeWarp(share=0.8), after=("ridge",)),
        "ridge regression, window warps": Remedy(transform=augment.WindowWarp(share=0.8), after=("ridge",)),
    }


def figures_of(
    name: str, network: str, source: Any, remedy: Remedy, budget: Budget, seed: int, scored: Scored
) -> dict[str, Figures]:
    """Train a network on a source, and return the figures of each row on the sets that are scored."""
    if "ridge" in remedy.after:
        if remedy.transform:
            whole = rocket(source.read(np.arange(len(source))), len(source.class_names), seed)
            return ridge_rows(name, whole, source, seed, scored, VARIANTS, remedy.transform)
        seen, scored = with_features(network, source, seed, scored)
        return layer_rows(name, seen, seed, scored)
    model, batches, scored = fitted(network, source, remedy, budget, seed, scored)
    if remedy.after:
        rows = rows_of_heads(name, model, batches, remedy, budget, scored)
        rows.pop("second stages", None)  # the plain network, which has a run of its own
        return rows
    return {name: figures_on(scored, lambda x: model.predict(x, batch_size=250, verbose=0), len(batches.class_names))}


def figures_on(scored: Scored, scores: Callable[[np.ndarray], np.ndarray], classes: int) -> Figures:
    found: Figures = {}
    for prefix, (x, y) in scored.items():
        of_set = confusion_figures(y, scores(x).argmax(axis=1), classes)
        found |= {prefix + key: value for key, value in of_set.items()}
    return found


def fitted(
    network: str, source: Any, remedy: Remedy, budget: Budget, seed: int, scored: Scored
) -> tuple[tailfit.Model, tailfit.Batches, Scored]:
    """Return the trained network, its batches, and the sets to score in the form that the network takes.

    MiniRocket's features do not change in training, so they are computed once, and its linear classifier is trained.
    """
    classes = len(source.class_names)
    shape = source.read(np.arange(1)).shape[1:]
    if network != "minirocket":
        build = getattr(tailfit.networks, network)
        return *trained(headed(build, shape, classes), source, remedy, budget, seed), scored
    seen, sets = with_features(network, source, seed, scored)
    size = seen.read(np.arange(1)).shape[1]
    return *trained(headed(linear, (size,), classes), seen, remedy, budget, seed), sets


def with_features(network: str, source: Any, seed: int, scored: Scored) -> tuple[tailfit.data.Arrays, Scored]:
    """Fixed features of MiniRocket in place of the series, for the training source and the sets to score."""
    if network != "minirocket":
        raise ValueError(f"{network} has no fixed features")
    x = source.read(np.arange(len(source)))
    whole = rocket(x, len(source.class_names), seed)
    before = keras.Model(whole.input, whole.layers[-1].input)
    features = lambda x: before.predict(x, batch_size=50, verbose=0)  # noqa: E731
    seen = tailfit.data.Arrays(features(x), source.labels, class_names=list(source.class_names))
    return seen, {prefix: (features(x), y) for prefix, (x, y) in scored.items()}


def rocket(x: np.ndarray, classes: int, seed: int) -> tailfit.Model:
    return tailfit.networks.minirocket(x.shape[1:], classes, seed=seed, records=x)


def layer_rows(name: str, source: Any, seed: int, scored: Scored) -> dict[str, Figures]:
    """Figures of one layer on the records, or features, of a source by ridge regression."""
    keras.utils.clear_session()
    model = linear(source.read(np.arange(1)).shape[1:], len(source.class_names), None)
    return ridge_rows(name, model, source, seed, scored)


def ridge_rows(
    name: str, model: tailfit.Model, source: Any, seed: int, scored: Scored, epochs: int = 1, transform: Any = None
) -> dict[str, Figures]:
    """Figures of a last layer by ridge regression, as MiniRocket's authors classify, alone and with remedies."""
    classes = len(source.class_names)
    plain = tailfit.Batches(source, seed=seed, transform=transform)
    features = keras.Model(model.input, model.layers[-1].input)
    sets = {prefix: (features.predict(x, batch_size=50, verbose=0), y) for prefix, (x, y) in scored.items()}

    def logits(x: np.ndarray) -> np.ndarray:
        kernel, bias = model.layers[-1].get_weights()
        return x @ kernel + bias

    tailfit.stages.ridge_classifier(model, plain, epochs=epochs)
    rows = {name: figures_on(sets, logits, classes)}
    adjustment = tailfit.posthoc.LogitAdjustment(plain, from_logits=True)
    adjusted = lambda x: adjustment.transform(logits(x))  # noqa: E731
    rows[f"{name} + post-hoc logit adjustment"] = figures_on(sets, adjusted, classes)
    tailfit.stages.ridge_classifier(model, plain.weighted("balanced"), epochs=epochs)
    rows[f"{name} + class weights"] = figures_on(sets, logits, classes)
    return rows


def headed(build: Callable[..., tailfit.Model], shape: tuple[int, ...], classes: int) -> Callable[..., tailfit.Model]:
    """Return a function that builds the network with the head that a remedy needs."""

    def made(*, cosine: bool, experts: bool) -> tailfit.Model:
        return build(shape, classes, head="cosine" if cosine else "experts" if experts else None)

    return made


def linear(shape: tuple[int, ...], classes: int, head: str | None) -> tailfit.Model:
    inputs = keras.Input(shape)
    kinds = {"cosine": CosineDense, "experts": Experts}
    # As in `tailfit.networks.minirocket`: with more features than samples, random weights would stay as noise.
    layer = kinds[head](classes) if head else keras.layers.Dense(classes, kernel_initializer="zeros")
    return tailfit.Model(inputs, layer(inputs))


def ensemble_figures(
    network: str, source: Any, remedy: Remedy, budget: Budget, seeds: Sequence[int], scored: Scored
) -> Figures:
    """Return the figures of the mean probabilities of networks trained with several seeds."""
    sums: dict[str, Any] = dict.fromkeys(scored, 0.0)
    for seed in seeds:
        model, _, sets = fitted(network, source, remedy, budget, seed, scored)
        for prefix, (x, _) in sets.items():
            logits = model.predict(x, batch_size=250, verbose=0).astype(np.float64)
            exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
            sums[prefix] = sums[prefix] + exponents / exponents.sum(axis=1, keepdims=True)
    classes = len(source.class_names)
    return {
        prefix + key: value
        for prefix, (_, y) in scored.items()
        for key, value in confusion_figures(y, sums[prefix].argmax(axis=1), classes).items()
    }
