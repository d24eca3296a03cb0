"""The base class of steps: changes of the default training step, written once for every backend.

Concepts:
- *batch*: inputs and *targets*. The loss is the sum over the targets of `share * L(y, y_pred, sample_weight)`. So a
  mixed sample keeps both labels, in any form, each with its own weight, and works with any loss.
- *hooks*: `batch`, `forward`, `loss` and `gradients`. Each of the last three receives the function that it wraps, and
  may call it several times, on another batch or at other weights. The first step of the list is the outermost.
- All hooks run inside the compiled step: use `keras.ops`, and variables for state.
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
        y: Labels, in the form that the compiled loss takes.
        sample_weight: Sample weights of these labels, or None.
        share: Factor of their loss: a scalar, or one number per sample, `(batch,)`.
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
    """

    x: Any
    targets: tuple[Target, ...]
    penalties: Any = 1.0


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
    """Compute losses for their gradients only, within this context: they are not reported, and count no labels."""
    with reporting(Reporting.NOTHING), uncounted():
        yield
