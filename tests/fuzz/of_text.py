"""Text: recipes and settings, conditions, names, IDs, terminals, pages, URLs, options of the command line."""

import functools
import html.parser
import io
import json
import os
import re
import unicodedata
from datetime import date
from typing import Any

import polars as pl

from fuzz.bounds import REFUSED, answer
from fuzz.targets import parser
from tailfit import evaluate
from tailfit.cli.data import reader_options
from tailfit.data.remote.fetching import is_url, without_secrets
from tailfit.data.tables.ids import KnownIDs, Numbered, check_id
from tailfit.errors import DataError
from tailfit.evaluation.naming import short_labels
from tailfit.names import check_names, doubts, lookalikes, quoted, shown
from tailfit.recipes.document import parse
from tailfit.recipes.overriding import parse_settings, with_changes
from tailfit.terminal import PlainConsole
from tailfit.text import visible
from tailfit.weights import sample_weights
from tailfit.weights.conditions import matches

RECIPE = """\
# valves
data: {path: valves, split: {train: 0.7, validation: 0.1, test: 0.2}, options: {label: cause}}
network: {name: cnn, width: 16}
loss: &loss
  name: LogitAdjusted
  tau: 0.5
optimizer: {name: AdamW, learning_rate: 1.0e-3}
sample_weight: {"site = 'B'": 0.5, leak: 2}
steps: [Mixup, {name: RDrop, alpha: .inf}]
seed: 0x1F
compare:
  vary: {plain: {}, tailored: {loss: *loss, 'epochs': 3}}
"""
YAML_WORDS = (
    "&a ",
    "*a",
    "!!str ",
    "!!python/object:",
    "<<: ",
    "---\n",
    "...\n",
    "? ",
    "- ",
    ": ",
    "|\n",
    ">-\n",
    "#",
    "~",
)
YAML_WORDS += (
    "null",
    "true",
    "0x",
    "0o",
    "1e9",
    ".inf",
    ".nan",
    '"\\ud83d"',
    "2020-01-01",
    "%YAML 1.1\n",
    "{",
    "}",
    "\t",
)


def text_of(data: bytes) -> str:
    """Any text: what is no UTF-8 becomes lone surrogates."""
    return data.decode("utf-8", "surrogateescape")


def is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(type(key) in (str, int) and is_plain(each) for key, each in value.items())
    if isinstance(value, list):
        return all(map(is_plain, value))
    return type(value) in (str, int, float, bool, type(None))


def recipes() -> list[bytes]:
    return [
        RECIPE.encode(),
        b'{"a": [1, 2.5, null, true, "x\\ud83d\\ude00"]}',
        b"a: |\n  b\n  c\n? d\n: e\n",
        b"- 1\n- - 2\n",
    ]


@parser(recipes, words=YAML_WORDS)
def recipe_text(data: bytes) -> None:
    document = answer(lambda: parse(data))
    if document is REFUSED:
        assert not is_sound_json(data), "refused JSON, which is YAML"
        return
    assert is_plain(document.value)
    json.dumps(document.value).encode()
    document.where(("data", "path", 0))
    if is_sound_json(data):
        assert repr(document.value) == repr(json.loads(data)), "another value than the JSON has"


def is_sound_json(data: bytes) -> bool:
    """Whether a text is JSON of what a recipe may hold: no key twice, finite numbers, text without lone surrogates."""

    def unique(pairs: list[Any]) -> Any:
        if len(dict(pairs)) != len(pairs) or any(re.fullmatch(r"\s*|.*[\n\t].*|.{100,}", key) for key, _ in pairs):
            raise ValueError
        return dict(pairs)

    try:
        text = data.decode("ascii")  # YAML allows fewer characters than JSON
        value = json.loads(text, object_pairs_hook=unique)
        plain = json.dumps(value, ensure_ascii=False, allow_nan=False)
        plain.encode()
    except (ValueError, RecursionError):
        return False
    numbers = re.fullmatch(r'(?:"(?:[^"\\]|\\.)*"|[^"])*', text) and all(
        re.fullmatch(r"-?\d{1,30}|-?\d+\.\d+(?:e[+-]?\d{1,2})?", number)
        for number in re.findall(r"[\d.eE+-]+", bare(text))
    )
    plain_spaces = "\t" not in text and "\r" not in text and plain.isprintable() and '"":' not in text
    return bool(numbers) and plain_spaces and depth(value) < 20 and "\x7f" not in text


def bare(text: str) -> str:
    return re.sub(r"true|false|null", "", re.sub(r'"(?:[^"\\]|\\.)*"', '""', text))


def depth(value: Any) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, inside), default=0)


