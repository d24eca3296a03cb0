"""The plots of a report: Vega-Lite specifications (by vega-altair), and the same as static SVG.

Values travel as data, never inside an expression: a class name can't become code. The SVG is parsed and
written again before it enters a page, so what stands in a name stays text there too.

A chart shows at most `MOST_CLASSES` classes and `MOST_MODELS` models: the engine that draws it fails at a few thousand
classes, and nobody reads so many rows.
"""

import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
import vl_convert

from tailfit.evaluation.metrics import Codes, Figure, cell_counts
from tailfit.evaluation.naming import short_labels
from tailfit.evaluation.tables import class_order, count_text, shown_classes
from tailfit.text import visible

if TYPE_CHECKING:
    from tailfit.evaluation.evaluation import Evaluation

__all__ = [
    "MOST_CLASSES",
    "MOST_MODELS",
    "PALETTE",
    "confusion_chart",
    "difference_chart",
    "first_models",
    "recall_chart",
    "to_svg",
]

Spec = dict[str, Any]

MOST_CLASSES = 60  # in one chart
MOST_MODELS = 8

# Okabe & Ito's colours, told apart by the colour-blind; shapes differ as well.
PALETTE = ("#5b6770", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00")
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
_INK, _FAINT, _GRID = "#1c2126", "#5b6770", "#e4e7ea"
_FONT = "Helvetica, Arial, sans-serif"
_LABELLED_CELLS = 20  # classes up to which every cell of a confusion matrix has room for its number
_TICKS = [0, 0.2, 0.4, 0.6, 0.8, 1]
_SVG = "http://www.w3.org/2000/svg"


def recall_chart(evaluations: "Mapping[str, Evaluation]") -> Spec:
    """Recall of each class with its interval, beside its number of training samples (test, if unknown).

    Of more than `MOST_CLASSES`, those with most and those with fewest training samples; of the first `MOST_MODELS`.

    >>> from tailfit import evaluate
    >>> bars, recalls = recall_chart({"model": evaluate([0, 1], [0, 1])})["hconcat"]
    >>> recalls["title"]["text"]
    'recall, with interval'
    """
    evaluations = first_models(evaluations)
    first = next(iter(evaluations.values()))
    order, _ = shown_classes(first, MOST_CLASSES)
    labels = short_labels([first.class_names[k] for k in order], 28)
    headings = short_labels(list(evaluations), 28)
    counted = first.train_counts is not None
    counts = [
        float(count if count is not None else figures.support)
        for figures in (first.classes[k] for k in order)
        for count in (figures.train_count,)
    ]
    bars = [
        {"class": label, "count": count, "text": count_text(count)} for label, count in zip(labels, counts, strict=True)
    ]
    points = [
        {"class": label, "model": heading, "recall": float(recall), "low": recall.low, "high": recall.high}
        for heading, evaluation in zip(headings, evaluations.values(), strict=True)
        for label, k in zip(labels, order, strict=True)
        if (recall := evaluation.classes[k].recall) == recall
    ]
    step = max(22, 14 * len(headings) + 2)
    # Both panels need the paddings that an offset would change in one of them, or rows would drift apart.
    rows = alt.Y("class:N").sort(labels).title(None).scale(paddingInner=0.15, paddingOuter=0.1)
    base = _chart(bars).encode(
        y=rows.axis(labelLimit=0, labelPadding=8),
        x=alt.X("count:Q").axis(None).scale(type="sqrt", domain=[0, max(*counts, 1.0) * 1.9]),
    )
    amounts = (
        base.mark_bar(color="#b9c2ca", height={"band": 0.55})
        + base.mark_text(align="left", dx=4, color=_FAINT).encode(text="text:N")
    ).properties(
        width=170,
        height=step * len(labels),
        title=alt.TitleParams("training samples" if counted else "test samples", anchor="start"),
    )
    colour = (
        alt.Color("model:N")
        .scale(domain=headings, range=_cycle(PALETTE, len(headings)))
        .legend(None if len(headings) == 1 else alt.Legend(title=None, orient="top", labelLimit=0))
    )
    shape = alt.Shape("model:N").scale(domain=headings, range=_cycle(_SHAPES, len(headings)))
    whiskers = _chart(points).encode(
        y=rows.axis(None),
        yOffset=alt.YOffset("model:N").sort(headings).scale(paddingOuter=0.25),
        color=colour,
    )
    recalls = (
        whiskers.mark_rule(strokeWidth=1.6, opacity=0.65).encode(
            x=alt.X("low:Q").scale(domain=[0, 1]).title(None).axis(format=".1f", values=_TICKS), x2="high:Q"
        )
        + whiskers.mark_point(filled=True, size=52, opacity=1).encode(x="recall:Q", shape=shape)
    ).properties(width=600, height=step * len(labels), title=alt.TitleParams("recall, with interval", anchor="start"))
    return _finished(alt.hconcat(amounts, recalls, spacing=14))


def difference_chart(differences: Mapping[str, Figure]) -> Spec:
    """Each remedy's difference to the baseline with its interval, and a line at 0; of the first `MOST_CLASSES`.

    >>> _, rules, points = difference_chart({"tailored": Figure(0.1, 0.05, 0.15)})["layer"]
    >>> points["mark"]["type"]
    'point'
    """
    differences = dict(list(differences.items())[:MOST_CLASSES])
    labels = short_labels(list(differences), 44)
    points = [
        {"remedy": label, "difference": float(gain), "low": gain.low, "high": gain.high}
        for label, gain in zip(labels, differences.values(), strict=True)
    ]
    base = _chart(points).encode(
        y=alt.Y("remedy:N").sort(labels).title(None).axis(labelLimit=0, labelPadding=8),
        x=alt.X("low:Q").title("difference in balanced accuracy").axis(format="+.2f").scale(nice=True, zero=True),
    )
    zero = _chart([{"at": 0}]).mark_rule(color=_FAINT, strokeDash=[3, 3]).encode(x="at:Q")
    whiskers = base.mark_rule(strokeWidth=1.6, opacity=0.65, color=PALETTE[1]).encode(x2="high:Q")
    dots = base.mark_point(filled=True, size=52, opacity=1, color=PALETTE[1]).encode(x="difference:Q")
    return _finished(alt.layer(zero, whiskers, dots).properties(width=560, height=max(60, 28 * len(labels))))


def confusion_chart(evaluation: "Evaluation") -> Spec:
    """The confusion matrix: shade is the share of the row's class, the number is samples.

    Of more than `MOST_CLASSES` classes, those that are confused most often.

    >>> from tailfit import evaluate
    >>> confusion_chart(evaluate([0, 0, 1], [0, 1, 1]))["data"]["values"][1]
    {'class': '0', 'predicted': '1', 'samples': 1, 'share': 0.5}
    """
    size = len(evaluation.class_names)
    true, predicted, samples = cell_counts(evaluation.y_true, evaluation.y_pred, size)
    wanted = _most_confused(true, predicted, samples, size)
    order = [k for k in class_order(evaluation) if k in wanted]
    labels = short_labels([evaluation.class_names[k] for k in order], 18)
    place = {k: row for row, k in enumerate(order)}
    cells = [
        {
            "class": labels[place[i]],
            "predicted": labels[place[j]],
            "samples": count,
            "share": round(count / evaluation.classes[i].support, 4),
        }
        for i, j, count in sorted(
            zip(true.tolist(), predicted.tolist(), samples.tolist(), strict=True),
            key=lambda cell: (place.get(cell[0], 0), place.get(cell[1], 0)),
        )
        if i in wanted and j in wanted
    ]
    side = max(8.0, min(34.0, 640 / len(labels)))
    axes: dict[str, Any] = {"labelLimit": 0, "domain": False, "ticks": False, "labelPadding": 6}
    base = _chart(cells).encode(
        x=alt.X("predicted:N").scale(domain=labels).title("predicted").axis(labelAngle=-45, orient="top", **axes),
        y=alt.Y("class:N").scale(domain=labels).title("class").axis(**axes),
    )
    shades = base.mark_rect(stroke="white", strokeWidth=1).encode(
        color=alt.Color("share:Q").scale(domain=[0, 1], range=["#edf3f8", "#08457e"]).legend(None)
    )
    numbers = base.mark_text(fontSize=11).encode(
        text="samples:Q",
        color=alt.condition("datum.share > 0.45", alt.value("white"), alt.value(_INK)),
    )
    layers = alt.layer(shades, numbers) if len(labels) <= _LABELLED_CELLS else alt.layer(shades)
    return _finished(layers.properties(width=alt.Step(side), height=alt.Step(side)))


def first_models(evaluations: "Mapping[str, Evaluation]") -> "dict[str, Evaluation]":
    """The first `MOST_MODELS` of them."""
    return dict(list(evaluations.items())[:MOST_MODELS])


def _most_confused(true: Codes, predicted: Codes, samples: Codes, size: int) -> set[int]:
    """The classes of the largest cells off the diagonal, at most `MOST_CLASSES`; all classes where they are fewer."""
    if size <= MOST_CLASSES:
        return set(range(size))
    wrong = true != predicted
    largest = np.argsort(-samples[wrong], kind="stable")
    classes = np.stack([true[wrong][largest], predicted[wrong][largest]], axis=1).reshape(-1).tolist()
    # Where hardly anything is confused, the first classes fill up the rest.
    return set(list(dict.fromkeys([*classes, *range(size)]))[:MOST_CLASSES])


def to_svg(spec: Spec, *, label: str, prefix: str) -> str:
    """The static picture of a specification, ready to stand inside a page.

    Args:
        spec: Vega-Lite.
        label: What a screen reader says.
        prefix: Goes before every ID, as one page holds several pictures.
    """
    root = ET.fromstring(vl_convert.vegalite_to_svg(json.dumps(spec)))
    ids = {element.get("id"): f"{prefix}-{element.get('id')}" for element in root.iter() if element.get("id")}
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{_SVG}}}")
        for name, value in list(element.attrib.items()):
            # Vega marks up every axis and symbol for screen readers; the figure's caption and the table
            # beside it say the same in order.
            if name.startswith("aria-") or name in ("role", "class"):
                del element.attrib[name]
            elif name == "id":
                element.set(name, ids[value])
            elif value.startswith("url(#"):
                element.set(name, f"url(#{ids[value[5:-1]]})")
    root.attrib.update({"role": "img", "aria-label": visible(label), "class": "plot"})
    root.set("style", f"max-width:{root.get('width')}px")
    root.attrib.pop("xmlns", None)
    return ET.tostring(root, encoding="unicode")


def _chart(values: Sequence[Spec]) -> alt.Chart:
    return alt.Chart(alt.Data(values=values))  # type: ignore[no-untyped-call]


def _cycle(values: Sequence[str], length: int) -> list[str]:
    return [values[i % len(values)] for i in range(length)]


def _finished(chart: Any) -> Spec:
    spec: Spec = (
        chart.configure(font=_FONT, background="white", padding=4)
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=_INK,
            titleColor=_FAINT,
            titleFontWeight="normal",
            labelFontSize=12,
            titleFontSize=12,
            gridColor=_GRID,
            domainColor=_GRID,
            tickColor=_GRID,
        )
        .configure_title(color=_FAINT, fontWeight="normal", fontSize=12, offset=8)
        .configure_legend(labelColor=_INK, labelFontSize=12, symbolSize=70, symbolOpacity=1)
        .configure_text(fontSize=11)
        .to_dict()
    )
    return spec
