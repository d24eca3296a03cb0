"""One training of a recipe: the fit, what is fitted after it, the evaluation, and the files of the run."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias, cast

import keras
import numpy as np
from numpy.typing import NDArray

from tailfit import workers
from tailfit.callbacks import Resume
from tailfit.data import Batches, Source
from tailfit.errors import ArgumentError
from tailfit.evaluation import Evaluation, evaluate
from tailfit.evaluation.slices import slice_counts
from tailfit.posthoc.base import Correction
from tailfit.recipes.averaging import averaging_callbacks
from tailfit.recipes.directory import Claim
from tailfit.recipes.ensembles import train_members
from tailfit.recipes.fixed_features import prepared
from tailfit.recipes.likeness import of_recordings, statistics_of_sample
from tailfit.recipes.logging import early_stopping_of
from tailfit.recipes.objects import apply_stage, evaluation_batches, fitted_correction, training_batches
from tailfit.recipes.parts import Parts, group_of_each, record_shape
from tailfit.recipes.recipe import Recipe
from tailfit.recipes.reports import save_pictures
from tailfit.recipes.result import VALIDATION, Result
from tailfit.recipes.rounds import write_round
from tailfit.recipes.serving import save_serving_model
from tailfit.recipes.trained import load_trained
from tailfit.recipes.validating import validation_evaluation
from tailfit.training import Model
from tailfit.training.together import together

__all__ = ["OneTraining", "Progress", "Trained", "evaluate_source"]

Progress: TypeAlias = Callable[[int, Mapping[str, float]], None]
_SAVE_SECONDS: Final = 60.0  # a checkpoint is also saved at the end of each epoch


class Trained(NamedTuple):
    """The results of a training: the network without the correction, its history, and its evaluation."""

    model: Model
    history: dict[str, list[float]]
    evaluation: Evaluation


@dataclass(frozen=True, kw_only=True, eq=False)
class OneTraining:
    """A training whose data are open and whose directory is locked, alone or as one of the workers.

    Attributes:
        recipe: The loaded recipe.
        parts: The opened parts of its data.
        place: Absolute path of the run's directory, in which rank 0 alone writes.
        claim: Identity of the run.
        callbacks: Keras callbacks of the fit.
        progress: Function called after each epoch, or None; see `tailfit.recipes.train`.
        quality: Weight of each training sample from the quality of its label; None without such weights.
        until: Number of epochs after which the training is interrupted; None to train all of them.
        features_once: Whether features that do not change may be computed before the fit: then the fit's callbacks
            get a network that takes features, not records.
        train_member: Function that trains a member of an ensemble in a directory, unless it is finished.
    """

    recipe: Recipe
    parts: Parts
    place: Path
    claim: Claim
    callbacks: Sequence[keras.callbacks.Callback]
    progress: Progress | None
    quality: NDArray[np.float64] | None
    until: int | None
    features_once: bool
    train_member: Callable[..., None]

    @property
    def interrupted(self) -> bool:
        """Whether the training ends before its last epoch."""
        return self.until is not None and self.until < self.recipe.epochs

    def run(self, *, everywhere: bool, measure: bool) -> Trained | None:
        """Train, evaluate, and write all files of the run except the report page.

        Args:
            everywhere: Whether every worker evaluates the network; otherwise only rank 0 does.
            measure: Whether an interrupted training is measured on the validation part.
        Returns:
            None if the training is interrupted, or on the other workers without `everywhere`.
        """
        recipe, parts = self.recipe, self.parts
        batches, model, history = self._train_members() if recipe.ensemble > 1 else self._train()
        first = workers.place().rank == 0
        if not (first or everywhere) or (self.interrupted and not measure):
            return None
        if recipe.ensemble == 1:  # otherwise each member has had its stage
            apply_stage(recipe, parts, batches, model)
        scores = None if parts.validation is None else _predict_scores(recipe, model, parts.validation)
        correction = fitted_correction(recipe, parts, batches, model, scores)
        validation = None
        if first and scores is not None:
            validation = validation_evaluation(parts, model, scores, correction, _display_name(recipe))
        if self.until is not None and self.interrupted:
            if validation is not None:
                write_round(self.place, self.claim, self.until, validation)
            return None
        result = _result(parts, correction, batches, recipe.epochs)
        evaluation = evaluate_source(recipe, model, result, parts.test, self.place if first else None)
        if first:
            self._write(model, result, validation)
        return Trained(model, history, evaluation)

    def _batches(self) -> Batches:
        _check_validation_part(self.recipe, self.parts)
        _check_normal_class(self.recipe, self.parts)
        return training_batches(self.recipe, self.parts, self.quality)

    def _train(self) -> tuple[Batches, Model, dict[str, list[float]]]:
        def build() -> Any:
            return prepared(self.recipe, self.parts, self._batches(), self.quality, features_once=self.features_once)

        made = together(build)
        return made.batches, made.model, self._fit(made.fitted_parts, made.fitted_batches, made.fitted)

    def _train_members(self) -> tuple[Batches, Model, dict[str, list[float]]]:
        """Train the members of an ensemble, each of which has its own history."""
        batches = self._batches()

        def load(directory: Path) -> Model:
            return load_trained(directory, self.recipe.modules).model

        return batches, train_members(self.recipe, self.place, self.train_member, load, self.progress), {}

    def _fit(self, parts: Parts, batches: Batches, model: Model) -> dict[str, list[float]]:
        """Fit the model with checkpoints, and return its history."""
        recipe = self.recipe
        ended: float | None = None  # time when the last epoch ended; the first one includes compilation

        def on_epoch_end(epoch: int, logs: Mapping[str, float]) -> None:
            nonlocal ended
            _check_monitor(self.recipe, logs)
            now = time.monotonic()
            speed = {} if ended is None else {"samples_per_second": batches.plan.size(0) / (now - ended)}
            ended = now
            if self.progress is not None:
                self.progress(epoch + 1, {**logs, **speed})

        logger = keras.callbacks.CSVLogger(str(self.place / "history.csv"))
        try:
            history = model.fit(
                batches,
                epochs=recipe.epochs if self.until is None else min(self.until, recipe.epochs),
                validation_data=None if parts.validation is None else evaluation_batches(recipe, parts.validation),
                callbacks=[
                    *self.callbacks,
                    *averaging_callbacks(recipe, batches),
                    # Present even without `progress`, because Resume compares the list of callbacks.
                    keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end),
                    logger,
                    *([] if recipe.early_stopping is None else [early_stopping_of(recipe.early_stopping)]),
                    Resume(self.place / "checkpoints", every_seconds=_SAVE_SECONDS),
                ],
                verbose=0,
            ).history
        finally:
            if logger.csv_file is not None:  # Keras does not close the file if the training fails
                logger.csv_file.close()
        return cast(dict[str, list[float]], history)

    def _write(self, model: Model, result: Result, validation: Evaluation | None) -> None:
        if validation is None:
            (self.place / VALIDATION).unlink(missing_ok=True)  # left by an earlier recipe
        else:
            validation.save_json(self.place / VALIDATION)
        save_serving_model(model, result.scale, result.offset, self.place / "model.keras")
        result.write(self.place, model, self.claim)


def evaluate_source(
    recipe: Recipe, model: Model, result: Result, source: Source, place: Path | None = None
) -> Evaluation:
    """Evaluate a trained network on a source, and write predictions and evaluation to `place` unless it is None."""
    scores = result.corrected(_predict_scores(recipe, model, source))
    evaluation = evaluate(
        source.labels,
        scores,
        result.class_names,
        result.train_counts,
        groups=group_of_each(source),
        ids=source.ids,
        metadata=source.metadata,
        train_metadata=result.train_slices,
        step_seconds=source.step_seconds,
        **_event_options(recipe),
        name=_display_name(recipe),
    )
    if place is not None:
        evaluation.save(place)
        save_pictures(evaluation, source, place)
    return evaluation


def _event_options(recipe: Recipe) -> dict[str, Any]:
    return {} if recipe.events is None else recipe.events.model_dump()


def _predict_scores(recipe: Recipe, model: Model, source: Source) -> NDArray[Any]:
    return np.asarray(model.predict(evaluation_batches(recipe, source), verbose=0))


def _display_name(recipe: Recipe) -> str:
    """Return the run's name in tables: that of the recipe, or else that of the loss."""
    return recipe.name or str(getattr(recipe.loss, "name", "recipe"))


