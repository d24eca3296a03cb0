"""One decision for each recording: joined by the mean of log scores or by vote, against SciPy and scikit-learn."""

import json

import numpy as np
import polars as pl
import pytest
from scipy.special import log_softmax, softmax
from sklearn.metrics import balanced_accuracy_score
from support.pages import Page

import tailfit
from tailfit.errors import ArgumentError, DataError
from tailfit.evaluation import Evaluation

NAMES = ["a", "b", "c"]


def windows(seed=0, recordings=12, scale=1.0):
    """Logits and labels of windows of recordings of unequal length, in any order, and their metadata."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 9, recordings)
    record = np.repeat(np.arange(recordings), lengths)
    y = rng.integers(0, 3, recordings)
    y[:3] = range(3)
    y = y[record]
    logits = (rng.normal(size=(len(y), 3)) + scale * np.eye(3)[y]).astype(np.float32)
    start = np.concatenate([np.arange(n) for n in lengths])
    table = pl.DataFrame({"record": [f"run {r}" for r in record], "start": start, "well": record // 3})
    order = rng.permutation(len(y))
    return logits[order], y[order], table[order]


def slowly(logits, y, table, join):
    true, predicted = {}, {}
    for name in dict.fromkeys(table["record"]):
        rows = np.flatnonzero((table["record"] == name).to_numpy())
        true[name] = y[rows[0]]
        means = log_softmax(logits[rows].astype(float), axis=1).mean(axis=0)
        votes = np.bincount(logits[rows].argmax(axis=1), minlength=3)
        best = max(range(3), key=lambda k: (votes[k], means[k]))
        predicted[name] = int(means.argmax()) if join == "mean" else best
    return true, predicted


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("join", ["mean", "vote"])
def test_joined_decisions(seed, join):
    logits, y, table = windows(seed)
    true, predicted = slowly(logits, y, table, join)
    joined = tailfit.evaluate(y, logits, NAMES, metadata=table, by="recording", join=join)
    assert dict(zip(joined.ids, joined.y_true.tolist(), strict=True)) == true
    assert dict(zip(joined.ids, joined.y_pred.tolist(), strict=True)) == predicted
    expected = balanced_accuracy_score(list(true.values()), list(predicted.values()))
    assert joined.balanced_accuracy == pytest.approx(expected)
    beside = tailfit.evaluate(y, logits, NAMES, metadata=table, join=join).recordings
    assert beside == joined
    assert beside.train_counts is None


def test_probabilities_and_logits_are_told_apart():
    logits, y, table = windows(1)
    of_logits = tailfit.evaluate(y, logits, NAMES, metadata=table, by="recording")
    for scores in (softmax(logits, axis=1), softmax(logits, axis=1).astype(np.float16), logits + 5.0):
        assert tailfit.evaluate(y, scores, NAMES, metadata=table, by="recording") == of_logits
    np.testing.assert_allclose(
        of_logits.scores[0],
        log_softmax(logits[(table["record"] == of_logits.ids[0]).to_numpy()].astype(float), axis=1).mean(axis=0),
    )


def test_a_probability_of_zero_is_no_veto():
    table = pl.DataFrame({"record": ["r"] * 5 + ["s"], "start": range(6)})
    scores = np.array([[0.999, 0.001]] * 4 + [[0.0, 1.0], [0.0, 1.0]])
    joined = tailfit.evaluate([0, 0, 0, 0, 0, 1], scores, metadata=table, by="recording")
    assert joined.y_pred.tolist() == [1, 1]  # 4 · ln 999 < ln 1e12
    assert np.isfinite(joined.scores).all()
    voted = tailfit.evaluate([0, 0, 0, 0, 0, 1], scores, metadata=table, by="recording", join="vote")
    assert voted.y_pred.tolist() == [0, 1]


def test_infinite_logits():
    logits, y, table = windows(2)
    logits[:, 2] = -np.inf
    logits[0] = [np.inf, 0, 0]
    joined = tailfit.evaluate(y, logits, NAMES, metadata=table, by="recording")
    assert np.isfinite(joined.scores).all()


def test_predicted_classes_vote():
    logits, y, table = windows(3)
    predicted = logits.argmax(axis=1)
    true, voted = {}, {}
    for name in dict.fromkeys(table["record"]):
        rows = (table["record"] == name).to_numpy()
        true[name], voted[name] = y[rows][0], int(np.bincount(predicted[rows]).argmax())
    joined = tailfit.evaluate(y, predicted, NAMES, metadata=table, by="recording")
    assert dict(zip(joined.ids, joined.y_pred.tolist(), strict=True)) == voted


def test_groups_and_metadata_are_those_of_recordings():
    logits, y, table = windows(4)
    joined = tailfit.evaluate(y, logits, NAMES, groups=table["well"], metadata=table, by="recording")
    wells = dict(zip(table["record"], table["well"], strict=True))
    assert [joined.groups.names[g] for g in joined.groups.index] == [str(wells[name]) for name in joined.ids]
    assert joined.metadata["record"].to_list() == list(joined.ids)
    by_well = tailfit.evaluate(np.repeat(0, len(y)), logits, NAMES, metadata=table, by="well")
    assert len(by_well.y_true) == 4
    by_groups = tailfit.evaluate(y, logits, NAMES, groups=table["record"], by="recording")
    assert by_groups.ids == joined.ids
    assert by_groups.groups.independent


def test_json_table_and_page_show_recordings():
    logits, y, table = windows(5)
    evaluation = tailfit.evaluate(y, logits, NAMES, metadata=table)
    assert Evaluation.from_json(evaluation.to_json()) == evaluation
    assert len(json.loads(evaluation.to_json())["recordings"]["y_true"]) == 12
    assert "12 recordings, with one decision for each" in str(evaluation)
    page = Page(evaluation.to_html())
    assert "One decision for each recording" in page.text
    assert f"{evaluation.recordings.balanced_accuracy:.3f}" in page.text
    alone = tailfit.evaluate(y, logits, NAMES, metadata=table.with_columns(record=pl.int_range(len(y))))
    assert alone.recordings is None  # a window each


BAD = {
    "two labels": (lambda: {"y": [0, 1, 1]}, DataError, "recording 'r' with the labels 'a' and 'b'"),
    "no metadata": (lambda: {"metadata": None}, ArgumentError, "by='recording' with no metadata"),
    "an unknown column": (lambda: {"by": "site"}, ArgumentError, r"by='site' with the metadata columns \['record'"),
    "missing records": (
        lambda: {"metadata": pl.DataFrame({"record": ["r", None, "s"], "start": [0, 1, 0]})},
        DataError,
        "values of 'record' whose row 1 is missing",
    ),
    "an unknown way to join": (lambda: {"join": "max"}, ArgumentError, "join='max'"),
    "several groups": (lambda: {"groups": ["A", "B", "B"]}, DataError, "'r' with samples of several groups"),
    "no step": (lambda: {"step_seconds": 0}, ArgumentError, "step_seconds=0"),
    "no window": (lambda: {"alarm_after": 0}, ArgumentError, "alarm_after=0"),
    "half a window": (lambda: {"alarm_after": 1.5}, ArgumentError, "alarm_after=1.5"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    changes, error, received = BAD[name]
    table = pl.DataFrame({"record": ["r", "r", "s"], "start": [0, 1, 0]})
    given = {"y": [0, 0, 1], "metadata": table, "by": "recording", **changes()}
    with pytest.raises(error, match=received):
        tailfit.evaluate(given.pop("y"), np.eye(2)[[0, 0, 1]], ["a", "b"], **given)
