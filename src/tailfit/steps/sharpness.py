"""Sharpness-aware minimisation: gradients at perturbed weights, where the loss is approximately highest nearby.

Concepts:
- The perturbation is `rho * g / ||g||`, with the norm over all trainable variables together.
- Weights are restored by assigning their saved values; subtracting the perturbation would add a rounding error in
  every step.
- Both passes use the same seeds, and so the same dropout. Statistics of BatchNormalization, metrics and the reported
  loss are those of the first pass, at the unperturbed weights.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import keras
from keras import ops

from tailfit.arguments import checked_class_counts, checked_number
from tailfit.errors import ArgumentError
from tailfit.hyperparameters import as_scheduled, config_of, value_of
from tailfit.schedules import Schedule
from tailfit.steps.classes import by_class
from tailfit.steps.tensors import combined, dense
from tailfit.training.step import Batch, Compute, Step, unreported

__all__ = ["SAM", "ImbSAM"]


def _checked_rho(rho: Any) -> Any:
    return checked_number(rho, "rho", fix=_RHO)


_RHO = "pass 0.05, the authors' value; 0 is plain training at twice the cost"


@keras.saving.register_keras_serializable(package="tailfit")
class SAM(Step):
    """Sharpness-aware minimisation: uses the gradient at `w + rho * g / ||g||`, where g is the gradient at w.

    A training step takes two passes, twice the time.

    Args:
        rho: Norm of the perturbation, in the units of the weights, >= 0; may follow a schedule.
    Raises:
        ArgumentError: If `rho < 0`.
    Source: Foret et al. 2021, arXiv:2010.01412, eq. 2 and 3 with p = 2.

    >>> import keras, numpy as np, tailfit
    >>> inputs = keras.Input((1,))
    >>> model = tailfit.Model(inputs, keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")(inputs))
    >>> model.compile(keras.optimizers.SGD(0.1), "mse", steps=[tailfit.steps.SAM(rho=0.5)])
    >>> history = model.fit(np.ones((1, 1)), np.zeros((1, 1)), verbose=0)
    >>> round(float(model.get_weights()[0].item()), 4)  # 1 - 0.1 * 2 * (1 + 0.5)
    0.7
    """

    def __init__(self, *, rho: float | Schedule = 0.05) -> None:
        self.rho = as_scheduled(rho, _checked_rho, name="rho", dtype=None)

    def gradients(self, model: keras.Model, compute: Compute, batch: Batch) -> tuple[tuple[Any, Any], list[Any]]:
        before = _state(model)
        result, gradients = compute(batch)
        with _second_pass(model, before), _moved(model, gradients, value_of(self.rho)):
            _, gradients = compute(batch)
        return result, gradients

    def get_config(self) -> dict[str, Any]:
        return {"rho": config_of(self.rho)}


@keras.saving.register_keras_serializable(package="tailfit")
class ImbSAM(Step):
    """SAM for the rare (tail) classes only; frequent (head) classes keep their plain gradient.

    The loss is split by class into L = L_head + L_tail, and the gradient is
    `grad L_head(w) + grad L_tail(w + rho * g / ||g||)` with `g = grad L_tail(w)`. A training step takes three passes.
    Penalties such as regularisers are taken at w.

    Args:
        class_counts: Number of samples of each class: a sequence, or an object with `class_counts` such as a source
            or a `Batches`.
        threshold: Largest number of samples of a tail class, > 0.
        rho: Norm of the perturbation, >= 0; may follow a schedule.
    Shapes: labels as one array of class indices, or one-hot or soft labels, whose class is the largest entry.
    Raises:
        ArgumentError: If a value is out of range, or no class is in the tail.
    Source: Zhou et al. 2023, arXiv:2308.07815: SAM for the loss of tail classes plus the plain loss of head classes.

    >>> import tailfit
    >>> tailfit.steps.ImbSAM(class_counts=[500, 60, 20], threshold=100).tail
    (False, True, True)
    """

    def __init__(self, *, class_counts: Any, threshold: float = 100, rho: float | Schedule = 0.05) -> None:
        self.rho = as_scheduled(rho, _checked_rho, name="rho", dtype=None)
        self.class_counts = checked_class_counts(class_counts)
        self.threshold = threshold
        self.tail = tuple(count <= threshold for count in self.class_counts)
        if not any(self.tail):
            raise ArgumentError(
                f"threshold={threshold!r}, where the rarest class has {min(self.class_counts):g} samples",
                expected="a threshold >= the count of at least one class",
                fix="raise the threshold, or drop the step if no class is rare",
            )

    def gradients(self, model: keras.Model, compute: Compute, batch: Batch) -> tuple[tuple[Any, Any], list[Any]]:
        before = _state(model)
        result, whole = compute(batch)
        tail = self._tail_of(batch)
        with _second_pass(model, before):
            _, here = compute(tail)
            _assign(before)
            with _moved(model, here, value_of(self.rho)):
                _, there = compute(tail)
        return result, combined(lambda all_of, at_w, away: all_of - at_w + away, whole, here, there)

    def _tail_of(self, batch: Batch) -> Batch:
        kept = [float(is_tail) for is_tail in self.tail]
        targets = [replace(target, share=by_class(kept, target.y) * target.share) for target in batch.targets]
        return replace(batch, targets=tuple(targets), penalties=0.0)

    def get_config(self) -> dict[str, Any]:
        counts = list(self.class_counts)
        return {"class_counts": counts, "threshold": self.threshold, "rho": config_of(self.rho)}


State = list[tuple[Any, Any]]


def _state(model: keras.Model) -> State:
    """Return copies of all state that a pass may assign; on PyTorch values change in place."""
    return [(v, ops.copy(v.value)) for v in [*model.non_trainable_variables, *model.metrics_variables]]


def _assign(state: State) -> None:
    for variable, value in state:
        variable.assign(value)


@contextmanager
def _second_pass(model: keras.Model, before: State) -> Iterator[None]:
    """Run a second pass from the state before the first; restore the state after the first at the end."""
    after = _state(model)
    _assign(before)
    try:
        with unreported():
            yield
    finally:
        _assign(after)


@contextmanager
def _moved(model: keras.Model, gradients: list[Any], rho: Any) -> Iterator[None]:
    """Set the weights to `w + rho * g / ||g||` within this context; they are w again afterwards, to the bit."""
    pairs = [(v, dense(g)) for v, g in zip(model.trainable_variables, gradients, strict=True) if g is not None]
    saved = [(variable, ops.copy(variable.value)) for variable, _ in pairs]
    squares = [ops.sum(ops.square(ops.cast(gradient, "float32"))) for _, gradient in pairs]
    scale = rho / (ops.sqrt(sum(squares, ops.zeros(()))) + 1e-12)
    for variable, gradient in pairs:
        variable.assign(variable.value + ops.cast(scale * ops.cast(gradient, "float32"), variable.dtype))
    try:
        yield
    finally:
        _assign(saved)
