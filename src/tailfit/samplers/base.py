"""Samplers and plans.

Concepts:
- *sampler*: a small frozen configuration that decides which samples an epoch draws, and in which order.
- *plan*: a sampler applied to labels with a seed. A plan is a pure function: the sample at position `i` of epoch `e`
  does not depend on earlier calls, and is found in the same time in the first epoch and in the last. A plan has no
  state to save: training resumes by asking for the next position.
- *ring*: a fixed, shuffled, cyclic order of the members of a class (see `index.py`).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from tailfit.arguments import whole_number
from tailfit.errors import ArgumentError, DataError
from tailfit.hashing import hash_array, hash_words
from tailfit.labels import encode_codes
from tailfit.samplers.arithmetic import divided
from tailfit.samplers.index import LabelIndex, ListedLabels
from tailfit.samplers.permutation import Permutations, Purpose
from tailfit.samplers.runs import RunIndex, Runs, refuse_as_array

__all__ = ["ClassPlan", "Plan", "Sampler"]


class Plan(ABC):
    """A pure function from (epoch, position) to the sample drawn there.

    Attributes:
        batch_size: The batch size the plan was made with; None means that the epoch is one batch.
        seed: The seed the plan was made with.

    >>> from tailfit.samplers import Sequential
    >>> Sequential().plan(5).indices(epoch=0, start=1, stop=3).tolist()
    [1, 2]
    """

    # Positions per call of `_draw`: enough to amortise the call, few enough to keep the scratch arrays in cache.
    _block: ClassVar[int] = 1 << 16

    def __init__(self, *, size: int, seed: int, batch_size: int | None) -> None:
        self._size = size
        self.seed = whole_number("seed", seed, most=(1 << 64) - 1)
        self.batch_size = None if batch_size is None else whole_number("batch_size", batch_size, least=1)

    @property
    @abstractmethod
    def labels(self) -> NDArray[Any]:
        """Labels of all samples: class indices `int64[n]`, or `float32[n, C]` for soft and multi-label samples."""

    @final
    def size(self, epoch: int) -> int:
        """Return the number of draws in an epoch; it is the same for every epoch."""
        whole_number("epoch", epoch)
        return self._size

    @final
    def indices(self, epoch: int, start: int, stop: int) -> NDArray[np.int64]:
        """Return the samples drawn at positions `start` to `stop - 1` of an epoch, `int64[stop - start]`.

        Args:
            epoch: Index of the epoch, from 0.
            start: First position, from 0.
            stop: One past the last position, at most `size(epoch)`.
        Raises:
            ArgumentError: If an argument is out of its bounds.
        """
        epoch = whole_number("epoch", epoch)
        start = whole_number("start", start, most=self._size)
        stop = whole_number("stop", stop, least=start, most=self._size)
        drawn = np.empty(stop - start, dtype=np.int64)
        for first in range(start, stop, self._block):
            last = min(first + self._block, stop)
            drawn[first - start : last - start] = self._draw(epoch, np.arange(first, last))
        return drawn

    def class_sums(self, weights: Any = None, epoch: int = 0, num_classes: int | None = None) -> NDArray[np.float64]:
        """Return, for each class, the expected sum of the weights of the samples drawn in an epoch, `float64[C]`.

        Args:
            weights: Weight of each sample, `[n]`, finite and >= 0; None means 1 for each sample.
            epoch: Index of the epoch, from 0; it matters only for samplers that change over the epochs.
            num_classes: C, at least the number of classes in the labels; classes without samples get 0.
        Raises:
            ArgumentError: If the weights or the number of classes don't match the labels.

        >>> from tailfit.samplers import ClassBalanced
        >>> ClassBalanced().plan([0, 0, 0, 1]).class_sums([1.0, 1.0, 4.0, 1.0]).tolist()
        [4.0, 2.0]
        """
        epoch = whole_number("epoch", epoch)
        sums = self._class_sums(None if weights is None else checked_weights(weights, len(self.labels)), epoch)
        if num_classes is None:
            return sums
        num_classes = whole_number("num_classes", num_classes, least=len(sums))
        return np.concatenate([sums, np.zeros(num_classes - len(sums))])

    @abstractmethod
    def _draw(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the samples at these consecutive positions."""

    @abstractmethod
    def _class_sums(self, weights: NDArray[np.float64] | None, epoch: int) -> NDArray[np.float64]:
        """Return `class_sums` for arguments that were checked."""


