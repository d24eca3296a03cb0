"""A small SVG writer for charts: shapes, text, axes, and the widths that a layout needs.

Elements are built as a tree and serialised by `xml.etree`, which escapes: a name from a data set stays text. Colours
are presentation attributes, so a stylesheet of the page that shows the drawing can replace them. The text of a
`tooltip` becomes an SVG `<title>`, which browsers show on hover, without a script.
"""

import math
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from tailfit.text import visible

__all__ = [
    "FAINT",
    "GRID",
    "INK",
    "MARKERS",
    "PALETTE",
    "Drawing",
    "nice_ticks",
    "text_width",
    "tick_text",
]

# Okabe and Ito's colours, which the colour-blind can tell apart; markers differ in shape as well.
PALETTE = ("#5b6770", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00")
INK, FAINT, GRID = "#1c2126", "#5b6770", "#e4e7ea"
_FONT = "Helvetica, Arial, sans-serif"

_RADIUS = 4.1
# Outlines in units of the radius, sized for similar areas.
MARKERS: dict[str, tuple[tuple[float, float], ...]] = {
    "circle": (),
    "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    "triangle": ((0, -1.2), (1.2, 0.9), (-1.2, 0.9)),
    "diamond": ((0, -1.3), (1.0, 0), (0, 1.3), (-1.0, 0)),
    "cross": (
        *((-0.4, -1.2), (0.4, -1.2), (0.4, -0.4), (1.2, -0.4), (1.2, 0.4), (0.4, 0.4)),
        *((0.4, 1.2), (-0.4, 1.2), (-0.4, 0.4), (-1.2, 0.4), (-1.2, -0.4), (-0.4, -0.4)),
    ),
    "triangle-down": ((0, 1.2), (1.2, -0.9), (-1.2, -0.9)),
}

_NARROW, _WIDE = set("ijltfrI.,:;'|!()[]/ "), set("mwMWGOQ@%…<>=+~")  # of a proportional sans-serif font


class Drawing:
    """A drawing of a fixed size, in pixels from the top left corner.

    Args:
        width: Width in pixels.
        height: Height in pixels.
        label: The text alternative that screen readers read.

    >>> drawing = Drawing(20, 10, label="R & D")
    >>> drawing.text(0, 8, "<b>")
    >>> drawing.svg().partition(">")[2]
    '<text x="0" y="8" font-size="12" fill="#1c2126">&lt;b&gt;</text></svg>'
    """

    def __init__(self, width: float, height: float, *, label: str) -> None:
        size = {"width": _number(width), "height": _number(height)}
        self._root = ET.Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "viewBox": f"0 0 {size['width']} {size['height']}",
                **size,
                "role": "img",
                "aria-label": visible(label),
                "class": "plot",
                "style": f"max-width:{size['width']}px;--width:{size['width']}px",
                "font-family": _FONT,
            },
        )

    def svg(self) -> str:
        """Return the drawing as one `<svg>` element."""
        return ET.tostring(self._root, encoding="unicode")

    def rectangle(
        self, x: float, y: float, width: float, height: float, *, fill: str, stroke: str = "none", tooltip: str = ""
    ) -> None:
        """Draw a rectangle."""
        place = {"x": _number(x), "y": _number(y), "width": _number(width), "height": _number(height)}
        self._add("rect", {**place, "fill": fill, "stroke": stroke}, tooltip)

    def line(
        self,
        points: Sequence[tuple[float, float]],
        *,
        stroke: str,
        width: float = 1.0,
        dashes: str = "",
        opacity: float = 1.0,
        tooltip: str = "",
    ) -> None:
        """Draw straight lines through the points."""
        path = "".join(f"{'L' if i else 'M'}{_number(x)} {_number(y)}" for i, (x, y) in enumerate(points))
        look = {"fill": "none", "stroke": stroke, "stroke-width": _number(width)}
        if dashes:
            look["stroke-dasharray"] = dashes
        if opacity < 1:
            look["opacity"] = _number(opacity)
        self._add("path", {"d": path, **look}, tooltip)

    def marker(self, shape: str, x: float, y: float, *, fill: str, tooltip: str = "", radius: float = _RADIUS) -> None:
        """Draw one of the `MARKERS`, centred on a point; only circles have another radius."""
        outline = MARKERS[shape]
        if not outline:
            circle = {"cx": _number(x), "cy": _number(y), "r": _number(radius), "fill": fill}
            self._add("circle", circle, tooltip)
            return
        corners = " ".join(f"{_number(x + _RADIUS * dx)},{_number(y + _RADIUS * dy)}" for dx, dy in outline)
        self._add("polygon", {"points": corners, "fill": fill}, tooltip)

    def text(
        self,
        x: float,
        y: float,
        content: str,
        *,
        size: float = 12.0,
        fill: str = INK,
        anchor: str = "start",
        rotate: float = 0.0,
    ) -> None:
        """Write text whose baseline starts, ends or is centred (`anchor` "start", "end", "middle") at a point."""
        place = {"x": _number(x), "y": _number(y), "font-size": _number(size), "fill": fill}
        if anchor != "start":
            place["text-anchor"] = anchor
        if rotate:
            place["transform"] = f"rotate({_number(rotate)} {_number(x)} {_number(y)})"
        self._add("text", place).text = visible(content)

    def horizontal_axis(
        self, left: float, right: float, top: float, bottom: float, ticks: Sequence[float], labels: Sequence[str]
    ) -> None:
        """Draw grid lines over the height of a panel and tick labels below it; the ticks span the panel's width."""
        for tick, label in zip(ticks, labels, strict=True):
            x = left + (right - left) * (tick - ticks[0]) / (ticks[-1] - ticks[0])
            self.line([(x, top), (x, bottom)], stroke=GRID)
            self.text(x, bottom + 16, label, anchor="middle")

    def vertical_axis(
        self, left: float, right: float, top: float, bottom: float, ticks: Sequence[float], labels: Sequence[str]
    ) -> None:
        """Draw grid lines over the width of a panel and tick labels left of it; the ticks span the panel's height."""
        for tick, label in zip(ticks, labels, strict=True):
            y = bottom - (bottom - top) * (tick - ticks[0]) / (ticks[-1] - ticks[0])
            self.line([(left, y), (right, y)], stroke=GRID)
            self.text(left - 6, y + 4, label, size=11, anchor="end")

    def _add(self, tag: str, attributes: dict[str, str], tooltip: str = "") -> ET.Element:
        element = ET.SubElement(self._root, tag, attributes)
        if tooltip:
            ET.SubElement(element, "title").text = visible(tooltip)
        return element


