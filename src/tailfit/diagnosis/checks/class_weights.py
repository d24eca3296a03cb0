"""Traps 9 to 12 and 29: `class_weight` is refused, ignored, or applied to the wrong class."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tailfit.diagnosis.registry import Problem, check
from tailfit.diagnosis.setup import Setup

__all__: list[str] = []

_YIELD = "have the data yield (x, y, sample_weight) with sample_weight = weights[y], and drop class_weight="
_BATCHES = "tailfit.Batches(source, class_weight=...) weights every kind of data"


@check(9, "class_weight with data that do not take it")
def unsupported_data(setup: Setup) -> Iterator[Problem]:
    """A custom adapter drops the weights without a word; loaders and generators raise."""
    if not setup.class_weight or setup.kind not in ("adapter", "torch DataLoader", "generator"):
        return
    kind = type(setup.x).__name__
    if setup.kind == "adapter":
        what = (
            f"Keras does not pass class_weight to the data adapter {kind}: every sample weighs 1, and nothing says so."
        )
    else:
        what = f"fit raises an error: Keras does not take class_weight together with a {setup.kind}."
    yield Problem(what, _YIELD, _BATCHES)


@check(25, "class_weight with grain")
def grain_with_class_weight(setup: Setup) -> Iterator[Problem]:
    """Keras refuses class weights for grain data."""
    if setup.class_weight and setup.kind == "grain":
        yield Problem(
            "fit raises an error: Keras does not take class_weight together with grain data.", _YIELD, _BATCHES
        )


@check(10, "class_weight for labels that are not one class per sample")
def several_labels(setup: Setup) -> Iterator[Problem]:
    """Keras takes the arg max of each row: the first of several labels, class 0 for a row without any."""
    y = setup.labels
    if not setup.class_weight or y is None or y.ndim < 2 or y.shape[-1] == 1 or _soft(y):
        return
    fix = "drop class_weight=, and weight the labels within the loss, or pass one sample_weight per sample or step"
    tailfit = "tailfit.Model refuses it; multi-label losses of tailfit take class_weights="
    if y.ndim > 2:
        yield Problem(
            f"Labels have the shape {y.shape}. Keras takes the arg max over the last axis, so the weights are those of "
            "positions or raise a TypeError.",
            fix,
            tailfit,
        )
        return
    rows = y.sum(axis=1)
    tokens = (y > 1).any()
    if not tokens and (rows == 1).all():
        return
    several, none = int((rows > 1).sum()), int((rows == 0).sum())
    if tokens:
        numbers = (
            f"the row {y[0].tolist()[:8]} gets the weight of class {int(y[0].argmax())}, the position of its maximum"
        )
    else:
        numbers = f"of {len(y)} rows, {several} have several labels and {none} have none"
        if several:
            row = int(np.flatnonzero(rows > 1)[0])
            labels = np.flatnonzero(y[row]).tolist()
            numbers += f"; row {row} has the labels {labels} and gets the weight of class {labels[0]} only"
        if none:
            numbers += f"; rows without labels get {setup.class_weight.get(0, 1.0):g}, the weight of class 0"
    yield Problem(
        "Keras takes the arg max of each row as its class: the first of several labels, class 0 for a row without any. "
        "The other labels' weights are ignored.",
        fix,
        tailfit,
        numbers,
    )


@check(29, "class_weight for mixed labels")
def mixed_labels(setup: Setup) -> Iterator[Problem]:
    """After Mixup or CutMix a row belongs to two classes, and Keras weights it by the larger share."""
    y = setup.labels
    if not setup.class_weight or y is None or not _soft(y):
        return
    table = np.array([setup.class_weight.get(index, 1.0) for index in range(y.shape[1])])
    mixed = int(np.flatnonzero(y.max(axis=1) < 1)[0])
    right, given = float(y[mixed] @ table), float(table[y[mixed].argmax()])
    yield Problem(
        "Rows of y are mixtures of classes (Mixup, CutMix, label smoothing). Keras weights each by its largest share "
        "only.",
        "drop class_weight=, and pass sample_weight = y @ weights, with weights an array by class",
        "steps=[tailfit.steps.Mixup()] mixes after the weights are applied",
        f"row {mixed} is {np.round(y[mixed], 3).tolist()}: its weight is {given:g}, where the mixture weighs {right:g}",
    )


@check(11, "class_weight with several outputs")
def several_outputs(setup: Setup) -> Iterator[Problem]:
    """Keras refuses arrays, and fails with an obscure error for data sets."""
    batch = setup.batch
    nested = batch is not None and keras.tree.is_nested(batch.y)
    if setup.class_weight and (len(setup.outputs) > 1 or nested):
        yield Problem(
            "fit raises an error: class_weight works for models with one output only. From a PyDataset it is an "
            "IndexError, or an error about shapes.",
            "pass sample_weight={output: weights[y[output]], ...}, one array per output",
            "tailfit.weights.sample_weights(labels, {output: table}) computes these arrays",
        )


@check(12, "class_weight together with sample_weight")
def both_weights(setup: Setup) -> Iterator[Problem]:
    """Keras takes one of the two."""
    batch = setup.batch
    if setup.class_weight and batch is not None and batch.sample_weight is not None:
        yield Problem(
            "fit raises an error: class_weight and sample_weight are not combined.",
            "pass sample_weight = sample_weight * class_weights[y], and drop class_weight=",
            "tailfit.Model.fit and tailfit.Batches multiply the two",
        )


@check(12, "classes without a weight")
def missing_classes(setup: Setup) -> Iterator[Problem]:
    """A class that is missing in the table silently weighs 1."""
    table = setup.get("class_weight")
    if not table or setup.classes is None:
        return
    counts = np.bincount(setup.classes[setup.classes >= 0])
    missing = [int(index) for index in np.flatnonzero(counts) if int(index) not in setup.class_weight]
    if not missing:
        return
    given = ", ".join(f"{key!r}: {value:g}" for key, value in list(table.items())[:5])
    yield Problem(
        "Classes that are missing in class_weight silently weigh 1, whatever the scale of the other weights.",
        f"add {missing[0]}: 1.0 if that is meant, else its weight",
        "tailfit.Model.fit refuses a table without a class that occurs",
        f"{sum(int(counts[index]) for index in missing)} of {counts.sum()} samples read are of class "
        f"{', '.join(map(str, missing[:5]))} and weigh 1; "
        f"the table is {{{given}}}",
    )


def _soft(y: NDArray[Any]) -> bool:
    """Return whether rows are mixtures of classes: they sum to 1, and some have no entry of 1."""
    if y.ndim != 2 or y.shape[1] < 2 or y.dtype.kind != "f" or (y < 0).any():
        return False
    return bool(np.allclose(y.sum(axis=1), 1, atol=1e-3) and (y.max(axis=1) < 1 - 1e-3).any())
