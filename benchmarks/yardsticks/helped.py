"""The page "What helped, and what did not", made from the finished runs.

    python benchmarks/yardsticks/helped.py            # writes docs/what-helped.md

A test compares the page with what this script makes, so no figure on it is written by hand. It needs no Keras.
"""

import itertools
import re
import textwrap
from pathlib import Path

from differences import SMALL, Difference, difference, mean_of
from store import Store
from subjects import Subject, over_sets, points, subjects

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "what-helped.md"
WELLS = HERE.parent / "wells" / "results.txt"

INTRODUCTION = """\
# What helped, and what did not

Remedies for rare classes and for wrong labels, measured on data that nobody tuned for them. Within a problem, every
remedy has the same network, the same number of epochs and the settings of its authors. Test samples chose nothing."""

READING = """\
`tailfit compare` finds out which one helps on *your* data: see [which remedy](which-remedy.md).

**How to read the tables.** Differences are in percentage points, to plain training with the same seed. Each 95 %
interval is over other seeds: other initial weights and, for the digits, the plant and the normal distributions, other
training samples; not over other test samples. Of twenty remedies without an effect, one is expected to be called helped
or hurt. *Helped* and *hurt*: the interval excludes zero. *No difference*: the interval lies within {small} point of
zero. *Undecided*: the interval is too wide to tell. *One seed*: there is no interval."""

NETWORKS = """\
## Which network

Plain training of the networks in [networks](networks.md), compared with `cnn`, the default of recipes for series. As
references: random forests of 500 trees on all readings of a window; statistics of the windows (level, size, deviation
and mean change of each sensor, as logarithms), alone or as further inputs; and limits, the same trained on all 1,522
training windows, without a long tail. One caution: the statistics were designed while test figures of two of the three
seeds were in view. The held-out windows rank the same set first."""

SOURCES = """\
## Where the figures come from

`python benchmarks/yardsticks/helped.py` makes this page from the finished runs in `benchmarks/yardsticks/runs` and from
`benchmarks/wells/results.txt`. Standard deviations, held-out figures, published figures, computing times and what is
left to run are in [yardsticks](yardsticks.md)."""


def details(subject: Subject) -> list[str]:
    plain = subject.values[subject.plain]
    lines = [f"### {subject.title}", "", *(f"- {fact}" for fact in subject.facts), ""]
    lines += [f"| remedy | seeds | {subject.figure}, % | difference to plain | verdict |", "|---|---|---|---|---|"]
    ordered = sorted(subject.values.items(), key=lambda row: -mean_of(row[1]))
    for name, seeds in ordered:
        found = None if name == subject.plain else difference(seeds, plain)
        shown, verdict = (
            (str(found), found.verdict) if found else ("", "plain training" if name == subject.plain else "")
        )
        lines.append(f"| {name} | {len(seeds)} | {mean_of(seeds):.1f} | {shown} | {verdict} |")
    return [*lines, ""]


def of_wells() -> list[str]:
    """The comparison of `benchmarks/wells`, from its own output; the intervals are those between wells."""
    text = WELLS.read_text(encoding="utf-8")
    row = re.compile(
        r"^(\S[^│]*?) *│ (\d\.\d+) \[.*?\] *│ ([+-]\d\.\d+) \[([+-]\d\.\d+), ([+-]\d\.\d+)\] *│ (\w+)", re.M
    )
    lines = [
        "### Faults of oil wells, tested on wells that the network has not seen",
        "",
        "- 519 recordings of the 3W data set, 326 of them from twelve real wells, in five folds of wells; see "
        "[oil wells](oil-wells.md). The intervals are those between wells.",
        "- Networks: `fcn`, chosen on the validation parts, and a small `cnn`; both on the changes within a window.",
        "",
        "| network | compared | balanced accuracy, % | difference | verdict |",
        "|---|---|---|---|---|",
    ]
    questions = {"Which remedy helps?": "all recordings", "Do simulated and drawn": "real only"}
    for network, (question, to) in itertools.product(("fcn", "cnn"), questions.items()):
        (part,) = re.findall(rf"^## {re.escape(question)}[^\n]*\({network}\)$(.*?)^## ", text, re.M | re.S)
        for name, value, mean, low, high, verdict in row.findall(part):
            found = Difference(*(100 * float(each) for each in (mean, low, high)))
            compared = f"{name}, compared with {to}"
            lines.append(f"| `{network}` | {compared} | {100 * float(value):.1f} | {found} | {verdict} |")
    return [*lines, ""]


