"""Second training stages that a recipe can name; see `tailfit.stages`.

A stage starts from the trained network and takes about a tenth of the epochs (`DiVE`: all, `RidgeClassifier`: none). It
has no checkpoints of its own: after an interruption it starts again from the end of the training, with the same result.
"""

from dataclasses import dataclass
from typing import Any

import keras

from tailfit.arguments import checked_number, whole_number
from tailfit.data import Batches, Source
from tailfit.hyperparameters import value_of
from tailfit.layers import CosineDense
from tailfit.losses import LDAM, BalancedSoftmax, CrossEntropy, LabelAwareSmoothing
from tailfit.recipes.distilling import frozen_copy, start_anew
from tailfit.samplers import ClassBalanced, Sampler, Sequential, Shuffle
from tailfit.stages import (
    balance_classifier,
    learn_scales,
    mislas_classifier,
    normalize_classifier,
    retrain_classifier,
    ridge_classifier,
    smooth_classifier,
)
from tailfit.stages.classifier import check_tau, classifier_of
from tailfit.steps import DiVE as Distillation
from tailfit.training import Model
from tailfit.training.generators import seeded

__all__ = [
    "STAGES",
    "BalanceClassifier",
    "DiVE",
    "LearnScales",
    "MiSLAS",
    "NormalizeClassifier",
    "RetrainClassifier",
    "RidgeClassifier",
    "SmoothClassifier",
    "StageRun",
    "check_stage",
]


@dataclass(frozen=True)
class StageRun:
    """What a stage needs of the training before it.

    Attributes:
        model: The trained network.
        source: The training part.
        training: The batches of the training.
        batch_size, seed: Those of the recipe.
        epochs: Number of epochs of the training.
        optimizer: A new optimizer, as the recipe configures it.
    """

    model: Model
    source: Source
    training: Batches
    batch_size: int
    seed: int
    epochs: int
    optimizer: keras.optimizers.Optimizer

    def batches(self, sampler: Sampler | None = None) -> Batches:
        """Return batches of the training part; by default class-balanced ones."""
        return Batches(self.source, batch_size=self.batch_size, sampler=sampler or ClassBalanced(), seed=self.seed)