@functools.cache
def parsed_recipe() -> tuple[Any, str]:
    return (document := parse(RECIPE)), repr(document)


@parser(
    lambda: [
        b"loss.tau=0.5",
        b"steps=[Mixup]\ndata.split={train: 0.5, test: 0.5}",
        b"a.b.c=1\na.b=2",
        b"loss=Focal\nloss.gamma=2",
    ],
    words=(*YAML_WORDS, "=", ".", "loss", "data.path", "\n"),
)
def recipe_settings(data: bytes) -> None:
    document, whole = parsed_recipe()
    given = answer(lambda: parse_settings(text_of(data).split("\n")))
    if given is REFUSED:
        return
    assert is_plain(list(given.values()))
    made = answer(lambda: with_changes(document, given))
    assert made is REFUSED or is_plain(made.value)
    assert repr(document) == whole, "the document itself was changed"


# -- conditions -----------------------------------------------------------------------------------------

METADATA = pl.DataFrame(
    {
        "site": ["A", "B", "B", None, "a%"],
        "snr": [9.0, 2.0, None, 0.0, -1.5],
        "n": [1, 2, 3, None, 0],
        "ok": [True, False, None, True, False],
        "day": [date(2024, 1, 1), None, date(2024, 2, 29), date(1970, 1, 1), date(2024, 12, 31)],
    }
)
WORDS = """
    site snr n ok day = < <= <> AND OR NOT ( ) IN LIKE ILIKE BETWEEN IS NULL CASE WHEN THEN ELSE END + - * / % || ::
    CAST AS FLOAT INT DATE INTERVAL ABS COALESCE NULLIF LOWER SUBSTR LENGTH ROUND SQRT AVG SUM OVER SELECT FROM
    [ ] , 'B'
"""
CONDITIONS = [
    "site = 'B' AND snr < 3",
    "NOT (snr >= 3)",
    "site IN ('A', 'B')",
    "snr IS NULL",
    "snr > AVG(snr)",
    "site LIKE 'a%'",
]
CONDITIONS += [
    "n BETWEEN 1 AND 2",
    "day > '2024-01-31'",
    "CASE WHEN ok THEN n ELSE 0 END > 1",
    "ABS(snr / NULLIF(n, 0)) < 5",
    "ok",
]


@parser(lambda: [each.encode() for each in CONDITIONS], words=tuple(WORDS.split()), longest=300)
def condition(data: bytes) -> None:
    text = text_of(data)
    met = answer(lambda: matches(METADATA, text))
    answer(lambda: sample_weights(METADATA, {text: 0.5}))
    if met is REFUSED:
        return
    assert met.dtype == bool
    assert met.shape == (len(METADATA),)
    negated = answer(lambda: matches(METADATA, f"NOT ({text})"))
    assert negated is REFUSED or not (met & negated).any(), "a sample that meets a condition and its negation"
    if not re.search(
        r"\w\s*\(", text.upper().replace("AND (", "").replace("OR (", "").replace("NOT (", "").replace("IN (", "")
    ):
        for row in range(len(METADATA)):
            alone = answer(lambda: matches(METADATA[row : row + 1], text))  # noqa: B023
            assert alone is REFUSED or alone[0] == met[row], "an answer that depends on other samples"


# -- names, IDs, and what is printed --------------------------------------------------------------------

NAMES = [
    "ok\nleak\nvalve leak",
    "ok\nok \nOK",
    "caf\u00e9\ncafe\u0301",
    "a\0\na",
    "\u202eabc\n\x1b[31mred",
    "NA\nnan\n\n?",
    "\U0001f468\u200d\U0001f469",
]
NAME_WORDS = (
    "\u200b",
    "\u202e",
    "\x1b[2J",
    "\x1b]0;t\x07",
    "\u0301",
    "\ufe0f",
    "\u00a0",
    "\u3164",
    "\0",
    "NA",
    "None",
    "\xa0",
)
NAME_WORDS = tuple(word.encode().decode("latin-1") for word in NAME_WORDS)


def names_seeds() -> list[bytes]:
    return [each.encode("utf-8", "surrogatepass") for each in NAMES]


@parser(names_seeds, words=NAME_WORDS, longest=400)
def names(data: bytes) -> None:
    given = list(dict.fromkeys(text_of(data).split("\n")))
    if answer(lambda: check_names(given, "class name")) is REFUSED:
        return
    "".join(given).encode()
    groups = lookalikes(given)
    assert all(len(group) > 1 for group in groups)
    for listed in (quoted(given), shown(given), short_labels(given, 12)):
        assert len(set(listed)) == len(given), "two names that look like one"
        assert all(is_harmless(each) for each in listed), "a name that commands a terminal"
    assert all(is_harmless(message) for message in map(visible, doubts(given)))


