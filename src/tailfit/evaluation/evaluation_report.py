"""Evaluations as one self-contained HTML page: figures, charts and notes, without external files.

The page can be read offline and printed, and its Content-Security-Policy forbids fetching anything, and running any
script except one: where scores are known, a slider chooses the cost of a missed sample. The policy allows that script
by its SHA-256, and the page is complete without it. Charts are static SVG, followed by their data as a block of JSON.
The same input gives the same bytes: the page contains no clock time. To show a date, pass it in `details`.
"""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from tailfit.evaluation.charts import MOST_CLASSES, MOST_MODELS, confusion_chart, first_models, recall_chart
from tailfit.evaluation.curves import confused_pairs
from tailfit.evaluation.event_tables import event_notes, event_rows
from tailfit.evaluation.figures import EvaluationFigures
from tailfit.evaluation.group_notes import group_notes, groups_text, how_computed
from tailfit.evaluation.history import History, history_chart
from tailfit.evaluation.metrics import OVERALL, Figure
from tailfit.evaluation.origin import Origin, batch_rows
from tailfit.evaluation.pages import draw, environment, versions
from tailfit.evaluation.score_report import score_views
from tailfit.evaluation.slice_tables import share_text, slice_notes, worst_recall
from tailfit.evaluation.tables import (
    best_of,
    check_comparable,
    count_text,
    paired_differences,
    percent,
    shown_classes,
    support_text,
)
from tailfit.storage.writing import write_text

__all__ = ["left_out_text", "report", "rows_of_a_page"]

_MOST_PAIRS = 10
_MOST_RECALLS = 8  # classes whose recalls are columns of a table of slices
_MOST_CELLS = 400  # classes times models in a table


def report(
    evaluations: Mapping[str, EvaluationFigures],
    path: str | os.PathLike[str] | None = None,
    *,
    title: str = "Evaluation",
    notes: Sequence[str] = (),
    details: Mapping[str, object] | None = None,
    history: History | None = None,
    origin: Origin | None = None,
    pictures: Mapping[int, Mapping[str, Any]] | None = None,
) -> str:
    """Return one HTML page with evaluations side by side, each compared with the first.

    With very many classes, charts and table show those with most and those with fewest training samples, and state
    that. A chart that can't be drawn causes a `ReportWarning`, and a line of text on the page.

    Args:
        evaluations: The evaluations to show, by heading.
        path: File to write atomically; None only returns the page.
        title: Title of the page.
        notes: Paragraphs of plain text below the title, such as a description of the experiment.
        history: Loss and metrics of the epochs of the training by name, such as `model.fit(...).history`.
        origin: How the run of the first evaluation was made; see `tailfit.evaluation.origin.read_origin`.
        pictures: Small pictures of its samples, by position; see `tailfit.evaluation.pictures.read_pictures`.
        details: Facts for the foot of the page by name, such as backend, seed or date; versions are added.
    Raises:
        ArgumentError: If there are no evaluations, or if their classes or training counts differ.

    >>> from tailfit import evaluate
    >>> page = report({"model": evaluate([0, 1], [0, 1])}, title="R & D")
    >>> "<h1>R &amp; D</h1>" in page
    True
    """
    first = check_comparable(evaluations)
    shown = list(evaluations.values())
    gains = paired_differences(evaluations)
    rows = rows_of_a_page(len(evaluations))
    scores = score_views(evaluations, pictures)
    page = environment.get_template("report.html.j2").render(
        title=title,
        notes=[notes] if isinstance(notes, str) else notes,
        headings=list(evaluations),
        samples=_sample_counts(shown),
        counted=first.train_counts is not None,
        grouped=any(each.groups is not None for each in shown),
        in_groups=first.groups is not None and not first.groups.independent,
        group_notes=group_notes(first),
        confidence=percent(first.confidence),
        resamples=first.resamples,
        overall=_overall_rows(evaluations, gains),
        paired=any(gains),
        num_classes=len(first.class_names),
        classes=_class_rows(shown, rows),
        left_out=left_out_text(first, rows),
        recalls=draw(partial(recall_chart, evaluations), "Recall of each class with its confidence interval"),
        charts_left_out=left_out_text(first, MOST_CLASSES),
        recordings=[
            (heading, each.recordings, _overall_cells(each.recordings))
            for heading, each in evaluations.items()
            if each.recordings is not None
        ],
        events=[
            (heading, each.events.recordings, event_rows(each.events), event_notes(each.events))
            for heading, each in evaluations.items()
            if each.events is not None
        ],
        scores=scores,
        scripted=any(each["costs"]["rows"] for each in scores),
        history=draw(partial(history_chart, history), "Loss and metrics of each epoch") if history else None,
        origin=origin,
        batches=batch_rows(first, origin, rows) if origin else [],
        slices=[
            (heading, column, *_slice_rows(each, column), slice_notes(each, column))
            for heading, each in first_models(evaluations).items()
            for column in each.slices
        ],
        confusions=[
            (
                heading,
                draw(partial(confusion_chart, evaluation), f"Confusion matrix of {heading}"),
                confused_pairs(evaluation, _MOST_PAIRS).rows(),
            )
            for heading, evaluation in first_models(evaluations).items()
        ],
        most_classes=MOST_CLASSES,
        models_left_out=max(0, len(evaluations) - MOST_MODELS),
        details={
            **(details or {}),
            "intervals": f"{how_computed(first)}, seed {first.seed}",
            **versions(),
        },
    )
    if path is not None:
        write_text(path, page)
    return page


