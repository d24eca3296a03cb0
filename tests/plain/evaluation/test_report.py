"""Report pages: self-contained, the same bytes for the same input, and names never become markup."""

import dataclasses
import json
import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from support.pages import HOSTILE, NO_NAME, Page, two

import tailfit
from tailfit.errors import ArgumentError
from tailfit.evaluation import ReportWarning, comparison, report
from tailfit.evaluation.charts import _CELL_INK, Chart, confusion_chart, difference_chart, recall_chart
from tailfit.evaluation.history import history_chart, read_history
from tailfit.evaluation.metrics import Figure
from tailfit.evaluation.naming import short_labels
from tailfit.evaluation.origin import batch_rows, read_origin
from tailfit.evaluation.svg import FAINT, GRID, INK, PALETTE, nice_ticks, tick_text
from tailfit.text import visible


def page_of(names: list[str]) -> str:
    return report(two(names), title=names[0] + NO_NAME, notes=[*names, NO_NAME], details={names[1]: names[0], "<i>": 3})


def test_names_add_no_element() -> None:
    plain, hostile = Page(page_of([f"class {k}" for k in range(len(HOSTILE))])), Page(page_of(HOSTILE))
    assert hostile.elements == plain.elements
    assert not [name for name, _ in hostile.attributes if name.startswith("on")]
    assert plain.elements["svg"] == len(plain.blocks) == 3
    for name in HOSTILE:
        assert visible(name) in hostile.text
    for character in "\x00\x1b\x0b\u202e":
        assert character not in hostile.text


def test_page_is_self_contained_and_accessible() -> None:
    text = page_of(["a", "b", "c"])
    page = Page(text)
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in text
    assert 'lang="en"' in text
    links = [value for name, value in page.attributes if name in ("src", "href", "xlink:href")]
    assert links == []
    assert not re.search(r"@import|url\((?!#)", text)
    assert page.elements["caption"] == page.elements["table"] == 4
    assert page.elements["figcaption"] == page.elements["figure"] == 3
    assert [value for name, value in page.attributes if name == "role"] == ["img"] * 3
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r"url\(#([^)]*)\)", text))
    assert used <= set(ids)


def test_a_dark_page_replaces_the_colours_of_charts() -> None:
    dark = page_of(["a", "b", "c"]).partition("prefers-color-scheme: dark")[2].partition("@media")[0]
    for color in (INK, FAINT, GRID, *PALETTE[:2], "#b9c2ca"):
        assert f'"{color}"' in dark
    assert _CELL_INK not in dark.replace("--paper: #14181b", "")  # cells stay light


def test_every_figure_is_on_the_page() -> None:
    evaluations = two(["a", "b", "c"])
    text = Page(report(evaluations)).text
    for evaluation in evaluations.values():
        for figure in [*evaluation.overall.values(), *(c.recall for c in evaluation.classes)]:
            assert f"{figure:.3f}" in text
            assert f"{figure.low:.3f} – {figure.high:.3f}" in text  # noqa: RUF001
    gain = evaluations["b"].difference_to(evaluations["a"])["macro_f1"]
    assert f"{gain:+.3f}" in text


def drawn(chart: Chart) -> ET.Element:
    """Parse the drawing of a chart, without its namespace; it has finite numbers and nothing outside its size."""
    root = ET.fromstring(chart.svg)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for element in root.iter():
        assert all(value == value for value in numbers(element)), element.attrib
        if element.tag in ("text", "rect"):
            x, y = float(element.attrib["x"]), float(element.attrib["y"])
            assert 0 <= x <= width
            assert 0 <= y <= height
    assert chart._repr_html_() == chart.svg
    return root


def numbers(element: ET.Element) -> list[float]:
    attributes = [element.attrib.get(key, "") for key in ("x", "y", "width", "height", "d", "points", "cx", "cy")]
    return [float(number) for number in re.findall(r"-?[\d.]+|nan|inf", " ".join(attributes))]


