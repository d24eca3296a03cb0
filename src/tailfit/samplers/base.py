"""Samplers and plans.

Concepts:
- *sampler*: a small frozen configuration that says which samples an epoch draws, and in which order.
- *plan*: a sampler applied to labels with a seed. A pure function: position `i` of epoch `e` has one answer,
  whatever was asked before, and it takes the same time at the first epoch and the last. It has no state to
  save; to resume is to ask for the next position.
- *ring*: the fixed shuffled order of a class's members, read round and round (see `index.py`).
"""

import operator
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from tailfit.errors import ArgumentError, DataError
from tailfit.labels import encode_codes
from tailfit.samplers.arithmetic import divided
from tailfit.samplers.index import LabelIndex, ListedLabels
from tailfit.samplers.permutation import Permutations, Purpose, hash_array, hash_words
from tailfit.samplers.runs import RunIndex, Runs, refuse_as_array

__all__ = ["ClassPlan", "Plan", "Sampler"]

_LARGEST = np.iinfo(np.int64).max


class Plan(ABC):
    """Which sample is drawn at each position of each epoch.

    Attributes:
        batch_size: What the sampler was told; `None`: the epoch is one batch.
        seed: What the order depends on, besides the labels.

    >>> from tailfit.samplers import Sequential
    >>> Sequential().plan(5).indices(epoch=0, start=1, stop=3).tolist()
    [1, 2]
    """

    # Positions at once: a call has a price of its own, and the scratch arrays should stay in the cache.
    _block: ClassVar[int] = 1 << 16

    def __init__(self, *, size: int, seed: int, batch_size: int | None) -> None:
        self._size = size
        self.seed = whole_number("seed", seed, most=(1 << 64) - 1)
        self.batch_size = None if batch_size is None else whole_number("batch_size", batch_size, least=1)

    @property
    @abstractmethod
    def labels(self) -> NDArray[Any]:
        """Labels of all samples: `int64[n]` codes, or `float32[n, C]` where a sample has no single class."""

    @final
    def size(self, epoch: int) -> int:
        """Draws in an epoch; the same for all epochs."""
        whole_number("epoch", epoch)
        return self._size

    @final
    def indices(self, epoch: int, start: int, stop: int) -> NDArray[np.int64]:
        """The samples drawn at positions `start` to `stop - 1` of an epoch, `int64[stop - start]`.

        Args:
            epoch: From 0.
            start: First position, from 0.
            stop: One past the last position, at most `size(epoch)`.
        Raises:
            ArgumentError: outside these bounds.
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
        """Expected sum over one epoch of the drawn samples' weights, for each class, `float64[C]`.

        Args:
            weights: A weight for each sample, `[n]`, finite and >= 0; 1 each if left out.
            epoch: From 0; it matters for samplers that change over the epochs.
            num_classes: C, at least the number of classes in the labels; further classes sum to 0.
        Raises:
            ArgumentError: for weights or a number of classes that don't fit the labels.

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
        """The samples at these consecutive positions."""

    @abstractmethod
    def _class_sums(self, weights: NDArray[np.float64] | None, epoch: int) -> NDArray[np.float64]:
        """As `class_sums`, arguments checked."""


