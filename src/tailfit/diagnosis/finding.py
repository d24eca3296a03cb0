"""Findings of the doctor: which trap, where, what happens, numbers from the user's data, and the fix."""

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

from tailfit.text import visible

__all__ = ["Finding", "Place"]


class Place(NamedTuple):
    """A line of a file."""

    file: str
    line: int


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A trap that a set-up steps into.

    Attributes:
        trap: Number of the trap, 1 to 29; the page "The doctor" of the documentation lists them.
        title: Short name of the problem.
        what: What happens.
        numbers: Demonstration on the user's own data; None if nothing could be computed.
        fix: What to change in plain Keras.
        tailfit: What tailfit does instead.
        file, line: Line of the script that causes it; None if not known.

    >>> finding = Finding(
    ...     trap=9, title="class_weight ignored", what="All samples weigh 1.", fix="yield weights", tailfit="refuses it"
    ... )
    >>> print(finding)
    trap 9: class_weight ignored
      What happens: All samples weigh 1.
      Fix in Keras: yield weights
      tailfit: refuses it
    """

    trap: int
    title: str
    what: str
    fix: str
    tailfit: str
    numbers: str | None = None
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.file else ""
        lines = [f"{where}trap {self.trap}: {self.title}", f"  What happens: {self.what}"]
        if self.numbers:
            lines.append(f"  Your data: {self.numbers}")
        lines += [f"  Fix in Keras: {self.fix}", f"  tailfit: {self.tailfit}"]
        return "\n".join(map(visible, lines))

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as a dict of plain values, for JSON."""
        return dataclasses.asdict(self)