def _result(parts: Parts, correction: Correction | None, batches: Batches, epochs: int) -> Result:
    scale, offset = (None, None) if correction is None else correction.coefficients()
    ends, size = (0, epochs - 1), len(parts.train.class_names)
    return Result(
        class_names=parts.train.class_names,
        train_counts=tuple(parts.train.class_counts.tolist()),
        input_shape=record_shape(parts.train),
        fill=parts.fill,
        normalize=parts.normalize,
        scale=scale,
        offset=offset,
        channels=parts.train.channels,
        recordings=of_recordings(parts.train),
        train_slices=slice_counts(parts.train.metadata),
        drawn=[batches.plan.class_sums(epoch=epoch, num_classes=size).tolist() for epoch in ends],
        weighted=[batches.class_counts_at(epoch).tolist() for epoch in ends],
        statistics=parts.normalize or statistics_of_sample(parts.train),
    )


def _check_validation_part(recipe: Recipe, parts: Parts) -> None:
    needs = ["early_stopping"] if recipe.early_stopping is not None else []
    if recipe.correction is not None and getattr(recipe.correction, "tau", None) is None:
        needs.append("correction")  # a correction with a given tau needs no fitting
    if parts.validation is None and needs:
        raise ArgumentError(
            f"{recipe.at(needs[0])}: {needs[0]} without a validation part",
            expected="a validation part, disjoint from the training and test parts",
            fix="add the part validation to the partition, or data.split.validation to the recipe",
        )


def _check_normal_class(recipe: Recipe, parts: Parts) -> None:
    # Checked before the training, because `evaluate` would raise only after it.
    normal, names = None if recipe.events is None else recipe.events.normal, parts.test.class_names
    if normal is not None and normal not in names:
        raise ArgumentError(
            f"{recipe.at('events.normal')}: {normal!r}",
            expected=f"one of the classes {', '.join(map(repr, names[:10]))}",
            fix="name the class that is the absence of an event",
        )


def _check_monitor(recipe: Recipe, logs: Mapping[str, float]) -> None:
    # Keras would only warn, and train all epochs.
    options = recipe.early_stopping
    if options is not None and options.monitor not in logs:
        known = [key for key in logs if key.startswith("val_")]
        raise ArgumentError(
            f"{recipe.at('early_stopping.monitor')}: {options.monitor!r}, which is not computed",
            expected=f"one of {', '.join(known)}",
            fix="monitor one of these, or add the metric to the recipe's metrics",
        )
