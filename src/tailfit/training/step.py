"""What a step is: a documented change of the default training step, written once for every backend.

Concepts:
- *batch*: inputs and *targets*. The loss is the sum over the targets of `share * L(y, y_pred, sample_weight)`: a mixed
  sample keeps two labels of any form, each with its own weight, under any loss.
- *hooks*: `batch`, `forward`, `loss` and `gradients`. The last three are handed what they wrap, and may call it again,
  on another batch or at other weights. The first step of the list is the outermost.
- Everything runs inside the compiled step: `keras.ops` only, and variables for what changes.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import keras

from tailfit.counting import uncounted
from tailfit.hyperparameters import Scheduled
from tailfit.training.reported import Reporting, reporting

__all__ = ["Batch", "Compute", "Forward", "Loss", "Step", "Target", "unreported"]


@dataclass(frozen=True)
class Target:
    """One set of labels of a batch.

    Args:
        y: Labels, as the compiled loss takes them.
        sample_weight: Their weights, or None.
        share: How much of the loss they are: a scalar, or one number a sample, `(batch,)`.
    """

    y: Any
    sample_weight: Any = None
    share: Any = 1.0


@dataclass(frozen=True)
class Batch:
    """What one step trains on; change it with `dataclasses.replace`.

    Args:
        x: Inputs, as the model takes them.
        targets: At least one; metrics are given the first.
        penalties: How often `add_loss` and regularisers count: 1, but a share of it in a part of a batch.
    """

    x: Any
    targets: tuple[Target, ...]
    penalties: Any = 1.0


Loss = Callable[[Batch, Any], Any]  # (batch, y_pred) -> scalar loss
Forward = Callable[[Batch], tuple[Any, Any]]  # batch -> (loss, y_pred)
Compute = Callable[[Batch], tuple[tuple[Any, Any], list[Any]]]  # batch -> ((loss, y_pred), gradients)


class Step:
    """Base of the steps for `compile(steps=[...])`; a subclass overrides the hooks it needs, none of them must be.

    A hook may read and assign variables: seeds, counters, weights (put back what you change). To be saved with its
    model a step is registered with Keras, and its `get_config` says what its constructor takes.

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

    def batch(self, model: keras.Model, batch: Batch) -> Batch:
        """What to train on instead of `batch`; runs once a step, before everything else."""
        return batch

    def forward(self, model: keras.Model, forward: Forward, batch: Batch) -> tuple[Any, Any]:
        """`(loss, y_pred)`; `forward(batch)` is one pass through the model. Differentiated."""
        return forward(batch)

    def loss(self, model: keras.Model, loss: Loss, batch: Batch, y_pred: Any) -> Any:
        """The scalar loss of one pass; `loss(batch, y_pred)` is the compiled one with penalties. Differentiated."""
        return loss(batch, y_pred)

    def gradients(self, model: keras.Model, compute: Compute, batch: Batch) -> tuple[tuple[Any, Any], list[Any]]:
        """`((loss, y_pred), gradients)` by the trainable variables, as `compute(batch)` gives them.

        A gradient is None where the loss does not depend on the variable (TensorFlow, PyTorch), and scaled where the
        optimizer scales the loss.
        """
        return compute(batch)

    def scheduled(self) -> Iterable[Any]:
        """The hyper-parameters that follow a schedule: each has `set_epoch(epoch)`."""
        return [part for part in vars(self).values() if isinstance(part, Scheduled)]

    def get_config(self) -> dict[str, Any]:
        """Everything the constructor takes."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The step that `get_config` is of."""
        return cls(**keras.saving.deserialize_keras_object(config))


@contextmanager
def unreported() -> Iterator[None]:
    """Within, losses are computed for their gradient only: none is counted in what `fit` reports, and none counts."""
    with reporting(Reporting.NOTHING), uncounted():
        yield
