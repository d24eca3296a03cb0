"""A parser of report pages, and hostile names to put on them."""

from collections import Counter
from html.parser import HTMLParser

import numpy as np

import tailfit
from tailfit.evaluation import Evaluation

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script></svg><b>",
    "]]> &lt;!-- {{ 7 * 7 }} {% raw %}",
    "\u202eright to left\u202c",
    "\u05e9\u05dc\u05d5\u05dd",
    "\U0001f469\u200d\U0001f52c \U0001f3c1",
    "x" * 500,
    "url(#clip0) datum.share",
    "\x1b[31m \x0b \ufffe\n",
]
NO_NAME = " nul \x00 \ud800"  # refused as a class name; a title may contain it
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """The elements, attributes and text of a page; asserts that its tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.blocks: list[str] = []
        self.scripts: list[str] = []
        self.block = self.blocks
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            assert attrs == [] or dict(attrs)["type"] == "application/json"
            self.block = self.blocks if attrs else self.scripts
            self.block.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.block[-1] += data
        elif not self.open or self.open[-1] != "style":
            self.text += data


def two(names: list[str]) -> dict[str, Evaluation]:
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(len(names)), 6)
    guesses = [np.where(rng.random(len(y)) < share, y, (y + 1) % len(names)) for share in (0.5, 0.9)]
    counts = 2 ** np.arange(len(names))
    return {
        heading: tailfit.evaluate(y, guess, names, counts) for heading, guess in zip(names[:2], guesses, strict=True)
    }