class ClassPlan(Plan):
    """A plan that draws by class, each member of a class equally often.

    A subclass says which class is drawn at a position, and how often it was drawn before.
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
            DataError: of labels in runs, which are too many to list.
        """
        if isinstance(self._labels, Runs):
            raise refuse_as_array(self._labels)
        return self._labels

    def _shuffled(
        self, epoch: int, positions: NDArray[np.int64], batch: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The batch of consecutive positions, and the slot in it: those of a batch are in random order."""
        batches, slots = divided(positions, batch)
        span = np.arange(batches[0], batches[-1] + 1)
        sizes = np.minimum(batch, self._size - span * batch)
        keys = hash_array(hash_words(self.seed, Purpose.BATCH, epoch), span)
        return batches, Permutations(sizes, keys)(batches - batches[0], slots)

    def _reordered(
        self, epoch: int, draws: NDArray[np.int64], classes: NDArray[np.int64], numbers: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """The draws of each class, `draws` of them in an epoch, in an order of the epoch's own.

        Without it the members of a class would pass by in the same order every time.
        """
        keys = hash_array(hash_words(self.seed, Purpose.DRAWS, epoch), np.arange(len(draws)))
        return Permutations(draws, keys)(classes, numbers)

    @abstractmethod
    def _class_draws(self, epoch: int) -> NDArray[np.float64]:
        """Expected draws of each class in an epoch."""

    def _class_sums(self, weights: NDArray[np.float64] | None, epoch: int) -> NDArray[np.float64]:
        draws = self._class_draws(epoch)
        if weights is None:
            return draws
        return draws * (np.bincount(self.labels, weights, minlength=len(draws)) / self._index.counts)


@dataclass(frozen=True, kw_only=True)
class Sampler(ABC):
    """Which samples an epoch draws, and in which order.

    Attributes:
        by_class: Whether the draws depend on the labels; then every class must have a sample.
    """

    by_class: ClassVar[bool] = False

    @abstractmethod
    def plan(self, labels: Any, seed: int = 0, batch_size: int | None = None) -> Plan:
        """Apply the sampler to labels.

        Args:
            labels: Class of each sample: codes, names or one-hot rows; or `Runs`.
            seed: From 0 to 2**64 - 1. Unequal seeds give unrelated orders.
            batch_size: Samples a batch, for samplers that compose each batch; `None`: the epoch is one batch.
        Raises:
            DataError: for labels that the sampler can't use.
            ArgumentError: for a seed or batch size out of range.
        """


def class_labels(labels: Any, seed: int) -> tuple[NDArray[np.int64] | Runs, LabelIndex]:
    """The codes and rings of what was passed to a sampler that draws by class."""
    if isinstance(labels, Runs):
        return labels, RunIndex(labels, seed=whole_number("seed", seed, most=(1 << 64) - 1))
    codes = encode_codes(labels).values
    refuse_empty(len(codes))
    return codes, ListedLabels(codes, seed=whole_number("seed", seed, most=(1 << 64) - 1))


def refuse_empty(samples: int) -> None:
    """Refuse labels of no samples."""
    if samples == 0:
        raise DataError("no labels", expected="at least one sample", fix="check the source or the split")


def whole_number(name: str, value: Any, *, least: int = 0, most: int = _LARGEST) -> int:
    """`value` as an `int` from `least` to `most`; what is no whole number, True and False are refused."""
    try:
        number = None if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not least <= number <= most:
        bounds = f"{name} >= {least}" if most == _LARGEST else f"{least} <= {name} <= {most}"
        raise ArgumentError(
            f"{name}={value!r}", expected=f"a whole number, {bounds}", fix=f"pass {name} within these bounds"
        )
    return number


def checked_weights(weights: Any, samples: int | None = None) -> NDArray[np.float64]:
    """`weights` as `float64[samples]`, finite and >= 0; a copy."""
    try:
        array = np.array(weights, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ArgumentError(
            f"weights of type {type(weights).__name__} that are not all numbers",
            expected="one weight a sample, finite and >= 0",
            fix="pass an array of floats",
        ) from None
    if array.ndim != 1 or samples not in (None, len(array)):
        raise ArgumentError(
            f"weights of shape {array.shape}",
            expected=f"one weight a sample, ({'n' if samples is None else samples},)",
            fix="pass them in the order of the labels",
        )
    good = np.isfinite(array) & (array >= 0)
    if not good.all():
        row = int(np.argmin(good))
        raise ArgumentError(
            f"weights whose row {row} is {array[row]}",
            expected="finite weights >= 0",
            fix="give the sample weight 0 to leave it out",
        )
    return array
