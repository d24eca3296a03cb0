"""Blocks of a plan, which are computed for many steps at once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tailfit.samplers import Plan

__all__ = ["PlannedBlock", "planned_block"]

_SIZE: Final = 1 << 16  # samples of a block


@dataclass(frozen=True)
class PlannedBlock:
    """The samples at consecutive positions of an epoch.

    Attributes:
        plan, epoch: The plan, and the epoch.
        last: Step after those of the block.
        begin: Position of the first sample in the epoch.
        indices: The samples, `int64[n]`.
    """

    plan: Plan
    epoch: int
    last: int
    begin: int
    indices: NDArray[np.int64]

    def contains(self, plan: Plan, epoch: int, begin: int, end: int) -> bool:
        """Return whether the block contains the positions from `begin` to before `end` of an epoch of a plan."""
        of_same = plan is self.plan and epoch == self.epoch
        return of_same and self.begin <= begin and end <= self.begin + len(self.indices)

    def precedes(self, plan: Plan, epoch: int, step: int) -> bool:
        """Return whether a step of a plan comes next after the block, in the same epoch or the next one."""
        if plan is not self.plan:
            return False
        return (epoch, step) in ((self.epoch, self.last), (self.epoch + 1, 0))

    def part(self, begin: int, end: int) -> NDArray[np.int64]:
        """Return the samples at positions in the block; a view."""
        return self.indices[begin - self.begin : end - self.begin]


def planned_block(
    plan: Plan,
    positions: Callable[[int], tuple[int, int]],
    steps: int,
    epoch: int,
    step: int,
    before: PlannedBlock | None,
) -> PlannedBlock:
    """Return a block that contains the samples of a step: the one before, if it does, or a new one.

    Args:
        plan: The plan.
        positions: Function that returns the first position of a step in its epoch, and the position after its last.
        steps: Number of steps of the epoch.
        epoch, step: The step.
        before: The block of the step that was read before.
    """
    begin, end = positions(step)
    if before is not None and before.contains(plan, epoch, begin, end):
        return before
    last = step + 1  # one step alone, so that the first one is not delayed, and for steps in random order
    if before is not None and before.precedes(plan, epoch, step):
        last = min(step + max(_SIZE // max(end - begin, 1), 1), steps)
    return PlannedBlock(plan, epoch, last, begin, plan.indices(epoch, begin, positions(last - 1)[1]))
