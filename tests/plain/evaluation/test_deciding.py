"""The choice of a remedy on validation samples: its rule, what it reports, and what is refused."""

import itertools
import json

import numpy as np
import pytest
from scipy import stats

from tailfit.errors import ArgumentError, DataError
from tailfit.evaluation import Comparison, comparison, evaluate
from tailfit.evaluation.comparison_statistics import SeedMeans
from tailfit.evaluation.costs import MeanCosts
from tailfit.evaluation.deciding import DECIDE_ON, Stopped, better_first, close_to
from tailfit.evaluation.intervals import philox

Y = np.repeat([0, 1, 2], [60, 30, 10])


def trained(rng, recalls, seeds=3, y=Y, hard=None, **options):
    """Evaluations of trainings with these recalls; samples that are hard are hard for all of them."""
    hard = rng.random(len(y)) if hard is None else hard
    return [
        evaluate(y, np.where(hard + 0.05 * rng.normal(size=len(y)) < np.array(recalls)[y], y, (y + 1) % 3), **options)
        for _ in range(seeds)
    ]


@pytest.fixture(scope="module")
def measured():
    """Plain training, one that is as good, and one that is better for rare classes; on both parts."""
    rng, hard = philox(3), philox(4).random(len(Y))
    recalls = {"plain": (0.95, 0.6, 0.2), "as good": (0.95, 0.62, 0.2), "better": (0.9, 0.85, 0.9)}
    return [{name: trained(rng, each, hard=hard) for name, each in recalls.items()} for _ in range(2)]


def test_the_better_remedy_is_chosen_and_its_gains_and_costs_are_named(measured):
    found = comparison(*measured)
    assert found.chosen == "better" == found.decision.best
    assert found.decision.close == ("better",)
    assert "'better' has the best balanced accuracy on the 100 validation samples" in found.reason
    assert "it helps" in found.reason
    assert "Recall rises for" in found.reason
    assert "Its accuracy differs by" in found.reason
    gain, corrected = found.decision.gain, found.differences["better"]["balanced_accuracy"]
    assert float(gain) == float(corrected)
    assert gain.high - gain.low < corrected.high - corrected.low  # one comparison, not one of two
    text = str(found)
    assert text.startswith("Chosen: 'better'.")
    assert " *" in next(line for line in text.splitlines() if line.startswith("better"))
    page = found.to_html()
    assert page.index("Chosen: ") < page.index("Which remedy helps</h2>")
    document = json.loads(found.to_json())
    assert (document["chosen"], document["reason"]) == (found.chosen, found.reason)
    assert Comparison.from_json(found.to_json()) == found


def test_the_test_samples_do_not_affect_the_choice(measured):
    test, validation = measured
    worse = {**test, "better": test["plain"], "plain": test["better"]}
    found = comparison(worse, validation)
    assert found.chosen == "better"
    assert "it hurts" in found.reason


def test_the_simplest_of_about_equally_good_remedies_is_chosen(measured):
    _, validation = measured
    names = ("plain", "as good")
    for order in itertools.permutations(names):
        part = {name: validation[name] for name in order}
        found = comparison(part, part)
        assert found.chosen == order[0]
        assert found.decision.close == order
    assert "It cannot be told apart there from" in found.reason
    equal = {"same": validation["plain"], "plain": validation["plain"]}
    assert comparison(equal, equal).decision.best == "same"  # of equal figures, too


def test_one_standard_error_equals_an_oracle():
    """For accuracy-like means over samples: the standard error of the paired difference of three seeds."""
    rng, y = philox(8), np.repeat([0, 1], 400)
    right = {name: rng.random((3, len(y))) < share for name, share in (("one", 0.8), ("other", 0.77))}
    parts = {name: [evaluate(y, np.where(each, y, 1 - y)) for each in rows] for name, rows in right.items()}
    means = SeedMeans(parts, 20_000)
    gap = means.difference("one", "other", "balanced_accuracy", 0.6827)
    differences = right["one"].astype(float) - right["other"]
    test_part = sum(differences[:, y == k].mean(axis=0).var() / 400 / 4 for k in (0, 1))
    of_seeds = np.array([(row[y == 0].mean() + row[y == 1].mean()) / 2 for row in differences])
    seed_part = of_seeds.var(ddof=1) / 3
    width = np.sqrt(test_part + stats.t.ppf(0.84135, 2) ** 2 * seed_part)
    assert (gap.high - gap.low) / 2 == pytest.approx(width, rel=0.03)


@pytest.mark.parametrize("decide_on", DECIDE_ON)
@pytest.mark.parametrize("grouped", [False, True])
def test_each_figure_can_decide(decide_on, grouped):
    rng, hard = philox(5), philox(6).random(len(Y))
    options = {"groups": np.arange(len(Y)) % 25} if grouped else {}
    part = {
        "plain": trained(rng, (0.95, 0.6, 0.2), hard=hard, **options),
        "worse": trained(rng, (0.3, 0.3, 0.1), hard=hard, **options),
        "better": trained(rng, (0.97, 0.95, 0.9), hard=hard, **options),
    }
    costs = [[0, 1, 1], [5, 0, 5], [50, 50, 0]] if decide_on == "cost" else None
    found = comparison(part, part, decide_on=decide_on, costs=costs)
    assert found.chosen == "better"
    assert DECIDE_ON[decide_on] in found.reason
    assert better_first(list(part), SeedMeans(part, 100, found.costs), decide_on) == ["better", "plain", "worse"]
    assert ("it helps" in found.reason) or "cannot be told apart from 'plain'" in found.reason
    assert Comparison.from_json(found.to_json()) == found


