"""Samplers that draw every sample once per epoch, whatever its class."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tailfit.arguments import whole_number
from tailfit.errors import ArgumentError, DataError
from tailfit.hashing import hash_words
from tailfit.labels import encode
from tailfit.samplers.base import Plan, Sampler, refuse_empty
from tailfit.samplers.permutation import Permutation, Purpose
from tailfit.samplers.runs import Runs, refuse_as_array

__all__ = ["Sequential", "Shuffle", "UniformPlan"]


@final
@dataclass(frozen=True, kw_only=True)
class Sequential(Sampler):
    """Draw every sample once per epoch, in the order of the source.

    Labels may be of any form, also regression targets, or just the number of samples.

    >>> Sequential().plan(["ok", "leak", "ok"]).indices(epoch=0, start=0, stop=3).tolist()
    [0, 1, 2]
    """

    def plan(self, labels: Any, seed: int = 0, batch_size: int | None = None) -> Plan:
        """Apply the sampler; see `Sampler.plan`. The seed has no effect."""
        return _SequentialPlan(labels, seed, batch_size)


@final
@dataclass(frozen=True, kw_only=True)
class Shuffle(Sampler):
    """Draw every sample once per epoch, in a new random order each epoch.

    Labels may be of any form, also regression targets, or just the number of samples. No order is stored: the first
    index of 10**12 samples takes as long as the first of ten.

    >>> sorted(Shuffle().plan(4, seed=1).indices(epoch=0, start=0, stop=4).tolist())
    [0, 1, 2, 3]
    """

    def plan(self, labels: Any, seed: int = 0, batch_size: int | None = None) -> Plan:
        """Apply the sampler; see `Sampler.plan`."""
        return _ShufflePlan(labels, seed, batch_size)


class UniformPlan(Plan):
    """A plan that draws samples regardless of their class; it needs labels only for `class_sums`.

    Attributes:
        samples: Number of samples.
    """

    _block = 1 << 17  # larger than the default: these plans need fewer scratch arrays per position

    def __init__(self, labels: Any, seed: int, batch_size: int | None, *, size: int | None = None) -> None:
        self._given, self.samples = labels, _number_of_samples(labels)
        super().__init__(size=self.samples if size is None else size, seed=seed, batch_size=batch_size)

    @cached_property
    def labels(self) -> NDArray[Any]:
        # Encoded on demand: the order depends only on their number, and regression targets can't be encoded.
        if isinstance(self._given, Runs):
            raise refuse_as_array(self._given)
        if np.ndim(self._given) == 0:
            raise DataError(
                f"labels={self._given!r}, a number of samples",
                expected="the label of each sample, which this computation needs",
                fix="pass the labels to plan()",
            )
        return encode(self._given).values

    def _expected(self) -> NDArray[np.float64] | None:
        """Return the expected draws of each sample in an epoch; None means one draw each."""
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
        try:
            return whole_number("labels", labels, least=1)
        except ArgumentError as error:
            raise ArgumentError(
                error.received,
                expected="the labels, or the number of samples as an integer >= 1",
                fix="pass the labels of the source, or len(source)",
            ) from None
    refuse_empty(len(labels))
    return len(labels)
