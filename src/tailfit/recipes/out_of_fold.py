"""Out-of-fold probabilities: predictions for each sample by networks that were trained without it.

Concepts:
- *folds* of the training part: stratified by class, and no group is cut (`tailfit.data.folds`). One network is trained
  per fold on all others, each as a run in a directory of its own, `fold-2-of-5`, so that an interrupted call continues.
- *validation and test part*: no network was trained on them, so their probabilities are the mean over all networks.
- *unjudged*: the samples of a class that is in one group only. Without them a network could not predict the class, so
  they are in the training part of every fold.
- *temperature*: logits are divided by the number that fits the labels best, because a loss such as LDAM or Focal leaves
  them far from probabilities.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from tailfit import workers
from tailfit.data import Concat, Source, Subset
from tailfit.data.folding import folds as divided
from tailfit.errors import ArgumentError, DataError
from tailfit.evaluation.stored import read_scores
from tailfit.posthoc import TemperatureScaling
from tailfit.recipes.parts import Parts
from tailfit.recipes.recipe import Quality, Recipe
from tailfit.weights import label_quality

__all__ = ["FoldTrainer", "OutOfFold", "out_of_fold", "quality_weights"]

Progress: TypeAlias = Callable[[int, Mapping[str, float]], None]
_FOLDS_SEED: Final = 0  # of the division; the recipe's seed is that of the trainings
Floats = NDArray[np.float64]


class FoldTrainer(Protocol):
    """A function that trains parts in a directory as a run, unless it is finished."""

    def __call__(self, parts: Parts, recipe: Recipe, place: Path, *, progress: Progress | None = None) -> None: ...


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Probabilities of all samples by networks that were trained without them.

    Attributes:
        source: The samples: those of the training part, then those of the validation and test part.
        part: Name of the part of each sample.
        probabilities: `float64[n, C]`; rows of NaN for samples that are not judged.
        unjudged: Number of samples that are not judged, by class.
    """

    source: Source
    part: tuple[str, ...]
    probabilities: Floats
    unjudged: Mapping[str, int]

    @property
    def judged(self) -> NDArray[np.bool_]:
        """Whether each sample has probabilities."""
        return ~np.isnan(self.probabilities[:, 0])


def out_of_fold(
    recipe: Recipe,
    parts: Parts,
    place: Path,
    count: int,
    train: FoldTrainer,
    progress: Callable[[int, int, Mapping[str, float]], None] | None = None,
) -> OutOfFold:
    """Train a network per fold, and return the probabilities of all samples.

    Args:
        recipe: The recipe; its correction, weights and logs are left out.
        parts: Its opened data.
        place: Directory for the runs.
        count: Number of folds.
        train: See `FoldTrainer`.
        progress: Function called after each epoch with the number of the fold, the epoch, and loss and metrics.
    Raises:
        ArgumentError: If there are fewer samples or groups than folds.
    """
    changed = recipe.model_copy(update={"correction": None, "weights": None, "compare": None, "log": []})
    rest = {"validation": parts.validation, "test": parts.test}
    further = [part for part in rest.values() if part is not None]
    position_of = parts.train.positions
    logits = np.full((len(parts.train), len(parts.train.class_names)), np.nan)
    sums: Floats = np.zeros((sum(map(len, further)), logits.shape[1]))
    unjudged = np.zeros(len(parts.train), dtype=np.bool_)
    for number, (rows, held_out, kept) in enumerate(_divided(parts.train, count), start=1):
        unjudged[kept] = True
        tested: Source = Concat(Subset(parts.train, held_out), *further)
        fold = Parts(Subset(parts.train, rows), parts.validation, tested, parts.fill, parts.normalize)
        folder = place / f"fold-{number}-of-{count}"
        report = None if progress is None else partial(progress, number)
        train(fold, changed.model_copy(update={"name": folder.name}), folder, progress=report)
        scores = _recorded(folder, tested, parts.train.class_names)
        logits[position_of(tested.ids[: len(held_out)])] = scores[: len(held_out)]
        sums += log_softmax(scores[len(held_out) :], axis=1)
    everything = Concat(parts.train, *further)
    codes = np.concatenate([np.asarray(part.labels) for part in (parts.train, *further)])
    logits = np.concatenate([logits, sums / count])
    names = [name for name, part in rest.items() if part is not None for _ in range(len(part))]
    counts = np.bincount(codes[: len(unjudged)][unjudged], minlength=logits.shape[1])
    return OutOfFold(
        everything,
        ("train",) * len(parts.train) + tuple(names),
        _probabilities(logits, codes),
        {name: int(number) for name, number in zip(parts.train.class_names, counts, strict=True) if number},
    )


