"""Samplers that draw every sample once an epoch, whatever its class."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tailfit.errors import DataError
from tailfit.labels import encode
from tailfit.samplers.base import Plan, Sampler, refuse_empty, whole_number
from tailfit.samplers.permutation import Permutation, Purpose, hash_words
from tailfit.samplers.runs import Runs, refuse_as_array

__all__ = ["Sequential", "Shuffle", "UniformPlan"]


@final
@dataclass(frozen=True, kw_only=True)
class Sequential(Sampler):
    """Every sample once an epoch, in the order of the source.

    Labels may be of any form, regression targets too, or just the number of samples.

    >>> Sequential().plan(["ok", "leak", "ok"]).indices(epoch=0, start=0, stop=3).tolist()
    [0, 1, 2]
    """

    def plan(self, labels: Any, seed: int = 0, batch_size: int | None = None) -> Plan:
        """As `Sampler.plan`; the seed changes nothing."""
        return _SequentialPlan(labels, seed, batch_size)


@final
@dataclass(frozen=True, kw_only=True)
class Shuffle(Sampler):
    """Every sample once an epoch, in an order of its own each epoch.

    Labels may be of any form, regression targets too, or just the number of samples. No order is stored:
    the first index of 10**12 samples takes as long as that of ten.

    >>> sorted(Shuffle().plan(4, seed=1).indices(epoch=0, start=0, stop=4).tolist())
    [0, 1, 2, 3]
    """

    def plan(self, labels: Any, seed: int = 0, batch_size: int | None = None) -> Plan:
        """As `Sampler.plan`."""
        return _ShufflePlan(labels, seed, batch_size)


class UniformPlan(Plan):
    """A plan whose draws are of samples, not of classes: it needs no labels but for `class_sums`.

    Attributes:
        samples: How many there are.
    """

    _block = 1 << 17  # few scratch arrays, and just above a power of two many short passes

    def __init__(self, labels: Any, seed: int, batch_size: int | None, *, size: int | None = None) -> None:
        self._given, self.samples = labels, _number_of_samples(labels)
        super().__init__(size=self.samples if size is None else size, seed=seed, batch_size=batch_size)

    @cached_property
    def labels(self) -> NDArray[Any]:
        # Only on demand: the order needs no more than their number, and targets of a regression are no labels.
        if isinstance(self._given, Runs):
            raise refuse_as_array(self._given)
        if np.ndim(self._given) == 0:
            raise DataError(
                f"labels={self._given!r}, a number of samples",
                expected="what depends on classes needs the labels",
                fix="pass the labels to plan()",
            )
        return encode(self._given).values

    def _expected(self) -> NDArray[np.float64] | None:
        """Expected draws of each sample in an epoch; None: one."""
        return None

    def _class_sums(self, weights: NDArray[np.float64] | None, epoch: int) -> NDArray[np.float64]:
        expected = self._expected()
        if expected is not None:
            weights = expected if weights is None else weights * expected
        if self.labels.ndim == 1:
            return np.bincount(self.labels, weights).astype(np.float64)
        sums: NDArray[np.float64] = (np.ones(self.samples) if weights is None else weights) @ self.labels
        return sums


@final
class _SequentialPlan(UniformPlan):
    def _draw(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        return positions


@final
class _ShufflePlan(UniformPlan):
    def _draw(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        return Permutation(self._size, hash_words(self.seed, Purpose.SHUFFLE, epoch))(positions)


def _number_of_samples(labels: Any) -> int:
    if isinstance(labels, Runs):
        return len(labels)
    if np.ndim(labels) == 0:
        return whole_number("labels", labels, least=1)
    refuse_empty(len(labels))
    return len(labels)
