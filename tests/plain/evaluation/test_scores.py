"""What scores tell: curves, calibration, abstention and mistakes, against scikit-learn; files, charts and page."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import polars as pl
import pytest
from scipy.special import log_softmax, softmax
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_curve, recall_score
from support.pages import HOSTILE, Page

import tailfit
from tailfit.errors import ArgumentError, DataError
from tailfit.evaluation import Evaluation, plot, report
from tailfit.evaluation.curves import ScoreView, confused_pairs, coverage_curve, reliability_curve
from tailfit.evaluation.curves import precision_recall_curve as curve_of
from tailfit.evaluation.pages import SLIDER

NAMES = ["valve leak", "pump wear", "ok", "air lock"]
RNG = np.random.default_rng(0)
Y = np.repeat(np.arange(4), [300, 120, 60, 20])
LOGITS = (RNG.normal(size=(500, 4)) + 1.5 * np.eye(4)[Y]) * 1.7
IDS = [f"run {i // 5}@{i % 5}" for i in range(500)]
RECORDS = [each.partition("@")[0] for each in IDS]
TABLE = pl.DataFrame({"id": IDS, "record": RECORDS, "start": np.arange(500) % 5, "site": ["A", "B"] * 250})


def evaluated(scores=LOGITS, **options):
    return tailfit.evaluate(Y, scores, NAMES, [30, 12, 6, 2], ids=IDS, metadata=TABLE, **options)


FORMS = {
    "logits": LOGITS,
    "float32": LOGITS.astype(np.float32),
    "shifted": LOGITS + 300.0,
    "probabilities": softmax(LOGITS, axis=1),
}


@pytest.mark.parametrize("form", FORMS)
def test_probabilities_are_those_of_scipy(form):
    view = ScoreView(evaluated(FORMS[form]))
    expected = log_softmax(LOGITS, axis=1)
    for k in range(4):
        np.testing.assert_allclose(view.log_probability(k), expected[:, k], atol=2e-5)
    np.testing.assert_allclose(view.confidence, softmax(LOGITS, axis=1).max(axis=1), atol=2e-5)


def test_extreme_scores_stay_finite():
    scores = np.array([[np.inf, 0], [-np.inf, 0], [3e38, -3e38], [0, 0]], np.float32)
    view = ScoreView(tailfit.evaluate([0, 1, 0, 1], scores))
    assert np.isfinite([view.log_probability(k) for k in (0, 1)]).all()
    assert view.confidence.tolist() == [1, 1, 1, 0.5]
    exact = ScoreView(tailfit.evaluate([0, 1], [[1.0, 0.0], [0.0, 1.0]]))
    assert np.isfinite([exact.log_probability(k) for k in (0, 1)]).all()


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("k", range(4))
def test_precision_and_recall(k, ties):
    scores = softmax(LOGITS, axis=1)
    scores = np.round(scores, 1) + 1e-3 if ties else scores
    scores = scores / scores.sum(axis=1, keepdims=True)
    curve = curve_of(view := ScoreView(evaluated(scores)), k)
    score = view.log_probability(k)
    assert curve.average_precision == pytest.approx(average_precision_score(k == Y, score))
    assert curve.prevalence == (k == Y).mean()
    precision, recall, _ = precision_recall_curve(k == Y, score)
    np.testing.assert_allclose(curve.recall, recall[-2::-1])
    np.testing.assert_allclose(curve.precision, precision[-2::-1])
    thin_recall, thin_precision = curve.thinned(40)
    assert len(thin_recall) <= 40
    assert {*zip(thin_recall, thin_precision, strict=True)} <= {*zip(curve.recall, curve.precision, strict=True)}
    assert thin_recall[-1] == 1


def test_thresholds():
    table, probability = plot.thresholds(evaluated()).table, softmax(LOGITS, axis=1)
    assert table.height == 16
    for row, wanted in zip(table.iter_rows(named=True), [0.5, 0.8, 0.9, 0.95] * 4, strict=True):
        k = NAMES.index(row["class"])
        alarm = probability[:, k] >= row["threshold"] * (1 - 1e-9)
        assert row["recall"] == pytest.approx((alarm & (k == Y)).sum() / (k == Y).sum())
        assert row["recall"] >= wanted
        assert (probability[k == Y, k] > row["threshold"] * (1 + 1e-9)).mean() < wanted
        assert row["precision"] == pytest.approx((k == Y)[alarm].mean())
        assert row["alarms"] == pytest.approx(1000 * alarm.mean())
        assert row["false_alarms"] == pytest.approx(1000 * (alarm & (k != Y)).mean())
        assert row["missed"] == pytest.approx(1000 * (~alarm & (k == Y)).mean())


def test_the_cheapest_thresholds_are_those_of_a_search():
    ratios, probability = (0.1, 1.0, 10.0, 1000.0), softmax(LOGITS, axis=1)
    table = plot.costs(evaluated(), ratios).table
    assert table.height == 16
    for row in table.iter_rows(named=True):
        k = NAMES.index(row["class"])
        alarms = probability[:, k] >= np.append(probability[:, k], np.inf)[:, np.newaxis]
        false, missed = 1000 * (alarms & (k != Y)).mean(axis=1), 1000 * (~alarms & (k == Y)).mean(axis=1)
        assert row["cost"] == pytest.approx((row["ratio"] * missed + false).min())
        alarm = probability[:, k] >= row["threshold"] * (1 - 1e-9)
        assert row["alarms"] == pytest.approx(1000 * alarm.mean())
        assert row["missed"] == pytest.approx(1000 * (~alarm & (k == Y)).mean())
        assert row["cost"] == pytest.approx(row["ratio"] * row["missed"] + row["false_alarms"])
    misled = plot.costs(tailfit.evaluate([0, 1], [[0.2, 0.8], [0.4, 0.6]]), [0.5]).table
    assert misled.filter(pl.col("class") == "1").row(0)[1:4] == (0.5, np.inf, 0.0)  # no alarm is cheapest


def test_a_class_without_samples_has_no_curve():
    evaluation = tailfit.evaluate(Y[Y < 3], LOGITS[Y < 3], NAMES)
    curve = curve_of(ScoreView(evaluation), 3)
    assert curve.average_precision != curve.average_precision
    assert [row["class"] for row in plot.precision_recall(evaluation).data] == NAMES[:3]


def test_calibration():
    curve = reliability_curve(view := ScoreView(evaluated()))
    correct = (LOGITS.argmax(axis=1) == Y).astype(int)
    accuracy, confidence = calibration_curve(correct, view.confidence, n_bins=10)
    used = curve.samples > 0
    np.testing.assert_allclose(curve.accuracy[used], accuracy)
    np.testing.assert_allclose(curve.confidence[used], confidence)
    assert curve.error == pytest.approx((curve.samples[used] * abs(accuracy - confidence)).sum() / 500)
    for k in range(4):
        probability = softmax(LOGITS, axis=1)[:, k]
        share, mean = calibration_curve(k == Y, probability, n_bins=10)
        counts = np.histogram(probability, np.linspace(0, 1, 11))[0]
        assert curve.classwise[k] == pytest.approx((counts[counts > 0] * abs(share - mean)).sum() / 500)
    isotonic = IsotonicRegression().fit(view.confidence, correct)
    inside = ~np.isnan(curve.isotonic)
    np.testing.assert_allclose(curve.isotonic[inside], isotonic.predict(curve.grid[inside]), atol=1e-9)
    assert np.isnan(reliability_curve(view, [1]).classwise[[0, 2, 3]]).all()


def test_coverage():
    view = ScoreView(evaluated())
    table, predicted = coverage_curve(view), LOGITS.argmax(axis=1)
    assert table["coverage"][-1] == 1
    for row in table.iter_rows(named=True):
        kept = view.confidence >= row["threshold"]
        assert kept.mean() == pytest.approx(row["coverage"])
        assert row["accuracy"] == pytest.approx((predicted == Y)[kept].mean())
        assert row["classes"] == len(np.unique(Y[kept]))
        classes = np.unique(Y[kept]).tolist()
        balanced = recall_score(Y[kept], predicted[kept], average="macro", labels=classes)
        assert row["balanced_accuracy"] == pytest.approx(balanced)


def test_coverage_of_few_samples():
    assert coverage_curve(ScoreView(tailfit.evaluate([0, 1], [[1.0, 0], [0, 1]])))["coverage"].to_list() == [0.5, 1.0]


def test_mistakes():
    evaluation = evaluated(groups=TABLE["record"])
    table = plot.mistakes(evaluation, 20, per_recording=None).table
    margin = LOGITS.max(axis=1) - LOGITS[np.arange(500), Y]
    expected = [i for i in np.argsort(-margin) if margin[i] > 0][:20]
    assert table["row"].to_list() == expected
    assert table["id"].to_list() == [IDS[i] for i in expected]
    assert table["label"].to_list() == [NAMES[Y[i]] for i in expected]
    assert table.columns == ["row", "id", "group", "record", "start", "label", "predicted", "confidence", "probability"]
    np.testing.assert_allclose(table["probability"], softmax(LOGITS, axis=1)[expected, Y[expected]])
    of_two, seen = [], {}
    for i in np.argsort(-margin):
        seen[RECORDS[i]] = seen.get(RECORDS[i], 0) + (margin[i] > 0)
        if margin[i] > 0 and seen[RECORDS[i]] <= 2:
            of_two.append(i)
    assert plot.mistakes(evaluation, 1000, per_recording=2).table["row"].to_list() == of_two
    assert plot.mistakes(tailfit.evaluate(Y, np.eye(4)[Y])).table.height == 0


def test_confused_pairs():
    matrix = confusion_matrix(Y, LOGITS.argmax(axis=1))
    table = confused_pairs(evaluated(), most=5)
    np.fill_diagonal(matrix, 0)
    assert table["samples"].to_list() == sorted(matrix.ravel())[::-1][:5]
    for row in table.iter_rows(named=True):
        i, j = NAMES.index(row["class"]), NAMES.index(row["predicted"])
        assert (row["samples"], row["share"]) == (matrix[i, j], matrix[i, j] / (i == Y).sum())


def test_views_without_scores_are_refused():
    evaluation = tailfit.evaluate(Y, LOGITS.argmax(axis=1), NAMES)
    for view in (plot.precision_recall, plot.reliability, plot.coverage, plot.mistakes):
        with pytest.raises(ArgumentError, match="without scores"):
            view(evaluation)
    assert "Scores" not in Page(evaluation.to_html()).text


# -- files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_every_view_is_made_again_from_the_files(form, tmp_path):
    evaluation = evaluated(FORMS[form], groups=TABLE["record"], step_seconds=10, normal="ok")
    evaluation.save(tmp_path / "saved")
    read = Evaluation.load(tmp_path / "saved")
    assert read == evaluation
    assert read.to_html() == evaluation.to_html()
    assert read.ids == evaluation.ids
    assert read.metadata.sort(read.metadata.columns).equals(
        TABLE.select(read.metadata.columns).sort(read.metadata.columns)
    )
    np.testing.assert_array_equal(read.scores, evaluation.scores)
    (tmp_path / "saved" / "predictions.parquet").unlink()
    assert Evaluation.load(tmp_path / "saved").scores is None


def test_columns_of_every_kind_are_kept_or_left_out(tmp_path):
    table = pl.DataFrame(
        {
            "number": [1.5, None],
            "category": pl.Series(["a", "b"], dtype=pl.Categorical),
            "list": [[1], [2]],
            "score ok": [1, 2],
            "label": ["x", "y"],
        }
    )
    evaluation = tailfit.evaluate([0, 1], [[1.0, 0.0], [0.3, 0.7]], ["ok", "leak"], metadata=table)
    read = Evaluation.load(evaluation.save(tmp_path))
    assert read.metadata.columns == ["number", "category", "score ok", "label"]
    assert read.scores.tolist() == evaluation.scores.tolist()
    assert read.metadata["number"].to_list() == [1.5, None]
    predicted = tailfit.evaluate([0, 1], [0, 0])
    assert Evaluation.load(predicted.save(tmp_path / "new")).metadata is None


CHANGES = {
    "another label": (lambda table: table.with_columns(label=pl.lit("ok")), "a column 'label' that differs"),
    "no prediction": (lambda table: table.drop("predicted"), "a column 'predicted' that differs"),
    "a row less": (lambda table: table.head(499), "a column 'label' that differs"),
    "other IDs": (lambda table: table.with_columns(id=pl.lit("x")), "IDs that differ"),
    "no ID": (lambda table: table.drop("id"), "IDs that differ"),
    "an ID that is null": (
        lambda table: table.with_columns(id=pl.lit(None, pl.String)),
        "IDs that are not valid names",
    ),
    "an ID with NUL": (lambda table: table.with_columns(id=pl.lit("a\0")), "IDs that are not valid names"),
    "IDs that are lists": (lambda table: table.with_columns(id=pl.concat_list("id")), "IDs that are not valid names"),
    "a score less": (lambda table: table.drop("score ok"), "columns of scores that are missing"),
    "a score of text": (lambda table: table.with_columns(pl.col("score ok").cast(pl.String)), "no numbers"),
    "a score of NaN": (lambda table: table.with_columns(pl.lit(float("nan")).alias("score ok")), "or NaN"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_table_of_other_samples_is_refused(name, tmp_path):
    change, received = CHANGES[name]
    evaluated().save(tmp_path)
    path = tmp_path / "predictions.parquet"
    change(pl.read_parquet(path)).write_parquet(path)
    with pytest.raises(DataError, match=received):
        Evaluation.load(tmp_path)
    path.write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"predictions\.parquet"):
        Evaluation.load(tmp_path)


# -- charts and pages ----------------------------------------------------------------------------------


@pytest.mark.parametrize("view", [plot.precision_recall, plot.reliability, plot.coverage, plot.recall, plot.confusion])
@pytest.mark.parametrize("size", [2, 40])
def test_charts_are_drawn_within_their_size(view, size):
    rng = np.random.default_rng(size)
    y = np.repeat(np.arange(size), 3)
    names = (HOSTILE + [f"class {k}" for k in range(size)])[:size]
    chart = view(tailfit.evaluate(y, rng.normal(size=(len(y), size)) + np.eye(size)[y], names))
    root = ET.fromstring(chart.svg)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert root.attrib["role"] == "img"
    assert len(root.attrib["aria-label"]) > 10
    for element in root.iter():
        assert not {"nan", "inf"} & set(element.attrib.get("d", "").replace("M", " ").replace("L", " ").split())
        if element.tag.endswith(("text", "rect")):
            assert 0 <= float(element.attrib["x"]) <= width
            assert 0 <= float(element.attrib["y"]) <= height
    assert json.loads(json.dumps(chart.data))
    assert chart._repr_html_() == chart.svg


def test_the_page_shows_scores():
    page = Page(evaluated(groups=TABLE["record"]).to_html())
    assert "Precision against recall" in page.text
    assert (page.elements["svg"], len(page.blocks), page.scripts) == (5, 6, [SLIDER])
    for name in plot.mistakes(evaluated()).table["id"][:50]:
        assert name in page.text
    three = dict.fromkeys("abc", evaluated())
    assert "Precision against recall" not in Page(report(three)).text


def test_hostile_names_add_no_element():
    def page(names, ids):
        table = pl.DataFrame({"id": ids, "record": ids, "start": [0] * 20})
        scores = np.random.default_rng(0).normal(size=(20, 10))
        return Page(tailfit.evaluate(np.arange(20) % 10, scores, names, ids=ids, metadata=table).to_html())

    plain = page([f"class {k}" for k in range(10)], [f"sample {i}" for i in range(20)])
    hostile = page(HOSTILE, [f"{HOSTILE[i % 10]} {i}" for i in range(20)])
    assert hostile.elements == plain.elements
    assert not [name for name, _ in hostile.attributes if name.startswith("on")]
    view = plot.TableView(pl.DataFrame({HOSTILE[0]: HOSTILE}))._repr_html_()
    assert "<script" not in view
    assert "<img" not in view


def test_a_notebook_shows_an_evaluation():
    evaluation = evaluated(name="<b>")
    shown = Page(f"<main>{evaluation._repr_html_()}</main>")
    assert (shown.elements["table"], shown.elements["svg"], shown.elements["b"]) == (1, 1, 0)
    assert f"{evaluation.macro_f1:.3f}" in shown.text
    for name in sorted({*plot.__all__} - {"Plots", "TableView", "overview"}):
        assert getattr(evaluation.plot, name)()._repr_html_() == getattr(plot, name)(evaluation)._repr_html_()
