"""The base class of steps: changes of the default training step, written once for every backend.

Concepts:
- *batch*: inputs and *targets*. The loss is the sum over the targets of `share * L(y, y_pred, sample_weight)`. So a
  mixed sample keeps both labels, in any form, each with its own weight, and works with any loss.
- *hooks*: `batch`, `forward`, `loss` and `gradients`. Each of the last three receives the function that it wraps, and
  may call it several times, on another batch or at other weights. The first step of the list is the outermost.
- All hooks run inside the compiled step: use `keras.ops`, and variables for state.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import keras

from tailfit.counting import uncounted
from tailfit.data import Source
from tailfit.errors import StepError
from tailfit.hyperparameters import Scheduled
from tailfit.training.reported import Reporting, reporting

__all__ = ["Batch", "Compute", "Forward", "Loss", "Step", "Target", "unreported"]


@dataclass(frozen=True)
class Target:
    """One set of labels of a batch.

    Args:
        y: Labels, in the form that the compiled loss takes.
        sample_weight: Sample weights of these labels, or None.
        share: Factor of their loss: a scalar, or one number per sample, `(batch,)`.

    >>> Target([0, 1], share=0.7).share
    0.7
    """

    y: Any
    sample_weight: Any = None
    share: Any = 1.0


@dataclass(frozen=True)
class Batch:
    """The data of one training step; change it with `dataclasses.replace`.

    Args:
        x: Inputs, in the form that the model takes.
        targets: At least one target; metrics use the first.
        penalties: Factor of `add_loss` and regularisers: 1, or less for a part of a batch.
        fields: Values of each sample, `(batch, ...)`, by name: those that a step has asked for; see `Step.fields`.

    >>> import dataclasses
    >>> batch = Batch(x=[[1.0], [2.0]], targets=(Target([0, 1]),))
    >>> dataclasses.replace(batch, targets=(Target([0, 1], share=0.7), Target([1, 0], share=0.3))).targets[1].y
    [1, 0]
    """

    x: Any
    targets: tuple[Target, ...]
    penalties: Any = 1.0
    fields: Mapping[str, Any] = field(default_factory=dict)

    def field(self, name: str) -> Any:
        """Return one of the `fields`.

        Raises:
            StepError: If the batch does not carry it, because it does not come from a `Batches`.
        """
        if name not in self.fields:
            raise StepError(
                f"a batch without the field {name!r}",
                expected="batches that carry it: tailfit.Model.fit reads it from the source of a tailfit.Batches",
                fix="call fit(tailfit.Batches(tailfit.data.Arrays(x, y), batch_size=64)), not train_on_batch",
            )
        return self.fields[name]


Loss = Callable[[Batch, Any], Any]  # (batch, y_pred) -> scalar loss
Forward = Callable[[Batch], tuple[Any, Any]]  # batch -> (loss, y_pred)
Compute = Callable[[Batch], tuple[tuple[Any, Any], list[Any]]]  # batch -> ((loss, y_pred), gradients)


class Step:
    """Base class of the steps for `compile(steps=[...])`. Override the hooks that you need.

    A hook may read and assign variables: seeds, counters, weights (restore weights that you change). To be saved with
    its model, a step must be registered with Keras and return its constructor arguments from `get_config`.

    >>> import dataclasses, keras, numpy as np, tailfit
    >>> @keras.saving.register_keras_serializable(package="docs")
    ... class Noise(tailfit.steps.Step):
    ...     def __init__(self, *, stddev):
    ...         self.stddev, self.seed = stddev, keras.random.SeedGenerator(0)
    ...     def batch(self, model, batch):
    ...         noise = keras.random.normal(keras.ops.shape(batch.x), stddev=self.stddev, seed=self.seed)
    ...         return dataclasses.replace(batch, x=batch.x + noise)
    ...     def get_config(self):
    ...         return {"stddev": self.stddev}
    >>> inputs = keras.Input((3,))
    >>> model = tailfit.Model(inputs, keras.layers.Dense(1)(inputs))
    >>> model.compile("sgd", "mse", steps=[Noise(stddev=0.1)])
    >>> history = model.fit(np.ones((8, 3)), np.zeros((8, 1)), epochs=2, verbose=0)
    >>> len(history.history["loss"])
    2
    """

    def prepare(self, model: keras.Model) -> None:
        """Create variables of this step that depend on the model; `compile` calls this.

        Those in `trainable_variables` are trained together with the weights of the model, by its optimizer. They are
        saved in the checkpoints of `Resume`, but do not belong to the model: it is saved and served without them.
        """

    @property
    def trainable_variables(self) -> list[Any]:
        """Trainable variables of this step; `model.trainable_variables` ends with them while the step is compiled."""
        return []

    def fields(self, source: Source) -> Mapping[str, Any]:
        """Return values of every sample of the training data for `batch.fields` to carry, by name.

        `fit` calls this before its first step, and requires a `tailfit.Batches` if there are any fields. Each array has
        one row of numbers per sample, in the order of the source, and each batch gets the rows of its samples, whatever
        the sampler, the number of workers or the step at which an interrupted run continues. A step whose state has an
        entry per sample or group creates it here.

        >>> import numpy as np, tailfit
        >>> class Positions(tailfit.steps.Step):
        ...     def fields(self, source):
        ...         return {"position": np.arange(len(source))}
        ...     def batch(self, model, batch):
        ...         assert len(batch.field("position").shape) == 1
        ...         return batch
        >>> inputs = keras.Input((3,))
        >>> model = tailfit.Model(inputs, keras.layers.Dense(1)(inputs))
        >>> model.compile("sgd", "mse", steps=[Positions()])
        >>> source = tailfit.data.Arrays(np.ones((4, 3)), np.array([0, 1, 0, 1]))
        >>> history = model.fit(tailfit.Batches(source, batch_size=4), verbose=0)
        """
        return {}

    def batch(self, model: keras.Model, batch: Batch) -> Batch:
        """Return the batch to train on; runs once per training step, before the other hooks."""
        return batch

    def forward(self, model: keras.Model, forward: Forward, batch: Batch) -> tuple[Any, Any]:
        """Return `(loss, y_pred)`; `forward(batch)` is one pass through the model. Runs under differentiation."""
        return forward(batch)

    def loss(self, model: keras.Model, loss: Loss, batch: Batch, y_pred: Any) -> Any:
        """Return the scalar loss of one pass; `loss(batch, y_pred)` is the compiled loss with penalties.

        Runs under differentiation.
        """
        return loss(batch, y_pred)

    def gradients(self, model: keras.Model, compute: Compute, batch: Batch) -> tuple[tuple[Any, Any], list[Any]]:
        """Return `((loss, y_pred), gradients)` with one gradient per trainable variable, like `compute(batch)`.

        A gradient may be None if the loss does not depend on the variable (TensorFlow, PyTorch). Gradients are scaled
        if the optimizer scales the loss.
        """
        return compute(batch)

    def scheduled(self) -> Iterable[Any]:
        """Return the hyper-parameters that follow a schedule; each has `set_epoch(epoch)`."""
        return [part for part in vars(self).values() if isinstance(part, Scheduled)]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return the step with the configuration `config`."""
        return cls(**keras.saving.deserialize_keras_object(config))


@contextmanager
def unreported() -> Iterator[None]:
    """Compute losses for their gradients only, within this context: they are not reported, and count no labels.

    >>> import tailfit
    >>> class Twice(tailfit.steps.Step):
    ...     def gradients(self, model, compute, batch):
    ...         result, gradients = compute(batch)
    ...         with unreported():
    ...             _, again = compute(batch)  # the reported loss is that of the first pass
    ...         return result, again
    """
    with reporting(Reporting.NOTHING), uncounted():
        yield
