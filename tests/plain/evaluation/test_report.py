"""The page: self-contained, the same bytes for the same input, and not to be taken apart by names."""

import json
import re

import altair as alt
import numpy as np
import pytest
from support.pages import HOSTILE, NO_NAME, Page, two

import tailfit
from tailfit.errors import ArgumentError
from tailfit.evaluation import ReportWarning, comparison, report
from tailfit.evaluation.charts import confusion_chart, recall_chart, to_svg
from tailfit.evaluation.naming import short_labels
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
    assert page.elements["caption"] == page.elements["table"] == 2
    assert page.elements["figcaption"] == page.elements["figure"] == 3
    assert [value for name, value in page.attributes if name == "role"] == ["img"] * 3
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r"url\(#([^)]*)\)", text))
    assert used <= set(ids)


def test_every_figure_is_on_the_page() -> None:
    evaluations = two(["a", "b", "c"])
    text = Page(report(evaluations)).text
    for evaluation in evaluations.values():
        for figure in [*evaluation.overall.values(), *(c.recall for c in evaluation.classes)]:
            assert f"{figure:.3f}" in text
            assert f"{figure.low:.3f} – {figure.high:.3f}" in text  # noqa: RUF001
    gain = evaluations["b"].difference_to(evaluations["a"])["macro_f1"]
    assert f"{gain:+.3f}" in text


def test_specifications_are_whole_and_valid() -> None:
    for block in Page(page_of(HOSTILE)).blocks:
        spec = json.loads(block)
        alt.Chart.from_dict(spec)
        assert "vega-lite" in spec["$schema"]


def test_text_of_plots_stays_text() -> None:
    svg = to_svg(recall_chart(two(["valve leak", "ok"])), label="x", prefix="p")
    assert ">valve leak</text>" in svg
    assert "training samples" in svg


def test_ids_of_two_plots_on_a_page_differ() -> None:
    clipped = alt.Chart.from_dict(
        {"mark": {"type": "bar", "clip": True}, "data": {"values": [{"a": 1}]}, "encoding": {"x": {"field": "a"}}}
    ).to_dict()
    pages = [to_svg(clipped, label="x", prefix=prefix) for prefix in ("p", "q")]
    ids = [re.findall(r'\bid="([^"]*)"', page) for page in pages]
    assert ids[0]
    assert not set(ids[0]) & set(ids[1])
    for own, page in zip(ids, pages, strict=True):
        assert set(re.findall(r"url\(#([^)]*)\)", page)) == set(own)


def test_plots_show_what_was_measured() -> None:
    evaluations = two(["a", "b", "c"])
    bars, recalls = recall_chart(evaluations)["hconcat"]
    spec = json.dumps([bars, recalls])
    for evaluation in evaluations.values():
        for figures in evaluation.classes:
            assert json.dumps(figures.recall.low) in spec
    cells = confusion_chart(evaluations["a"])["data"]["values"]
    assert sum(cell["samples"] for cell in cells) == 18
    assert sum(cell["share"] for cell in cells) == pytest.approx(3, abs=1e-3)


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
    assert len(confusion_chart(both["a"])["data"]["values"]) == 60
    assert "… 2,900 classes …" in str(both["a"])
    assert len(str(both["a"]).splitlines()) < 120


def test_many_models_have_a_page_of_a_few_megabytes() -> None:
    y = np.arange(100)
    several = {f"run {k}": tailfit.evaluate(y, np.roll(y, k), resamples=50) for k in range(12)}
    page = report(several)
    assert len(page) < 2_000_000
    assert "Of the first 8 models." in page
    assert page.count("<svg") == 9


class EnginePanicError(BaseException):
    """As the engine's, which derives from no Exception."""


@pytest.mark.parametrize("error", [ValueError, EnginePanicError])
def test_a_picture_that_can_not_be_drawn_costs_no_figure(error, monkeypatch) -> None:
    def broken(spec):
        raise error("Maximum call stack <size> exceeded")

    monkeypatch.setattr("vl_convert.vegalite_to_svg", broken)
    evaluation = two(["a", "b"])["a"]
    pages = {
        "Confusion matrix of model": evaluation.to_html,
        "Difference of each remedy": comparison({"a": [evaluation], "b": [evaluation]}).to_html,
    }
    for label, to_html in pages.items():
        with pytest.warns(ReportWarning) as warned:
            page = Page(to_html())
        assert re.search(f"{label}.*could not be drawn.*figures beside it are complete", str(warned[-1].message))
        assert f"{error.__name__}: Maximum call stack <size> exceeded" in page.text
        assert f"{evaluation.balanced_accuracy:.3f}" in page.text
        assert "svg" not in page.elements
        assert "size" not in page.elements


def test_an_interrupted_picture_ends_the_report(monkeypatch) -> None:
    def interrupted(spec):
        raise KeyboardInterrupt

    monkeypatch.setattr("vl_convert.vegalite_to_svg", interrupted)
    with pytest.raises(KeyboardInterrupt):
        two(["a", "b"])["a"].to_html()
