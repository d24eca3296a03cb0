"""Learning curves: loss and metrics of the training and the validation part by epoch, from a run's `history.csv`."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tailfit.errors import DataError
from tailfit.evaluation.charts import Chart
from tailfit.evaluation.svg import FAINT, PALETTE, Drawing, nice_ticks, tick_text
from tailfit.storage.reading import read_text

__all__ = ["HISTORY_FILE", "History", "history_chart", "read_history"]

History = Mapping[str, Sequence[float]]

HISTORY_FILE: Final = "history.csv"
_MOST_BYTES: Final = 1 << 26
_MOST_PANELS: Final = 4
_MOST_POINTS: Final = 400
_LARGEST: Final = 1e100  # a value that can be drawn
_LOOKS: Final = (("training", PALETTE[1], ""), ("validation", PALETTE[2], "6 3"))


def read_history(directory: Path) -> dict[str, list[float]]:
    """Return the columns of a run's `history.csv`, one value for each epoch; empty if it is missing or damaged.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "history.csv").write_text("epoch,loss\\n0,0.5\\n1,0.25\\n")
    ...     read_history(Path(folder))
    {'epoch': [0.0, 1.0], 'loss': [0.5, 0.25]}
    """
    try:
        rows = list(csv.DictReader(read_text(directory / HISTORY_FILE, _MOST_BYTES).splitlines()))
        columns = {str(key): [float(row[key]) for row in rows] for key in (rows[0] if rows else ())}
    except (csv.Error, DataError, OSError, KeyError, TypeError, ValueError):
        return {}
    return columns


def history_chart(history: History, *, label: str = "Loss and metrics of each epoch") -> Chart:
    """Draw loss and metrics by epoch, training and validation in one panel.

    Args:
        history: Values of each epoch by name; those of the validation part begin with `val_`, as in Keras.
        label: The text alternative, which the last values follow.

    >>> history_chart({"loss": [0.5, 0.25], "val_loss": [0.6, 0.4]}).data[1]
    {'name': 'loss', 'part': 'validation', 'values': [0.6, 0.4]}
    """
    names = _panels(history)
    data = tuple(
        {"name": name, "part": part, "values": [round(value, 6) if _is_drawable(value) else None for value in values]}
        for name in names
        for part, values in _curves(history, name)
    )
    last = "; ".join(f"{name}, {part}: {values[-1]:.4g}" for name in names for part, values in _curves(history, name))
    left, top, width, height, step = 56.0, 40.0, 300.0, 150.0, 400.0
    columns = min(2, max(len(names), 1))
    rows = -(-len(names) // columns)
    drawing = Drawing(columns * step, max(rows, 1) * (height + 66) + 24, label=f"{label}. Last epoch: {last}")
    for place, (part, color, dashes) in enumerate(_LOOKS):
        x = left + 120 * place
        drawing.line([(x, 12), (x + 26, 12)], stroke=color, width=1.8, dashes=dashes)
        drawing.text(x + 32, 16, part)
    for place, name in enumerate(names):
        x, y = left + (place % columns) * step, top + (place // columns) * (height + 66)
        _draw_panel(drawing, name, _curves(history, name), (x, y, width, height))
    return Chart(drawing.svg(), data)


def _panels(history: History) -> list[str]:
    """Return the names of the panels, loss first; columns without a finite number have none."""
    known = dict.fromkeys(key.removeprefix("val_") for key, values in history.items() if any(map(_is_drawable, values)))
    names = [name for name in known if name not in ("epoch", "learning_rate", "samples_per_second")]
    return sorted(names, key=lambda name: name != "loss")[:_MOST_PANELS]


def _curves(history: History, name: str) -> list[tuple[str, list[float]]]:
    found = [(part, history.get(key)) for part, key in (("training", name), ("validation", f"val_{name}"))]
    return [(part, list(values)) for part, values in found if values and any(map(_is_drawable, values))]


def _is_drawable(value: float) -> bool:
    return abs(value) <= _LARGEST  # also false for NaN


def _draw_panel(
    drawing: Drawing, name: str, curves: Sequence[tuple[str, list[float]]], panel: tuple[float, float, float, float]
) -> None:
    x, y, width, height = panel
    finite = [value for _, values in curves for value in values if _is_drawable(value)]
    ticks = nice_ticks(min(finite), max(finite), 5)
    epochs = max(len(values) for _, values in curves)
    across = [float(round(tick)) for tick in nice_ticks(1, max(epochs, 2), 6)]
    across = sorted(dict.fromkeys([1.0, *(tick for tick in across if tick > 1)]))
    drawing.text(x, y - 10, name.replace("_", " "), fill=FAINT)
    drawing.vertical_axis(x, x + width, y, y + height, ticks, tick_text(ticks))
    drawing.horizontal_axis(x, x + width, y, y + height, across, [f"{tick:g}" for tick in across])
    drawing.text(x + width / 2, y + height + 32, "epoch", fill=FAINT, anchor="middle")
    for part, values in curves:
        color, dashes = next((color, dashes) for known, color, dashes in _LOOKS if known == part)
        stride = -(-len(values) // _MOST_POINTS)
        points = [
            (
                x + width * (epoch - across[0]) / (across[-1] - across[0]),
                y + height * (1 - (value - ticks[0]) / (ticks[-1] - ticks[0])),
            )
            for epoch, value in enumerate(values, start=1)
            if _is_drawable(value) and ((len(values) - epoch) % stride == 0)
        ]
        drawing.line(points, stroke=color, width=1.8, dashes=dashes)
        drawing.marker("circle", *points[-1], fill=color, tooltip=f"{part}, epoch {len(values)}: {values[-1]:.4g}")
