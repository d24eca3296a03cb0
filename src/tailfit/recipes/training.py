"""A recipe trained in a directory of its own: killed at any moment and run again, it ends as if it had not been."""

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast

import keras
import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.callbacks import Resume
from tailfit.data import Batches, Source
from tailfit.errors import ArgumentError, DataError
from tailfit.evaluation import Comparison, Evaluation, ReportWarning, evaluate
from tailfit.posthoc.base import Correction
from tailfit.recipes.data_identity import changed_data, identity_of_data
from tailfit.recipes.directory import Claim
from tailfit.recipes.objects import compiled_model, fitted_correction, held_back, network_of, training_batches
from tailfit.recipes.parts import Parts, open_other, open_part, open_parts, record_shape
from tailfit.recipes.recipe import EarlyStopping, Recipe, load_recipe
from tailfit.recipes.result import Result, finished_claim, restore_result, trained_arrays
from tailfit.recipes.serving import save_served
from tailfit.resume.signals import exit_on_sigterm
from tailfit.storage.json_text import MOST_JSON
from tailfit.storage.reading import read_text
from tailfit.storage.writing import write_parts
from tailfit.training import Model
from tailfit.training.generators import drawn_from

__all__ = ["Run", "evaluate_run", "finished_evaluation", "save_page", "train", "train_on"]

Progress: TypeAlias = Callable[[int, Mapping[str, float]], None]
_SAVED_EVERY: Final = 60.0  # seconds, and at the end of each epoch