def is_harmless(text: str) -> bool:
    """Whether nothing in a text is invisible, or moves what follows it."""
    text.encode()
    return all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text.replace("\u200d", ""))


@parser(names_seeds, words=NAME_WORDS, longest=400)
def printed(data: bytes) -> None:
    text = text_of(data)
    seen = visible(text)
    assert is_harmless(seen)
    assert visible(seen) == seen
    error = DataError(text or "x", expected=text or "x", fix=text or "x")
    assert is_harmless(str(error))
    console = PlainConsole(file=io.StringIO(), width=60, force_terminal=True)
    console.print(text, text)
    lines = console.file.getvalue().split("\n")
    assert all(is_harmless(line) for line in lines), "a console that is commanded"


@parser(names_seeds, words=(*NAME_WORDS, "..", "/", "\\", "C:", ".npy", "001", "data/"), longest=400)
def ids(data: bytes) -> None:
    given = text_of(data).split("\n")
    sound = [name for name in dict.fromkeys(given) if answer(lambda: check_id(name)) is not REFUSED]  # noqa: B023
    for name in sound:
        path = os.path.join("/root/data", f"{name}.npy")
        assert os.path.normpath(path) == path, "an ID that leaves its folder"
    known = KnownIDs(sound)
    spelled = known.spellings(set(given) - set(sound))
    assert set(spelled.values()) <= set(sound)
    assert all((name in Numbered(100)) == (name in map(str, range(100))) for name in given)
    written = pl.Series([name for name in given if name.isprintable()], dtype=pl.String)
    found = known.resolved(written).to_list()
    assert all(each == name for name, each in zip(written, found, strict=True) if name in sound)


class Structure(html.parser.HTMLParser):
    """The tags of a page, with the names of their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[Any] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        kept = {name: value for name, value in attributes if name not in SHAPES}
        self.found.append((tag, sorted(name for name in kept)))

    def handle_comment(self, data: str) -> None:
        self.found.append("comment")


SHAPES = (
    "d",
    "x",
    "y",
    "transform",
    "width",
    "height",
    "viewbox",
)  # of a picture, which vary with the lengths of names
PAGE = [
    name.encode()
    for name in ("<script>alert(1)</script>", "</style><b>", '" onload="x', "{{ 7 * 7 }}", "]]>-->", "&lt;b")
]


@parser(
    lambda: PAGE,
    words=("<", ">", '"', "'", "&", "</script>", "<!--", "]]>", "{{", "{%", "\u2028".encode().decode("latin-1")),
    longest=120,
    slow=True,
)
def page(data: bytes) -> None:
    name = text_of(data)
    if answer(lambda: check_names([name, "ok"], "class name")) is REFUSED or name == "ok":
        return
    made = answer(lambda: evaluate([0, 1, 1], [0, 1, 0], [name, "ok"], resamples=50, name=name))
    text = made.to_html()
    assert '"failed"' not in text
    assert "could not be drawn" not in text
    tags = [each for each in Structure(text).found if each[0] not in ("text", "tspan", "g", "path", "title")]
    assert tags == plain_tags(), "a page that a name has changed"


def plain_tags(found: list[Any] = []) -> list[Any]:  # noqa: B006  # made once
    if not found:
        text = evaluate([0, 1, 1], [0, 1, 0], ["leak", "ok"], resamples=50, name="leak").to_html()
        found += [each for each in Structure(text).found if each[0] not in ("text", "tspan", "g", "path", "title")]
    return found


# -- URLs and options -----------------------------------------------------------------------------------


@parser(
    lambda: [b"set.parquet", b"?token=1", b"a@b//c@d", b"x::https://me:p@host/y"],
    words=("//", "@", "?", "::", "https://", ":"),
    longest=200,
)
def url(data: bytes) -> None:
    text = text_of(data)
    is_url(text)
    without_secrets(text)
    assert "s3cr3t" not in without_secrets(f"https://host/a?token=s3cr3t{text}")
    if "s3cr3t" not in text:
        plain = re.sub(r"[/?#\s@]", "", text)
        assert "s3cr3t" not in without_secrets(f"https://me{plain}:s3cr3t@host/{text}"), "a password that is shown"


@parser(
    lambda: [b"label=cause", b"size=[64, 64]", b"strip=true\nx=null", b"=1", b"a=" + b"[" * 50],
    words=("=", "[", "]", "{", "NaN", "1e999"),
)
def options(data: bytes) -> None:
    answer(lambda: reader_options(text_of(data).split("\n")))