def test_data_of_the_charts_are_valid_json() -> None:
    blocks = [json.loads(block) for block in Page(page_of(HOSTILE)).blocks]
    assert [set(block[0]) for block in blocks] == [
        {"class", "model", "count", "recall", "low", "high"},
        *[{"class", "predicted", "samples", "share"}] * 2,
    ]


def test_charts_show_what_was_measured() -> None:
    evaluations = two(["a", "b", "c"])
    chart = recall_chart(evaluations)
    lows = [figures.recall.low for evaluation in evaluations.values() for figures in evaluation.classes]
    assert sorted(row["low"] for row in chart.data) == sorted(lows)
    texts = [element.text for element in drawn(chart).iter("text")]
    assert {"a", "b", "c", "training samples", "recall, with interval", "1", "2", "4"} <= set(texts)
    cells = confusion_chart(evaluations["a"]).data
    assert sum(cell["samples"] for cell in cells) == 18
    assert sum(cell["share"] for cell in cells) == pytest.approx(3, abs=1e-3)


def test_marks_are_where_the_values_are() -> None:
    """The tick labels of the drawing give the scale of the axis."""
    chart = recall_chart({"model": tailfit.evaluate([0] * 8 + [1] * 8, [0] * 6 + [1] * 2 + [1] * 8)})
    root = drawn(chart)
    place = {text.text: float(text.attrib["x"]) for text in root.iter("text") if text.text in ("0.0", "1.0")}
    scale = place["1.0"] - place["0.0"]
    circles = [(float(circle.attrib["cx"]) - place["0.0"]) / scale for circle in root.iter("circle")]
    assert circles == pytest.approx([row["recall"] for row in chart.data], abs=1e-4)
    whiskers = [path.attrib["d"] for path in root.iter("path") if path.attrib["stroke-width"] == "1.6"]
    ends = [[(float(x) - place["0.0"]) / scale for x in re.findall(r"[ML]([\d.]+)", path)] for path in whiskers]
    assert np.ravel(ends) == pytest.approx([row[end] for row in chart.data for end in ("low", "high")], abs=1e-4)


@pytest.mark.parametrize(
    "gains",
    [
        [Figure(0, 0, 0)],
        [Figure(1e-9, -1e-9, 2e-9), Figure(0, 0, 0)],
        [Figure(-1, -1, -1), Figure(1, 1, 1)],
        [Figure(0.2, 0.1, 0.3)] * 100,
    ],
)
def test_differences_of_any_size_are_drawn(gains) -> None:
    chart = difference_chart({f"remedy {i}": gain for i, gain in enumerate(gains)})
    root = drawn(chart)
    assert len(list(root.iter("circle"))) == len(chart.data) == min(len(gains), 60)
    dashed = [path for path in root.iter("path") if "stroke-dasharray" in path.attrib]
    assert len(dashed) == 1
    assert "0" in [text.text for text in root.iter("text")]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.07, 0.21), (0, 0), (-1e-9, 2e-9), (3, 1e7), (-1, -0.999)])
def test_ticks_cover_the_interval_and_have_different_labels(low, high) -> None:
    ticks = nice_ticks(low, high)
    assert 2 <= len(ticks) <= 12
    assert ticks[0] <= low + 1e-12
    assert ticks[-1] >= high - 1e-12
    assert len(set(tick_text(ticks))) == len(ticks)


def test_models_of_a_chart_look_different() -> None:
    one = two(["a", "b"])["a"]
    root = drawn(recall_chart({f"run {k}": one for k in range(8)}))
    looks = {(mark.tag, mark.attrib["fill"], len(mark.attrib.get("points", "").split())) for mark in marks(root)}
    assert len(looks) == 8


def marks(root: ET.Element) -> list[ET.Element]:
    return [*root.iter("circle"), *root.iter("polygon")]


