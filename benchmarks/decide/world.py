"""Simulated comparisons: remedies with known recalls, trained with several seeds, measured on two parts.

A sample is classified correctly if its difficulty, which is the same for all trainings, and a part of its own are
below the level of its class (on the probit scale). Levels scatter between seeds. During a training the level rises
towards its end value, at a speed that differs between remedies and seeds, so that an early look may be wrong.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from tailfit.evaluation import Evaluation, evaluate

SUPPORT = np.array([150, 90, 50, 25, 12, 8])  # samples of each class in the validation part; the test part has as many
CLASSES = len(SUPPORT)
Y = np.repeat(np.arange(CLASSES), SUPPORT)


@dataclass
class World:
    """Remedies on one data set.

    Args:
        rng: Random generator.
        remedies: Number of remedies; the first is plain training.
        effect: Standard deviation of what remedies gain for rare classes, in probits.
        gain: Their mean gain.
    """

    rng: np.random.Generator
    remedies: int
    effect: float = 0.35
    gain: float = 0.25
    scatter: float = 0.15  # between seeds
    alike: float = 0.7  # share of the difficulty that all trainings have in common

    def __post_init__(self) -> None:
        rarity = np.linspace(-0.4, 1, CLASSES)
        plain = ndtri(np.linspace(0.95, 0.35, CLASSES))
        gains = np.r_[0.0, self.rng.normal(self.gain, self.effect, self.remedies - 1)]
        self.levels = plain + gains[:, None] * rarity + 0.05 * self.rng.normal(size=(self.remedies, CLASSES))
        self.levels[0] = plain
        self.speed = self.rng.uniform(2.5, 6.0, self.remedies)
        self.hard = {part: self.rng.normal(size=len(Y)) for part in ("validation", "test")}

    @property
    def truth(self) -> np.ndarray:
        """Expected balanced accuracy of each remedy, over samples and seeds."""
        return ndtr(self.levels / np.sqrt(1 + self.scatter**2)).mean(axis=1)

    def trained(self, remedy: int, seed: int, part: str, share: float = 1.0) -> Evaluation:
        """Return the evaluation of a training after a share of its epochs; the same for the same arguments."""
        own = np.random.default_rng([int(1e6 * abs(self.levels[1, 0])), remedy, seed, part == "test"])
        shared = np.random.default_rng([int(1e6 * abs(self.levels[1, 0])), remedy, seed, 2])
        level = self.levels[remedy] + self.scatter * shared.normal(size=CLASSES)
        speed = self.speed[remedy] * np.exp(0.15 * shared.normal())
        early = 2.0 * (np.exp(-speed * share) - np.exp(-speed))
        wander = (
            0.15 * np.sqrt(1 - share) * np.random.default_rng([remedy, seed, int(100 * share)]).normal(size=CLASSES)
        )
        noise, wrong = own.normal(size=len(Y)), own.integers(1, CLASSES, len(Y))
        right = np.sqrt(self.alike) * self.hard[part] + np.sqrt(1 - self.alike) * noise < (level - early + wander)[Y]
        return evaluate(Y, np.where(right, Y, (Y + wrong) % CLASSES), [f"{k}" for k in range(CLASSES)], resamples=100)
