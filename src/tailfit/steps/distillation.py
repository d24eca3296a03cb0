"""DiVE: distillation of the predictions of a balanced teacher, flattened further."""

from dataclasses import replace
from typing import Any

import keras
from keras import ops

from tailfit.arguments import checked_number
from tailfit.errors import ArgumentError, StepError
from tailfit.hyperparameters import as_scheduled, config_of, value_of
from tailfit.keras_private import call_model
from tailfit.schedules import Schedule
from tailfit.steps.sample_losses import reduced
from tailfit.training.step import Batch, Loss, Step

__all__ = ["DiVE"]


@keras.saving.register_keras_serializable(package="tailfit")
class DiVE(Step):
    """Trains on the predictions of a teacher, too: `(1 - alpha) * L + alpha * temperature ** 2 * KL(t || s)` (DiVE).

    t are the "virtual examples": the teacher's `softmax(z / temperature) ** power`, divided by its sum. s is the
    student's `softmax(z / temperature)`. A sample of a frequent class so counts as parts of samples of similar rare
    classes. Train the teacher with a loss that corrects for the class shares, as the authors do, and compile the
    student with the same one: `BalancedSoftmax`. Student and teacher may be networks of the same form. The teacher
    sees the same records as the student, after augmentation and mixing, and does not change. The divergence is weighted
    and reduced like the loss.

    The teacher is not saved with the student. A loaded student can predict; to train it further, compile it again, or
    set `teacher` of its step. In a recipe, `stage: DiVE` trains the teacher and then the student.

    Args:
        teacher: Trained model of logits, whose inputs and outputs are those of the student.
        alpha: Share of the distillation, in [0, 1]; may follow a schedule. The authors use 0.5.
        temperature: Divisor of the logits, > 0. The authors use 3 for CIFAR-100; tune it so that the mean of the
            virtual examples over the training data is nearly flat.
        power: Exponent of the teacher's probabilities, > 0; 1/2 doubles the teacher's temperature. The authors use
            0.5 or 1.
    Shapes: one output `(batch, C)` of logits.
    Raises:
        ArgumentError: If a value is out of range.
        StepError: At the first step, if there is no teacher, or the outputs differ.
    Source: He et al. 2021, arXiv:2103.15042, section 3.

    >>> import keras, numpy as np, tailfit
    >>> def network():
    ...     inputs = keras.Input((4,))
    ...     return tailfit.Model(inputs, keras.layers.Dense(3)(inputs))
    >>> teacher, student = network(), network()
    >>> loss = tailfit.losses.BalancedSoftmax([100, 10, 1], from_logits=True)
    >>> student.compile("sgd", loss, steps=[tailfit.steps.DiVE(teacher=teacher)])
    >>> history = student.fit(np.ones((6, 4)), np.arange(6) % 3, verbose=0)
    >>> np.isfinite(history.history["loss"]).tolist()
    [True]
    """

    def __init__(
        self,
        *,
        teacher: keras.Model | None,
        alpha: float | Schedule = 0.5,
        temperature: float = 3.0,
        power: float = 0.5,
    ) -> None:
        if teacher is not None and not isinstance(teacher, keras.Model):
            raise ArgumentError(
                f"teacher of type {type(teacher).__name__}",
                expected="a trained keras.Model",
                fix="pass the model that keras.saving.load_model returns, for example",
            )
        self.teacher = teacher
        self.alpha = as_scheduled(alpha, _checked_alpha, name="alpha", dtype=None)
        self.temperature = checked_number(temperature, "temperature", above=0.0, fix="the authors use 3")
        self.power = checked_number(power, "power", above=0.0, fix="the authors use 0.5 or 1")

    def loss(self, model: keras.Model, loss: Loss, batch: Batch, y_pred: Any) -> Any:
        virtual = self._virtual_examples(batch.x, y_pred)
        alpha = value_of(self.alpha)
        own = tuple(replace(target, share=(1 - alpha) * target.share) for target in batch.targets)
        value = loss(replace(batch, targets=own), y_pred)
        student = ops.log_softmax(ops.cast(y_pred, "float32") / self.temperature, axis=-1)
        divergence = ops.sum(ops.exp(virtual) * (virtual - student), axis=-1)
        added = reduced(model, batch, y_pred, divergence)
        return value + alpha * self.temperature**2 * ops.cast(added, value.dtype)

    def _virtual_examples(self, x: Any, y_pred: Any) -> Any:
        """Return the logarithms of the teacher's flattened predictions, `(batch, C)`."""
        if self.teacher is None:
            raise StepError(
                "the step DiVE without a teacher",
                expected="a trained model, which is not saved with the student",
                fix="set teacher of the step, or compile the student again with DiVE(teacher=...)",
            )
        scores = call_model(self.teacher, x, training=False)
        shapes = [tuple(part.shape) for part in keras.tree.flatten((scores, y_pred))]
        if len(shapes) != 2 or len(shapes[0]) != 2 or shapes[0][1] != shapes[1][-1]:
            raise StepError(
                f"outputs of shapes {shapes} of teacher and student for the step DiVE",
                expected="one output (batch, C) of each, with the same number of classes",
                fix="pass a teacher of the same classes",
            )
        # The power of a softmax, divided by its sum, is the softmax of the logits times the power.
        scores = ops.stop_gradient(ops.cast(scores, "float32"))
        return ops.log_softmax(scores * (self.power / self.temperature), axis=-1)

    def get_config(self) -> dict[str, Any]:
        # A configuration has no weights: a teacher restored from it would teach noise.
        own = {"alpha": config_of(self.alpha), "temperature": self.temperature, "power": self.power}
        return {"teacher": None, **own}


def _checked_alpha(alpha: Any) -> Any:
    return checked_number(alpha, "alpha", most=1.0, fix="the authors use 0.5; 0 trains without the teacher")
