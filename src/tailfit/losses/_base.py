"""What every classification loss shares.

Concepts:
- A loss class is a thin holder: it checks its hyper-parameters once, and hands them to the function of the same
  name in the same module, its `function`, which holds the mathematics and gives per-sample values. Each argument
  of that function is an attribute of the class, and an argument of its constructor.
- Labels are brought to dense rows before Keras sees them, because Keras casts labels to the loss' dtype,
  and bfloat16 can't tell class 257 from class 256. Weights, masks and reduction are Keras' own.
- Hyper-parameters that may follow a schedule (`gamma`, `tau`) are attributes, read in `call` and never
  folded into a cached constant: a `keras.Variable` may stand where a float stands (see `_scheduled.py`).
- `from_logits` and `activation` are public: `tailfit.Model.compile` holds them against the last layer's activation.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Self

import keras

from tailfit.arguments import checked_flag
from tailfit.hyperparameters import Scheduled, configured, current
from tailfit.targets import Tensor, class_count, dense_targets, mask_of, with_shape, without_ignored

__all__ = ["ClassificationLoss"]


# What functions take besides hyper-parameters.
_OF_A_BATCH = {"y_true", "y_pred", "sample_weight", "features", "from_logits"}


class ClassificationLoss(keras.losses.Loss):
    """Base of the losses over C exclusive classes; subclasses give `function`, and check its arguments.

    Args:
        from_logits: Whether `y_pred` are logits. There is no default: leaving it out is an `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    """

    function: Callable[..., Tensor]  # (y_true, y_pred, *, from_logits, ...) -> per-sample values
    fewest = 2  # outputs of the network
    activation: str = "softmax"  # what makes probabilities of logits: of a model that gives them, for from_logits=False

    def __init__(self, *, from_logits: bool, name: str | None, reduction: str | None, dtype: Any) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.from_logits = checked_flag(from_logits)

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> Tensor:
        y_pred = with_shape(y_pred)
        class_count(y_pred, self.fewest, taker=f"the loss {self.name!r}")
        for weight in (sample_weight, mask_of(y_pred)):
            if weight is not None:
                y_true = without_ignored(y_true, y_pred, weight)
        return self.reduced(dense_targets(y_true, y_pred, self.dtype), y_pred, sample_weight)

    def reduced(self, targets: Tensor, y_pred: Tensor, sample_weight: Tensor) -> Tensor:
        """The loss of a batch as Keras computes it from `call`: what a loss needs besides is added here."""
        return super().__call__(targets, y_pred, sample_weight)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        own = {name: current(value) for name, value in self._hyperparameters().items()}
        return type(self).function(y_true, y_pred, from_logits=self.from_logits, **own)

    def _hyperparameters(self) -> dict[str, Any]:
        names = inspect.signature(type(self).function).parameters.keys() - _OF_A_BATCH
        return {name: getattr(self, name) for name in sorted(names)}

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes (Keras' own leaves `dtype` out), and the epoch where schedules are followed."""
        own = {name: configured(value) for name, value in self._hyperparameters().items()}
        config = {**super().get_config(), "from_logits": self.from_logits, "dtype": self.dtype, **own}
        followers = self.scheduled()
        return {**config, "epoch": followers[0].epoch} if followers else config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The loss that `get_config` is of, at the epoch that it was at."""
        arguments = dict(config)
        epoch = arguments.pop("epoch", 0)
        for name, value in arguments.items():
            if isinstance(value, Mapping) and "class_name" in value:
                arguments[name] = keras.saving.deserialize_keras_object(value)
        loss = cls(**arguments)
        for follower in loss.scheduled():
            follower.set_epoch(epoch)
        return loss

    def scheduled(self) -> list[Scheduled]:
        """The hyper-parameters that follow a schedule; for `tailfit.schedules.set_epoch`."""
        return [value for value in vars(self).values() if isinstance(value, Scheduled)]