def test_same_input_same_bytes(tmp_path) -> None:
    path = tmp_path / "new" / "page.html"
    first = report(two(["a", "b"]), path, title="T")
    assert path.read_text(encoding="utf-8") == first == report(two(["a", "b"]), title="T")
    evaluation = two(["a", "b"])["a"]
    assert evaluation.save_html(path).read_text(encoding="utf-8") == evaluation.to_html()
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]


def test_many_classes_and_no_training_counts() -> None:
    y = np.arange(80)
    page = Page(tailfit.evaluate(y, np.roll(y, 1), num_names := [f"n{k}" for k in y]).to_html())
    assert len(num_names) == 80
    assert "test samples" in page.text
    assert "difference" not in page.text.split("How to read")[0]


def test_a_class_without_test_samples_has_a_dash() -> None:
    assert "–" in Page(tailfit.evaluate([0, 1], [0, 2]).to_html()).text  # noqa: RUF001


def test_different_classes_are_refused() -> None:
    other = {"x": tailfit.evaluate([0, 1], [0, 1]), **two(["a", "b"])}
    with pytest.raises(ArgumentError, match="different class_names"):
        report(other)


def test_labels_of_axes_are_short_and_differ() -> None:
    labels = short_labels(["x" * 500, "x" * 400, "x" * 29, "y"], 28)
    assert len(set(labels)) == 4
    assert max(map(len, labels)) <= 28


def test_thousands_of_classes_are_shown_in_part() -> None:
    y = np.arange(3_000)
    counts = y[::-1] + 1
    wrong = np.where(y % 2 == 0, y + 1, y)
    guesses = {"a": wrong, "b": y}
    both = {name: tailfit.evaluate(y, guess, train_counts=counts, resamples=50) for name, guess in guesses.items()}
    text = report(both)
    assert len(text) < 3_000_000
    assert "The first 100 and the last 100 of 3,000 classes; the 2,800 between them" in text
    assert "3000 classes" in text
    assert "The 60 classes that are confused most often" in text
    assert len(confusion_chart(both["a"]).data) == 60
    assert "… 2,900 classes …" in str(both["a"])
    assert len(str(both["a"]).splitlines()) < 120


def test_many_models_have_a_page_of_a_few_megabytes() -> None:
    y = np.arange(100)
    several = {f"run {k}": tailfit.evaluate(y, np.roll(y, k), resamples=50) for k in range(12)}
    page = report(several)
    assert len(page) < 2_000_000
    assert "Only the first 8 models." in page
    assert page.count("<svg") == 9


def test_a_chart_that_can_not_be_drawn_costs_no_figure(monkeypatch) -> None:
    def broken(*arguments, **options):
        raise ValueError("a <size> of 0")

    monkeypatch.setattr("tailfit.evaluation.charts.Drawing", broken)
    monkeypatch.setattr("tailfit.evaluation.comparison_charts.Drawing", broken)
    evaluation = two(["a", "b"])["a"]
    pages = {
        "Confusion matrix of model": evaluation.to_html,
        "Difference of each remedy": comparison({"a": [evaluation], "b": [evaluation]}).to_html,
    }
    for label, to_html in pages.items():
        with pytest.warns(ReportWarning) as warned:
            page = Page(to_html())
        assert re.search(
            f"{label}.*could not be drawn.*figures next to it are complete",
            " ".join(str(each.message) for each in warned),
        )
        assert "ValueError: a <size> of 0" in page.text
        assert f"{evaluation.balanced_accuracy:.3f}" in page.text
        assert "svg" not in page.elements
        assert "size" not in page.elements


def test_an_interrupted_chart_ends_the_report(monkeypatch) -> None:
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("tailfit.evaluation.charts.Drawing", interrupted)
    with pytest.raises(KeyboardInterrupt):
        two(["a", "b"])["a"].to_html()