class _TrainedStage:
    """A stage that trains for some epochs.

    Args:
        epochs: Number of epochs; by default a tenth of those of the training.
    """

    def __init__(self, epochs: int | None = None) -> None:
        self.epochs = None if epochs is None else whole_number("epochs", epochs, least=1)

    def _epochs_after(self, run: StageRun) -> int:
        return self.epochs or max(1, run.epochs // 10)


class RetrainClassifier(_TrainedStage):
    """Re-initialise the last layer and train it alone on class-balanced batches (cRT).

    The loss is cross-entropy; after LDAM, whose last layer returns cosines, that of the scaled cosines.

    Args:
        epochs: Number of epochs; by default a tenth of those of the training.
    """

    def apply(self, run: StageRun) -> None:
        """Change the model of a run."""
        with seeded(run.seed + 2):
            # The batches are balanced: nothing else is left to correct.
            loss: Any = CrossEntropy(from_logits=True)
            if isinstance(classifier_of(run.model, None, cosine=True), CosineDense):
                before = run.model.loss
                same: dict[str, Any] = {"scale": float(value_of(before.scale))} if isinstance(before, LDAM) else {}
                loss = LDAM(run.source, max_margin=0.0, from_logits=True, **same)
            epochs = self._epochs_after(run)
            retrain_classifier(run.model, run.batches(), epochs=epochs, optimizer=run.optimizer, loss=loss, verbose=0)


class LearnScales(_TrainedStage):
    """Learn one factor per class for the weights of the last layer, on class-balanced batches (LWS).

    Args:
        epochs: Number of epochs; by default a tenth of those of the training.
    """

    def apply(self, run: StageRun) -> None:
        """Change the model of a run."""
        with seeded(run.seed + 2):
            run.model.compile(run.optimizer, CrossEntropy(from_logits=True))
            learn_scales(run.model, run.batches(), epochs=self._epochs_after(run), optimizer=run.optimizer)


class NormalizeClassifier:
    """Divide the last layer's weights of each class by their norm to the power `tau`, and drop its bias.

    Args:
        tau: Exponent, >= 0. The correction `TauNorm` can choose it on the validation part.
    """

    def __init__(self, tau: float = 1.0) -> None:
        check_tau(tau)
        self.tau = tau

    def apply(self, run: StageRun) -> None:
        """Change the model of a run."""
        normalize_classifier(run.model, tau=self.tau)


class SmoothClassifier(_TrainedStage):
    """Re-initialise the last layer and train it alone with label smoothing near 1 (LOS).

    Args:
        epochs: Number of epochs; by default a tenth of those of the training.
        label_smoothing: Share of each label that is distributed evenly over the classes, in [0, 1].
    """

    def __init__(self, epochs: int | None = None, label_smoothing: float = 0.98) -> None:
        super().__init__(epochs)
        fix = "the authors use 0.98 and 0.99"
        self.label_smoothing = checked_number(label_smoothing, "label_smoothing", most=1.0, fix=fix)

    def apply(self, run: StageRun) -> None:
        """Change the model of a run."""
        with seeded(run.seed + 2):
            smooth_classifier(
                run.model,
                run.batches(Shuffle()),
                epochs=self._epochs_after(run),
                label_smoothing=self.label_smoothing,
                optimizer=run.optimizer,
                verbose=0,
            )


class BalanceClassifier(_TrainedStage):
    """Train the last layer alone, with a bound on the norm of each class' weights (weight balancing).

    Args:
        epochs: Number of epochs; by default a tenth of those of the training.
        threshold: Position of the bound between the smallest and the largest norm before this stage, >= 0.
    """

    def __init__(self, epochs: int | None = None, threshold: float = 0.1) -> None:
        super().__init__(epochs)
        self.threshold = checked_number(threshold, "threshold", fix="the authors use 0.1")

    def apply(self, run: StageRun) -> None:
        """Change the model of a run."""
        with seeded(run.seed + 2):
            balance_classifier(
                run.model,
                run.batches(Shuffle()),
                epochs=self._epochs_after(run),
                threshold=self.threshold,
                optimizer=run.optimizer,
                verbose=0,
            )


class RidgeClassifier:
    """Compute the last layer by ridge regression, with the weights and the `transform` of the training.

    The trained last layer is discarded: for a network with fixed features, `minirocket`, one epoch of
    training is enough.

    Args:
        epochs: Number of passes over the samples. With an augmentation as `transform`, take 5: each pass has another
            variant of every sample.
    """

    def __init__(self, epochs: int = 1) -> None:
        self.epochs = whole_number("epochs", epochs, least=1)

    def apply(self, run: StageRun) -> None:
        """Change the model of a run."""
        batches = Batches(
            run.source,
            batch_size=run.batch_size,
            sampler=Sequential(),
            seed=run.seed + 2,
            transform=run.training.transform,
            sample_weight=run.training.weights,
        )
        ridge_classifier(run.model, batches, epochs=self.epochs)


class MiSLAS(_TrainedStage):
    """Train the last layer with label-aware smoothing and one factor per class, and renew batch statistics (MiSLAS).

    Args:
        epochs: Number of epochs; by default a tenth of those of the training.
        head, tail: Smoothing of the most frequent and of the rarest class, in [0, 1]; see `LabelAwareSmoothing`.
    """

    def __init__(self, epochs: int | None = None, head: float = 0.4, tail: float = 0.1) -> None:
        super().__init__(epochs)
        self.head = checked_number(head, "head", most=1.0, fix="the authors use 0.3 to 0.4")
        self.tail = checked_number(tail, "tail", most=1.0, fix="the authors use 0 to 0.1")

    def apply(self, run: StageRun) -> None:
        """Change the model of a run."""
        with seeded(run.seed + 2):
            loss = LabelAwareSmoothing(run.source, head=self.head, tail=self.tail, from_logits=True)
            epochs = self._epochs_after(run)
            mislas_classifier(run.model, run.batches(), epochs=epochs, optimizer=run.optimizer, loss=loss)


class DiVE(_TrainedStage):
    """Train the network again from new weights, on labels and the flattened predictions of the trained one (DiVE).

    Train the first one, the teacher, with a loss that corrects for the class shares. The student's loss is
    `BalancedSoftmax`, on the batches of the training; its `steps` are for the teacher only.

    Args:
        epochs: Number of epochs; by default those of the training.
        alpha: Share of the distillation, in [0, 1].
        temperature, power: Divisor of the logits, > 0, and exponent of the teacher's probabilities, > 0; see
            `tailfit.steps.DiVE`.
    """

    def __init__(
        self, epochs: int | None = None, alpha: float = 0.5, temperature: float = 3.0, power: float = 0.5
    ) -> None:
        super().__init__(epochs)
        Distillation(teacher=None, alpha=alpha, temperature=temperature, power=power)  # checks the options
        self.alpha, self.temperature, self.power = alpha, temperature, power

    def apply(self, run: StageRun) -> None:
        """Change the model of a run."""
        with seeded(run.seed + 2):
            teacher = frozen_copy(run.model)
            start_anew(run.model)
            step = Distillation(teacher=teacher, alpha=self.alpha, temperature=self.temperature, power=self.power)
            run.model.compile(run.optimizer, BalancedSoftmax(run.training, from_logits=True), steps=[step])
            run.model.fit(run.training, epochs=self.epochs or run.epochs, verbose=0)


STAGES: dict[str, Any] = {
    each.__name__: each
    for each in (
        RetrainClassifier,
        LearnScales,
        NormalizeClassifier,
        SmoothClassifier,
        BalanceClassifier,
        RidgeClassifier,
        MiSLAS,
        DiVE,
    )
}


def check_stage(model: Model, stage: Any) -> None:
    """Check that a stage can find the last layer of a network.

    Raises:
        ArgumentError: If it cannot.
    """
    classifier_of(model, None, cosine=isinstance(stage, RetrainClassifier))
