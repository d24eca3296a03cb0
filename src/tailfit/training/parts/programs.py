"""The compiled programs of a step by parts: masses, one piece, the combination of two nodes, and the end of the step.

They have the same shapes for every number of workers, so that each computes the same bits everywhere.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import keras
from keras import ops

from tailfit import keras_private as private
from tailfit.counting import uncounted
from tailfit.errors import StepError
from tailfit.training.backends import compiled_state, engine
from tailfit.training.backends.epoch_results import Kind, logs_of_step
from tailfit.training.gradients import scaled_by
from tailfit.training.parts.state import State
from tailfit.training.parts.vectors import Layout, Vectors, added, packed
from tailfit.training.reported import Reporting, reporting
from tailfit.training.shares import SUM, WEIGHTED, compiled_losses, mass, penalty_of, reduction_of
from tailfit.training.step import Batch, Target
from tailfit.training.step_runner import Runner

__all__ = ["Programs", "Rows"]

Rows = Any  # (x, y, y_pred, sample_weight, masks of y_pred), each with the rows of a piece; x only if it is needed


class Programs:
    """The programs of one compiled model.

    Args:
        model: Built and compiled model.
        runner: The steps of the model.
        needs_x: Whether the end of a step needs the inputs.
    Attributes:
        state: What the pieces change.
        needs_rows: Whether the end of a training step needs labels and predictions.
    """

    def __init__(self, model: Any, runner: Runner, *, needs_x: bool) -> None:
        self.model, self.runner, self._needs_x = model, runner, needs_x
        self._several = len(compiled_losses(model)) > 1
        self.needs_rows = needs_x or self._several or compiled_state.has_compiled_metrics(model)
        self.state = State(model, runner.steps)
        self.layout, self._masked = Layout((), ()), False  # of the piece that ran, or was traced, last
        compiled = not model.run_eagerly and (keras.backend.backend() != "jax" or bool(model.jit_compile))
        self.masses = engine.function(self._masses, compiled=compiled)
        self.piece = engine.function(self._piece, compiled=compiled)
        self.add = engine.function(self._add, compiled=compiled)
        self.finish = engine.function(self._finish, compiled=compiled)
        self.evaluate = engine.function(self._evaluate, compiled=compiled)
        self.finish_evaluation = engine.function(self._finish_evaluation, compiled=compiled)

    @property
    def counts_by_weights(self) -> bool:
        """Whether pieces count by their sums of weights."""
        return reduction_of(self.model) == WEIGHTED

    # -- training --------------------------------------------------------------------------------------

    def _masses(self, data: Any, seeds: Any) -> Any:
        """Return the sum of weights of each target of a piece, `(targets,)`."""
        with self._unchanged(seeds):
            batch = self._batch(data)
            return ops.stack([_sum_of_weights(target) for target in batch.targets])

    def _piece(self, data: Any, seeds: Any, counted: Any, masses: Any) -> tuple[Vectors, Rows]:
        """Return what a piece adds to the step.

        Args:
            data: The samples of the piece.
            seeds: Its seeds.
            counted: Its share of the samples of the batch.
            masses: Sum of the weights of the whole batch for each target, or None.
        """
        model, penalty = self.model, self.runner.penalty
        with self._unchanged(seeds) as before, scaled_by(model), reporting(Reporting.PENALTIES):
            batch, share = self._shared(self._batch(data), counted, masses)
            penalty.assign(0.0)
            compute, forward = self.runner.composed(model)
            if model.trainable_variables:
                (loss, y_pred), gradients = compute(batch)
            else:  # all layers frozen: as Keras does, update the metrics only
                (loss, y_pred), gradients = forward(batch), []
            first, divisor = batch.targets[0], self._divisor(batch.targets[0], y_pred)
            numbers = [loss, penalty.value]
            if self._masked:
                # Masks are known only now: undo the share, and divide by the divisor of the whole batch at the end.
                factor = ops.divide_no_nan(divisor, ops.cast(share, "float32"))
                numbers = [factor * ops.cast(part, "float32") for part in numbers]
                gradients = [None if part is None else ops.cast(factor, part.dtype) * part for part in gradients]
            numbers = ops.stack([ops.cast(part, "float32") for part in (*numbers, divisor)])
            changes = [_difference(v.value, old) for v, old in zip(self.state.added, before, strict=True)]
            averaged = [variable.value for variable in self.state.averaged]
            vectors, self.layout = packed([numbers, *gradients, *changes], averaged)
            rows = self._rows(batch.x, first.y, y_pred, first.sample_weight) if self.needs_rows else None
        return vectors, rows

    def _add(self, left: Vectors, left_pieces: Any, right: Vectors, right_pieces: Any) -> Vectors:
        return added(self.layout, left, left_pieces, right, right_pieces)

    def _finish(self, vectors: Vectors, samples: Any, rows: Rows) -> Any:
        """Apply the gradients of the whole batch, assign the state after it, and return the logs."""
        (numbers, *others), averaged = self.layout.unpacked(vectors)
        count = len(others) - len(self.state.added)
        gradients, changes = others[:count], others[count:]
        loss, penalty, divisor = numbers[0], numbers[1], numbers[2]
        if self._masked:
            loss, penalty = ops.divide_no_nan(loss, divisor), ops.divide_no_nan(penalty, divisor)
            gradients = [
                None if part is None else ops.divide_no_nan(part, ops.cast(divisor, part.dtype)) for part in gradients
            ]
        for variable, change in zip(self.state.added, changes, strict=True):
            variable.assign(_sum(variable.value, change))
        for variable, value in zip(self.state.averaged, averaged, strict=True):
            variable.assign(value)
        if gradients:
            with scaled_by(self.model):
                self.model.optimizer.apply(gradients, self.model.trainable_variables)
        compiled_state.forget_losses_of_calls(self.model)
        self._report(loss, penalty, divisor, samples, rows)
        return self._logs("train", loss, samples, rows)

    # -- evaluation ------------------------------------------------------------------------------------

    def _evaluate(self, data: Any, seeds: Any) -> tuple[Any, Rows]:
        """Return the penalty and the predictions of a piece, in evaluation."""
        with self._unchanged(seeds), uncounted():
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
            y_pred = private.call_model(self.model, x, training=False)
            penalty = penalty_of(self.model)
            rows = self._rows(x, y, y_pred, sample_weight)
        return ops.reshape(ops.zeros(()) if penalty is None else ops.cast(penalty, "float32"), (1,)), rows

    def _finish_evaluation(self, penalty: Any, samples: Any, rows: Rows) -> Any:
        """Compute the loss and the metrics of a whole batch, and return the logs."""
        compiled_state.forget_losses_of_calls(self.model)
        x, y, y_pred, sample_weight = _with_masks(rows)
        with uncounted():
            loss = private.compute_loss(self.model, x, y, y_pred, sample_weight, training=False)
            known = penalty_of(self.model)  # of regularizers, which need no call
            loss = loss + (penalty if known is None else penalty - known)
            return self._logs("test", loss, samples, rows)

    # -- shared ----------------------------------------------------------------------------------------

    @contextmanager
    def _unchanged(self, seeds: Any) -> Iterator[list[Any]]:
        """Seed the generators; yield the values of the added state; restore all state at the end."""
        if engine.COMPILES:  # while the program is traced, which may create variables
            self.state = State(self.model, self.runner.steps)
        state = self.state
        variables = [*state.added, *state.averaged, *state.seeds, *compiled_state.output_loss_variables(self.model)]
        before = [ops.copy(ops.convert_to_tensor(variable.value)) for variable in variables]
        for number, variable in enumerate(state.seeds):
            variable.assign(ops.cast(seeds[number], variable.dtype))
        try:
            yield before[: len(state.added)]
        finally:
            for variable, value in zip(variables, before, strict=True):
                variable.assign(value)

    def _batch(self, data: Any) -> Batch:
        return self.runner.batch(self.model, data)

    def _shared(self, batch: Batch, counted: Any, masses: Any) -> tuple[Batch, Any]:
        """Return a piece with shares such that the losses of all pieces add up to the loss of the batch.

        The second result is the share of the first target, without the share that it had before.
        """
        reduction, shares = reduction_of(self.model), []
        for number, target in enumerate(batch.targets):
            share = 1.0 if reduction == SUM else counted
            if reduction == WEIGHTED and target.sample_weight is not None:
                share = ops.divide_no_nan(_sum_of_weights(target), masses[number])
            shares.append(share)
        pairs = zip(batch.targets, shares, strict=True)
        targets = tuple(replace(target, share=target.share * share) for target, share in pairs)
        return replace(batch, targets=targets, penalties=batch.penalties * counted), shares[0]

    def _divisor(self, target: Target, y_pred: Any) -> Any:
        """Return the divisor of the loss of a piece; 0 if nothing needs it."""
        masks = [private.get_keras_mask(part) for part in keras.tree.flatten(y_pred)]
        self._masked = reduction_of(self.model) != SUM and any(mask is not None for mask in masks)
        if not self._masked and self._aggregate() is None:
            return 0.0
        return mass(self.model, target.sample_weight, y_pred)

    def _aggregate(self) -> Any:
        """Return the loss that is counted over the epoch; None if it is the mean over samples, or there are several."""
        aggregates = getattr(private.loss_tracker(self.model), "aggregates", [])
        return aggregates[0] if not self._several and len(aggregates) == 1 and aggregates[0].needed else None

    def _report(self, loss: Any, penalty: Any, divisor: Any, samples: Any, rows: Rows) -> None:
        aggregate = self._aggregate()
        if aggregate is not None:
            divisor = 1.0 if reduction_of(self.model) == SUM else divisor
            aggregate.count((loss - penalty) / aggregate.factor, divisor, samples)
        if self._several:  # each is reported by itself
            with uncounted():
                x, y, y_pred, sample_weight = _with_masks(rows)
                private.compute_loss(self.model, x, y, y_pred, sample_weight, training=True)

    def _rows(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Rows:
        masks = [private.get_keras_mask(part) for part in keras.tree.flatten(y_pred)]
        return (x if self._needs_x else None), y, y_pred, sample_weight, masks

    def _logs(self, kind: Kind, loss: Any, samples: Any, rows: Rows) -> Any:
        with logs_of_step(self.model, kind):
            if rows is None:
                tracker = private.loss_tracker(self.model)
                tracker.update_state(private.unscale_loss_for_distribution(loss), sample_weight=samples)
                return self.model.get_metrics_result()
            return self.model.update_metrics(loss, *_with_masks(rows))


def _with_masks(rows: Rows) -> tuple[Any, Any, Any, Any]:
    """Return (x, y, y_pred, sample_weight); where the inputs are not needed, the predictions stand in for them."""
    x, y, y_pred, sample_weight, masks = rows
    for part, mask in zip(keras.tree.flatten(y_pred), masks, strict=True):
        if mask is not None:
            private.set_keras_mask(part, mask)
    return (y_pred if x is None else x), y, y_pred, sample_weight


def _sum_of_weights(target: Target) -> Any:
    if keras.tree.is_nested(target.sample_weight):
        raise StepError(
            "weights of several outputs under reduction='mean_with_sample_weight', in a training by parts",
            expected="one array of weights, or losses reduced by a plain mean or sum",
            fix="use reduction='sum_over_batch_size' in the losses",
        )
    return ops.sum(ops.cast(target.sample_weight, "float32"))


def _difference(value: Any, before: Any) -> Any:
    if keras.backend.standardize_dtype(before.dtype) == "bool":
        value, before = ops.cast(value, "int32"), ops.cast(before, "int32")
    return ops.where(ops.equal(value, before), ops.zeros_like(before), value - before)  # inf - inf is NaN


def _sum(value: Any, change: Any) -> Any:
    total = ops.cast(value, change.dtype) + change
    return ops.cast(total, keras.backend.standardize_dtype(value.dtype))
