"""Labels of windows from the labels of their steps.

Concepts:
- *step labels*: class index of each step of all records, one record after the other; -1 for steps that are left out.
- *rule*: `"last"`, `"first"`, `"majority"`, `"any:<class>"`, `"onset"`, or a function. It reduces the labels of the
  steps of a window to one class index, or to -1: such a window is not made.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tailfit.arguments import whole_number
from tailfit.errors import ArgumentError

__all__ = ["LabelFunction", "LabelRule"]

LabelFunction = Callable[[NDArray[np.int32]], NDArray[Any]]
_RULES: Final = ("last", "first", "majority", "onset")
_ANY: Final = "any:"
_CHUNK_SIZE: Final = 1 << 22  # labels passed to a function at once


class LabelRule:
    """A rule for the labels of windows, from the arguments `label=` and `onset=` of `Windows`.

    Raises:
        ArgumentError: If the rule is unknown, or `onset` is missing or superfluous.

    >>> labels = np.array([0, 0, 0, 1, 1, 1, -1], np.int32)
    >>> first = np.array([0, 1, 2, 3, 4])  # of windows of 3 steps
    >>> [LabelRule(rule)(labels, first, 3, ["ok", "leak"]).tolist() for rule in ("last", "majority", "any:leak")]
    [[0, 1, 1, 1, -1], [0, 0, 1, 1, 1], [0, 1, 1, 1, 1]]
    >>> LabelRule("onset", onset=2)(labels, first, 3, ["ok", "leak"], begins=np.array([0])).tolist()
    [0, 1, 1, -1, -1]
    """

    def __init__(self, label: Any, onset: Any = None) -> None:
        if (
            label is not None
            and not callable(label)
            and not (isinstance(label, str) and (label in _RULES or label.startswith(_ANY)))
        ):
            raise ArgumentError(
                f"label={label!r}",
                expected=f"one of {', '.join(map(repr, _RULES))}, 'any:<class>', a function of step labels, or None",
                fix="pass one of these; without label=, a window has the label of its last step",
            )
        if (label == "onset") != (onset is not None):
            raise ArgumentError(
                f"label={label!r} with onset={onset!r}",
                expected="label='onset' together with onset=, the number of steps after a change that are kept",
                fix="pass label='onset', onset=6, for example"
                if onset is None
                else "drop onset=, or pass label='onset'",
            )
        self.label: Final = label
        self.onset: Final = None if onset is None else whole_number("onset", onset, least=1)

    def __call__(
        self,
        labels: NDArray[np.int32],
        first: NDArray[np.int64],
        length: int,
        class_names: Sequence[str],
        begins: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]:
        """Return the class index of each window, `int64[n]`; -1 for a window that is not made.

        Args:
            labels: Step labels `[steps]`.
            first: First step of each window, `[n]`.
            length: Steps per window.
            class_names: Names of the classes.
            begins: First step of each record, for `"onset"`.
        Raises:
            ArgumentError: If the class of `"any:<class>"` is unknown, or a function returns anything but class indices.
        """
        last = labels[first + length - 1].astype(np.int64)
        if callable(self.label):
            return _by_function(self.label, labels, first, length, class_names)
        if self.label == "first":
            return labels[first].astype(np.int64)
        if self.label == "majority":
            return _majority(labels, first, length, len(class_names))
        if self.label == "onset":
            age = _steps_since_change(labels, begins if begins is not None else np.zeros(1, np.int64))
            recent: NDArray[np.bool_] = age[first + length - 1] < (self.onset or 0)
            return np.where(recent, last, -1)
        if self.label.startswith(_ANY):
            name = self.label.removeprefix(_ANY)
            if name not in class_names:
                raise ArgumentError(
                    f"label={self.label!r}",
                    expected=f"'any:' and one of the classes {', '.join(map(repr, class_names))}",
                    fix="correct the name of the class",
                )
            code = list(class_names).index(name)
            return np.where(_counts(labels == code, first, length) > 0, code, last)
        return last


def _counts(marked: NDArray[np.bool_], first: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Return the number of marked steps in each window."""
    total = np.concatenate([[0], np.cumsum(marked, dtype=np.int64)])
    counts: NDArray[np.int64] = total[first + length] - total[first]
    return counts


def _majority(labels: NDArray[np.int32], first: NDArray[np.int64], length: int, classes: int) -> NDArray[np.int64]:
    """Return the most frequent class; of several the one that occurs last, which is the current state.

    Steps that are left out count like a class, so a window that mostly consists of them is not made.
    """
    best, most = np.full(len(first), -1, np.int64), np.full(len(first), -1, np.int64)
    places = np.arange(len(labels))
    for code in range(-1, classes):
        marked = labels == code
        occurs_last = np.maximum.accumulate(np.where(marked, places, -1))[first + length - 1] - first + 1
        # The count decides; the last place, from 0 to length, only between equal counts.
        rank = _counts(marked, first, length) * (length + 1) + np.maximum(occurs_last, 0)
        best = np.where(rank > most, code, best)
        most = np.maximum(rank, most)
    return best


def _steps_since_change(labels: NDArray[np.int32], begins: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many steps ago the class of each step began; 0 until the first change of a record.

    Steps that are left out change nothing: after a transient without a label, the change is the first labelled step.
    """
    places = np.arange(len(labels))
    record = np.searchsorted(begins, places, side="right")
    known = np.flatnonzero(labels >= 0)
    changes = known[1:][(labels[known[1:]] != labels[known[:-1]]) & (record[known[1:]] == record[known[:-1]])]
    latest = np.full(len(labels), -1, dtype=np.int64)
    latest[changes] = changes
    latest = np.maximum.accumulate(latest)
    changed = latest >= begins[record - 1]
    return np.where(changed, places - latest, 0)


def _by_function(
    function: LabelFunction,
    labels: NDArray[np.int32],
    first: NDArray[np.int64],
    length: int,
    class_names: Sequence[str],
) -> NDArray[np.int64]:
    steps = np.arange(length)
    codes = np.empty(len(first), np.int64)
    together = max(1, _CHUNK_SIZE // length)
    for start in range(0, len(first), together):
        chunk = first[start : start + together]
        found = np.asarray(function(labels[chunk[:, None] + steps]))
        if found.shape != chunk.shape or found.dtype.kind not in "iu":
            raise ArgumentError(
                f"{found.dtype} of shape {found.shape} from the function label= for {len(chunk)} windows",
                expected="a class index for each window, or -1 for a window to leave out",
                fix="reduce the second axis, for example label=lambda steps: steps.max(axis=1)",
            )
        codes[start : start + together] = found
    outside = (codes < -1) | (codes >= len(class_names))
    if outside.any():
        raise ArgumentError(
            f"the class index {codes[int(np.argmax(outside))]} from the function label=",
            expected=f"class indices from 0 to {len(class_names) - 1}, or -1 for a window to leave out",
            fix="return indices of class_names",
        )
    return codes
