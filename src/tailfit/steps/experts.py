"""Losses of several experts: RIDE and SADE."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from tailfit.arguments import checked_class_counts, checked_number
from tailfit.counting import uncounted
from tailfit.errors import StepError
from tailfit.hyperparameters import as_scheduled, config_of, value_of
from tailfit.layers.experts import expert_scores_of
from tailfit.schedules import Schedule
from tailfit.steps.sample_losses import reduced
from tailfit.training.step import Batch, Loss, Step

__all__ = ["RIDE", "SADE"]


class _OfExperts(Step):
    """The sum of the losses of all experts of a `tailfit.layers.Experts`."""

    class_counts: tuple[float, ...]

    def loss(self, model: keras.Model, loss: Loss, batch: Batch, y_pred: Any) -> Any:
        scores = self._scores(y_pred)
        values = []
        for number, own in enumerate(self._changed(scores)):
            # Penalties and what losses count belong to the batch, not to each expert.
            with uncounted() if number else nullcontext():
                values.append(loss(batch if number == 0 else replace(batch, penalties=0.0), own))
        return sum(values[1:], values[0])

    def _changed(self, scores: Any) -> Iterator[Any]:
        """Yield the scores of each expert, as its loss gets them."""
        for number in range(scores.shape[1]):
            yield scores[:, number]

    def _scores(self, y_pred: Any, experts: int | None = None) -> Any:
        """Return the scores of each expert, `(batch, experts, C)`, after a check."""
        scores = None if keras.tree.is_nested(y_pred) else expert_scores_of(y_pred)
        name, classes = type(self).__name__, len(self.class_counts)
        if scores is None or scores.shape[2] != classes or experts not in (None, scores.shape[1]):
            shapes = [tuple(part.shape) for part in keras.tree.flatten(y_pred)]
            of_experts = "without experts" if scores is None else f"of {scores.shape[1]} experts"
            raise StepError(
                f"predictions of shapes {shapes} {of_experts} for the step {name}",
                expected=f"those of a last layer tailfit.layers.Experts({classes}, experts={experts or 3})",
                fix=f"end the network in it (networks: head='experts'), and put {name} first in steps=",
            )
        return scores


@keras.saving.register_keras_serializable(package="tailfit")
class RIDE(_OfExperts):
    """Trains each expert with the compiled loss, and rewards experts that differ from their mean (RIDE).

    The loss is `sum_e (L(z_e) - diversity * m ** 2 * KL(softmax(z / T) || softmax(z_e / T)))`, with the scores z_e of
    expert e and their mean z, a constant of the gradient. The temperature of each class is
    `T_c = temperature * w_c / max(w)` with `w_c = C * pi_c * reweight + 1 - reweight`, where pi are the shares of the
    classes, and m is the mean of T. So rare classes have lower temperatures, at which experts differ more. The
    divergence is weighted and reduced like the loss.

    The network ends in `tailfit.layers.Experts`; a recipe chooses this head. Any loss of logits can be compiled: the
    authors use cross-entropy, or `LDAM` on cosines, which `Experts` does not have. Their router, which asks further
    experts only for samples that are in doubt, saves time but does not make predictions better, and is left out.

    Args:
        class_counts: C counts > 0, or an object with `class_counts` (`batches`).
        diversity: Weight of the divergence, >= 0; may follow a schedule. The authors use 0.2.
        temperature: Temperature of the most frequent class, > 0.
        reweight: Part of the temperature that follows the shares of the classes, in [0, 1].
    Shapes: one output `(batch, C)` of logits, of `Experts`.
    Raises:
        ArgumentError: If a value is out of range.
        StepError: At the first step, if the predictions do not come from `Experts`.
    Source: Wang et al. 2021, arXiv:2010.01809, section 3, and their code.

    >>> import keras, numpy as np, tailfit
    >>> inputs = keras.Input((4,))
    >>> model = tailfit.Model(inputs, tailfit.layers.Experts(3)(inputs))
    >>> ride = tailfit.steps.RIDE(class_counts=[100, 10, 1])
    >>> model.compile("sgd", tailfit.losses.CrossEntropy(from_logits=True), steps=[ride])
    >>> history = model.fit(np.ones((6, 4)), np.arange(6) % 3, verbose=0)
    >>> np.isfinite(history.history["loss"]).tolist()
    [True]
    """

    def __init__(
        self,
        *,
        class_counts: Any,
        diversity: float | Schedule = 0.2,
        temperature: float = 1.0,
        reweight: float = 0.05,
    ) -> None:
        self.class_counts = checked_class_counts(class_counts)
        self.diversity = as_scheduled(diversity, _checked_diversity, name="diversity", dtype=None)
        self.temperature = checked_number(temperature, "temperature", above=0.0, fix="the authors use 1")
        self.reweight = checked_number(reweight, "reweight", most=1.0, fix="the authors use 0.05")

    def loss(self, model: keras.Model, loss: Loss, batch: Batch, y_pred: Any) -> Any:
        value = super().loss(model, loss, batch, y_pred)
        scores = ops.cast(self._scores(y_pred), "float32")
        temperatures = self._temperatures()
        factor = float(temperatures.mean()) ** 2
        temperatures = ops.convert_to_tensor(temperatures, dtype="float32")
        mean = ops.log_softmax(ops.stop_gradient(ops.mean(scores, axis=1)) / temperatures, axis=-1)
        each = ops.log_softmax(scores / temperatures, axis=-1)
        apart = ops.exp(mean) * (scores.shape[1] * mean - ops.sum(each, axis=1))
        divergence = ops.sum(apart, axis=-1)
        rewarded = reduced(model, batch, y_pred, divergence)
        return value - value_of(self.diversity) * factor * ops.cast(rewarded, value.dtype)

    def _temperatures(self) -> NDArray[np.float64]:
        shares = np.array(self.class_counts) / np.sum(self.class_counts)
        weights = len(shares) * shares * self.reweight + 1 - self.reweight
        return np.asarray(self.temperature * weights / weights.max())

    def get_config(self) -> dict[str, Any]:
        return {
            "class_counts": list(self.class_counts),
            "diversity": config_of(self.diversity),
            "temperature": self.temperature,
            "reweight": self.reweight,
        }


@keras.saving.register_keras_serializable(package="tailfit")
class SADE(_OfExperts):
    """Trains three experts for three class distributions: that of the data, equal shares, and the inverse (SADE).

    The loss is `L(z_1) + L(z_2 + log pi) + L(z_3 + log pi - tau * log inv)`, where pi are the shares of the classes,
    and inv the same shares in inverse order: the most frequent class gets the share of the rarest. With cross-entropy
    as the compiled loss, the first expert is good at frequent classes, the second is balanced, and the third is good at
    rare ones. Their mean is the prediction. The authors can also weigh the experts for the class shares of unlabelled
    test data, by how stable each is between two views of a record; this is left out.

    Args:
        class_counts: C counts > 0, or an object with `class_counts` (`batches`).
        tau: Strength of the inverse shares of the third expert, >= 0. The authors use 2.
    Shapes: one output `(batch, C)` of logits, of `tailfit.layers.Experts` with three experts. A recipe chooses this
        head.
    Raises:
        ArgumentError: If a value is out of range.
        StepError: At the first step, if the predictions do not come from three `Experts`.
    Source: Zhang et al. 2022, arXiv:2107.09249, section 4.1, and their code.

    >>> import keras, numpy as np, tailfit
    >>> inputs = keras.Input((4,))
    >>> model = tailfit.Model(inputs, tailfit.layers.Experts(3)(inputs))
    >>> sade = tailfit.steps.SADE(class_counts=[100, 10, 1])
    >>> model.compile("sgd", tailfit.losses.CrossEntropy(from_logits=True), steps=[sade])
    >>> history = model.fit(np.ones((6, 4)), np.arange(6) % 3, verbose=0)
    >>> np.isfinite(history.history["loss"]).tolist()
    [True]
    """

    def __init__(self, *, class_counts: Any, tau: float = 2.0) -> None:
        self.class_counts = checked_class_counts(class_counts)
        self.tau = checked_number(tau, "tau", fix="the authors use 2")

    def _scores(self, y_pred: Any, experts: int | None = 3) -> Any:
        return super()._scores(y_pred, experts)

    def _changed(self, scores: Any) -> Iterator[Any]:
        shares = np.array(self.class_counts) / np.sum(self.class_counts)
        logs = np.log(shares)
        inverse = np.sort(logs)[::-1][np.argsort(np.argsort(logs, kind="stable"), kind="stable")]
        for own, offset in zip(super()._changed(scores), (0 * logs, logs, logs - self.tau * inverse), strict=True):
            yield own + ops.convert_to_tensor(offset, dtype=own.dtype)

    def get_config(self) -> dict[str, Any]:
        return {"class_counts": list(self.class_counts), "tau": self.tau}


def _checked_diversity(diversity: Any) -> Any:
    return checked_number(diversity, "diversity", fix="the authors use 0.2; 0 trains the experts without a divergence")
