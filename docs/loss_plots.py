"""The plots of losses.md: loss and pull against the margin; drawn when the site is built.

There are three classes (or labels) with 1000, 100 and 10 samples. The margin is the logit of the true class minus the
other logits, which are 0 except for `LogitNorm`. The pull is the negative gradient by this logit, -dl/dz; for absent
labels it is the gradient. Grey is cross-entropy: binary for labels, and of 30 times the scores for cosines.
"""

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

import tailfit
from tailfit import layers, losses
from tailfit.evaluation.svg import FAINT, GRID, PALETTE, Drawing, nice_ticks, text_width, tick_text

__all__ = ["CURVES", "draw", "further"]

COUNTS = [1000, 100, 10]
FREQUENT, RARE = 0, 2
Curve = tuple[str, type, dict[str, Any], int]  # (legend, loss class, its arguments, true class; -1 for no label)


def _by_count(kind: type, **config: Any) -> list[Curve]:
    config = {"class_counts": COUNTS, **config}
    return [("frequent class", kind, config, FREQUENT), ("rare class", kind, config, RARE)]


def _by_value(kind: type, name: str, *values: Any) -> list[Curve]:
    return [(f"{name} {value:g}", kind, {name: value}, FREQUENT) for value in values]


_CHOSEN: dict[str, list[Curve]] = {
    "ActivePassive": [
        ("NCE + MAE", losses.ActivePassive, {}, FREQUENT),
        ("NCE + RCE", losses.ActivePassive, {"passive": "rce"}, FREQUENT),
    ],
    "Asymmetric": [("present", losses.Asymmetric, {}, FREQUENT), ("absent", losses.Asymmetric, {}, -1)],
    "AsymmetricSingleLabel": _by_value(losses.AsymmetricSingleLabel, "gamma_pos", 0, 1),
    "BinaryFocal": [("present", losses.BinaryFocal, {}, FREQUENT), ("absent", losses.BinaryFocal, {}, -1)],
    "Bootstrapping": [
        ("soft", losses.Bootstrapping, {}, FREQUENT),
        ("hard", losses.Bootstrapping, {"hard": True}, FREQUENT),
    ],
    "CrossEntropy": [("label_smoothing 0.1", losses.CrossEntropy, {"label_smoothing": 0.1}, FREQUENT)],
    "DistributionBalanced": [
        *_by_count(losses.DistributionBalanced, num_samples=2000),
        ("absent", losses.DistributionBalanced, {"class_counts": COUNTS, "num_samples": 2000}, -1),
    ],
    "Equalization": [
        *_by_count(losses.Equalization, threshold=0.05)[:1],
        ("absent, rare", losses.Equalization, {"class_counts": [10, 1000, 100], "threshold": 0.05}, -1),
    ],
    "Focal": _by_value(losses.Focal, "gamma", 1, 2, 5),
    "GeneralizedCrossEntropy": _by_value(losses.GeneralizedCrossEntropy, "q", 0.3, 0.7, 1),
    "InfluenceBalanced": [
        (f"features of size {size}", losses.InfluenceBalanced, {"alpha": 10.0, "size": size}, FREQUENT)
        for size in (3, 10)
    ],
    "LogitNorm": _by_value(losses.LogitNorm, "temperature", 0.2, 1),
    "MeanAbsolute": [("MAE", losses.MeanAbsolute, {}, FREQUENT)],
    "MeanFalseError": [
        ("squared", losses.MeanFalseError, {"squared": True}, FREQUENT),
        ("squared error", losses.MeanFalseError, {"base": "squared_error"}, FREQUENT),
    ],
    "NormalizedCrossEntropy": [("NCE", losses.NormalizedCrossEntropy, {}, FREQUENT)],
    "Poly1": _by_value(losses.Poly1, "epsilon", -1, 1, 3),
    "Seesaw": _by_count(losses.Seesaw),
    "SymmetricCrossEntropy": _by_value(losses.SymmetricCrossEntropy, "alpha", 0.1, 1),
}


def _default(kind: type) -> list[Curve]:
    """Return the curves of a loss that has no others in `_CHOSEN`."""
    if inspect.signature(kind).parameters.get("class_counts", inspect.Parameter).default is inspect.Parameter.empty:
        return _by_count(kind)
    absent = [("absent", kind, {}, -1)] if kind.activation == "sigmoid" else []
    return [("present" if absent else kind.__name__, kind, {}, FREQUENT), *absent]


CURVES = {
    name: _CHOSEN.get(name) or _default(kind)
    for name in losses.__all__
    if inspect.isclass(kind := getattr(losses, name))
}
_LEFT, _TOP, _WIDTH, _HEIGHT = 60, 52, 280, 180  # of a panel, in pixels
_DASHES = ("", "", "6 3", "2 2")
_MAX_MARGIN = {"LDAM": 1.0}  # scores are cosines
_SECOND_LOGIT = {"LogitNorm": 1.0}  # with other logits of 0, the normalised logits would not depend on the margin


