"""Training of a recipe in a run directory; a run that is killed at any moment continues exactly when run again."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import keras

from tailfit import workers
from tailfit.errors import DataError
from tailfit.evaluation import Evaluation
from tailfit.recipes.agreement import check_same, check_shared
from tailfit.recipes.data_identity import describe_change, identity_of_data
from tailfit.recipes.directory import Claim
from tailfit.recipes.ensembles import check_ensemble
from tailfit.recipes.likeness import check_same_classes, check_same_shape
from tailfit.recipes.logging import callbacks_of, log_results, loggers_of
from tailfit.recipes.one_training import OneTraining, Progress, evaluate_source
from tailfit.recipes.out_of_fold import quality_weights
from tailfit.recipes.overlap import warn_of_training_samples
from tailfit.recipes.parts import Parts, open_other_data, open_part, open_parts
from tailfit.recipes.recipe import Recipe, load_recipe
from tailfit.recipes.reports import complete_report, save_report
from tailfit.recipes.result import CHECKSUMMED, VALIDATION, finished_claim
from tailfit.recipes.trained import load_trained
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
        return _train_on(parts, recipe, directory, data, callbacks=callbacks, progress=progress, everywhere=everywhere)


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
    return _train_on(
        parts,
        recipe,
        place,
        data,
        callbacks=callbacks,
        progress=progress,
        everywhere=True,
        until=until,
        measure=measure,
    )


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
    *,
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
            training = OneTraining(
                recipe=recipe,
                parts=parts,
                place=place,
                claim=claim,
                callbacks=[*loggers, *callbacks_of(recipe), *callbacks],
                progress=progress,
                quality=quality,
                until=until,
                features_once=not callbacks,  # a user's callback may call the network on records
                train_member=partial(train_unless_finished, parts, data=data),
            )
            trained = training.run(everywhere=everywhere, measure=measure)
        if trained is not None and first:
            save_report(trained.evaluation, place)
            log_results(loggers, trained.evaluation, place / "report.html")
    return None if trained is None else Run(place, recipe, *trained)


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
    return evaluate_source(recipe, trained.model, result, source)


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