def text_width(text: str, size: float = 12.0) -> float:
    """Estimate the width of a text in pixels, for margins: what draws it may use another font.

    >>> text_width("ok") < text_width("OK") < text_width("\\u6f0f\\u6f0f")
    True
    """
    return size * sum(_character_width(character) for character in visible(text))


def nice_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Return at most about `most` ticks that cover an interval: multiples of 1, 2 or 5 times a power of ten.

    >>> nice_ticks(-0.07, 0.21)
    [-0.1, -0.05, 0.0, 0.05, 0.1, 0.15, 0.2, 0.25]
    """
    size = max(abs(low), abs(high))
    span = high - low if high - low > 1e-9 * size else max(size, 1.0)  # ticks closer to each other would be equal
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= span / most * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{index * step:.12g}") + 0.0 for index in range(first, max(last, first + 1) + 1)]


def tick_text(ticks: Sequence[float], *, signed: bool = False) -> list[str]:
    """Return labels of ticks, with as many decimals as their distance needs.

    >>> tick_text([-0.05, 0.0, 0.05], signed=True)
    ['-0.05', '0', '+0.05']
    """
    decimals = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    sign = "+" if signed else ""
    form = ".6g" if decimals > 6 or max(map(abs, ticks)) >= 1e9 else f".{decimals}f"
    return ["0" if tick == 0 else f"{tick:{sign}{form}}" for tick in ticks]


def _character_width(character: str) -> float:
    """Return the width of a character in units of the font size."""
    if unicodedata.combining(character):
        return 0.0
    if unicodedata.east_asian_width(character) in "WF":
        return 1.0
    if character in _NARROW:
        return 0.31
    if character in _WIDE:
        return 0.88
    return 0.7 if character.isupper() else 0.57


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
