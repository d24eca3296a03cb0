"""Sentences about the groups behind the figures of an evaluation, for tables and pages."""

from tailfit.evaluation.figures import EvaluationFigures
from tailfit.evaluation.group_intervals import FEW_GROUPS
from tailfit.names import shown
from tailfit.text import visible

__all__ = ["MARK", "group_notes", "groups_text", "how_computed"]

MARK = "?"  # behind an interval of too few groups
_MOST_NAMES = 5


def how_computed(evaluation: EvaluationFigures) -> str:
    """Describe in a few words what an interval is computed from.

    >>> from tailfit import evaluate
    >>> how_computed(evaluate([0, 1, 1, 1], [0, 1, 0, 1], groups=["a", "a", "b", "b"]))
    'between 2 groups of test samples'
    """
    if evaluation.groups is None or evaluation.groups.independent:
        return f"from {evaluation.resamples} resamples within each class"
    return f"between {len(evaluation.groups):,} groups of test samples"


def groups_text(evaluation: EvaluationFigures, k: int) -> str:
    """Format the number of groups behind class k; empty if the groups are unknown."""
    groups = evaluation.classes[k].groups
    return "" if groups is None else f"{groups:,}"


def group_notes(evaluation: EvaluationFigures) -> list[str]:
    """Return warnings about classes whose samples come from few groups.

    >>> from tailfit import evaluate
    >>> for note in group_notes(evaluate(["leak", "ok", "ok"], ["leak", "ok", "ok"], groups=["a", "b", "c"])):
    ...     print(note)
    All samples of 'leak' are in the group 'a': its recall measures that group.
    ? fewer than 5 groups: not enough for a trustworthy interval (leak, ok).
    Do not trust the intervals of figures over all classes either: they include these classes.
    """
    if evaluation.groups is None:
        return []
    by_class = evaluation.groups.by_class(evaluation.y_true, len(evaluation.class_names))
    names = shown(evaluation.class_names)
    alone = [k for k, groups in enumerate(by_class) if len(groups) == 1]
    notes = [
        f"All samples of {visible(evaluation.class_names[k])!r} are in the group {visible(by_class[k][0])!r}: its "
        "recall measures that group."
        for k in alone[:_MOST_NAMES]
    ]
    if len(alone) > _MOST_NAMES:
        notes.append(f"So are those of {len(alone) - _MOST_NAMES} more classes, each in one group.")
    few = [names[k] for k, groups in enumerate(by_class) if 0 < len(groups) < FEW_GROUPS]
    if few:
        more = f" and {len(few) - _MOST_NAMES} more" if len(few) > _MOST_NAMES else ""
        notes.append(
            f"{MARK} fewer than {FEW_GROUPS} groups: not enough for a trustworthy interval "
            f"({', '.join(few[:_MOST_NAMES])}{more})."
        )
        notes.append("Do not trust the intervals of figures over all classes either: they include these classes.")
    return notes