def quality_weights(
    recipe: Recipe, parts: Parts, place: Path, train: FoldTrainer, progress: Progress | None = None
) -> Floats | None:
    """Return a weight for each training sample, with mean 1: the quality of its label; None if the recipe has none.

    Args:
        recipe: The recipe, whose key `weights` decides.
        parts: Its opened data.
        place: Directory for the runs of the folds.
        train: See `FoldTrainer`.
        progress: Function called after each epoch with its number, and loss, metrics and `fold` by name.
    Raises:
        ArgumentError: If several workers train together.
    """
    if recipe.weights is None:
        return None
    if workers.place().world > 1:
        raise ArgumentError(
            f"{recipe.at('weights')}: weights with {workers.place().world} workers",
            expected="one process, which trains the networks of the folds",
            fix="train without workers; or run tailfit suspects, and weight samples by a column of its quality.parquet",
        )

    def report(number: int, epoch: int, figures: Mapping[str, float]) -> None:
        if progress is not None:
            progress(epoch, {**figures, "fold": float(number)})

    options = recipe.weights if isinstance(recipe.weights, Quality) else Quality()
    found = out_of_fold(recipe, parts, place, options.folds, train, report)
    rows, judged = found.probabilities[: len(parts.train)], found.judged[: len(parts.train)]
    weights = np.ones(len(parts.train))
    adjusted = options.method != "confident_joint" if options.adjusted is None else options.adjusted
    quality = label_quality(np.asarray(parts.train.labels)[judged], rows[judged], options.method, adjusted=adjusted)
    weights[judged] = quality / max(float(quality.mean()), 1e-12)
    return weights


def _divided(source: Source, count: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Return positions of each fold: those trained on, those held out, and those of classes that can't be held out."""
    codes = np.asarray(source.labels)
    parts = []
    for training, held_out in divided(source, count, seed=_FOLDS_SEED):
        absent = np.flatnonzero((training.class_counts == 0) & (source.class_counts > 0))
        alone = np.isin(codes[held_out.indices], absent)
        kept = held_out.indices[alone]
        parts.append((np.sort(np.append(training.indices, kept)), held_out.indices[~alone], kept))
    return [part for part in parts if len(part[1])]


def _recorded(folder: Path, tested: Source, names: tuple[str, ...]) -> Floats:
    """Return the scores that a run recorded for its test part, in the order of its samples."""
    ids, scores = read_scores(folder, names)
    if ids != list(tested.ids):
        raise DataError(
            f"{folder}, which predicts other samples",
            expected="the run of the same fold of the same data",
            fix="remove the directory, and run the same command again",
        )
    return scores


def _probabilities(logits: Floats, codes: NDArray[Any]) -> Floats:
    judged = np.flatnonzero(~np.isnan(logits[:, 0]))
    scaled = logits[judged]
    with contextlib.suppress(DataError):  # no best temperature: all predictions are correct, or as by chance
        scaled = TemperatureScaling(from_logits=True).fit(scaled, codes[judged]).transform(scaled)
    probabilities = np.full(logits.shape, np.nan)
    probabilities[judged] = softmax(scaled, axis=1)
    return probabilities
