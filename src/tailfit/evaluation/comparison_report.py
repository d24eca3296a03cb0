"""A comparison as one self-contained HTML page, built like that of `tailfit.evaluation.report`."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import polars as pl

from tailfit.evaluation.charts import MOST_CLASSES, MOST_MODELS, difference_chart
from tailfit.evaluation.comparison_charts import gains_chart, gains_of_seeds, race_chart
from tailfit.evaluation.comparison_figures import ComparisonFigures
from tailfit.evaluation.comparison_table import comparison_notes, verdict_sentences
from tailfit.evaluation.deciding import DECIDE_ON
from tailfit.evaluation.evaluation_report import left_out_text, rows_of_a_page
from tailfit.evaluation.group_notes import groups_text
from tailfit.evaluation.metrics import OVERALL
from tailfit.evaluation.pages import draw, environment, versions
from tailfit.evaluation.tables import UNDEFINED, best_of, count_text, excludes_zero, percent, shown_classes, signed
from tailfit.notebook import paragraph, table_html

__all__ = ["comparison_overview", "comparison_page"]

_LABEL = "Difference of each remedy to the baseline in balanced accuracy, with its interval"


def comparison_page(compared: ComparisonFigures, *, title: str, details: Mapping[str, object] | None = None) -> str:
    """Return the page of a comparison.

    Args:
        compared: The comparison to show.
        title: Title of the page.
        details: Facts for the foot of the page, by name; versions are added.

    >>> from tailfit import evaluate
    >>> from tailfit.evaluation import comparison
    >>> one = [evaluate([0, 1], [0, 1])]
    >>> "<h1>R &amp; D</h1>" in comparison_page(comparison({"plain": one, "tailored": one}), title="R & D")
    True
    """
    first = compared.evaluations[compared.baseline][0]
    names = list(compared.evaluations)
    rows = rows_of_a_page(len(names))
    gains = {name: each["balanced_accuracy"] for name, each in compared.differences.items()}
    return environment.get_template("comparison.html.j2").render(
        title=title,
        baseline=compared.baseline,
        samples=count_text(len(first.y_true)),
        seeds=len(compared.seeds),
        confidence=percent(compared.confidence),
        verdict=verdict_sentences(compared),
        folds=() if compared.nested is None else compared.nested.folds,
        decide_on=DECIDE_ON[compared.decide_on],
        stopped=[(each, f"{each.figure:.3f}") for each in compared.stopped],
        notes=comparison_notes(compared),
        headings=names,
        overall=_overall_rows(compared),
        gains=draw(partial(difference_chart, gains, gains_of_seeds(compared)), _LABEL) if gains else None,
        of_classes=draw(partial(gains_chart, compared), "Gain and loss of each class by remedy") if gains else None,
        race=draw(partial(race_chart, compared), "The race on the validation samples") if compared.stopped else None,
        grouped=first.groups is not None,
        in_groups=first.groups is not None and not first.groups.independent,
        counted=any(trainings[0].train_counts for trainings in compared.evaluations.values()),
        most_models=MOST_MODELS,
        charts_left_out=left_out_text(first, MOST_CLASSES),
        gains_left_out=max(0, len(gains) - MOST_CLASSES),
        num_classes=len(first.class_names),
        classes=_class_rows(compared, rows),
        left_out=left_out_text(first, rows),
        details={
            **(details or {}),
            "seeds": ", ".join(map(str, compared.seeds)),
            "intervals": _source_of_intervals(compared),
            **versions(),
        },
    )


def comparison_overview(compared: ComparisonFigures) -> str:
    """Return what a notebook shows of a comparison: the choice and its reason, the figures, and the differences.

    >>> from tailfit import evaluate
    >>> from tailfit.evaluation import comparison
    >>> one = [evaluate([0, 1], [0, 1])]
    >>> "<td>&lt;b&gt;</td>" in comparison_overview(comparison({"<b>": one, "tailored": one}))
    True
    """
    validation = {} if compared.decision is None else compared.decision.figures
    deciding = f"validation: {DECIDE_ON[compared.decide_on]}"
    rows: list[dict[str, object]] = []
    for name in compared.evaluations:
        gain = compared.differences.get(name)
        rows.append(
            {
                "remedy": name,
                **({deciding: float(validation[name])} if validation else {}),
                **{OVERALL[key]: str(figure) for key, figure in compared.figures[name].items()},
                "difference": "" if gain is None else signed(gain["balanced_accuracy"]),
                "verdict": compared.verdicts.get(name, "baseline"),
            }
        )
    text = " ".join([*verdict_sentences(compared), *comparison_notes(compared)])
    gains = {name: each["balanced_accuracy"] for name, each in compared.differences.items()}
    chart = difference_chart(gains, gains_of_seeds(compared)).svg if gains else ""
    return paragraph(text) + table_html(pl.DataFrame(rows)) + chart


def _source_of_intervals(compared: ComparisonFigures) -> str:
    groups = compared.evaluations[compared.baseline][0].groups
    if groups is None or groups.independent:
        return f"{compared.resamples} resamples"
    return f"{len(groups):,} groups"


def _overall_rows(compared: ComparisonFigures) -> list[dict[str, Any]]:
    verdicts = compared.verdicts
    best = best_of([compared.figures[name]["balanced_accuracy"] for name in compared.evaluations])
    return [
        {
            "name": name,
            "figures": [compared.figures[name][key] for key in ("balanced_accuracy", "macro_f1", "accuracy")],
            "best": mark,
            "chosen": name == compared.chosen,
            "validation": None if compared.decision is None else compared.decision.figures[name],
            "ranges": [compared.ranges[name][key] for key in ("worst_class_recall", "geometric_mean")],
            "gain": None if name == compared.baseline else compared.differences[name]["balanced_accuracy"],
            "verdict": verdicts.get(name, "baseline"),
        }
        for name, mark in zip(compared.evaluations, best, strict=True)
    ]


def _class_rows(compared: ComparisonFigures, most: int) -> list[dict[str, Any]]:
    first = compared.evaluations[compared.baseline][0]
    rows = []
    for k in shown_classes(first, most)[0]:
        recalls = [compared.recalls[name][k] for name in compared.evaluations]
        gains = [
            compared.recall_differences[name][k] if name in compared.differences else None
            for name in compared.evaluations
        ]
        clear = [gain is not None and excludes_zero(gain) for gain in gains]
        texts = [None if gain is None or gain != gain else signed(gain) for gain in gains]
        rows.append(
            {
                "name": first.class_names[k],
                "train": _train_text(compared, k),
                "test": count_text(first.classes[k].support),
                "groups": groups_text(first, k),
                "trusted": first.classes[k].trusted,
                "cells": list(zip(recalls, best_of(recalls), texts, clear, strict=True)),
            }
        )
    return rows


def _train_text(compared: ComparisonFigures, k: int) -> str:
    """Format the number of training samples of class k, for each remedy if they differ."""
    counts = [trainings[0].classes[k].train_count for trainings in compared.evaluations.values()]
    texts = [UNDEFINED if count is None else count_text(count) for count in counts]
    return " / ".join(texts if len(set(counts)) > 1 else texts[:1])
