"""Flat minima: the gradient is taken not at the weights but at the worst point near them.

Concepts:
- The way there is `rho * g / ||g||`, the norm over all trainable variables together.
- Weights are put back by assigning what they were; subtracting the way would leave a rounding error each step.
- The second pass is the same function as the first: same seeds, so the same dropout. What passes write (statistics of
  BatchNormalization, metrics) is the first one's, at the true weights; so is the loss reported.
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


_RHO = "0.05 is the authors'; 0 is plain training at twice the cost"


@keras.saving.register_keras_serializable(package="tailfit")
class SAM(Step):
    """Sharpness-aware minimisation: the gradient at `w + rho * g / ||g||`, g the gradient at w. Twice the cost.

    Args:
        rho: How far away, in the units of the weights, >= 0; may follow a schedule.
    Raises:
        ArgumentError: `rho < 0`.
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
    """SAM for the tail classes only: head classes, which have samples enough, keep their own gradient.

    With L = L_head + L_tail, the parts of the loss by the sample's class, the gradient is
    `grad L_head(w) + grad L_tail(w + rho * g / ||g||)`, `g = grad L_tail(w)`. Three passes. Penalties (regularisers)
    stay at w.

    Args:
        class_counts: Samples of each class: a sequence, or a source or Batches, which have `class_counts`.
        threshold: Classes with at most so many samples are the tail, > 0.
        rho: How far away, >= 0; may follow a schedule.
    Shapes: labels one array of codes, or one-hot or soft, of which the largest entry is the class.
    Raises:
        ArgumentError: for a value out of range, or a threshold that leaves the tail empty.
    Source: Zhou et al. 2023, arXiv:2308.07815: SAM of the tail classes' loss beside the head classes' plain one.

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
                f"threshold={threshold!r} beside a rarest class of {min(self.class_counts):g} samples",
                expected="a threshold that at least one class does not exceed",
                fix="raise it, e.g. to the count of the rarest class that is learnt well; without a tail use no step",
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
    """Copies of everything that a pass may write; on PyTorch a value changes in place."""
    return [(v, ops.copy(v.value)) for v in [*model.non_trainable_variables, *model.metrics_variables]]


def _assign(state: State) -> None:
    for variable, value in state:
        variable.assign(value)


@contextmanager
def _second_pass(model: keras.Model, before: State) -> Iterator[None]:
    """A pass that starts from where the first one did, and leaves what the first one left."""
    after = _state(model)
    _assign(before)
    try:
        with unreported():
            yield
    finally:
        _assign(after)


@contextmanager
def _moved(model: keras.Model, gradients: list[Any], rho: Any) -> Iterator[None]:
    """Within, the weights are `w + rho * g / ||g||`; afterwards they are w to the bit."""
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