HISTORY = {
    "epoch": [0.0, 1.0, 2.0],
    "loss": [3.0, 2.0, 1.0],
    "val_loss": [3.0, 2.5, math.nan],
    "balanced_accuracy": [0.5, 0.6, 0.7],
    "learning_rate": [0.1, 0.1, 0.1],
    "nothing": [math.nan] * 3,
}


def test_learning_curves_are_where_the_values_are() -> None:
    chart = history_chart(HISTORY)
    assert [(row["name"], row["part"]) for row in chart.data] == [
        ("loss", "training"),
        ("loss", "validation"),
        ("balanced_accuracy", "training"),
    ]
    assert chart.data[1]["values"] == [3.0, 2.5, None]
    root = drawn(chart)
    curves = [path for path in root.iter("path") if path.attrib["stroke-width"] == "1.8"][2:]  # after the legend
    points = [re.findall(r"[ML]([\d.]+) ([\d.]+)", path.attrib["d"]) for path in curves]
    assert [len(each) for each in points] == [3, 2, 3]
    heights = [float(y) for _, y in points[0]]
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1])
    assert points[0][0] == points[1][0]  # both begin at 3.0


@pytest.mark.parametrize("history", [{"loss": [1.0]}, {"loss": [0.0] * 5000}, {"loss": [1e9, -1e-9]}, {}])
def test_any_history_is_drawn(history) -> None:
    drawn(history_chart(history))


def test_the_history_of_a_run_is_read(tmp_path) -> None:
    assert read_history(tmp_path) == {}
    (tmp_path / "history.csv").write_text("epoch,loss\n0,nan\n1,0.5\n")
    assert read_history(tmp_path)["loss"][1] == 0.5
    for damaged in ("epoch,loss\n0\n", "epoch,loss\n0,x\n", "", "\x00"):
        (tmp_path / "history.csv").write_text(damaged)
        assert read_history(tmp_path) == {}


def test_the_page_shows_learning_curves() -> None:
    page = Page(report({"a": two(["a", "b"])["a"]}, history=HISTORY))
    assert "Loss and metrics by epoch" in page.text
    assert page.elements["svg"] == len(page.blocks) == 3


# -- how a run was made ----------------------------------------------------------------------------------

RESULT = {
    "recipe": {"loss": {"name": "Focal"}, "ema": None},
    "class_names": ["a", "b"],
    "drawn": [[8, 2], [5, 5]],
    "weighted": [[8, 4], [5, 10]],
}


def test_the_page_shows_the_recipe_and_what_its_batches_contained(tmp_path) -> None:
    (tmp_path / "result.json").write_text(json.dumps(RESULT))
    origin = read_origin(tmp_path)
    assert origin.recipe == 'loss:\n  name: "Focal"\n'
    evaluation = tailfit.evaluate([0, 1], [0, 1], ["a", "b"], [30, 10])
    row = batch_rows(evaluation, origin, 20)[1]
    expected = ["b", "10", "25 %", "2 → 5", "20 % → 50 %", "2"]
    assert list(row.values()) == expected
    page = Page(evaluation.to_html(origin=origin))
    assert all(text in page.text for text in [*expected, origin.recipe, "tailfit train recipe.yaml"])
    of_old_run = dataclasses.replace(origin, drawn=())
    assert batch_rows(evaluation, of_old_run, 20) == []
    assert "tailfit train recipe.yaml" in evaluation.to_html(origin=of_old_run)


@pytest.mark.parametrize(
    "damage",
    [{"drawn": [[1]]}, {"drawn": [[-1, 2]]}, {"drawn": 5}, {"drawn": ["ab"]}, {"recipe": []}, {"class_names": None}],
)
def test_how_a_damaged_run_was_made_is_unknown(damage, tmp_path) -> None:
    (tmp_path / "result.json").write_text(json.dumps({**RESULT, **damage}))
    assert read_origin(tmp_path) is None
