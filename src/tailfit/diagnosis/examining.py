"""`tailfit.doctor`: examine a compiled Keras model and the data of a fit."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tailfit.diagnosis.batches import kind_of
from tailfit.diagnosis.checks import (
    callbacks,
    class_weights,
    datasets,
    execution,
    losses,
    metrics,
    reported,
    training_step,
)
from tailfit.diagnosis.finding import Finding
from tailfit.diagnosis.observing import observe
from tailfit.diagnosis.registry import CHECKS
from tailfit.diagnosis.setup import Observed, Setup
from tailfit.errors import ArgumentError
from tailfit.text import TailfitWarning

__all__ = ["DoctorWarning", "doctor", "examine", "examine_steps"]

# Imported to register the checks.
del callbacks, class_weights, datasets, execution, losses, metrics, reported, training_step


class DoctorWarning(TailfitWarning):
    """A check could not be made."""


def doctor(
    model: keras.Model,
    data: Any = None,
    y: Any = None,
    *,
    batch_size: int | None = None,
    epochs: int = 1,
    callbacks: Sequence[Any] | Any | None = None,
    validation_split: float = 0.0,
    validation_data: Any = None,
    shuffle: bool | None = None,
    class_weight: Mapping[int, float] | None = None,
    sample_weight: Any = None,
    steps_per_epoch: int | None = None,
) -> list[Finding]:
    """Find the traps of Keras that a plain Keras set-up steps into.

    Pass what you would pass to `model.fit`. Nothing is trained: the first batches are read and computed, and variables
    and random numbers are restored. Generators are not read, since that would use up a batch. If the model contains
    code of yours (a `train_step`, layers, losses), one step is run on the first batch, and undone.

    Args:
        model: Compiled Keras model. For a `tailfit.Model` the list is empty.
        data: What `fit` takes as `x`: arrays or a data set. A tuple (x, y) or (x, y, sample_weight) is accepted, too.
        y: Labels, for arrays.
        batch_size, epochs, callbacks, validation_split, validation_data: As in `fit`.
        shuffle, class_weight, sample_weight, steps_per_epoch: As in `fit`.
    Returns:
        The findings, ordered by the number of the trap. `print(finding)` shows one in a few lines.
    Raises:
        ArgumentError: If the model is not a compiled Keras model, or `fit` would refuse the data.

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, activation="softmax")])
    >>> model.compile("sgd", "sparse_categorical_crossentropy")
    >>> x, y = np.zeros((6, 2)), np.array([0, 0, 0, 1, 1, 2])
    >>> (finding,) = doctor(model, (x, y), class_weight={0: 0.7, 1: 1.0})
    >>> finding.trap, finding.numbers
    (12, '1 of 6 samples read are of class 2 and weigh 1; the table is {0: 0.7, 1: 1}')
    """
    if not isinstance(model, keras.Model):
        raise ArgumentError(
            f"model of type {type(model).__name__}", expected="a keras.Model", fix="pass the compiled Keras model"
        )
    if not model.compiled:
        raise ArgumentError(
            f"the model {model.name!r}, which is not compiled",
            expected="a compiled model",
            fix="call model.compile(optimizer, loss) first",
        )
    if isinstance(data, tuple) and y is None and 1 <= len(data) <= 3:
        data, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        sample_weight = weights if sample_weight is None else sample_weight
    if kind_of(data) is None:
        raise ArgumentError(
            f"data of type {type(data).__name__}",
            expected="arrays, a PyDataset, tf.data.Dataset, torch DataLoader, grain data or a generator",
            fix="pass (x, y) as NumPy arrays, for example",
        )
    given = {
        "x": data,
        "y": y,
        "batch_size": batch_size,
        "epochs": epochs,
        "callbacks": callbacks,
        "validation_split": validation_split,
        "validation_data": validation_data,
        "shuffle": shuffle,
        "class_weight": class_weight,
        "sample_weight": sample_weight,
        "steps_per_epoch": steps_per_epoch,
    }
    setup = Setup(model, given)
    findings = [*examine(setup), *examine_steps(setup, observe(setup))]
    return sorted(findings, key=lambda each: each.trap)


def examine(setup: Setup) -> list[Finding]:
    """Run all checks that apply to a call before it runs."""
    return _found(setup, after_steps=False)


def examine_steps(setup: Setup, seen: Observed | None) -> list[Finding]:
    """Run the checks that need observed training steps."""
    setup.observed = seen
    return [] if seen is None else _found(setup, after_steps=True)


def _found(setup: Setup, *, after_steps: bool) -> list[Finding]:
    if any(cls.__module__.startswith("tailfit.") for cls in type(setup.model).__mro__):
        return []  # tailfit's own models avoid or refuse these traps
    findings: list[Finding] = []
    for each in CHECKS:
        if setup.call not in each.calls or each.after_steps != after_steps:
            continue
        try:
            findings += each.findings(setup)
        except Exception as error:  # objects of the user may raise anything; other checks still count
            message = f"The check for trap {each.trap} failed: {type(error).__name__}: {error}"
            warnings.warn(DoctorWarning(message), stacklevel=4)
    return sorted(findings, key=lambda each: each.trap)