def rows_of_a_page(models: int) -> int:
    """Return how many classes a table shows for a number of models, so that a page has at most a few MB."""
    return max(20, _MOST_CELLS // models)


def left_out_text(evaluation: EvaluationFigures, most: int) -> str:
    """Describe the classes that a table or chart of at most `most` classes leaves out; empty if there are none."""
    order, left_out = shown_classes(evaluation, most)
    if not left_out:
        return ""
    half = len(order) // 2
    return (
        f"The first {half} and the last {half} of {len(evaluation.class_names):,} classes; the {left_out:,} between "
        "them are in the evaluation's JSON."
    )


def _sample_counts(shown: Sequence[EvaluationFigures]) -> str:
    """Format the number of test samples, for each evaluation if they differ."""
    return " / ".join(dict.fromkeys(count_text(len(evaluation.y_true)) for evaluation in shown))


def _overall_rows(
    evaluations: Mapping[str, EvaluationFigures], gains: Sequence[Mapping[str, Figure]]
) -> list[dict[str, Any]]:
    rows = []
    for key, label in OVERALL.items():
        figures = [evaluation.overall[key] for evaluation in evaluations.values()]
        worst = key == "worst_class_recall"
        names = [evaluation.worst_class if worst else None for evaluation in evaluations.values()]
        gain = [paired.get(key) for paired in gains]
        rows.append({"label": label, "cells": list(zip(figures, best_of(figures), names, gain, strict=True))})
    return rows


def _overall_cells(evaluation: EvaluationFigures) -> list[tuple[str, Figure, str | None]]:
    """Return label, figure and name of the worst class of each figure over all classes."""
    worst = "worst_class_recall"
    return [
        (label, evaluation.overall[key], evaluation.worst_class if key == worst else None)
        for key, label in OVERALL.items()
    ]


def _slice_rows(evaluation: EvaluationFigures, column: str) -> tuple[list[dict[str, Any]], Sequence[str]]:
    """Return the rows of a column's table, and the classes whose recalls they contain; none if there are many."""
    slices = evaluation.slices[column]
    names = evaluation.class_names if len(evaluation.class_names) <= _MOST_RECALLS else ()
    rows = [
        {
            **vars(each),
            "recalls": each.recalls[: len(names)],
            "trusted": each.trusted,
            "train_text": share_text(each.train or 0, [other.train or 0 for other in slices]),
            "test_text": share_text(each.test, [other.test for other in slices]),
            "worst": worst_recall(each, evaluation.class_names),
        }
        for each in slices
    ]
    return rows, names


def _class_rows(shown: Sequence[EvaluationFigures], most: int) -> list[dict[str, Any]]:
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
                "groups": " / ".join(dict.fromkeys(groups_text(each, k) for each in shown)),
                "cells": list(zip(figures, best, strict=True)),
            }
        )
    return rows
