"""A sampler that draws each sample in proportion to its weight.

Systematic sampling: the weights are laid end to end on a line, and the draws of an epoch are equidistant points on it,
shifted by an offset. A sample is drawn once for each point in its segment: its exact share, rounded up or down, where
independent draws would have a standard deviation of about the square root of the share. The offsets of the epochs are
a low-discrepancy sequence (van der Corput's, rotated by the seed), so that the shares hold over many epochs, too.

All arithmetic is on integers: the sample at a point must not depend on the last bit of a float.
"""

from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailfit.errors import ArgumentError
from tailfit.hashing import hash_words
from tailfit.samplers.arithmetic import Line
from tailfit.samplers.base import Plan, Sampler, checked_weights
from tailfit.samplers.permutation import Permutation, Purpose
from tailfit.samplers.uniform import UniformPlan

__all__ = ["SystematicPlan", "Weighted"]

Indices = NDArray[np.int64]
_MOST = 1 << 31  # draws; the product of a draw index and a remainder must fit in 63 bits
_WORD = (1 << 64) - 1


@final
@dataclass(frozen=True, kw_only=True)
class Weighted(Sampler):
    """Draw each sample in proportion to its weight, n draws per epoch for n samples.

    In an epoch a sample is drawn `n * weight / sum(weights)` times, rounded up or down; a sample of weight 0 is never
    drawn. Unlike independent draws with replacement (PyTorch's `WeightedRandomSampler`), a sample whose share is
    below 1 is drawn at most once per epoch.

    Args:
        weights: Weight of each sample, `[n]`, finite, >= 0 and not all 0, e.g. from `tailfit.weights.sample_weights`.
            Weights are rounded to `62 - log2(n)` bits below the largest one; smaller ones count as 0.
    Raises:
        ArgumentError: If the weights are invalid; raised by `plan` if the number of labels differs from the number of
            weights, or there are more than 2**31 samples.
    Source: Madow & Madow 1944, "On the theory of systematic sampling", section 2; unequal weights: Madow 1949.

    >>> plan = Weighted([0.0, 1.0, 1.0, 2.0]).plan(4, seed=2)
    >>> np.bincount(plan.indices(epoch=0, start=0, stop=4), minlength=4).tolist()
    [0, 1, 1, 2]
    """

    weights: ArrayLike = field(kw_only=False)

    def __post_init__(self) -> None:
        weights = checked_weights(self.weights)
        if not weights.sum() > 0:
            raise ArgumentError(
                f"{len(weights)} weights, none above 0",
                expected="at least one weight > 0",
                fix="give the samples to draw a weight > 0",
            )
        weights.flags.writeable = False
        object.__setattr__(self, "weights", weights)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Weighted) and np.array_equal(self._array, other._array)

    def __hash__(self) -> int:
        return hash((len(self._array), self._array[:100].tobytes()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{weight:g}" for weight in self._array[:5])
        return f"Weighted([{shown}{', ...' if len(self._array) > 5 else ''}])"

    @property
    def _array(self) -> NDArray[np.float64]:
        return np.asarray(self.weights)

    def plan(self, labels: Any, seed: int = 0, batch_size: int | None = None) -> Plan:
        """Apply the sampler; see `Sampler.plan`. Labels may be of any form, or just the number of samples."""
        size = len(self._array)
        if size > _MOST:
            raise ArgumentError(
                f"weights of {size} samples",
                expected=f"at most {_MOST} samples",
                fix="use a sampler that draws by class, e.g. ClassBalanced",
            )
        largest = 62 - size.bit_length()
        exponent = largest - int(np.frexp(self._array.max())[1])
        # Scaling by a power of two is exact; only the rounding to integers is not.
        lengths = np.rint(np.ldexp(self._array, exponent)).astype(np.int64)
        plan = SystematicPlan(labels, lengths, draws=size, seed=seed, batch_size=batch_size)
        if plan.samples != size:
            raise ArgumentError(
                f"{size} weights for {plan.samples} samples",
                expected="one weight per sample",
                fix="pass the weights of the same samples, in the same order",
            )
        return plan


@final
class SystematicPlan(UniformPlan):
    """A plan that draws `draws` equidistant points on segments of `lengths`, in random order."""

    def __init__(self, labels: Any, lengths: Indices, *, draws: int, seed: int, batch_size: int | None) -> None:
        super().__init__(labels, seed, batch_size, size=draws)
        self._ends = np.cumsum(lengths)
        self._total = int(self._ends[-1])
        self._line = Line(self._ends, kept=True)
        self._key = hash_words(self.seed, Purpose.OFFSET)

    def _expected(self) -> NDArray[np.float64]:
        return np.diff(self._ends, prepend=0) * (self._size / self._total)

    def _draw(self, epoch: int, positions: Indices) -> Indices:
        slots = Permutation(self._size, hash_words(self.seed, Purpose.SHUFFLE, epoch))(positions)
        # Point s is floor((s * total + offset) / size), computed in parts because s * total may overflow.
        step, rest = divmod(self._total, self._size)
        whole, part = divmod(self._offset(epoch), self._size)
        points = slots * step + (slots * rest + part) // self._size + whole
        return self._line.at(points)

    def _offset(self, epoch: int) -> int:
        reversed_bits = int(f"{epoch:064b}"[::-1], 2)
        return (((reversed_bits + self._key) & _WORD) * self._total) >> 64
