"""The base class of classification losses.

Concepts:
- A loss class only stores options. It checks them in its constructor and passes them to its `function`, the function of
  the same name in the same module, which computes the per-sample values. Each option of that function is an argument of
  the class' constructor and an attribute of the instance.
- `__call__` replaces that of Keras, which casts labels to the dtype of the loss: in bfloat16, the class indices 256 and
  257 are equal. Weights, masks and reduction are handled by Keras.
- Options that may follow a schedule (`gamma`, `tau`) are read in `call` and never folded into a cached constant: their
  value may be a `keras.Variable` instead of a float (see `tailfit.hyperparameters`).
- `from_logits` and `activation` are public: `tailfit.Model.compile` checks them against the activation of the last
  layer.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, Self

import keras
from keras import ops

from tailfit.arguments import checked_flag
from tailfit.hyperparameters import Scheduled, as_scheduled, config_of, value_of
from tailfit.keras_private import reduce_weighted_values
from tailfit.targets import Tensor, class_count, is_dense, mask_of, with_shape, without_ignored

__all__ = ["ClassificationLoss"]


# Arguments of the functions that are not options.
_NOT_OPTIONS = {"y_true", "y_pred", "sample_weight", "features", "from_logits"}


class ClassificationLoss(keras.losses.Loss):
    """Base of the losses over C exclusive classes; subclasses define `function` and check its options.

    Args:
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    """

    function: Callable[..., Tensor]  # (y_true, y_pred, *, from_logits, ...) -> per-sample values
    min_outputs = 2  # minimum number of outputs of the network
    activation: str = "softmax"  # activation of the last layer of a model that returns probabilities
    _options: tuple[str, ...] = ()  # the names of the options of `function`

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "function" in vars(cls):
            cls._options = tuple(sorted(inspect.signature(cls.function).parameters.keys() - _NOT_OPTIONS))

    def __init__(self, *, from_logits: bool, name: str | None, reduction: str | None, dtype: Any) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.from_logits = checked_flag(from_logits)

    def _schedulable(self, name: str, value: Any, check: Callable[[Any], Any]) -> Any:
        """Check an option that may follow a schedule, and return the attribute for it: the value or a `Scheduled`."""
        return as_scheduled(value, check, name=name, dtype=self.dtype)

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> Tensor:
        y_pred = with_shape(y_pred)
        class_count(y_pred, self.min_outputs, consumer=f"the loss {self.name!r}")
        y_true = ops.convert_to_tensor(y_true)
        for weight in (sample_weight, mask_of(y_pred)):
            if weight is not None:
                y_true = without_ignored(y_true, y_pred, weight)
        labels = ops.cast(y_true, self.dtype) if is_dense(y_true, y_pred) else y_true
        return self.reduced(labels, y_pred, sample_weight)

    def reduced(self, labels: Any, y_pred: Tensor, sample_weight: Tensor) -> Tensor:
        """Return the loss of a batch; override it to pass `call` more than labels."""
        mask = mask_of(y_pred)
        with keras.name_scope(self.name):
            values = self.call(labels, ops.convert_to_tensor(y_pred, dtype=self.dtype))
            if mask is None and sample_weight is None and self.reduction in ("sum_over_batch_size", "mean"):
                count = _count_on_torch(values)
                if count:
                    return ops.sum(ops.cast(values, self.dtype)) / count
            return reduce_weighted_values(values, sample_weight, mask, self.reduction, self.dtype)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        options = {name: value_of(getattr(self, name)) for name in self._options}
        return type(self).function(y_true, y_pred, from_logits=self.from_logits, **options)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, including `dtype`, and the epoch if any option follows a schedule."""
        options = {name: config_of(getattr(self, name)) for name in self._options}
        config = {**super().get_config(), "from_logits": self.from_logits, "dtype": self.dtype, **options}
        scheduled = self.scheduled()
        return {**config, "epoch": scheduled[0].epoch} if scheduled else config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build a loss from `get_config()`, at the epoch at which it was saved."""
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
        """Return the options that follow a schedule, for `tailfit.schedules.set_epoch`."""
        return [value for value in vars(self).values() if isinstance(value, Scheduled)]


def _count_on_torch(values: Tensor) -> int:
    """Return the number of values on torch, and 0 on other backends.

    On torch, the ten operations of Keras' mean take as long as the formula of a small batch, so the mean is computed
    here. The other backends compile them away.
    """
    return math.prod(values.shape) if keras.backend.backend() == "torch" else 0
