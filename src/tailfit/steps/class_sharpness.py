"""Class-conditional sharpness: the classifier is perturbed for each class by itself, more for rare classes."""

from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.arguments import checked_class_counts, checked_number
from tailfit.errors import StepError
from tailfit.hyperparameters import as_scheduled, config_of, value_of
from tailfit.schedules import Schedule
from tailfit.steps.classes import by_class
from tailfit.steps.classifiers import classifier_of, inputs_of
from tailfit.training.gradients import value_and_grad
from tailfit.training.step import Batch, Forward, Loss, Step, unreported

__all__ = ["CCSAM"]


@keras.saving.register_keras_serializable(package="tailfit")
class CCSAM(Step):
    """Class-conditional SAM of the last layer: rare classes are trained at larger perturbations of its weights w.

    The loss is `(1 - share) * L + share * sum_c L_c(w + rho_c * g_c / ||g_c||)`, where L_c is the part of the loss of
    the samples of class c in the batch, g_c its gradient with respect to the kernel and bias of the last layer, and
    `rho_c = rho * (n_max / n_c) ** 0.25`. The perturbations are constants of the gradient. A step takes one pass
    through the network and two gradients: with respect to the scores, from which all g_c follow, and of the loss.
    In a training by `parts`, g_c is the gradient of the part.

    The authors' code perturbs the last layer, too. Its radius also has the factors `||w|| ** 0.5` and
    `||g_c|| ** -0.5`, which grow without bound when a class is fitted, and are left out; so is their second stage,
    with perturbed features. `SAM` perturbs all weights, with one radius.

    Args:
        class_counts: C counts > 0, or an object with `class_counts` (`batches`).
        rho: Radius of the most frequent class, in the units of the weights, >= 0; may follow a schedule.
        share: Share of the perturbed loss, in [0, 1]. The authors use 0.3 for CIFAR-10.
    Shapes: one output `(batch, C)` of logits; a functional model whose last layer is `Dense`; class indices or one-hot
        labels. The class of a mixed sample is that of its first label.
    Raises:
        ArgumentError: If a value is out of range.
        StepError: If the model has another last layer; at the first step, if the number of classes differs.
    Source: Zhou et al. 2023, "Class-conditional sharpness-aware minimization for deep long-tailed recognition", CVPR,
        and their code.

    >>> import keras, numpy as np, tailfit
    >>> inputs = keras.Input((4,))
    >>> model = tailfit.Model(inputs, keras.layers.Dense(3)(inputs))
    >>> step = tailfit.steps.CCSAM(class_counts=[160, 10, 10], rho=0.1)
    >>> model.compile("sgd", tailfit.losses.CrossEntropy(from_logits=True), steps=[step])
    >>> history = model.fit(np.ones((6, 4)), np.arange(6) % 3, verbose=0)
    >>> [round(radius, 2) for radius in step.radii]  # in units of rho
    [1.0, 2.0, 2.0]
    """

    def __init__(self, *, class_counts: Any, rho: float | Schedule = 0.05, share: float = 0.3) -> None:
        self.class_counts = checked_class_counts(class_counts)
        self.rho = as_scheduled(rho, _checked_rho, name="rho", dtype=None)
        self.share = checked_number(share, "share", most=1.0, fix="the authors use 0.3")
        self.radii = tuple(float(each) for each in (np.max(self.class_counts) / np.array(self.class_counts)) ** 0.25)
        self._features: list[Any] = []  # inputs of the last layer, while a pass runs

    def prepare(self, model: keras.Model) -> None:
        classifier_of(model, "CCSAM", logits=True)

    def forward(self, model: keras.Model, forward: Forward, batch: Batch) -> tuple[Any, Any]:
        with inputs_of(classifier_of(model, "CCSAM", logits=True)) as self._features:
            try:
                return forward(batch)
            finally:
                self._features = []

    def loss(self, model: keras.Model, loss: Loss, batch: Batch, y_pred: Any) -> Any:
        layer, features = classifier_of(model, "CCSAM", logits=True), self._features[-1]
        if len(features.shape) != 2 or y_pred.shape[-1] != len(self.class_counts):
            raise StepError(
                f"outputs of shape {tuple(y_pred.shape)} for the step CCSAM with {len(self.class_counts)} class counts",
                expected=f"one output (batch, {len(self.class_counts)})",
                fix="pass one count per class, or drop CCSAM from steps=",
            )
        plain, perturbed = (_scaled(batch, share) for share in (1 - self.share, self.share))
        value = loss(plain, y_pred)
        with unreported():
            bare = replace(perturbed, penalties=0.0)
            _, (slopes,) = value_and_grad(lambda scores: loss(bare, scores), inputs=[ops.stop_gradient(y_pred)])
            shifts = self._shifts(batch, features, slopes, bias=bool(layer.use_bias))
            return value + loss(bare, y_pred + ops.cast(shifts, y_pred.dtype))

    def _shifts(self, batch: Batch, features: Any, slopes: Any, *, bias: bool) -> Any:
        """Return what the perturbation of each sample's class adds to its scores, `(batch, C)`.

        The gradient of class c with respect to the kernel is `sum_j features_j x slopes_j` over its samples j. So its
        product with the features of a sample, and its norm, follow from products of two samples; a kernel for each
        class would be larger.
        """
        features, slopes = ops.cast(features, "float32"), ops.stop_gradient(ops.cast(slopes, "float32"))
        numbers = by_class(tuple(range(1, len(self.class_counts) + 1)), batch.targets[0].y)
        same = ops.cast(ops.equal(ops.expand_dims(numbers, 1), ops.expand_dims(numbers, 0)), "float32")
        products = ops.matmul(features, ops.transpose(ops.stop_gradient(features))) + float(bias)
        own = same * ops.stop_gradient(products) * ops.matmul(slopes, ops.transpose(slopes))
        squares = ops.matmul(same, ops.sum(own, axis=1))
        radius = value_of(self.rho) * by_class(self.radii, batch.targets[0].y)
        scale = radius * ops.rsqrt(ops.maximum(squares, float(np.finfo("float32").tiny)))
        return ops.expand_dims(scale, 1) * ops.matmul(same * products, slopes)

    def get_config(self) -> dict[str, Any]:
        return {"class_counts": list(self.class_counts), "rho": config_of(self.rho), "share": self.share}


def _checked_rho(rho: Any) -> Any:
    return checked_number(rho, "rho", fix="pass 0.05, for example; 0 is plain training")


def _scaled(batch: Batch, share: float) -> Batch:
    return replace(batch, targets=tuple(replace(target, share=share * target.share) for target in batch.targets))
