"""A comparison as one self-contained page, like `tailfit.evaluation.report`'s."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tailfit.evaluation.charts import MOST_CLASSES, difference_chart
from tailfit.evaluation.comparison_table import comparison_notes, signed
from tailfit.evaluation.pages import environment, plot, versions
from tailfit.evaluation.report import left_out_text, rows_of_a_page
from tailfit.evaluation.tables import UNDEFINED, best_of, count_text, percent, shown_classes

if TYPE_CHECKING:
    from tailfit.evaluation.comparison import Comparison

__all__ = ["comparison_page"]

_LABEL = "Difference of each remedy to the baseline in balanced accuracy, with its interval"


def comparison_page(found: "Comparison", *, title: str, details: Mapping[str, object] | None = None) -> str:
    """The page.

    Args:
        found: What to show.
        title: Of the page.
        details: Facts for its foot, by name; versions are added.

    >>> from tailfit import evaluate
    >>> from tailfit.evaluation import comparison
    >>> one = [evaluate([0, 1], [0, 1])]
    >>> "<h1>R &amp; D</h1>" in comparison_page(comparison({"plain": one, "tailored": one}), title="R & D")
    True
    """
    first = found.evaluations[found.baseline][0]
    names = list(found.evaluations)
    rows = rows_of_a_page(len(names))
    gains = {name: each["balanced_accuracy"] for name, each in found.differences.items()}
    return environment.get_template("comparison.html.j2").render(
        title=title,
        baseline=found.baseline,
        samples=count_text(len(first.y_true)),
        seeds=len(found.seeds),
        confidence=percent(found.confidence),
        notes=comparison_notes(found),
        headings=names,
        overall=_overall_rows(found),
        gains=plot(lambda: difference_chart(gains), _LABEL, "gains") if gains else None,
        counted=any(several[0].train_counts for several in found.evaluations.values()),
        gains_left_out=max(0, len(gains) - MOST_CLASSES),
        num_classes=len(first.class_names),
        classes=_class_rows(found, rows),
        left_out=left_out_text(first, rows),
        details={
            **(details or {}),
            "seeds": ", ".join(map(str, found.seeds)),
            "bootstrap": f"{found.resamples} resamples",
            **versions(),
        },
    )


def _overall_rows(found: "Comparison") -> list[dict[str, Any]]:
    verdicts = found.verdicts
    best = best_of([found.figures[name]["balanced_accuracy"] for name in found.evaluations])
    return [
        {
            "name": name,
            "figures": [found.figures[name][key] for key in ("balanced_accuracy", "macro_f1", "accuracy")],
            "best": mark,
            "ranges": [found.ranges[name][key] for key in ("worst_class_recall", "geometric_mean")],
            "gain": None if name == found.baseline else found.differences[name]["balanced_accuracy"],
            "verdict": verdicts.get(name, "baseline"),
        }
        for name, mark in zip(found.evaluations, best, strict=True)
    ]


def _class_rows(found: "Comparison", most: int) -> list[dict[str, Any]]:
    first = found.evaluations[found.baseline][0]
    rows = []
    for k in shown_classes(first, most)[0]:
        recalls = [found.recalls[name][k] for name in found.evaluations]
        gains = [found.recall_differences[name][k] if name in found.differences else None for name in found.evaluations]
        clear = [gain is not None and (gain.low > 0 or gain.high < 0) for gain in gains]
        told = [None if gain is None or gain != gain else signed(gain) for gain in gains]
        rows.append(
            {
                "name": first.class_names[k],
                "train": _train_text(found, k),
                "test": count_text(first.classes[k].support),
                "cells": list(zip(recalls, best_of(recalls), told, clear, strict=True)),
            }
        )
    return rows


def _train_text(found: "Comparison", k: int) -> str:
    """Training samples of class k; each remedy's where they differ."""
    counts = [several[0].classes[k].train_count for several in found.evaluations.values()]
    told = [UNDEFINED if count is None else count_text(count) for count in counts]
    return " / ".join(told if len(set(counts)) > 1 else told[:1])
