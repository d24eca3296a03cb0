"""Figures by metadata value: against scikit-learn on each slice, shares, warnings, JSON, table and page."""

import json

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import balanced_accuracy_score, recall_score
from support.pages import HOSTILE, Page

import tailfit
from tailfit.errors import ArgumentError, DataError
from tailfit.evaluation import Evaluation
from tailfit.evaluation.intervals import jeffreys
from tailfit.evaluation.slices import MISSING, slice_counts

NAMES = ["a", "b", "c"]
RNG = np.random.default_rng(0)
Y = np.repeat([0, 1, 2], [120, 60, 20])
GUESS = np.where(RNG.random(200) < 0.7, Y, RNG.integers(0, 3, 200))
SOURCE = np.array(["real", "simulated"])[RNG.integers(0, 2, 200)]
WELL = RNG.integers(0, 12, 200)
TABLE = pl.DataFrame({"id": map(str, range(200)), "source": SOURCE, "well": WELL, "wet": WELL % 2 == 0})


def evaluated(**options):
    return tailfit.evaluate(Y, GUESS, NAMES, metadata=TABLE, **options)


@pytest.mark.parametrize("groups", [None, WELL])
def test_each_slice_has_the_figures_of_its_samples(groups):
    slices = evaluated(groups=groups).slices
    assert list(slices) == ["source", "wet"]
    for each in slices["source"]:
        rows = each.value == SOURCE
        assert each.test == rows.sum()
        assert each.groups == (None if groups is None else len(np.unique(WELL[rows])))
        assert each.balanced_accuracy == pytest.approx(balanced_accuracy_score(Y[rows], GUESS[rows]))
        np.testing.assert_allclose(each.recalls, recall_score(Y[rows], GUESS[rows], average=None, labels=[0, 1, 2]))
        alone = tailfit.evaluate(Y[rows], GUESS[rows], NAMES, groups=None if groups is None else WELL[rows])
        for recall, of_class in zip(each.recalls, alone.classes, strict=True):
            assert (recall.low, recall.high) == pytest.approx((of_class.recall.low, of_class.recall.high), abs=1e-6)
        if groups is not None:
            assert str(each.balanced_accuracy) == str(alone.balanced_accuracy)
    assert [each.test for each in slices["source"]] == sorted((each.test for each in slices["source"]), reverse=True)


def test_recalls_of_independent_samples_are_jeffreys():
    for each in evaluated().slices["source"]:
        rows = each.value == SOURCE
        hits = np.bincount(Y[rows & (Y == GUESS)], minlength=3).astype(float)
        low, high = jeffreys(hits, np.bincount(Y[rows], minlength=3).astype(float), 0.95)
        np.testing.assert_allclose([recall.low for recall in each.recalls], low, atol=1e-6)
        np.testing.assert_allclose([recall.high for recall in each.recalls], high, atol=1e-6)


def test_shares_of_the_training_part():
    train = pl.DataFrame({"source": ["real"] * 30 + ["drawn"] * 10, "wet": [True] * 40})
    slices = evaluated(train_metadata=train).slices
    assert {each.value: (each.train, each.test) for each in slices["source"]} == {
        "real": (30, (SOURCE == "real").sum()),
        "simulated": (0, (SOURCE == "simulated").sum()),
        "drawn": (10, 0),
    }
    assert evaluated(train_metadata=slice_counts(train)) == evaluated(train_metadata=train)
    drawn = slices["source"][-1]
    assert drawn.balanced_accuracy != drawn.balanced_accuracy
    # One value in the test part is enough if the training part has others.
    real = TABLE.with_columns(source=pl.lit("real"))
    assert "source" in tailfit.evaluate(Y, GUESS, NAMES, metadata=real, train_metadata=train).slices
    assert "source" not in tailfit.evaluate(Y, GUESS, NAMES, metadata=real).slices


def test_columns_are_chosen():
    assert list(evaluated(slices=["well"]).slices) == ["well"]
    assert evaluated(slices=[]).slices == {}
    many = TABLE.with_columns(tag=pl.Series([f"tag {i % 31}" for i in range(200)]), record=pl.lit("r"))
    assert list(tailfit.evaluate(Y, GUESS, NAMES, metadata=many).slices) == ["source", "wet"]
    dates = TABLE.with_columns(day=pl.date(2024, 1, 1) + pl.duration(days=pl.Series(WELL)))
    assert len(tailfit.evaluate(Y, GUESS, NAMES, metadata=dates, slices=["day"]).slices["day"]) == 12


def test_missing_values_are_a_slice():
    table = TABLE.with_columns(source=pl.when(pl.int_range(200) < 20).then(None).otherwise(pl.col("source")))
    slices = tailfit.evaluate(Y, GUESS, NAMES, metadata=table).slices["source"]
    assert {each.value: each.test for each in slices}[MISSING] == 20
    assert slice_counts(table)["source"][MISSING] == 20


def test_slices_of_recordings():
    table = TABLE.with_columns(record=pl.int_range(200) // 4, start=pl.int_range(200) % 4).with_columns(
        source=pl.col("source").first().over("record")
    )
    evaluation = tailfit.evaluate(np.repeat(Y[::4], 4), GUESS, NAMES, metadata=table, by="recording")
    assert sum(each.test for each in evaluation.slices["source"]) == 50


def test_json_table_and_page():
    evaluation = evaluated(groups=WELL % 4, train_metadata=TABLE)
    read = Evaluation.from_json(evaluation.to_json())
    assert read == evaluation
    assert [str(each) for each in read.slices["source"]] == [str(each) for each in evaluation.slices["source"]]
    text, page = str(evaluation), Page(evaluation.to_html()).text
    for each in evaluation.slices["source"]:
        assert f"{each.balanced_accuracy}" in text
        assert f"{each.balanced_accuracy:.3f}" in page
        assert f"{each.recalls[1].low:.3f}" in page
    assert "? fewer than 5 groups: not enough for a trustworthy interval" in page
    drawn = str(evaluated(train_metadata={"source": {"drawn": 3}}))
    assert "In the training part only: drawn." in " ".join(drawn.split())


def test_hostile_values_stay_text():
    values = np.array(HOSTILE[:4])[np.arange(200) % 4]
    table = pl.DataFrame({HOSTILE[0]: values})
    page = Page(tailfit.evaluate(Y, GUESS, NAMES, metadata=table).to_html())
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in page.text


DAMAGE = {
    "no training counts": lambda fields: fields.pop("train"),
    "training counts of another type": lambda fields: fields.update(train=[1]),
    "a negative count": lambda fields: fields.update(train={"real": -1}),
    "an index too few": lambda fields: fields["index"].pop(),
    "an unknown index": lambda fields: fields["index"].__setitem__(0, 7),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_json(name):
    fields = json.loads(evaluated().to_json())
    DAMAGE[name](fields["slices"]["source"])
    with pytest.raises(DataError, match="JSON of an evaluation with a fault"):
        Evaluation.from_json(json.dumps(fields))


BAD = {
    "an unknown column": ({"slices": ["site"]}, r"slices=\['site'\]"),
    "text": ({"slices": "source"}, "slices='source'"),
    "training metadata of another type": ({"train_metadata": [1]}, "train_metadata of type list"),
    "training counts of another type": ({"train_metadata": {"source": {"real": 0.5}}}, "train_metadata of type dict"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    options, received = BAD[name]
    with pytest.raises(ArgumentError, match=received):
        evaluated(**options)
