"""Figures against scikit-learn and imbalanced-learn, every form of input, the round trip through JSON."""

import copy
import json
import pickle
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.metrics import geometric_mean_score
from sklearn import metrics as sk

import tailfit
from tailfit.errors import ArgumentError, DataError, TailfitError
from tailfit.evaluation import Evaluation, Figure, compare_table
from tailfit.evaluation.tables import UNDEFINED, as_text

QUICK = {"resamples": 40}


@st.composite
def predictions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    num_classes = draw(st.integers(2, 6))
    codes = st.lists(st.integers(0, num_classes - 1), min_size=1, max_size=60)
    y_true = np.array(draw(codes))
    y_pred = np.array(draw(st.lists(st.integers(0, num_classes - 1), min_size=len(y_true), max_size=len(y_true))))
    return y_true, y_pred, num_classes


@settings(deadline=None, max_examples=100)
@given(predictions())
def test_figures_equal_those_of_scikit_learn(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    y_true, y_pred, num_classes = case
    names = [f"c{k}" for k in range(num_classes)]
    evaluation = tailfit.evaluate(y_true, y_pred, names, **QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns about classes without samples
        expected = {
            "balanced_accuracy": sk.balanced_accuracy_score(y_true, y_pred),
            "macro_f1": sk.f1_score(y_true, y_pred, average="macro", zero_division=0),
            "accuracy": sk.accuracy_score(y_true, y_pred),
            "geometric_mean": geometric_mean_score(y_true, y_pred, labels=np.unique(y_true), average="multiclass"),
        }
    for key, value in expected.items():
        assert getattr(evaluation, key) == pytest.approx(value, abs=1e-12), key
    labels = range(num_classes)
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        y_true, y_pred, labels=labels, zero_division=np.nan
    )
    np.testing.assert_allclose([c.recall for c in evaluation.classes], recall)
    np.testing.assert_allclose([c.precision for c in evaluation.classes], precision)
    np.testing.assert_allclose([c.f1 for c in evaluation.classes], f1)
    assert [c.support for c in evaluation.classes] == support.tolist()
    np.testing.assert_array_equal(evaluation.confusion_matrix, sk.confusion_matrix(y_true, y_pred, labels=labels))
    present = [c for c in evaluation.classes if c.support]
    assert evaluation.worst_class_recall == min(c.recall for c in present)
    assert evaluation.worst_class == min(present, key=lambda c: float(c.recall)).name
    for figure in [*evaluation.overall.values(), *(c.recall for c in present)]:
        assert 0 <= figure.low <= figure <= figure.high <= 1
        assert figure.low < figure.high, "certainty from finitely many samples"
    assert Evaluation.from_json(evaluation.to_json()) == evaluation


def test_every_form_of_input_gives_the_same_evaluation() -> None:
    y, guess, names = [0, 2, 1, 1, 0], [0, 2, 2, 1, 0], ["ok", "leak", "dirt"]
    scores = np.eye(3)[guess] * 7 - 3
    reference = tailfit.evaluate(y, scores, names)
    named = ([names[k] for k in y], [names[k] for k in guess])
    assert tailfit.evaluate(np.eye(3)[y], scores, names) == reference
    assert tailfit.evaluate(named[0], scores.astype(np.float16), names) == reference
    assert tailfit.evaluate(y, guess, names) == reference
    assert tailfit.evaluate(*named, names) == reference
    assert tailfit.evaluate(named[0], guess, names) == reference
    assert tailfit.evaluate(np.array(named[0], dtype=object), named[1], names) == reference
    assert tailfit.evaluate(y, np.array(guess, float)[:, np.newaxis], names) == reference


def test_classes_that_occur_only_in_labels_or_only_in_predictions() -> None:
    assert tailfit.evaluate([0, 1], [0, 2]).class_names == ("0", "1", "2")
    assert tailfit.evaluate([0, 2], [0, 1]).class_names == ("0", "1", "2")
    assert tailfit.evaluate(["b", "a"], ["c", "a"]).class_names == ("a", "b", "c")
    absent = tailfit.evaluate([0, 1], [0, 2]).classes[2]
    assert np.isnan(absent.recall)
    assert (absent.precision, absent.f1) == (0.0, 0.0)
    assert UNDEFINED in str(tailfit.evaluate([0, 1], [0, 2]))


def test_ties_go_to_the_first_class() -> None:
    assert tailfit.evaluate([0, 1], [[0.5, 0.5], [0.5, 0.5]]).y_pred.tolist() == [0, 0]


def test_infinite_logits_are_accepted() -> None:
    assert tailfit.evaluate([0, 1], [[np.inf, 0], [-np.inf, 0]]).accuracy == 1


BAD: dict[str, tuple[Callable[[], object], str]] = {
    "NaN score": (lambda: tailfit.evaluate([0, 1], [[0, 1], [np.nan, 1]]), "row 1 has NaN"),
    "NaN code": (lambda: tailfit.evaluate([0, 1], [0, np.nan]), "row 1"),
    "rows": (lambda: tailfit.evaluate([0, 1, 1], [[0, 1]]), "3 labels and 1 rows"),
    "rows of codes": (lambda: tailfit.evaluate([0, 1, 1], [0, 1]), "3 labels and 2 rows"),
    "columns": (lambda: tailfit.evaluate([0, 1], np.eye(2), ["a", "b", "c"]), "3 class_names"),
    "label beyond": (lambda: tailfit.evaluate([0, 2], np.eye(2)), "row 1 is 2"),
    "unknown name": (lambda: tailfit.evaluate(["a", "b"], ["a", "x"], ["a", "b"]), "'x'"),
    "mixed": (lambda: tailfit.evaluate([0, 1], ["a", "b"]), "class indices and y_score with class names"),
    "sigmoid": (lambda: tailfit.evaluate([0, 1], [[0.2], [0.8]]), "1 - p, p"),
    "text scores": (lambda: tailfit.evaluate([0, 1], [["a", "b"], ["a", "b"]]), "type <U1"),
    "empty": (lambda: tailfit.evaluate([], np.zeros((0, 2))), "no samples"),
    "empty codes": (lambda: tailfit.evaluate([], []), "no samples"),
    "one class": (lambda: tailfit.evaluate([0, 0], [0, 0]), "two classes"),
    "soft": (lambda: tailfit.evaluate([[0.5, 0.5]], [[0, 1]]), "row 0"),
    "counts": (lambda: tailfit.evaluate([0, 1], [0, 1], train_counts=[1, 2, 3]), "for 2 classes"),
    "negative count": (lambda: tailfit.evaluate([0, 1], [0, 1], train_counts=[1, -2]), "entry 1"),
    "confidence": (lambda: tailfit.evaluate([0, 1], [0, 1], confidence=95), "confidence=95"),
    "resamples": (lambda: tailfit.evaluate([0, 1], [0, 1], resamples=10), "from 40 to 100000"),
    "seed": (lambda: tailfit.evaluate([0, 1], [0, 1], seed=-1), "seed=-1"),
    "other samples": (
        lambda: tailfit.evaluate([0, 1], [0, 1]).difference_to(tailfit.evaluate([1, 0], [0, 1])),
        "same test samples",
    ),
    "nothing to compare": (lambda: compare_table({}), "no evaluations"),
    "other classes": (
        lambda: compare_table(
            {"a": tailfit.evaluate([0, 1], [0, 1]), "b": tailfit.evaluate([0, 1], [0, 1], ["x", "y"])}
        ),
        "different class_names",
    ),
    "not JSON": (lambda: Evaluation.from_json("{"), "not JSON"),
    "other JSON": (lambda: Evaluation.from_json("[1]"), "JSON of a different format"),
    "JSON cut": (
        lambda: Evaluation.from_json('{"format": "tailfit.evaluation", "version": 1, "train_counts": null}'),
        "no field 'class_names'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(case: str) -> None:
    call, message = BAD[case]
    with pytest.raises((ArgumentError, DataError)) as caught:
        call()
    assert message in str(caught.value)
    assert isinstance(caught.value, TailfitError)


def test_evaluations_are_frozen_and_copy_their_arrays() -> None:
    y = np.array([0, 1])
    evaluation = tailfit.evaluate(y, y)
    y[0] = 1
    assert evaluation.y_true.tolist() == [0, 1]
    with pytest.raises(ValueError, match="read-only"):
        evaluation.y_pred[0] = 1
    with pytest.raises(AttributeError):
        evaluation.name = "other"  # type: ignore[misc]


def test_figures_survive_copying() -> None:
    figure = Figure(0.5, 0.25, 0.75)
    for twin in (copy.deepcopy(figure), pickle.loads(pickle.dumps(figure))):
        assert (twin, twin.low, twin.high) == (0.5, 0.25, 0.75)


def test_json_files_are_written_atomically(tmp_path, monkeypatch) -> None:
    evaluation = tailfit.evaluate([0, 1, 1], [0, 1, 0], train_counts=[5, 9.5])
    path = evaluation.save_json(tmp_path / "new" / "e.json")
    assert Evaluation.from_json(path.read_text(encoding="utf-8")) == evaluation
    for step in ("os.fsync", "os.replace"):
        with monkeypatch.context() as patch:
            patch.setattr(step, lambda *_: (_ for _ in ()).throw(OSError("disk full")))
            with pytest.raises(OSError, match="disk full"):
                tailfit.evaluate([0, 1], [1, 0]).save_json(path)
    assert Evaluation.from_json(path.read_text(encoding="utf-8")) == evaluation
    assert [file.name for file in path.parent.iterdir()] == ["e.json"]


def side_by_side() -> dict[str, Evaluation]:
    y = np.repeat([0, 1, 2], [50, 20, 4])
    plain, tailored = y.copy(), y.copy()
    plain[45:] = 0
    tailored[60:66] = 2
    names, counts = ["a class with a name far too long for a column", "b\n\u202e\x1b[31m", "[red]c"], [9, 1000, 2]
    return {
        "plain fit": tailfit.evaluate(y, plain, names, counts),
        "tailored": tailfit.evaluate(y, tailored, names, counts),
    }


def test_table_fits_marks_and_survives_hostile_names() -> None:
    text = as_text(compare_table(side_by_side()))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[2].startswith(r"b\n\u202e\x1b[31m")  # most training samples first, control characters escaped
    assert lines[3].replace(" …", "…").startswith("a class with a name far…")  # rich 14.0 adds a space
    assert lines[4].startswith("[red]c")
    assert "1,000" in lines[2]
    assert lines[2].rstrip().endswith("*")
    assert sum("Δ" in line for line in lines) == 6  # five figures and the caption
    assert "\x1b" not in text
    assert "precision" in str(side_by_side()["tailored"])


def test_different_test_samples_have_no_paired_difference() -> None:
    both = {"a": tailfit.evaluate([0, 1], [0, 1]), "b": tailfit.evaluate([0, 1, 1], [0, 1, 1])}
    text = as_text(compare_table(both))
    assert "Δ balanced" not in text
    assert "1 / 2" in text


@pytest.mark.parametrize("value", [10**400, -(10**400), [], {}, "x"], ids=lambda value: str(value)[:9])
@pytest.mark.parametrize(("place", "key"), [((), "train_counts"), (("overall", "accuracy"), 0)])
def test_figures_of_a_wrong_type_are_refused(value, place, key):
    fields = json.loads(tailfit.evaluate([0, 1, 1], [0, 1, 0], train_counts=[3, 4]).to_json())
    inside = fields
    for part in place:
        inside = inside[part]
    inside[key] = [value, 1] if key == "train_counts" else value
    with pytest.raises(DataError):
        Evaluation.from_json(json.dumps(fields))


DAMAGE = {
    "negative support": lambda fields: fields["classes"][0].update(support=-3),
    "a different class name": lambda fields: fields["classes"][1].update(name="c"),
    "different training counts": lambda fields: fields["classes"][1].update(train_count=7),
    "a wrong recall": lambda fields: fields["classes"][0].update(recall=[0.9, 0.8, 1.0]),
    "a wrong precision": lambda fields: fields["classes"][0].update(precision=0.1),
    "a wrong figure": lambda fields: fields["overall"].update(accuracy=[0.9, 0.8, 1.0]),
    "a missing figure": lambda fields: fields["overall"].update(macro_f1=[None, None, None]),
    "an interval that excludes its figure": lambda fields: fields["overall"]["macro_f1"].__setitem__(1, 0.99),
    "an interval beyond 1": lambda fields: fields["classes"][0]["recall"].__setitem__(2, 3.0),
    "a wrong worst class": lambda fields: fields.update(worst_class="b"),
    "resamples that no memory holds": lambda fields: fields.update(resamples=10**12),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_figures_that_contradict_their_samples_are_refused(damage: str) -> None:
    fields = json.loads(tailfit.evaluate([0, 0, 1, 1], [0, 1, 1, 1], ["a", "b"], [5, 6]).to_json())
    Evaluation.from_json(json.dumps(fields))
    DAMAGE[damage](fields)
    with pytest.raises(DataError, match="JSON of an evaluation with a fault: "):
        Evaluation.from_json(json.dumps(fields))