@dataclass(frozen=True, eq=False)
class Run:
    """A finished training.

    Attributes:
        directory: Where its files are; see `tailfit.recipes.directory`.
        recipe: What was trained.
        model: The network, without the correction.
        history: The figures of each epoch.
        evaluation: What was measured on the test part.
    """

    directory: Path
    recipe: Recipe
    model: Model
    history: dict[str, list[float]]
    evaluation: Evaluation


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
    """Train a recipe, measure it on its test part, and write all of it down.

    The same call again goes on where the first was ended, exactly (`tailfit.callbacks.Resume`); of a finished run it
    gives back the end.

    Args:
        recipe: A path, a dict, or what `load_recipe` made.
        directory: Of this run alone.
        modules: Modules of yours that the recipe may name functions of.
        fetch: Whether a URL in the recipe may be fetched.
        verify: Whether all of the data's contents are read to tell whether they are those the run was begun with. Else
            names, sizes, times of change and a sample of the contents are compared, and all contents of small data.
        callbacks: More of Keras' callbacks, which `Resume` must be able to save.
        progress: Called after each epoch with its number, from 1, and its figures.
    Raises:
        DataError: for what is wrong in the recipe, or in the data.
        ArgumentError: for a URL without `fetch`, or what does not go together.
        CheckpointError: for a directory of another run, or where another process is at work; for data that were
            changed since the run was begun.

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
    place = Path(fspath(directory)).absolute()
    with exit_on_sigterm():
        parts = open_parts(checked, fetch=fetch)
        data = identity_of_data(checked, verify=verify)
        return train_on(parts, checked, place, data, callbacks=callbacks, progress=progress)


def train_on(
    parts: Parts,
    recipe: Recipe,
    place: Path,
    data: dict[str, Any],
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Progress | None = None,
) -> Run:
    """Train on data that are open, and whose identity is known; several runs may share them. See `train`."""
    claim = Claim(recipe.plain(), str(recipe.folder), keras.backend.backend(), data)
    with claim.held(place):
        with drawn_from(recipe.seed):  # its bytes depend on the recipe, not on what this process has drawn before
            run = _trained(parts, recipe, place, claim, callbacks, progress)
        save_page(run.evaluation, place)
    return run


def _trained(
    parts: Parts,
    recipe: Recipe,
    place: Path,
    claim: Claim,
    callbacks: Sequence[keras.callbacks.Callback],
    progress: Progress | None,
) -> Run:
    """The run, with all files of it written but the page."""
    _refuse_what_needs_validation(recipe, parts)
    batches = training_batches(recipe, parts)
    model = compiled_model(recipe, parts, batches)
    history = _fitted(recipe, parts, batches, model, place, callbacks, progress)
    held_out = None
    if recipe.correction is not None and parts.validation is not None:
        held_out = _scores(recipe, model, parts.validation)
    correction = fitted_correction(recipe, parts, batches, model, held_out)
    result = _result(parts, correction)
    evaluation = _measured(recipe, model, result, parts.test, place)
    save_served(model, result.scale, result.offset, place / "model.keras")
    result.write(place, model, claim)
    return Run(place, recipe, model, history, evaluation)


def _fitted(
    recipe: Recipe,
    parts: Parts,
    batches: Batches,
    model: Model,
    place: Path,
    callbacks: Sequence[keras.callbacks.Callback],
    progress: Progress | None,
) -> dict[str, list[float]]:
    """The history of the training."""

    def epoch_ends(epoch: int, logs: Mapping[str, float]) -> None:
        _refuse_unknown_monitor(recipe, logs)
        if progress is not None:
            progress(epoch + 1, logs)

    logger = keras.callbacks.CSVLogger(str(place / "history.csv"))
    try:
        history = model.fit(
            batches,
            epochs=recipe.epochs,
            validation_data=None if parts.validation is None else held_back(recipe, parts.validation),
            callbacks=[
                *callbacks,
                # There also where nobody looks: a run's callbacks are compared when it goes on.
                keras.callbacks.LambdaCallback(on_epoch_end=epoch_ends),
                logger,
                *([] if recipe.early_stopping is None else [_stopping(recipe.early_stopping)]),
                Resume(place / "checkpoints", every_seconds=_SAVED_EVERY),
            ],
            verbose=0,
        ).history
    finally:
        if logger.csv_file is not None:  # Keras closes it at the end of a training, and not where that fails
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
    """Measure a finished run again: on a part of its data, or on other data.

    Args:
        directory: What `train` wrote into.
        data: What `tailfit.data.open` reads: other data, with labels of the same classes.
        part: Of the run's own data.
        modules, fetch: As for `train`.
    Raises:
        DataError: for a run that is not finished or damaged, or data of other classes or another shape.
    """
    place = Path(fspath(directory)).absolute()
    claim = finished_claim(place, ["weights.safetensors"])
    recipe = load_recipe(claim.recipe, modules=modules, folder=claim.folder)
    result, entries = Result.read(place)
    arrays = trained_arrays(place, entries)
    trained = sum(array.size for array in arrays.values())
    model = network_of(recipe, result.input_shape, len(result.class_names), result.normalize, trained=trained)
    restore_result(model, entries, arrays)
    if data is None:
        source = open_part(recipe, part, result.fill, fetch=fetch)
    else:
        source = open_other(recipe, data, result.fill)
    _refuse_others(source, result)
    return _measured(recipe, model, result, source, None)


def finished_evaluation(recipe: Recipe, directory: Path, data: Mapping[str, Any]) -> Evaluation | None:
    """Read what a run of just this recipe on just these data has measured.

    Returns:
        None if there is no such run, it is not finished, or a file of it is damaged: `train_on` then continues it, or
        says why it can't.
    """
    try:
        claim = finished_claim(directory)
        same = claim.recipe == recipe.plain() and claim.backend == keras.backend.backend()
        if not same or changed_data(claim.data, data):
            return None
        return Evaluation.from_json(read_text(directory / "evaluation.json", MOST_JSON))
    except DataError:
        return None


def save_page(evaluation: Evaluation | Comparison, place: Path) -> None:
    """Write the page of a run or comparison, when all else is written; one that can't be is a `ReportWarning`."""
    try:
        evaluation.save_html(place / "report.html")
    except Exception as error:
        warnings.warn(
            f"{place / 'report.html'} was not written ({type(error).__name__}: {error}); all figures are.",
            ReportWarning,
            stacklevel=2,
        )


