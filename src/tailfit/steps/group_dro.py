"""Distributionally robust optimisation over groups: the loss of the worst groups counts most."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.arguments import checked_number
from tailfit.counting import counts_labels
from tailfit.data import Source
from tailfit.errors import ArgumentError, StepError
from tailfit.steps.sample_losses import losses_over_targets
from tailfit.training.shares import WEIGHTED, reduction_of, times
from tailfit.training.step import Batch, Loss, Step

__all__ = ["GroupDRO"]


@keras.saving.register_keras_serializable(package="tailfit")
class GroupDRO(Step):
    """Trains on the mean losses of groups, `sum_g q_g L_g`, whose weights q grow for groups of high loss.

    L_g is the mean loss of group g in the batch. At each step `q_g` is first multiplied by
    `exp(eta * (L_g + adjustment / sqrt(n_g)))`, and q is divided by its sum. Groups without samples in the batch have a
    loss of 0. Groups are wells, machines, sites or sources. Draw them about equally often, as the authors do, and
    regularise strongly (weight decay, few epochs): a network that fits all samples has no worst group.

    The weights q are kept in the variable `group_weights` in the order of `group_names`, and saved in the checkpoints
    of `Resume`. In a training by `parts`, each part moves them by itself, and their mean is kept.

    Args:
        by: Column of the metadata whose values are the groups. By default the groups of the source (`data.group` of a
            recipe).
        eta: Step size of the weights, >= 0. With 0 all groups count equally.
        adjustment: The authors' C, >= 0, which increases the loss of groups of few training samples n_g.
    Shapes: one output `(batch, C)` and one loss; training data in a `tailfit.Batches`.
    Raises:
        ArgumentError: If a value is out of range.
        StepError: If the data are no `Batches` or their source has no groups; at the first step, if the model has
            several losses or outputs.
    Source: Sagawa et al. 2020, arXiv:1911.08731, algorithm 1 and eq. 5.

    >>> import keras, numpy as np, polars, tailfit
    >>> inputs = keras.Input((4,))
    >>> model = tailfit.Model(inputs, keras.layers.Dense(2)(inputs))
    >>> dro = tailfit.steps.GroupDRO(by="site", eta=0.1)
    >>> model.compile("sgd", tailfit.losses.CrossEntropy(from_logits=True), steps=[dro])
    >>> sites = polars.DataFrame({"id": ["0", "1", "2", "3"], "site": ["A", "A", "B", "B"]})
    >>> source = tailfit.data.Arrays(np.eye(4), [0, 1, 0, 1], metadata=sites)
    >>> history = model.fit(tailfit.Batches(source, batch_size=4), verbose=0)
    >>> dro.group_names, round(float(ops.sum(dro.group_weights)), 4)
    (('A', 'B'), 1.0)
    """

    group_weights: Any = None  # variable, float32 (groups,)
    group_names: tuple[str, ...] = ()

    def __init__(self, *, by: str | None = None, eta: float = 0.01, adjustment: float = 0.0) -> None:
        if by is not None and not isinstance(by, str):
            raise ArgumentError(
                f"by={by!r}", expected="the name of a metadata column", fix="pass by='site', for example"
            )
        self.by = by
        self.eta = checked_number(eta, "eta", fix="the authors use 0.01")
        self.adjustment = checked_number(adjustment, "adjustment", fix="the authors try 0 to 5")
        self._raised: Any = 0.0  # adjustment / sqrt(n_g)

    def fields(self, source: Source) -> Mapping[str, Any]:
        grouping = source.grouping if self.by is None else source.grouped(self.by).grouping
        if grouping is None:
            raise StepError(
                "a source without groups for the step GroupDRO",
                expected="groups, such as wells, machines or sites",
                fix="pass by= a metadata column, or group the data: data.group in a recipe, source.grouped in Python",
            )
        present, codes, counts = np.unique(grouping.codes, return_inverse=True, return_counts=True)
        names = tuple(grouping.names[code] for code in present)
        if self.group_weights is None or names != self.group_names:
            even = np.full(len(names), 1 / len(names), np.float32)
            self.group_weights = keras.Variable(
                even, trainable=False, dtype="float32", autocast=False, aggregation="mean", name="group_weights"
            )
        self.group_names = names
        self._raised = (self.adjustment / np.sqrt(counts)).astype(np.float32)
        return {f"group by {self.by}": codes}

    def loss(self, model: keras.Model, loss: Loss, batch: Batch, y_pred: Any) -> Any:
        groups = ops.cast(batch.field(f"group by {self.by}"), "int32")
        member = ops.one_hot(groups, len(self.group_names), dtype="float32")
        weight = batch.targets[0].sample_weight
        weighted = ops.reshape(times(1.0, weight, y_pred), (-1,))
        counted = weighted if reduction_of(model) == WEIGHTED else ops.ones_like(weighted)
        values = weighted * ops.cast(losses_over_targets(model, batch, y_pred, "GroupDRO"), "float32")
        mass = ops.matmul(counted, member)  # of each group in the batch
        if counts_labels():
            raised = ops.where(mass > 0, ops.convert_to_tensor(self._raised), 0.0)
            self._move(ops.divide_no_nan(ops.matmul(values, member), mass) + raised)
        # The loss divides by the mass of the batch, and the objective by that of each group.
        of_groups = self.group_weights * ops.divide_no_nan(ops.sum(counted), mass)
        share = ops.matmul(member, of_groups)
        targets = tuple(replace(target, share=share * target.share) for target in batch.targets)
        return loss(replace(batch, targets=targets), y_pred)

    def _move(self, losses: Any) -> None:
        moved = self.group_weights * ops.exp(self.eta * losses)
        self.group_weights.assign(moved / ops.sum(moved))

    def get_config(self) -> dict[str, Any]:
        return {"by": self.by, "eta": self.eta, "adjustment": self.adjustment}
