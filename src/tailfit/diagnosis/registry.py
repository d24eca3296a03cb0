"""The register of checks. Each looks for one trap, and yields what it finds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tailfit.diagnosis.finding import Finding, Place
from tailfit.diagnosis.setup import Setup

__all__ = ["CHECKS", "Check", "Problem", "check"]


class Problem(NamedTuple):
    """Result of a check: the parts of a `Finding` that depend on the set-up."""

    what: str
    fix: str
    tailfit: str
    numbers: str | None = None
    place: Place | None = None


@dataclass(frozen=True)
class Check:
    """A check for a trap.

    Attributes:
        trap: Number of the trap.
        title: Short name of the problem.
        look: Function that yields the problems of a set-up.
        calls: Methods of the model that it applies to.
        after_steps: Whether it needs `Setup.observed`.
    """

    trap: int
    title: str
    look: Callable[[Setup], Iterator[Problem]]
    calls: tuple[str, ...]
    after_steps: bool

    def findings(self, setup: Setup) -> Iterator[Finding]:
        """Yield the findings in a set-up."""
        for problem in self.look(setup):
            place = problem.place or setup.here
            yield Finding(
                trap=self.trap,
                title=self.title,
                what=problem.what,
                numbers=problem.numbers,
                fix=problem.fix,
                tailfit=problem.tailfit,
                file=place.file if place else None,
                line=place.line if place else None,
            )


CHECKS: list[Check] = []
"""All checks, in the order in which their modules are imported."""


def check(
    trap: int, title: str, *, calls: tuple[str, ...] = ("fit",), after_steps: bool = False
) -> Callable[[Callable[[Setup], Iterator[Problem]]], Callable[[Setup], Iterator[Problem]]]:
    """Register a function as the check for a trap."""

    def register(look: Callable[[Setup], Iterator[Problem]]) -> Callable[[Setup], Iterator[Problem]]:
        CHECKS.append(Check(trap, title, look, calls, after_steps))
        return look

    return register
