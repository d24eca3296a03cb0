"""The reason for the choice of a remedy, in plain sentences."""

from collections.abc import Mapping, Sequence
from typing import Final

from tailfit.evaluation.deciding import DECIDE_ON, Decision
from tailfit.evaluation.metrics import Figure
from tailfit.evaluation.nested import Nested
from tailfit.evaluation.tables import excludes_zero, percent, signed
from tailfit.names import shown
from tailfit.text import visible

__all__ = ["NO_VALIDATION", "reason_sentences"]

NO_VALIDATION: Final = "No remedy was chosen, because a choice needs evaluations on validation samples."
_MOST_NAMES: Final = 4


def reason_sentences(
    decision: Decision,
    *,
    baseline: str,
    class_names: Sequence[str],
    confidence: float,
    samples: int,
    nested: Nested | None = None,
) -> list[str]:
    """Return sentences that state what was chosen, why, what it gains and costs, and how certain that is.

    Args:
        decision: The decision.
        baseline: The remedy that gains refer to.
        class_names: Names of the classes.
        confidence: Confidence level of the intervals.
        samples: Number of validation samples.
        nested: The choices inside of folds.
    """
    return [
        _chosen(decision, baseline, samples),
        *_on_validation(decision, baseline, confidence),
        *_alike(decision, baseline, confidence),
        *([_on_test(decision, baseline)] if nested is None else _on_folds(decision, nested, baseline)),
        *_by_class(decision, class_names, confidence),
    ]


def _chosen(decision: Decision, baseline: str, samples: int) -> str:
    chosen, figure = _name(decision.chosen), DECIDE_ON[decision.decide_on]
    most = "lowest" if decision.decide_on == "cost" else "best"
    of_chosen, of_best = (f"{decision.figures[name]:.3f}" for name in (decision.chosen, decision.best))
    where = f"on the {samples:,} validation samples"
    if decision.chosen == decision.best:
        others = ", and no simpler remedy is within one standard error of it" if decision.chosen != baseline else ""
        return f"{chosen} has the {most} {figure} {where} ({of_chosen}){others}."
    return (
        f"{chosen} ({of_chosen}) is within one standard error of the {most} {figure} {where}, "
        f"that of {_name(decision.best)} ({of_best}), and is simpler: it is listed first."
    )


def _on_validation(decision: Decision, baseline: str, confidence: float) -> list[str]:
    if not decision.differences:
        return []
    other = baseline
    if decision.chosen == baseline:  # the best, or else the one that is closest
        nearest = min(decision.differences, key=lambda name: abs(float(decision.differences[name])))
        other = nearest if decision.best == baseline else decision.best
    gap = decision.differences[other]
    return [f"The difference to {_name(other)} there is {signed(gap)} ({percent(confidence)} interval)."]


def _alike(decision: Decision, baseline: str, confidence: float) -> list[str]:
    alike = list(decision.alike)
    if not decision.differences:
        return []
    if not alike:
        return [f"There, the {percent(confidence)} interval of its difference to each other remedy excludes 0."]
    if len(alike) == len(decision.differences) and len(alike) > 1:
        return [f"It cannot be told apart from any other remedy there, with {percent(confidence)} confidence."]
    names = [_name(name) for name in sorted(alike, key=lambda name: name != baseline)]
    return [f"It cannot be told apart there from {_listed(names)}."]


def _on_test(decision: Decision, baseline: str) -> str:
    figure = DECIDE_ON[decision.decide_on]
    start = f"On the test samples, which were not used for the choice, its {figure} is {decision.test_figure}"
    return f"{start}." if decision.gain is None else f"{start}, {_gained(decision, decision.gain, baseline)}."


def _on_folds(decision: Decision, nested: Nested, baseline: str) -> list[str]:
    figure, votes = DECIDE_ON[decision.decide_on], nested.votes
    times = [f"{_name(name)} {'once' if number == 1 else f'{number} times'}" for name, number in votes.items()]
    worth = f"the {figure} of what was chosen there is {nested.figure}"
    gain = "" if list(votes) == [baseline] else f", {_gained(decision, nested.gain, baseline)}"
    return [
        f"In each of the {len(nested.folds)} folds, the choice was made again, on the validation samples of that fold "
        f"alone: {_listed(times)}.",
        f"On the test samples of all folds, which had no part in these choices, {worth}{gain}.",
        f"With {_name(decision.chosen)} in every fold it would be {decision.test_figure}.",
    ]


def _gained(decision: Decision, gain: Figure, baseline: str) -> str:
    better = -float(gain) if decision.decide_on == "cost" else float(gain)
    if not excludes_zero(gain):
        verdict = f"it cannot be told apart from {_name(baseline)}"
    else:
        verdict = f"it {'helps' if better > 0 else 'hurts'}"
    return f"a difference of {signed(gain)} to {_name(baseline)}: {verdict}"


def _by_class(decision: Decision, class_names: Sequence[str], confidence: float) -> list[str]:
    """Describe the classes whose recall rises or falls, and what the remedy costs in accuracy."""
    if decision.gain is None or decision.accuracy_gain is None:
        return []
    names = shown(class_names)
    gains = {names[k]: each for k, each in enumerate(decision.recall_gains) if each == each}
    rising = _changes({name: each for name, each in gains.items() if each.low > 0}, -1)
    falling = _changes({name: each for name, each in gains.items() if each.high < 0}, 1)
    parts = [f"rises for {rising}"] * bool(rising) + [f"falls for {falling}"] * bool(falling)
    if parts:
        # Unlike the intervals of the table, these do not hold simultaneously, so that the two may disagree.
        each = f"with {percent(confidence)} confidence for each class by itself"
        sentences = [f"Recall {' and '.join(parts)}, {each}; the other classes are undecided."]
    else:
        largest = max(gains, key=lambda name: abs(float(gains[name])))
        sentences = [
            f"For no single class is the difference certain; the largest is that in the recall of {largest} "
            f"({signed(gains[largest])})."
        ]
    return [*sentences, f"Its accuracy differs by {signed(decision.accuracy_gain)}."]


def _changes(gains: Mapping[str, Figure], sign: int) -> str:
    ordered = sorted(gains, key=lambda name: sign * float(gains[name]))
    return _listed([f"{name} ({float(gains[name]):+.2f})" for name in ordered])


def _listed(texts: Sequence[str]) -> str:
    if len(texts) > _MOST_NAMES:
        texts = [*texts[:_MOST_NAMES], f"{len(texts) - _MOST_NAMES} more"]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}" if texts else ""


def _name(name: str) -> str:
    return repr(visible(name))