def matrix(found: list[Subject]) -> list[str]:
    """A row for each remedy, a column for each problem; remedies first that helped most often."""
    by_name: dict[str, dict[str, Difference]] = {}
    for subject in found:
        for name, seeds in subject.values.items():
            value = difference(seeds, subject.values[subject.plain])
            if name != subject.plain and value:
                by_name.setdefault(name, {})[subject.short] = value

    def score(name: str) -> tuple[int, float]:
        of_name = by_name[name].values()
        helped = sum({"helped": 1, "hurt": -1}.get(each.verdict, 0) for each in of_name)
        return helped, sum(each.mean for each in of_name) / len(of_name)

    columns = [subject.short for subject in found]
    lines = ["| remedy | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for name in sorted(by_name, key=score, reverse=True):
        of_name = by_name[name]
        cells = [f"{of_name[each].mean:+.1f} {of_name[each].verdict}" if each in of_name else "" for each in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def counts(found: list[Subject]) -> list[str]:
    """Sentences that count verdicts over the problems with rare classes."""
    verdicts: dict[str, list[str]] = {}
    for subject in found:
        for name, seeds in subject.values.items():
            if name != subject.plain and not subject.short.startswith("noise"):
                value = difference(seeds, subject.values[subject.plain])
                if value and value.verdict != "one seed":
                    verdicts.setdefault(name, []).append(value.verdict)
    often = {name: each for name, each in verdicts.items() if len(each) >= 2}
    always = [name for name, each in often.items() if set(each) == {"helped"}]
    mostly = [name for name, each in often.items() if "hurt" not in each and "helped" in each and name not in always]
    never = [name for name, each in often.items() if "helped" not in each]
    mixed = [name for name, each in often.items() if {"helped", "hurt"} <= set(each)]
    listed = lambda names: ", ".join(sorted(names, key=str.lower)) or "none"  # noqa: E731
    return [
        "Of the remedies for rare classes that were tried on two problems or more:",
        "",
        f"- **Helped on each:** {listed(always)}.",
        f"- **Helped on some, hurt on none:** {listed(mostly)}.",
        f"- **Helped on some, hurt on others:** {listed(mixed)}.",
        f"- **Never shown to help:** {listed(never)}.",
        "",
    ]


def networks(store: Store) -> list[str]:
    """Plain training of each network, compared with `cnn`, the default of recipes for series."""
    rows = points(store.rows("tep-networks"), "macro F1")
    plant = {
        name.removesuffix(", plain cross-entropy"): seeds
        for name, seeds in rows.items()
        if name.endswith(", plain cross-entropy") or name.startswith(("random forest", "ridge regression", "limit"))
    }
    names = dict.fromkeys(name.split(", ")[1] for name in store.rows("ucr"))
    archive = {name: over_sets(store, name).get("plain cross-entropy", {}) for name in names}
    lines = [
        "| network | plant: macro F1, % | difference | verdict | UCR: mean recall, % | difference | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for network in sorted(plant | archive, key=lambda name: -mean_of(plant.get(name) or {0: 0.0})):
        cells = []
        for of in (plant, archive):
            seeds = of.get(network)
            found = difference(seeds, of.get("cnn", {})) if seeds and network != "cnn" else None
            figure = f"{mean_of(seeds):.1f} ({len(seeds)} seed{'s' * (len(seeds) > 1)})" if seeds else ""
            verdict = found.verdict if found else ""
            cells += [figure, str(found or ""), {"helped": "better", "hurt": "worse"}.get(verdict, verdict)]
        lines.append(f"| {network} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def page(store: Store) -> str:
    found = list(subjects(store))
    lines = [
        *INTRODUCTION.splitlines(),
        "",
        *counts(found),
        *READING.format(small=f"{SMALL:g}").splitlines(),
        "",
        "## All at a glance",
        "",
        "The columns are the problems below, in the same order; differences to plain training in percentage points.",
        "",
        *matrix(found),
        *NETWORKS.splitlines(),
        "",
        *networks(store),
        "## Problem by problem",
        "",
        *(line for subject in found for line in details(subject)),
        *of_wells(),
        *SOURCES.splitlines(),
    ]
    return "\n".join(wrapped(line) for line in lines) + "\n"


def wrapped(line: str) -> str:
    if line.startswith("|"):
        return line
    indent = "  " if line.startswith("- ") else ""
    return textwrap.fill(line, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    PAGE.write_text(page(Store(HERE / "runs")), encoding="utf-8")
