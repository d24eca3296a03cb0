"""A sampler that batches records of similar length, for little padding and few batch shapes.

In every epoch the samples are shuffled within their buckets, the buckets are concatenated in order of length, and the
resulting line is cut into batches, which are then shuffled. A batch therefore holds samples of one bucket, except for
the few batches that cross a bucket border, and every sample is drawn once. A short batch is cut from a random place of
the line and comes last. Cut from the end of the line, it would always hold the longest records.
"""

import operator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailfit.errors import ArgumentError
from tailfit.hashing import hash_array, hash_words
from tailfit.samplers.arithmetic import Line, divided
from tailfit.samplers.base import Plan, Sampler
from tailfit.samplers.permutation import Permutation, Permutations, Purpose
from tailfit.samplers.uniform import UniformPlan

__all__ = ["ByLength"]

Indices = NDArray[np.int64]
_CANDIDATES = 512  # bucket edges considered by the optimisation


@final
@dataclass(frozen=True, kw_only=True)
class ByLength(Sampler):
    """Draw every sample once per epoch, in batches of similar length.

    The attribute `edges` holds the lengths to pad the batches to. Which samples of a bucket share a batch, and the
    order of the batches, differ from epoch to epoch.

    Args:
        lengths: Length of each sample in steps, integers `[n]`, e.g. `source.lengths`.
        buckets: Number of buckets, >= 1; their edges are then chosen for the least padding. Or the edges themselves,
            in steps: a sample belongs to the bucket of the smallest edge that is not below its length.
    Raises:
        ArgumentError: If lengths or edges are not integers, or the last edge is below the longest length.

    >>> sampler = ByLength([3, 9, 4, 10, 3, 9], buckets=2)
    >>> sampler.edges
    (4, 10)
    >>> plan = sampler.plan(6, seed=1, batch_size=3)
    >>> sorted(plan.indices(epoch=0, start=0, stop=3).tolist())
    [0, 2, 4]
    """

    lengths: ArrayLike = field(kw_only=False)
    buckets: int | ArrayLike = 8

    def __post_init__(self) -> None:
        lengths = np.array(self.lengths)
        if lengths.ndim != 1 or not lengths.size or lengths.dtype.kind not in "iu" or lengths.min() < 0:
            integers = lengths.ndim == 1 and lengths.size and lengths.dtype.kind in "iu"
            raise ArgumentError(
                f"lengths with {lengths.min()}"
                if integers
                else f"lengths of shape {lengths.shape} and type {lengths.dtype}",
                expected="integers >= 0, one per sample",
                fix="pass the number of steps of each record, e.g. source.lengths",
            )
        lengths = lengths.astype(np.int64)
        lengths.flags.writeable = False
        object.__setattr__(self, "lengths", lengths)
        object.__setattr__(self, "buckets", _checked_buckets(self.buckets, int(lengths.max())))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByLength) and self.edges == other.edges and np.array_equal(self._array, other._array)

    def __hash__(self) -> int:
        return hash((self.edges, len(self._array), self._array[:100].tobytes()))

    def __repr__(self) -> str:
        shown = ", ".join(map(str, self._array[:5].tolist()))
        return f"ByLength([{shown}{', ...' if len(self._array) > 5 else ''}], buckets={self.buckets})"

    @property
    def _array(self) -> Indices:
        return np.asarray(self.lengths)

    @cached_property
    def edges(self) -> tuple[int, ...]:
        """The longest length of each bucket, in steps, ascending."""
        given: Any = self.buckets
        return given if isinstance(given, tuple) else _least_padding(self._array, given)

    def plan(self, labels: Any, seed: int = 0, batch_size: int | None = None) -> Plan:
        """Apply the sampler; see `Sampler.plan`. Labels may be of any form, or just the number of samples."""
        plan = _LengthPlan(labels, np.searchsorted(self.edges, self._array), len(self.edges), seed, batch_size)
        if plan.samples != len(self._array):
            raise ArgumentError(
                f"{len(self._array)} lengths for {plan.samples} samples",
                expected="one length per sample",
                fix="pass the lengths of the same source, e.g. train.lengths for the part train of a split",
            )
        return plan


@final
class _LengthPlan(UniformPlan):
    def __init__(self, labels: Any, bucket_of: Indices, buckets: int, seed: int, batch_size: int | None) -> None:
        super().__init__(labels, seed, batch_size)
        self._batch = min(self.batch_size or self._size, self._size)
        self._line = np.argsort(bucket_of, kind="stable")
        self._counts = np.bincount(bucket_of, minlength=buckets)
        self._ends = np.cumsum(self._counts)

    def _draw(self, epoch: int, positions: Indices) -> Indices:
        batches, slots = divided(positions, self._batch)
        whole = (self._size - 1) // self._batch  # batches except the last one, which may be short
        last = hash_words(self.seed, Purpose.SEATS, epoch) % (whole + 1)
        at = np.full_like(batches, last)  # index of each batch on the line
        if whole:
            order = Permutation(whole, hash_words(self.seed, Purpose.BATCH, epoch))
            cut = order(np.minimum(batches, whole - 1))
            at = np.where(batches < whole, cut + (cut >= last), last)
        missing = (whole + 1) * self._batch - self._size
        places = at * self._batch - missing * (at > last) + slots
        buckets = Line(self._ends).at(places)
        begins = (self._ends - self._counts)[buckets]
        keys = hash_array(hash_words(self.seed, Purpose.SLOTS, epoch), np.arange(len(self._counts)))
        shuffled = Permutations(np.maximum(self._counts, 1), keys)(buckets, places - begins)
        drawn: Indices = self._line[begins + shuffled]
        return drawn


def _least_padding(lengths: Indices, buckets: int) -> tuple[int, ...]:
    """Return the edges of at most `buckets` buckets that need the least padding.

    Dynamic programming over the candidate edges, adding one bucket at a time.
    """
    distinct, counts = np.unique(np.maximum(lengths, 1), return_counts=True)
    upto = np.cumsum(counts)
    chosen = np.unique(np.linspace(0, len(distinct) - 1, min(len(distinct), _CANDIDATES)).round().astype(np.int64))
    edges, upto = distinct[chosen], upto[chosen]
    # steps[i, j]: total padded length of the samples between edge i - 1 and edge j, padded to edge j. In row 0 no edge
    # comes before.
    before = np.concatenate([[0], upto])
    steps = np.where(before[:-1, None] < upto, edges * (upto - before[:-1, None]).astype(np.float64), np.inf)
    best, came = steps[0], []
    for _ in range(min(buckets, len(edges)) - 1):
        through = best[:-1, None] + steps[1:]
        came.append(through.argmin(axis=0))
        best = np.minimum(through.min(axis=0), best)
    at, found = len(edges) - 1, []
    for step in reversed(came):
        found.append(at)
        if at == 0:
            break
        at = int(step[at])
    found.append(at)
    return tuple(edges[sorted(set(found))].tolist())


def _checked_buckets(buckets: Any, longest: int) -> int | tuple[int, ...]:
    several = np.ndim(buckets) == 1
    try:
        numbers = [operator.index(number) for number in (buckets if several else [buckets])]
    except TypeError:
        numbers = []
    if not numbers or min(numbers) < 1 or isinstance(buckets, bool) or (several and max(numbers) < longest):
        raise ArgumentError(
            f"buckets={buckets!r} for lengths up to {longest}",
            expected=f"a number of buckets >= 1, or edges in steps, integers whose largest is >= {longest}",
            fix="omit buckets for the default of 8",
        )
    return tuple(sorted(set(numbers))) if several else numbers[0]
