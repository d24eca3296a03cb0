"""Choices inside of folds: their figure is that of the chosen predictions, unbiased, and stated with its origin."""

import numpy as np
import pytest
from support.pages import Page

from tailfit.errors import ArgumentError, DataError
from tailfit.evaluation import Comparison, comparison, evaluate
from tailfit.evaluation.intervals import philox
from tailfit.evaluation.nested import nested_choice

OPTIONS = {"baseline": "plain", "decide_on": "balanced_accuracy", "confidence": 0.95, "resamples": 100}


@pytest.fixture(scope="module")
def measured():
    """Sixty samples in three folds: plain training, and a remedy that is better in all of them but the last."""
    rng, y = philox(1), np.tile([0, 0, 0, 1], 15)
    of_fold = np.repeat([0, 1, 2], 20)

    def trained(shares):
        return [evaluate(y, np.where(rng.random(60) < shares[of_fold], y, 1 - y), ["ok", "leak"]) for _ in range(2)]

    return {"plain": trained(np.array([0.6, 0.6, 0.9])), "better": trained(np.array([0.95, 0.95, 0.3]))}


FOLDS = [("better", 20), ("better", 20), ("plain", 20)]


def test_the_figure_is_that_of_what_was_chosen_in_each_fold(measured):
    found = comparison(measured, measured, folds=FOLDS)
    values, gains = [], []
    for plain, better in zip(measured["plain"], measured["better"], strict=True):
        chosen = evaluate(plain.y_true, np.concatenate([better.y_pred[:40], plain.y_pred[40:]]))
        values.append(float(chosen.balanced_accuracy))
        gains.append(values[-1] - float(plain.balanced_accuracy))
    nested = found.nested
    assert float(nested.figure) == pytest.approx(np.mean(values))
    assert float(nested.gain) == pytest.approx(np.mean(gains))
    assert nested.figure.low < np.mean(values) < nested.figure.high
    assert nested.votes == {"better": 2, "plain": 1}
    assert "'better' 2 times and 'plain' once" in found.reason
    assert f"what was chosen there is {nested.figure}, a difference of" in found.reason
    assert "which were not used for the choice" not in found.reason
    page = Page(found.to_html()).text
    assert "divided into 3 folds" in page
    assert "Chosen in the folds: better (20 test samples), better" in page
    again = Comparison.from_json(found.to_json())
    assert again == found
    assert again.nested == nested
    alone = comparison(measured, measured)
    assert alone.nested is None
    assert "divided into" not in alone.to_html()
    assert '"folds"' not in alone.to_json()
    costs = comparison(measured, measured, folds=FOLDS, decide_on="cost", costs=[[0, 1], [9, 0]]).nested
    wrong = [np.where(each.y_true == 1, 9, 1)[each.y_true != each.y_pred].sum() / 60 for each in measured["plain"]]
    assert float(costs.figure) - float(costs.gain) == pytest.approx(np.mean(wrong))


@pytest.mark.parametrize(
    "folds",
    [[("better", 20)], [("other", 60)], [("better", 61), ("plain", -1)], [], [("better", 30), ("better", 31)]],
)
def test_folds_of_other_samples_are_refused(measured, folds):
    with pytest.raises(ArgumentError, match="of 60 test samples"):
        comparison(measured, measured, folds=folds)
    text = comparison(measured, measured, folds=FOLDS).to_json()
    for damage in ("[[1, 60]]", '"x"', "5", '[["better", "x"]]'):
        with pytest.raises(DataError):
            Comparison.from_json(
                text.replace('"folds":[["better",20],["better",20],["plain",20]]', f'"folds":{damage}')
            )


def test_a_choice_inside_of_folds_is_not_too_good():
    """Ten remedies that only guess: the best one on the test part looks good, what was chosen in folds does not."""
    rng, y = philox(2), np.tile([0, 1], 30)
    names = ["plain", *map(str, range(9))]
    best, nested = [], []
    for _ in range(60):
        trainings = {name: [evaluate(y, rng.integers(0, 2, 60), resamples=50)] * 2 for name in names}
        folds = [(names[rng.integers(10)], 20) for _ in range(3)]  # other samples say nothing about these
        best.append(max(float(each[0].balanced_accuracy) for each in trainings.values()))
        nested.append(float(nested_choice(trainings, folds, **OPTIONS).figure))
    assert np.mean(best) > 0.57
    assert abs(np.mean(nested) - 0.5) < 3 * np.std(nested) / np.sqrt(60)
