"""What every classification loss shares.

Concepts:
- A loss class is a thin holder: it checks its hyper-parameters once, and its `call` hands them to the
  function of the same name in the same module, which holds the mathematics and gives per-sample values.
- Labels are brought to dense rows before Keras sees them, because Keras casts labels to the loss' dtype,
  and bfloat16 can't tell class 257 from class 256. Weights, masks and reduction are Keras' own.
- Hyper-parameters that may follow a schedule (`gamma`, `tau`) are attributes, read in `call` and never
  folded into a cached constant: a `keras.Variable` may stand where a float stands.
- `from_logits` is public: `tailfit.Model.compile` holds it against the last layer's activation.
"""

from typing import Any

import keras

from tailfit.losses._arguments import checked_flag
from tailfit.losses._targets import Tensor, dense_targets, mask_of, with_shape, without_ignored

__all__ = ["ClassificationLoss"]


class ClassificationLoss(keras.losses.Loss):
    """Base of the losses over C exclusive classes; subclasses give `call` and extend `get_config`.

    Args:
        from_logits: Whether `y_pred` are logits. There is no default: leaving it out is an `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    """

    def __init__(self, *, from_logits: bool, name: str | None, reduction: str | None, dtype: Any) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.from_logits = checked_flag(from_logits)

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> Tensor:
        y_pred = with_shape(y_pred)
        for weight in (sample_weight, mask_of(y_pred)):
            if weight is not None:
                y_true = without_ignored(y_true, y_pred, weight)
        return super().__call__(dense_targets(y_true, y_pred, self.dtype), y_pred, sample_weight)

    def get_config(self) -> dict[str, Any]:
        """Everything the constructor takes; Keras' own leaves `dtype` out."""
        return {**super().get_config(), "from_logits": self.from_logits, "dtype": self.dtype}
