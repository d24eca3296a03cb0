"""One self-contained HTML page: figures, plots and notes, with no script and nothing to load.

It reads offline, prints, and forbids itself to fetch or run anything (Content-Security-Policy). Plots are
static SVG; beside each stands its Vega-Lite specification as a block of JSON. The same input gives the same
bytes: there is no clock in it, a date is shown if passed in `details`.
"""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tailfit.evaluation.charts import MOST_CLASSES, MOST_MODELS, confusion_chart, first_models, recall_chart
from tailfit.evaluation.files import write_text
from tailfit.evaluation.metrics import OVERALL, Figure
from tailfit.evaluation.pages import environment, plot, versions
from tailfit.evaluation.tables import (
    best_of,
    check_comparable,
    count_text,
    differences,
    percent,
    shown_classes,
    support_text,
)

if TYPE_CHECKING:
    from tailfit.evaluation.evaluation import Evaluation

__all__ = ["left_out_text", "report", "rows_of_a_page"]

_MOST_CELLS = 400  # classes times models in a table


def report(
    evaluations: "Mapping[str, Evaluation]",
    path: str | os.PathLike[str] | None = None,
    *,
    title: str = "Evaluation",
    notes: Sequence[str] = (),
    details: Mapping[str, object] | None = None,
) -> str:
    """Evaluations side by side as one HTML page; the first is what the others are compared to.

    Of very many classes, pictures and table show those with most and those with fewest training samples, and say so.
    A picture that can't be drawn is a `ReportWarning`, and a line of text on the page.

    Args:
        evaluations: What to show, by heading.
        path: File to write, whole or not at all; None only returns the page.
        title: Of the page.
        notes: Paragraphs of plain text under the title: what was done.
        details: Facts for the foot of the page by name, such as backend, seed or date; versions are added.
    Raises:
        ArgumentError: if there is no evaluation, or if their classes or training counts differ.

    >>> from tailfit import evaluate
    >>> page = report({"model": evaluate([0, 1], [0, 1])}, title="R & D")
    >>> "<h1>R &amp; D</h1>" in page
    True
    """
    first = check_comparable(evaluations)
    shown = list(evaluations.values())
    gains = differences(evaluations)
    rows = rows_of_a_page(len(evaluations))
    page = environment.get_template("report.html.j2").render(
        title=title,
        notes=[notes] if isinstance(notes, str) else notes,
        headings=list(evaluations),
        samples=support_of(shown),
        counted=first.train_counts is not None,
        confidence=percent(first.confidence),
        resamples=first.resamples,
        overall=_overall_rows(evaluations, gains),
        paired=any(gains),
        num_classes=len(first.class_names),
        classes=_class_rows(shown, rows),
        left_out=left_out_text(first, rows),
        recalls=plot(lambda: recall_chart(evaluations), "Recall of each class with its confidence interval", "recall"),
        charts_left_out=left_out_text(first, MOST_CLASSES),
        confusions=[
            (heading, plot(partial(confusion_chart, evaluation), f"Confusion matrix of {heading}", f"confusion-{i}"))
            for i, (heading, evaluation) in enumerate(first_models(evaluations).items())
        ],
        most_classes=MOST_CLASSES,
        models_left_out=max(0, len(evaluations) - MOST_MODELS),
        details={
            **(details or {}),
            "bootstrap": f"{first.resamples} resamples, seed {first.seed}",
            **versions(),
        },
    )
    if path is not None:
        write_text(path, page)
    return page


def rows_of_a_page(models: int) -> int:
    """The classes that a table of so many models has room for, on a page of a few MB."""
    return max(20, _MOST_CELLS // models)


def left_out_text(evaluation: "Evaluation", most: int) -> str:
    """Say which classes a table or picture of at most `most` classes leaves out; empty where it has all."""
    order, left_out = shown_classes(evaluation, most)
    if not left_out:
        return ""
    half = len(order) // 2
    return (
        f"The first {half} and the last {half} of {len(evaluation.class_names):,} classes; the {left_out:,} between "
        "them are in the evaluation's JSON."
    )


def support_of(shown: "Sequence[Evaluation]") -> str:
    """Number of test samples; each evaluation's where they differ."""
    return " / ".join(dict.fromkeys(count_text(len(evaluation.y_true)) for evaluation in shown))


def _overall_rows(
    evaluations: "Mapping[str, Evaluation]", gains: Sequence[Mapping[str, Figure]]
) -> list[dict[str, Any]]:
    rows = []
    for key, label in OVERALL.items():
        figures = [evaluation.overall[key] for evaluation in evaluations.values()]
        worst = key == "worst_class_recall"
        names = [evaluation.worst_class if worst else None for evaluation in evaluations.values()]
        gain = [paired.get(key) for paired in gains]
        rows.append({"label": label, "cells": list(zip(figures, best_of(figures), names, gain, strict=True))})
    return rows


def _class_rows(shown: "Sequence[Evaluation]", most: int) -> list[dict[str, Any]]:
    first = shown[0]
    rows = []
    for k in shown_classes(first, most)[0]:
        figures = [evaluation.classes[k] for evaluation in shown]
        best = best_of([row.recall for row in figures])
        rows.append(
            {
                "name": first.class_names[k],
                "train": count_text(first.classes[k].train_count),
                "test": support_text(shown, k),
                "cells": list(zip(figures, best, strict=True)),
            }
        )
    return rows