def _measured(recipe: Recipe, model: Model, result: Result, source: Source, place: Path | None) -> Evaluation:
    """The evaluation on a source; written down where there is a place to."""
    scores = result.corrected(_scores(recipe, model, source))
    evaluation = evaluate(source.labels, scores, result.class_names, result.train_counts, name=_name_of(recipe))
    if place is not None:
        write_parts(place / "predictions.parquet", [_predictions(source, scores, result.class_names)])
        evaluation.save_json(place / "evaluation.json")
    return evaluation


def _scores(recipe: Recipe, model: Model, source: Source) -> NDArray[Any]:
    return np.asarray(model.predict(held_back(recipe, source), verbose=0))


def _name_of(recipe: Recipe) -> str:
    """How tables call a run: by the file of its recipe, or by the loss."""
    return recipe.name or str(getattr(recipe.loss, "name", "recipe"))


def _result(parts: Parts, correction: Correction | None) -> Result:
    scale, offset = (None, None) if correction is None else correction.coefficients()
    return Result(
        class_names=parts.train.class_names,
        train_counts=tuple(parts.train.class_counts.tolist()),
        input_shape=record_shape(parts.train),
        fill=parts.fill,
        normalize=parts.normalize,
        scale=scale,
        offset=offset,
    )


def _stopping(wanted: EarlyStopping) -> keras.callbacks.EarlyStopping:
    small = any(word in wanted.monitor for word in ("loss", "error"))
    return keras.callbacks.EarlyStopping(
        monitor=wanted.monitor,
        mode=wanted.mode or ("min" if small else "max"),
        patience=wanted.patience,
        min_delta=wanted.min_delta,
        start_from_epoch=wanted.start_from_epoch,
        restore_best_weights=True,
    )


def _refuse_what_needs_validation(recipe: Recipe, parts: Parts) -> None:
    needs = ["early_stopping"] if recipe.early_stopping is not None else []
    if recipe.correction is not None and getattr(recipe.correction, "tau", None) is None:
        needs.append("correction")  # with a tau that is given there is nothing to fit
    if parts.validation is None and needs:
        raise ArgumentError(
            f"{recipe.at(needs[0])}: {needs[0]} without a validation part",
            expected="samples that are neither trained on nor measured on",
            fix="add a part validation to the partition, or a share to data.split",
        )


def _refuse_unknown_monitor(recipe: Recipe, logs: Mapping[str, float]) -> None:
    # Keras would only warn, and never stop.
    wanted = recipe.early_stopping
    if wanted is not None and wanted.monitor not in logs:
        known = [key for key in logs if key.startswith("val_")]
        raise ArgumentError(
            f"{recipe.at('early_stopping.monitor')}: {wanted.monitor!r}",
            expected=", ".join(known),
            fix="monitor one of these, or add the metric to metrics",
        )


def _refuse_others(source: Source, result: Result) -> None:
    shape = record_shape(source)
    if source.class_names != result.class_names:
        raise DataError(
            f"data of the classes {', '.join(map(repr, source.class_names))}",
            expected=f"the classes that were trained: {', '.join(map(repr, result.class_names))}",
            fix="name the classes so; class_names.json beside the data names those without a sample",
        )
    if shape != result.input_shape:
        raise DataError(
            f"records of shape {shape}", expected=f"records of shape {result.input_shape}", fix="bring them into it"
        )


def _predictions(source: Source, scores: NDArray[np.float64], names: Sequence[str]) -> bytes:
    """Of each sample its ID, class, predicted class, and a score for each class, as Parquet."""
    columns = {"id": list(source.ids), "label": [names[code] for code in np.asarray(source.labels)]}
    columns["predicted"] = [names[code] for code in scores.argmax(axis=1)]
    table = pl.DataFrame(columns).hstack([pl.Series(f"score {name}", scores[:, k]) for k, name in enumerate(names)])
    table.write_parquet(file := io.BytesIO())
    return file.getvalue()