class ClassPlan(Plan):
    """A plan that draws by class, each member of a class equally often.

    A subclass maps a position to a class and to the number of earlier draws of that class.
    """

    def __init__(
        self, *, labels: NDArray[np.int64] | Runs, index: LabelIndex, size: int, seed: int, batch_size: int | None
    ) -> None:
        super().__init__(size=size, seed=seed, batch_size=batch_size)
        self._labels, self._index = labels, index

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class of each sample, `int64[n]`.

        Raises:
            DataError: If the labels are `Runs`, which may describe more samples than fit in memory.
        """
        if isinstance(self._labels, Runs):
            raise refuse_as_array(self._labels)
        return self._labels

    def _shuffled(
        self, epoch: int, positions: NDArray[np.int64], batch: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the batch of each of some consecutive positions, and its slot in the batch.

        The slots of a batch are a random permutation.
        """
        batches, slots = divided(positions, batch)
        span = np.arange(batches[0], batches[-1] + 1)
        sizes = np.minimum(batch, self._size - span * batch)
        keys = hash_array(hash_words(self.seed, Purpose.BATCH, epoch), span)
        return batches, Permutations(sizes, keys)(batches - batches[0], slots)

    def _reordered(
        self, epoch: int, draws: NDArray[np.int64], classes: NDArray[np.int64], numbers: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Permute the draw indices within each class, which has `draws` of them in an epoch.

        Without this permutation the members of a class would follow each other in the same order in every epoch.
        """
        keys = hash_array(hash_words(self.seed, Purpose.DRAWS, epoch), np.arange(len(draws)))
        return Permutations(draws, keys)(classes, numbers)

    @abstractmethod
    def _class_draws(self, epoch: int) -> NDArray[np.float64]:
        """Return the expected draws of each class in an epoch."""

    def _class_sums(self, weights: NDArray[np.float64] | None, epoch: int) -> NDArray[np.float64]:
        draws = self._class_draws(epoch)
        if weights is None:
            return draws
        return draws * (np.bincount(self.labels, weights, minlength=len(draws)) / self._index.counts)


@dataclass(frozen=True, kw_only=True)
class Sampler(ABC):
    """A rule for which samples an epoch draws, and in which order.

    Attributes:
        by_class: Whether the draws depend on the labels. If so, every class needs at least one sample.

    A sampler of your own returns a plan of your own from `plan`: the gallery shows one. It can also pass other labels
    to an existing one, for example to balance pairs of classes:

    >>> from tailfit.samplers import ClassBalanced
    >>> class BalancedPairs(Sampler):
    ...     def plan(self, labels, seed=0, batch_size=None):
    ...         return ClassBalanced(power=0.0).plan(np.asarray(labels) // 2, seed, batch_size)
    >>> plan = BalancedPairs().plan([0, 0, 0, 0, 1, 1, 2, 3])
    >>> int((plan.indices(epoch=0, start=0, stop=8) >= 6).sum())
    4
    """

    by_class: ClassVar[bool] = False

    @abstractmethod
    def plan(self, labels: Any, seed: int = 0, batch_size: int | None = None) -> Plan:
        """Apply the sampler to labels.

        Args:
            labels: Class of each sample: class indices, names or one-hot rows; or `tailfit.samplers.runs.Runs`.
            seed: Integer from 0 to 2**64 - 1. Different seeds give unrelated orders.
            batch_size: Samples per batch, for samplers that compose each batch; None makes the epoch one batch.
        Raises:
            DataError: If the sampler can't use the labels.
            ArgumentError: If the seed or the batch size is out of range.
        """


def class_labels(labels: Any, seed: int) -> tuple[NDArray[np.int64] | Runs, LabelIndex]:
    """Return the class indices and the rings of the labels passed to a sampler that draws by class."""
    if isinstance(labels, Runs):
        return labels, RunIndex(labels, seed=whole_number("seed", seed, most=(1 << 64) - 1))
    codes = encode_codes(labels).values
    refuse_empty(len(codes))
    return codes, ListedLabels(codes, seed=whole_number("seed", seed, most=(1 << 64) - 1))


def refuse_empty(samples: int) -> None:
    """Raise `DataError` if there are no samples."""
    if samples == 0:
        raise DataError("no labels", expected="at least one sample", fix="check the source or the split")


def checked_weights(weights: Any, samples: int | None = None) -> NDArray[np.float64]:
    """Return a copy of `weights` as `float64[samples]`, finite and >= 0."""
    try:
        array = np.array(weights, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ArgumentError(
            f"weights of type {type(weights).__name__} that can't be converted to floats",
            expected="one weight per sample, finite and >= 0",
            fix="pass an array of floats",
        ) from None
    if array.ndim != 1 or samples not in (None, len(array)):
        raise ArgumentError(
            f"weights of shape {array.shape}",
            expected=f"one weight per sample, shape ({'n' if samples is None else samples},)",
            fix="pass one weight per label, in the order of the labels",
        )
    good = np.isfinite(array) & (array >= 0)
    if not good.all():
        row = int(np.argmin(good))
        raise ArgumentError(
            f"weights whose row {row} is {array[row]}",
            expected="finite weights >= 0",
            fix="correct the weight; a sample of weight 0 is never drawn and does not count",
        )
    return array
