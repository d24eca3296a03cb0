"""Training of a recipe in a run directory; a run that is killed at any moment continues exactly when run again."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast

import keras
import numpy as np
from numpy.typing import NDArray

from tailfit import workers
from tailfit.callbacks import Resume
from tailfit.data import Batches, Source
from tailfit.errors import ArgumentError, DataError
from tailfit.evaluation import Evaluation, evaluate
from tailfit.evaluation.slices import slice_counts
from tailfit.posthoc.base import Correction
from tailfit.recipes.agreement import check_same, check_shared
from tailfit.recipes.averaging import averaging_callbacks
from tailfit.recipes.data_identity import describe_change, identity_of_data
from tailfit.recipes.directory import Claim
from tailfit.recipes.ensembles import check_ensemble, train_members
from tailfit.recipes.fixed_features import Prepared, prepared
from tailfit.recipes.likeness import check_same_classes, check_same_shape, of_recordings, statistics_of_sample
from tailfit.recipes.logging import callbacks_of, early_stopping_of, log_results, loggers_of
from tailfit.recipes.objects import apply_stage, evaluation_batches, fitted_correction, training_batches
from tailfit.recipes.out_of_fold import quality_weights
from tailfit.recipes.overlap import warn_of_training_samples
from tailfit.recipes.parts import Parts, group_of_each, open_other_data, open_part, open_parts, record_shape
from tailfit.recipes.recipe import Recipe, load_recipe
from tailfit.recipes.reports import complete_report, save_pictures, save_report
from tailfit.recipes.result import CHECKSUMMED, VALIDATION, Result, finished_claim
from tailfit.recipes.rounds import write_round
from tailfit.recipes.serving import save_serving_model
from tailfit.recipes.trained import load_trained
from tailfit.recipes.validating import validation_evaluation
from tailfit.resume.signals import exit_on_sigterm
from tailfit.storage.json_text import MOST_JSON
from tailfit.storage.reading import read_text
from tailfit.training import Model
from tailfit.training.generators import drawn_from
from tailfit.training.together import together

__all__ = [
    "Measured",
    "Run",
    "evaluate_run",
    "finished_evaluations",
    "train",
    "train_as_worker",
    "train_on",
    "train_unless_finished",
]

Progress: TypeAlias = Callable[[int, Mapping[str, float]], None]
_SAVE_SECONDS: Final = 60.0  # a checkpoint is also saved at the end of each epoch


@dataclass(frozen=True, eq=False)
class Run:
    """A finished training.

    Attributes:
        directory: Directory of its files; see `tailfit.recipes.directory`.
        recipe: The trained recipe.
        model: The network, without the correction.
        history: Loss and metrics of each epoch, by name.
        evaluation: Evaluation on the test part.
        restarts: What happened to lost workers, one text per restart; see `tailfit.distributed.train`.
    """

    directory: Path
    recipe: Recipe
    model: Model
    history: dict[str, list[float]]
    evaluation: Evaluation
    restarts: tuple[str, ...] = ()


def train(
    recipe: str | PathLike[str] | dict[str, Any] | Recipe,
    directory: str | PathLike[str],
    *,
    modules: Sequence[str] = (),
    fetch: bool = False,
    verify: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Progress | None = None,
) -> Run:
    """Train a recipe, evaluate it on its test part, and save the results in a directory.

    After an interruption the same call continues the run exactly (`tailfit.callbacks.Resume`). If the run is finished,
    the call returns its result.

    Args:
        recipe: Path of a recipe, the same as a dict, or a loaded `Recipe`.
        directory: Directory for this run alone.
        modules: Your modules whose functions the recipe may name.
        fetch: Whether a URL in the recipe may be downloaded.
        verify: Whether all data are read to check that they have not changed since the run was started. Otherwise
            names, sizes, modification times and a sample of the contents are compared, and all contents of small data.
        callbacks: Further Keras callbacks; `Resume` must be able to save them.
        progress: Function called after each epoch with its number, from 1, its loss and metrics by name, and from the
            second epoch on `samples_per_second`, by all workers together, validation included. While networks for
            `weights` are trained, the number of the fold is `fold`.
    Raises:
        DataError: If the recipe or the data are invalid.
        ArgumentError: If the data are a URL and `fetch` is false, or parts of the recipe do not fit together.
        CheckpointError: If the directory contains a different run or is in use by another process, or the data have
            changed since the run was started.

    >>> import tempfile, numpy as np, tailfit
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 200)
    >>> x = rng.normal(3.0 * y[:, None], size=(200, 4)).astype("float32")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tailfit.data.save_npy_folder(f"{folder}/pumps", x, np.array(["leak", "ok"])[y])
    ...     recipe = {"data": {"path": f"{folder}/pumps"}, "loss": "LogitAdjusted", "epochs": 5}
    ...     run = train(recipe, f"{folder}/run")
    ...     float(run.evaluation.balanced_accuracy) > 0.9
    True
    """
    checked = load_recipe(recipe, modules=modules)
    directory = Path(fspath(directory)).absolute()
    run = train_as_worker(checked, directory, fetch=fetch, verify=verify, callbacks=callbacks, progress=progress)
    return cast(Run, run)


def train_as_worker(
    recipe: Recipe,
    directory: Path,
    *,
    fetch: bool = False,
    verify: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Progress | None = None,
    everywhere: bool = True,
) -> Run | None:
    """Train a recipe as one of the workers that this process has joined, or alone; see `train`.

    Args:
        recipe: The loaded recipe.
        directory: Absolute path of the run's directory, which all workers must see. Only rank 0 writes there.
        fetch, verify, callbacks, progress: See `train`.
        everywhere: Whether every worker returns the run, for which it must evaluate the network; otherwise only rank 0
            does.
    """
    with exit_on_sigterm():
        parts, data = together(lambda: (open_parts(recipe, fetch=fetch), identity_of_data(recipe, verify=verify)))
        check_same(recipe, data)
        return _train_on(parts, recipe, directory, data, callbacks, progress, everywhere)


def train_on(
    parts: Parts,
    recipe: Recipe,
    place: Path,
    data: dict[str, Any],
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Progress | None = None,
    until: int | None = None,
    measure: bool = True,
) -> Run | None:
    """Train on data that are already open, so that several runs can share them; see `train`.

    Args:
        parts: The opened parts of the recipe's data.
        recipe: The loaded recipe.
        place: Absolute path of the run's directory.
        data: Identity of the data; see `identity_of_data`.
        callbacks, progress: See `train`.
        until: Number of epochs after which the training is interrupted; the next call continues it.
        measure: Whether an interrupted training is measured on the validation part.
    Returns:
        None if the training is interrupted.
    """
    return _train_on(parts, recipe, place, data, callbacks, progress, everywhere=True, until=until, measure=measure)


def train_unless_finished(
    parts: Parts, recipe: Recipe, place: Path, *, data: dict[str, Any], progress: Progress | None = None
) -> None:
    """Train on data that are already open, unless the directory contains the finished run; see `train_on`."""
    if _is_finished(recipe, place, data, CHECKSUMMED):
        complete_report(place)
    else:
        train_on(parts, recipe, place, data, progress=progress)


def _train_on(
    parts: Parts,
    recipe: Recipe,
    place: Path,
    data: dict[str, Any],
    callbacks: Sequence[keras.callbacks.Callback],
    progress: Progress | None,
    everywhere: bool,
    until: int | None = None,
    measure: bool = True,
) -> Run | None:
    """Train as one of the workers, or alone; see `train_as_worker`."""
    check_ensemble(recipe, callbacks, until)
    claim = Claim(recipe.plain(), str(recipe.folder), keras.backend.backend(), data)
    first = workers.place().rank == 0
    with ExitStack() as opened:
        together(lambda: opened.enter_context(claim.hold(place)) if first else None)
        check_shared(place)
        quality = quality_weights(recipe, parts, place / "folds", partial(train_unless_finished, data=data), progress)
        with drawn_from(recipe.seed):  # the run's bytes must not depend on what this process has drawn before
            loggers = loggers_of(recipe, place)
            added = [*loggers, *callbacks_of(recipe), *callbacks]
            # A callback of the user may call the network on records.
            run = _train(
                parts, recipe, place, claim, added, progress, everywhere, quality, until, measure, not callbacks
            )
        if run is not None and first:
            save_report(run.evaluation, place)
            log_results(loggers, run.evaluation, place / "report.html")
    return run


def _train(
    parts: Parts,
    recipe: Recipe,
    place: Path,
    claim: Claim,
    callbacks: Sequence[keras.callbacks.Callback],
    progress: Progress | None,
    everywhere: bool,
    quality: NDArray[np.float64] | None,
    until: int | None,
    measure: bool,
    features_once: bool,
) -> Run | None:
    """Train, evaluate, and write all files of the run except the report page."""

    def built_batches() -> Batches:
        _check_validation_part(recipe, parts)
        _check_normal_class(recipe, parts)
        return training_batches(recipe, parts, quality)

    def built() -> Prepared:
        return prepared(recipe, parts, built_batches(), quality, features_once=features_once)

    if recipe.ensemble > 1:
        batches, history = built_batches(), dict[str, list[float]]()
        trained = partial(train_unless_finished, parts, data=claim.data)
        model = train_members(recipe, place, trained, lambda own: load_trained(own, recipe.modules).model, progress)
    else:
        made = together(built)
        batches, model = made.batches, made.model
        history = _fit(recipe, made.fitted_parts, made.fitted_batches, made.fitted, place, callbacks, progress, until)
    first = workers.place().rank == 0
    if not first and not everywhere:
        return None
    interrupted = until is not None and until < recipe.epochs
    if interrupted and not measure:
        return None
    if recipe.ensemble == 1:  # otherwise each member has had its stage
        apply_stage(recipe, parts, batches, model)
    held_out = None if parts.validation is None else _predict_scores(recipe, model, parts.validation)
    correction = fitted_correction(recipe, parts, batches, model, held_out)
    measured = None
    if first and held_out is not None:
        measured = validation_evaluation(parts, model, held_out, correction, _display_name(recipe))
    if until is not None and interrupted:
        if measured is not None:
            write_round(place, claim, until, measured)
        return None
    result = _result(parts, correction, batches, recipe.epochs)
    evaluation = _evaluate(recipe, model, result, parts.test, place if first else None)
    if first:
        if measured is None:
            (place / VALIDATION).unlink(missing_ok=True)  # of an earlier recipe
        else:
            measured.save_json(place / VALIDATION)
        save_serving_model(model, result.scale, result.offset, place / "model.keras")
        result.write(place, model, claim)
    return Run(place, recipe, model, history, evaluation)


def _fit(
    recipe: Recipe,
    parts: Parts,
    batches: Batches,
    model: Model,
    place: Path,
    callbacks: Sequence[keras.callbacks.Callback],
    progress: Progress | None,
    until: int | None,
) -> dict[str, list[float]]:
    """Fit the model with checkpoints, and return its history."""

    ended: float | None = None  # time when the last epoch ended; the first one includes compilation

    def on_epoch_end(epoch: int, logs: Mapping[str, float]) -> None:
        nonlocal ended
        _check_monitor(recipe, logs)
        now = time.monotonic()
        speed = {} if ended is None else {"samples_per_second": batches.plan.size(0) / (now - ended)}
        ended = now
        if progress is not None:
            progress(epoch + 1, {**logs, **speed})

    logger = keras.callbacks.CSVLogger(str(place / "history.csv"))
    try:
        history = model.fit(
            batches,
            epochs=recipe.epochs if until is None else min(until, recipe.epochs),
            validation_data=None if parts.validation is None else evaluation_batches(recipe, parts.validation),
            callbacks=[
                *callbacks,
                *averaging_callbacks(recipe, batches),
                # Present even without `progress`, because Resume compares the list of callbacks.
                keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end),
                logger,
                *([] if recipe.early_stopping is None else [early_stopping_of(recipe.early_stopping)]),
                Resume(place / "checkpoints", every_seconds=_SAVE_SECONDS),
            ],
            verbose=0,
        ).history
    finally:
        if logger.csv_file is not None:  # Keras does not close the file if the training fails
            logger.csv_file.close()
    return cast(dict[str, list[float]], history)


def evaluate_run(
    directory: str | PathLike[str],
    *,
    data: str | None = None,
    part: Literal["train", "validation", "test"] = "test",
    modules: Sequence[str] = (),
    fetch: bool = False,
) -> Evaluation:
    """Evaluate a finished run on a part of its data, or on different data.

    Args:
        directory: Directory of the run.
        data: Path of different data for `tailfit.data.open`, with labels of the same classes.
        part: Part of the run's own data, used if `data` is not given.
        modules, fetch: See `train`.
    Raises:
        DataError: If the run is not finished or is damaged, or the data have different classes or a different shape.
    Warns:
        DataWarning: If `data` contains samples of the training part, found by ID and by the contents of the records; or
            the training data can't be read to find out.

    >>> import tempfile, numpy as np, tailfit
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 200)
    >>> x = rng.normal(3.0 * y[:, None], size=(200, 4)).astype("float32")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tailfit.data.save_npy_folder(f"{folder}/pumps", x, np.array(["leak", "ok"])[y])
    ...     run = train({"data": {"path": f"{folder}/pumps"}, "epochs": 1}, f"{folder}/run")
    ...     evaluate_run(run.directory) == run.evaluation
    True
    """
    place = Path(fspath(directory)).absolute()
    trained = load_trained(place, modules)
    recipe, result = trained.recipe, trained.result
    if data is None:
        source = open_part(recipe, part, result.fill, fetch=fetch)
    else:
        source = open_other_data(recipe, data, result.fill, channels=result.channels, recordings=result.recordings)
    check_same_classes(source, result)
    check_same_shape(source, result)
    if data is not None:
        warn_of_training_samples(trained, source, place, data, fetch=fetch)
    return _evaluate(recipe, trained.model, result, source, None)


class Measured(NamedTuple):
    """The evaluations of a finished run on its test part and on its validation part."""

    test: Evaluation
    validation: Evaluation


def finished_evaluations(recipe: Recipe, directory: Path, data: Mapping[str, Any]) -> Measured | None:
    """Read the evaluations of a finished run of the same recipe on the same data.

    Returns:
        None if there is no such run, or it is not finished or damaged. `train_on` then continues the run, or raises the
        appropriate error.
    """
    if not _is_finished(recipe, directory, data, (*CHECKSUMMED, VALIDATION)):
        return None
    try:
        texts = (read_text(directory / name, MOST_JSON) for name in ("evaluation.json", VALIDATION))
        return Measured(*map(Evaluation.from_json, texts))
    except DataError:
        return None


def _is_finished(recipe: Recipe, directory: Path, data: Mapping[str, Any], checked: Sequence[str]) -> bool:
    """Return whether a directory contains the finished run of the recipe on the same data, with undamaged files."""
    try:
        claim = finished_claim(directory, checked)
    except DataError:
        return False
    same = claim.recipe == recipe.plain() and claim.backend == keras.backend.backend()
    return same and not describe_change(claim.data, data)


def _evaluate(recipe: Recipe, model: Model, result: Result, source: Source, place: Path | None) -> Evaluation:
    """Evaluate the model on a source, and write predictions and evaluation to `place` unless it is None."""
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
    # After the training, `evaluate` would refuse the name.
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
