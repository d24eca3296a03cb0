"""Labels that nobody holds: runs of samples of one class, for sets too large to list."""

from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailfit.errors import ArgumentError, DataError
from tailfit.samplers.arithmetic import Line
from tailfit.samplers.index import LabelIndex, checked_counts
from tailfit.samplers.permutation import Permutations, Purpose, hash_array, hash_words

__all__ = ["RunIndex", "Runs", "refuse_as_array"]

_MOST = 1 << 62


@final
class Runs:
    """Labels as runs: the first `lengths[0]` samples are of class `codes[0]`, the next ones of `codes[1]`, and so on.

    What any sampler that draws by class takes in the place of labels. Sets sorted by class need one run a class; a plan
    keeps a few numbers a run, however many samples it is of.

    Args:
        codes: Class of each run, `[runs]`, numbered without a gap.
        lengths: Samples of each run, `[runs]`, each >= 1.
    Raises:
        ArgumentError: for arrays that are no such numbers, or differ in length.

    >>> from tailfit.samplers import ClassBalanced
    >>> plan = ClassBalanced().plan(Runs([0, 1], [10**11, 10]))
    >>> plan.size(0), plan.class_sums().tolist()
    (100000000010, [50000000005.0, 50000000005.0])
    """

    def __init__(self, codes: ArrayLike, lengths: ArrayLike) -> None:
        self.codes, self.lengths = _whole("codes", codes, 0), _whole("lengths", lengths, 1)
        if len(self.codes) != len(self.lengths) or not len(self.codes):
            raise ArgumentError(
                f"{len(self.codes)} codes and {len(self.lengths)} lengths",
                expected="one of each a run",
                fix="check them",
            )
        if sum(self.lengths.tolist()) > _MOST:
            raise ArgumentError(
                f"{sum(self.lengths.tolist())} samples", expected=f"at most {_MOST}", fix="check the lengths"
            )
        self._ends = np.cumsum(self.lengths)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def at(self, positions: ArrayLike) -> NDArray[np.int64]:
        """Class of the samples at some positions."""
        found: NDArray[np.int64] = self.codes[np.searchsorted(self._ends, positions, side="right")]
        return found


@final
class RunIndex(LabelIndex):
    """The rings of labels in runs: some numbers a run.

    Args:
        runs: The labels.
        seed: The run's seed, on which the order within the rings depends.
    Raises:
        DataError: for a class without a sample.

    >>> index = RunIndex(Runs([1, 0, 1], [2, 1, 2]), seed=0)
    >>> sorted(index.members(np.array([1, 1, 1, 1]), np.arange(4)).tolist())
    [0, 1, 3, 4]
    """

    def __init__(self, runs: Runs, *, seed: int) -> None:
        checked_counts(runs.codes)
        by_class = np.argsort(runs.codes, kind="stable")
        lengths = runs.lengths[by_class]
        self.counts = np.zeros(int(runs.codes.max()) + 1, dtype=np.int64)
        np.add.at(self.counts, runs.codes, runs.lengths)
        self._first = np.cumsum(self.counts) - self.counts  # of each class, in the order of the classes
        self._ends = np.cumsum(lengths)
        self._line = Line(self._ends)
        # From a place in the order of the classes to the sample.
        self._shift = (np.cumsum(runs.lengths) - runs.lengths)[by_class] - (self._ends - lengths)
        keys = hash_array(hash_words(seed, Purpose.RING), np.arange(len(self.counts)))
        self._rings = Permutations(self.counts, keys)

    def members(self, classes: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The sample at each place of a class's ring."""
        ordered = self._first[classes] + self._rings(classes, places)
        runs = classes if len(self._ends) == len(self.counts) else self._line.at(ordered)
        found: NDArray[np.int64] = ordered + self._shift[runs]
        return found


def _whole(name: str, values: ArrayLike, least: int) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iu" or (array.size and (array.min() < least or array.max() > _MOST)):
        raise ArgumentError(
            f"{name} of shape {array.shape} and type {array.dtype}",
            expected=f"whole numbers from {least} to {_MOST}, one a run",
            fix="pass lists or arrays of integers",
        )
    return array.astype(np.int64)


def refuse_as_array(runs: Runs) -> DataError:
    """The error of asking for all labels at once."""
    return DataError(
        f"labels in {len(runs.codes)} runs of {len(runs)} samples",
        expected="labels of some positions",
        fix="runs.at(positions) gives them",
    )
