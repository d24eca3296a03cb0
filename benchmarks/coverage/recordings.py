"""Simulated test sets of recordings, whose true figures are known."""

from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv, ndtr

WINDOWS = 20  # of each class in a recording, on average
EQUAL = 30  # of each recording of the design "equal"


@dataclass(frozen=True)
class Setting:
    """A kind of test set.

    Attributes:
        design: "one class": each recording has a single class; "all classes": each has windows of every class;
            "equal": as "one class", with `EQUAL` windows in each recording and a recall of 0.7 in each class.
        groups: Recordings of each class.
        classes: Number of classes.
        correlation: Correlation of the correctness of two windows of one class in one recording.
    """

    design: str
    groups: int
    classes: int
    correlation: float

    @property
    def recalls(self) -> np.ndarray:
        """True recall of each class: 0.7, or from 0.95 down to 0.6."""
        if self.design == "equal":
            return np.full(self.classes, 0.7)
        return np.linspace(0.95, 0.6, self.classes)


def truth(recalls: np.ndarray) -> dict[str, float]:
    """Return the true figures of a classifier with these recalls; classes have equally many windows on average."""
    columns = recalls + ((1 - recalls).sum() - (1 - recalls)) / (len(recalls) - 1)
    return {
        "balanced_accuracy": float(recalls.mean()),
        "macro_f1": float((2 * recalls / (1 + columns)).mean()),
        "geometric_mean": float(np.exp(np.log(recalls).mean())),
        "worst_class_recall": float(recalls.min()),
        "accuracy": float(recalls.mean()),
    }


def draw(setting: Setting, rng: np.random.Generator, worse: float = 0.85) -> tuple[np.ndarray, ...]:
    """Draw labels, groups and the predictions of two classifiers; recordings that are hard for one are hard for both.

    The recall of a class scatters over the recordings as a beta distribution with the given correlation. Where it does,
    all errors of a recording in a class go to one other class. Sizes of recordings scatter with a deviation of about
    3/4 of their mean.
    """
    classes = setting.classes
    number = setting.groups * (1 if setting.design == "all classes" else classes)
    sizes = 1 + rng.poisson(rng.gamma(2.0, (WINDOWS - 1) / 2, size=(number, classes)))
    if setting.design == "equal":
        sizes[:] = EQUAL
    if setting.design != "all classes":
        sizes *= np.arange(number)[:, np.newaxis] // setting.groups == np.arange(classes)
    # Half of the variance of a recording's difficulty is common to its classes, and 7/10 to both classifiers.
    common = np.sqrt(0.5) * (rng.standard_normal((number, 1)) + rng.standard_normal((number, classes)))
    first = np.sqrt(0.7) * common + np.sqrt(0.3) * rng.standard_normal((number, classes))
    second = np.sqrt(0.7) * common + np.sqrt(0.3) * rng.standard_normal((number, classes))
    y = np.tile(np.arange(classes), number).repeat(sizes.ravel())
    groups = np.repeat(np.arange(number), sizes.sum(axis=1))
    luck = rng.random(len(y))
    predictions = [
        _predicted(
            setting, rng, y, sizes, difficulty, recalls, np.where(rng.random(len(y)) < 0.7, luck, rng.random(len(y)))
        )
        for difficulty, recalls in ((first, setting.recalls), (second, worse * setting.recalls))
    ]
    return y, groups, *predictions


def _predicted(
    setting: Setting,
    rng: np.random.Generator,
    y: np.ndarray,
    sizes: np.ndarray,
    difficulty: np.ndarray,
    recalls: np.ndarray,
    luck: np.ndarray,
) -> np.ndarray:
    cells, correlation, classes = sizes.size, setting.correlation, setting.classes
    if correlation == 0:
        of_cell = np.broadcast_to(recalls, sizes.shape)
        wrong = (y + rng.integers(1, classes, size=len(y))) % classes
    else:
        scale = (1 - correlation) / correlation
        level = np.clip(ndtr(difficulty), 1e-12, 1 - 1e-12)
        used = sizes > 0
        of_cell = np.zeros(sizes.shape)
        alpha = np.broadcast_to(recalls * scale, sizes.shape)[used]
        of_cell[used] = betaincinv(alpha, scale - alpha, level[used])
        wrong = (y + np.repeat(rng.integers(1, classes, size=cells), sizes.ravel())) % classes
    return np.where(luck < np.repeat(of_cell.ravel(), sizes.ravel()), y, wrong)
