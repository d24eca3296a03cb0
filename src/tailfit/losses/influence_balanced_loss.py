"""Influence-balanced loss: cross-entropy divided by the sample's influence on the decision boundary.

The influence of a sample on the last layer is the error of its probabilities times the norm of its features. Late in
training the decision boundary overfits to the samples with the largest influence, mostly of frequent classes. Dividing
by the influence prevents this.
"""

from typing import Any

import keras
from keras import ops

from tailfit.arguments import REQUIRED, checked_choice, checked_flag, checked_number
from tailfit.errors import ArgumentError
from tailfit.hyperparameters import value_of
from tailfit.keras_private import in_symbolic_scope
from tailfit.layers.features import feature_norms_of
from tailfit.losses._base import ClassificationLoss
from tailfit.losses._labels import Labels
from tailfit.losses._numerics import class_constant, prepare
from tailfit.losses.cross_entropy_loss import PerClass, checked_weights
from tailfit.schedules import Schedule
from tailfit.targets import Tensor

__all__ = ["InfluenceBalanced", "influence_balanced"]


def influence_balanced(
    y_true: Tensor,
    y_pred: Tensor,
    features: Tensor,
    *,
    alpha: float = 1000.0,
    epsilon: float = 0.001,
    share: float = 1.0,
    class_weights: PerClass | None = None,
    stop_gradient: bool = False,
    from_logits: bool = REQUIRED,
) -> Tensor:
    """Return the per-sample values of `InfluenceBalanced`; `features` are `(batch, ..., features)`.

    >>> value = influence_balanced([1], [[0.0, 0.0]], [[2.0, -3.0]], alpha=10.0, epsilon=0.0, from_logits=True)
    >>> round(float(value[0]), 4)  # 10 ln 2 / (1 * 5)
    1.3863
    """
    labels, logits = prepare(y_true, y_pred, from_logits=checked_flag(from_logits))
    norms = ops.sum(ops.abs(ops.cast(ops.convert_to_tensor(features), logits.dtype)), axis=-1)
    return _balanced(labels, logits, norms, alpha, epsilon, share, class_weights, stop_gradient)


def _balanced(
    labels: Labels,
    logits: Tensor,
    norms: Tensor,
    alpha: Any,
    epsilon: Any,
    share: Any,
    class_weights: Any,
    stop_gradient: bool,
) -> Tensor:
    alpha, epsilon, share = _checked_alpha(alpha), _checked_epsilon(epsilon), _checked_share(share)
    influence = ops.sum(ops.abs(ops.softmax(logits, axis=-1) - labels.rows()), axis=-1) * norms
    factor = alpha / (influence + epsilon)
    factor = ops.stop_gradient(factor) if stop_gradient else factor
    weights = checked_weights(class_weights)
    if weights is not None:
        labels = labels.weighted(class_constant(weights, logits, "class_weights"))
    return labels.cross_entropy(logits) * (share * factor + (1.0 - share))


@keras.saving.register_keras_serializable(package="tailfit")
class InfluenceBalanced(ClassificationLoss):
    """`CE * alpha / (|p - y|_1 |h|_1 + epsilon)`, where h are the input features of the last Dense layer.

    Pass the features to the loss with a layer at the end of the network:

        z = keras.layers.Dense(C)(h)
        outputs = tailfit.layers.WithFeatures()(z, h)

    Train with cross-entropy first and balance late, for example with `share=schedules.Deferred(0.0, 1.0, at=100)`.

    Args:
        alpha: Scale, > 0, or a schedule.
        epsilon: Added to the influence, >= 0; it bounds the factor of samples with little influence.
        share: Share of the balanced loss, in [0, 1], or a schedule; the rest is cross-entropy.
        class_weights: One weight per class, as a sequence or a dict `{class index: weight}`, or a schedule.
        stop_gradient: Whether to treat the factor as a constant, as in the paper. The authors' code differentiates it
            through p and h.
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` is class indices `(batch, ...)` or `(batch, ..., 1)`, or one-hot or soft labels `(batch, ..., C)`;
        `y_pred` is `(batch, ..., C)` with attached features `(batch, ..., features)`; the per-sample loss is
        `(batch, ...)`.
    Raises:
        ArgumentError: If an option is out of range; when called, if the predictions have no features attached.
    Source: Park et al. 2021, arXiv:2110.02444, eq. 8.

    >>> import tailfit
    >>> z = tailfit.layers.WithFeatures()(ops.zeros((1, 2)), ops.convert_to_tensor([[2.0, -3.0]]))
    >>> loss = InfluenceBalanced(alpha=10.0, epsilon=0.0, from_logits=True)
    >>> round(float(loss([1], z)), 4)
    1.3863
    """

    function = staticmethod(influence_balanced)

    def __init__(
        self,
        *,
        alpha: float | Schedule = 1000.0,
        epsilon: float = 0.001,
        share: float | Schedule = 1.0,
        class_weights: PerClass | Schedule | None = None,
        stop_gradient: bool = False,
        from_logits: bool = REQUIRED,
        name: str | None = "influence_balanced",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, reduction=reduction, dtype=dtype)
        self.alpha = self._schedulable("alpha", alpha, _checked_alpha)
        self.epsilon = _checked_epsilon(epsilon)
        self.share = self._schedulable("share", share, _checked_share)
        self.class_weights = self._schedulable("class_weights", class_weights, checked_weights)
        self.stop_gradient = checked_choice(stop_gradient, "stop_gradient", (True, False))

    def reduced(self, labels: Any, y_pred: Tensor, sample_weight: Tensor) -> Tensor:
        norms = feature_norms_of(y_pred)
        if norms is None and in_symbolic_scope():
            norms = ops.ones_like(y_pred[..., 0])  # only for Keras' shape inference, in which features are lost
        if norms is None:
            raise ArgumentError(
                "predictions without features",
                expected="the output of tailfit.layers.WithFeatures as the last layer",
                fix="end the network in outputs = tailfit.layers.WithFeatures()(logits, features)",
            )
        return super().reduced((labels, norms), y_pred, sample_weight)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        labels, logits = prepare(y_true[0], y_pred, from_logits=self.from_logits)
        alpha, share, weights = value_of(self.alpha), value_of(self.share), value_of(self.class_weights)
        norms = ops.cast(y_true[1], logits.dtype)
        return _balanced(labels, logits, norms, alpha, self.epsilon, share, weights, self.stop_gradient)


def _checked_alpha(alpha: Any) -> Any:
    return checked_number(alpha, "alpha", above=0.0, fix="use 1000 as the authors do")


def _checked_epsilon(epsilon: Any) -> Any:
    return checked_number(epsilon, "epsilon", fix="use 0.001 as the authors do")


def _checked_share(share: Any) -> Any:
    return checked_number(share, "share", most=1.0, fix="use 0 for cross-entropy, or 1 for the balanced loss alone")
