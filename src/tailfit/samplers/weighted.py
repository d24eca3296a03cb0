"""Samplers that draw each sample in proportion to a weight of its own.

Systematic sampling: the weights stand end to end on a line, and an epoch's draws are points on it at equal distances,
shifted by an offset of the epoch. A sample is drawn as often as its stretch holds points: its exact share, rounded down
or up, where independent draws would scatter by the square root of it. The offsets of the epochs are a low-discrepancy
sequence (van der Corput's, rotated by the seed), so that shares are kept over the epochs, too.

Whole-number arithmetic throughout: which sample a point falls on must not depend on a float's last bit.
"""

from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailfit.errors import ArgumentError
from tailfit.samplers.arithmetic import Line
from tailfit.samplers.base import Plan, Sampler, checked_weights
from tailfit.samplers.permutation import Permutation, Purpose, hash_words
from tailfit.samplers.uniform import UniformPlan

__all__ = ["SystematicPlan", "Weighted"]

Indices = NDArray[np.int64]
_MOST = 1 << 31  # draws: their products with a remainder must fit 63 bits
_WORD = (1 << 64) - 1


@final
@dataclass(frozen=True, kw_only=True)
class Weighted(Sampler):
    """Each sample's share of the draws is proportional to its weight; an epoch has as many draws as there are samples.

    In an epoch a sample is drawn `n * weight / sum(weights)` times, rounded down or up; with weight 0 never. Unlike
    independent draws with replacement (PyTorch's `WeightedRandomSampler`), a sample whose share is below 1 is drawn at
    most once an epoch.

    Args:
        weights: One a sample, `[n]`, finite, >= 0 and not all 0, e.g. from `tailfit.weights.sample_weights`. Kept to
            `62 - log2(n)` bits of the largest; a smaller one than that counts as 0.
    Raises:
        ArgumentError: for bad weights; by `plan`, for another number of labels, or more than 2**31 samples.
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
                f"{len(weights)} weights without one above 0",
                expected="a weight > 0, at least",
                fix="check the weights",
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
        """As `Sampler.plan`; labels may be of any form, regression targets too, or just the number of samples."""
        size = len(self._array)
        if size > _MOST:
            raise ArgumentError(
                f"weights of {size} samples", expected=f"at most {_MOST}", fix="use a sampler that draws by class"
            )
        largest = 62 - size.bit_length()
        exponent = largest - int(np.frexp(self._array.max())[1])
        # By a power of two, which is exact; then to the nearest whole number.
        lengths = np.rint(np.ldexp(self._array, exponent)).astype(np.int64)
        plan = SystematicPlan(labels, lengths, draws=size, seed=seed, batch_size=batch_size)
        if plan.samples != size:
            raise ArgumentError(
                f"{size} weights for {plan.samples} samples", expected="one weight a sample", fix="pass them in order"
            )
        return plan


@final
class SystematicPlan(UniformPlan):
    """`draws` points at equal distances along stretches of `lengths`, in random order."""

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
        # Point s is (s * total + offset) / size, rounded down; the products are split so that none overflows.
        step, rest = divmod(self._total, self._size)
        whole, part = divmod(self._offset(epoch), self._size)
        points = slots * step + (slots * rest + part) // self._size + whole
        return self._line.at(points)

    def _offset(self, epoch: int) -> int:
        reversed_bits = int(f"{epoch:064b}"[::-1], 2)
        return (((reversed_bits + self._key) & _WORD) * self._total) >> 64