def draw(folder: Path, page: Path) -> None:
    """Write `<name>.svg` for every loss to `folder`, and `further.md` with those that have no section in `page`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "further.md").write_text(further(page.read_text(encoding="utf-8")), encoding="utf-8")
    for name in CURVES:
        (folder / f"{name}.svg").write_text(_plot(name), encoding="utf-8")


def further(page: str) -> str:
    """Return a section for each loss that the page has none for: the beginning of its docstring, and its plot."""
    sections = [
        f"### {name}\n\n{inspect.getdoc(kind).split('Args:')[0].strip()}\n\n"
        f"![Loss and pull of {name}](_build/losses/{name}.svg)\n"
        for name, [(_, kind, *_), *_] in CURVES.items()
        if f"\n### {name}\n" not in page
    ]
    return "\n".join(["## Further losses\n", *sections] if sections else [])


def _plot(name: str) -> str:
    """Draw the two panels of a loss as SVG."""
    margins = np.linspace(-6, 6, 97, dtype="float32") * _MAX_MARGIN.get(name, 6.0) / 6
    curves = [_reference(name), *CURVES[name]]
    second_logit = _SECOND_LOGIT.get(name, 0.0)
    points = [list(_points(kind, config, true, margins, second_logit)) for _, kind, config, true in curves]
    drawing = Drawing(2 * (_LEFT + _WIDTH) + 16, _TOP + _HEIGHT + 44, label=f"Loss and pull of {name} over the margin")
    x = 8.0
    for i, (legend, *_) in enumerate(curves):
        drawing.line([(x, 14), (x + 22, 14)], stroke=PALETTE[i], width=2, dashes=_DASHES[i])
        drawing.text(x + 28, 18, legend)
        x += 28 + text_width(legend) + 20
    title = "cosine of the true class" if name == "LDAM" else "margin"
    for panel, y_title in enumerate(("loss", "pull"), start=1):
        lines = [[(each[0], each[panel]) for each in curve] for curve in points]
        _panel(drawing, _LEFT + (panel - 1) * (_LEFT + _WIDTH), lines, title, y_title)
    return drawing.svg()


def _panel(drawing: Drawing, left: float, lines: Sequence[Sequence[tuple[Any, Any]]], title: str, y_title: str) -> None:
    xs, ys = (np.array([point[axis] for line in lines for point in line], float) for axis in (0, 1))
    x_ticks, y_ticks = nice_ticks(xs.min(), xs.max()), nice_ticks(min(0.0, ys.min()), ys.max(), 5)
    right, bottom = left + _WIDTH, _TOP + _HEIGHT
    drawing.horizontal_axis(left, right, _TOP, bottom, x_ticks, tick_text(x_ticks))
    drawing.text((left + right) / 2, bottom + 36, title, fill=FAINT, anchor="middle")
    drawing.text(left - 36, _TOP - 8, y_title, fill=FAINT)

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0]), (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return left + _WIDTH * across, bottom - _HEIGHT * up

    for tick, label in zip(y_ticks, tick_text(y_ticks), strict=True):
        y = place(x_ticks[0], tick)[1]
        drawing.line([(left, y), (right, y)], stroke=GRID)
        drawing.text(left - 8, y + 4, label, anchor="end")
    for i, line in enumerate(lines):
        drawing.line([place(float(x), float(y)) for x, y in line], stroke=PALETTE[i], width=2, dashes=_DASHES[i])


def _reference(name: str) -> Curve:
    if name == "LDAM":
        return ("no margin", losses.LDAM, {"class_counts": COUNTS, "max_margin": 0.0}, FREQUENT)
    if getattr(losses, name).activation == "sigmoid":
        return ("cross-entropy", losses.BinaryFocal, {"gamma": 0.0, "alpha": None}, FREQUENT)
    return ("cross-entropy", losses.CrossEntropy, {}, FREQUENT)


def _points(
    kind: type, config: dict[str, Any], true: int, margins: Any, second_logit: float
) -> Iterator[tuple[Any, Any, Any]]:
    """Yield (margin, loss, pull) of samples with the label `true`; with -1, of samples without labels at -margin."""
    config, size = dict(config), config.get("size")
    config.pop("size", None)
    z = np.zeros((len(margins), len(COUNTS)), "float32")
    z[:, 1] = second_logit
    column = max(true, 0)
    z[:, column] = margins if true >= 0 else -margins
    loss = kind(**config, from_logits=True, reduction=None)
    labels = np.zeros_like(z)
    if true >= 0:
        labels[:, true] = 1

    def values(logits: Any, y: Any) -> Any:
        features = None if size is None else ops.ones_like(logits) * (size / len(COUNTS))
        return loss(y, logits if features is None else layers.WithFeatures()(logits, features))

    def both(rows: Any, y: Any) -> tuple[Any, Any]:
        def forward(logits: Any) -> tuple[Any, Any]:
            each = values(logits, y)
            return ops.sum(each), each

        (_, each), (slope,) = tailfit.value_and_grad(forward, inputs=[rows])
        return ops.convert_to_numpy(each), ops.convert_to_numpy(slope)[:, column]

    one_by_one = kind is losses.MeanFalseError  # a loss of the whole batch: plot batches of one sample
    parts = np.split(np.arange(len(z)), len(z)) if one_by_one else [np.arange(len(z))]
    done = [both(keras.ops.convert_to_tensor(z[part]), labels[part]) for part in parts]
    loss_values, slopes = (np.concatenate(column) for column in zip(*done, strict=True))
    # Subtract the loss of the two other labels, which is the same at every margin.
    if loss.activation == "sigmoid":
        loss_values = loss_values - loss_values.min()
    return zip(margins, loss_values, -slopes if true >= 0 else slopes, strict=True)