def test_costs_and_recalls_can_decide_differently():
    rare = [evaluate(Y, np.full(len(Y), 2))] * 2
    frequent = [evaluate(Y, np.zeros(len(Y), int))] * 2
    part = {"frequent": frequent, "rare": rare}
    costs = [[0, 1, 1], [1, 0, 1], [100, 100, 0]]
    assert comparison(part, part).decision.figures["rare"] == comparison(part, part).decision.figures["frequent"]
    assert comparison(part, part, decide_on="cost", costs=costs).chosen == "rare"
    assert comparison(part, part, decide_on="macro_f1").chosen == "frequent"


def test_mean_costs_equal_an_oracle():
    rng = philox(1)
    y, costs = rng.integers(0, 3, 50), rng.random((3, 3))
    guesses = rng.integers(0, 3, (4, 50))
    part = MeanCosts(y, guesses, tuple(map(tuple, costs)), None)
    of_each = np.array([[costs[a, b] for a, b in zip(y, row, strict=True)] for row in guesses])
    assert part.values == pytest.approx(of_each.mean(axis=1))
    difference = of_each[:2].mean(axis=0) - of_each[2:].mean(axis=0)
    low, high = stats.t.interval(0.95, 49, difference.mean(), stats.sem(difference))
    assert part.half_width([0, 1], [2, 3], 0.95) == pytest.approx((high - low) / 2)


def test_stopped_and_left_out_remedies_are_shown_and_in_no_interval(measured):
    stopped = [Stopped(name="slow", epochs=5, seeds=1, figure=0.4, rank=3, remedies=4)]
    found = comparison(*measured, stopped=stopped, left_out={"LDAM": "the network is your own function"})
    assert found.differences == comparison(*measured).differences
    assert found.differences.keys() == {"as good", "better"}
    text = " ".join(str(found).split())
    assert "Stopped by the race, and in no interval: 'slow' (after 5 epochs of 1 seed, rank 3 of 4)." in text
    assert "'LDAM' was left out: the network is your own function." in text
    assert "stopped after 5 epochs" in found.to_html()
    assert Comparison.from_json(found.to_json()) == found


def test_without_validation_samples_nothing_is_chosen(measured):
    found = comparison(measured[0])
    assert (found.chosen, found.decision) == (None, None)
    assert "needs evaluations on validation samples" in found.reason
    assert "Chosen" not in str(found)


def test_the_first_version_of_the_format_is_read(measured):
    found = comparison(measured[0])
    fields = json.loads(found.to_json())
    for key in ("chosen", "reason", "decide_on", "costs", "stopped", "left_out", "validation"):
        del fields[key]
    assert Comparison.from_json(json.dumps({**fields, "version": 1})) == found
    with pytest.raises(DataError, match=r"version 3.*version 1 or 2"):
        Comparison.from_json(json.dumps({**fields, "version": 3}))


@pytest.mark.parametrize("field", ["stopped", "costs", "left_out", "decide_on", "validation"])
@pytest.mark.parametrize("value", [1, [1], {"a": 1}, [{"name": 1}], [{}], "x", [[1]]])
def test_damaged_fields_are_refused(measured, field, value):
    fields = json.loads(comparison(measured[0]).to_json())
    if (field, value) == ("left_out", {"a": 1}):
        return
    with pytest.raises(DataError):
        Comparison.from_json(json.dumps({**fields, field: value}))


def test_what_can_not_decide_is_refused(measured):
    test, validation = measured
    one = {name: each[:1] for name, each in validation.items()}
    other = {**validation, "better": trained(philox(1), (1, 1, 1), y=Y[::-1].copy())}
    fewer = {name: validation[name] for name in ("plain", "better")}
    renamed = {name: [evaluate(Y, each.y_pred, ["a", "b", "c"]) for each in of] for name, of in validation.items()}
    cases = [
        (lambda: comparison(one, one), ArgumentError, "validation with one seed.*at least two"),
        (lambda: comparison(test, other), DataError, "'plain' and 'better' with different.*validation samples"),
        (lambda: comparison(test, fewer), ArgumentError, "validation of 2 remedies.*the remedies and seeds"),
        (lambda: comparison(test, one), ArgumentError, "validation of 3 remedies.* 1 seeds"),
        (lambda: comparison(test, renamed), DataError, "validation with the classes"),
        (lambda: comparison(test, validation, decide_on="recall"), ArgumentError, "decide_on='recall'.*macro_f1"),
        (lambda: comparison(test, validation, decide_on="cost"), ArgumentError, "decide_on='cost' without costs"),
        (lambda: comparison(test, costs=[[0]]), ArgumentError, "'balanced_accuracy' with costs"),
    ]
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize(
    ("costs", "received"),
    [
        ([[0, 1], [1, 0]], "costs of 2 x 2 for 3 classes"),
        ([[0, 1, 1]] * 2, "costs of 2 x 3 for 3 classes"),
        ([[0, 1, 1], [1, 0, 1], [1, -1, 0]], "-1 in row 2, column 1"),
        ([[0, 1, 1], [1, float("inf"), 1], [1, 1, 0]], "inf in row 1, column 1"),
        ([[0, 1], [1]], "costs of "),
        ([[0, 10**400, 1]] * 3, "costs of "),
        ("none", "costs of 'none'"),
        (3, "costs of 3"),
    ],
)
def test_costs_that_do_not_fit_are_refused(measured, costs, received):
    with pytest.raises(ArgumentError, match=received):
        comparison(*measured, decide_on="cost", costs=costs)


def test_close_remedies_are_within_one_standard_error(measured):
    means = SeedMeans(measured[1], 1000)
    assert close_to("better", list(measured[1]), means, "balanced_accuracy") == ("better",)
    assert close_to("as good", ["plain", "as good"], means, "balanced_accuracy") == ("plain", "as good")
