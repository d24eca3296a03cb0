"""Intervals of test samples in groups: oracles, invariances, and measured coverage."""

import json

import numpy as np
import pytest
from scipy import integrate, stats

import tailfit
from tailfit.evaluation import Comparison, comparison
from tailfit.evaluation.group_intervals import GroupedPredictions
from tailfit.evaluation.group_recalls import GroupedRecalls, cells_of
from tailfit.evaluation.metrics import OVERALL


def recordings(rng: np.random.Generator, number: int, alpha: float, beta: float, classes: int = 3, windows: int = 30):
    """Draw labels, predictions and groups: recordings of one class each, whose recalls scatter as Beta(alpha, beta)."""
    groups = np.repeat(np.arange(number), windows)
    y = groups % classes
    right = rng.random(len(y)) < rng.beta(alpha, beta, number)[groups]
    return y, np.where(right, y, (y + 1) % classes), groups


def test_groups_of_one_sample_change_nothing():
    y, guess, _ = recordings(np.random.default_rng(0), 4, 3, 1)
    alone = tailfit.evaluate(y, guess, groups=np.arange(len(y)))
    independent = tailfit.evaluate(y, guess)
    for key in OVERALL:
        one, other = alone.overall[key], independent.overall[key]
        assert (one, one.low, one.high) == (other, other.low, other.high)
    # The method for groups has these as its limit: the same recalls, and nearly the same figures.
    grouped = GroupedPredictions(y, guess[np.newaxis], np.arange(len(y)), len(y), 3)
    low, high = grouped.recalls([0]).limits(0.95)
    np.testing.assert_allclose(low, [c.recall.low for c in independent.classes], atol=1e-9)
    np.testing.assert_allclose(high, [c.recall.high for c in independent.classes], atol=1e-9)
    for key, figure in grouped.figures(0, 0.95, 0).items():
        assert figure.low == pytest.approx(independent.overall[key].low, abs=0.02), key
        assert figure.high == pytest.approx(independent.overall[key].high, abs=0.02), key


def test_names_of_groups_and_order_of_samples_do_not_matter():
    rng = np.random.default_rng(1)
    y, guess, groups = recordings(rng, 12, 2, 1)
    first = tailfit.evaluate(y, guess, groups=groups)
    names = rng.permutation(1000)[groups].astype(str)
    order = rng.permutation(len(y))
    for other in (
        tailfit.evaluate(y, guess, groups=names),
        tailfit.evaluate(y[order], guess[order], groups=groups[order]),
    ):
        for a, b in zip(
            [*first.overall.values(), *(c.recall for c in first.classes)],
            [*other.overall.values(), *(c.recall for c in other.classes)],
            strict=True,
        ):
            np.testing.assert_allclose([a, a.low, a.high], [b, b.low, b.high], atol=1e-9)


def brute_force_bootstrap(y, guess, groups, measure, resamples, rng):
    """Resample whole groups within their classes, copying samples."""
    members = [np.flatnonzero(groups == g) for g in range(groups.max() + 1)]
    of_class = [[g for g, rows in enumerate(members) if y[rows[0]] == k] for k in range(y.max() + 1)]
    values = []
    for _ in range(resamples):
        drawn = [g for gs in of_class for g in rng.choice(gs, size=len(gs))]
        rows = np.concatenate([members[g] for g in drawn])
        values.append(measure(y[rows], guess[rows]))
    return np.array(values)


MEASURES = {
    "balanced_accuracy": lambda y, p: np.mean([np.mean(p[y == k] == k) for k in range(y.max() + 1)]),
    "accuracy": lambda y, p: np.mean(y == p),
    "macro_f1": lambda y, p: np.mean(
        [2 * np.sum((y == k) & (p == k)) / (np.sum(y == k) + np.sum(p == k)) for k in range(y.max() + 1)]
    ),
    "geometric_mean": lambda y, p: (
        np.prod([np.mean(p[y == k] == k) for k in range(y.max() + 1)]) ** (1 / (y.max() + 1))
    ),
}


@pytest.mark.parametrize("key", MEASURES)
def test_with_many_groups_intervals_equal_those_of_a_brute_force_cluster_bootstrap(key):
    rng = np.random.default_rng(2)
    y, guess, groups = recordings(rng, 150, 5, 2, windows=8)
    guess[(groups % 5 == 0) & (y == 0)] = 1
    drawn = brute_force_bootstrap(y, guess, groups, MEASURES[key], 800, rng)
    figure = tailfit.evaluate(y, guess, groups=groups).overall[key]
    assert float(figure) == pytest.approx(MEASURES[key](y, guess))
    half = 1.96 * drawn.std()
    # The standard error of the deviation of 800 resamples is 2.5 %.
    assert (figure.high - figure.low) / 2 == pytest.approx(half, rel=0.12)
    other = np.where(rng.random(len(y)) < 0.8, guess, y)
    gains = brute_force_bootstrap(
        y,
        np.stack([guess, other], 1),
        groups,
        lambda a, b: MEASURES[key](a, b[:, 1]) - MEASURES[key](a, b[:, 0]),
        800,
        rng,
    )
    gain = tailfit.evaluate(y, other, groups=groups).difference_to(tailfit.evaluate(y, guess, groups=groups))[key]
    assert (gain.high - gain.low) / 2 == pytest.approx(1.96 * gains.std(), rel=0.12)


def test_influences_are_those_of_deleting_a_group():
    y, guess, groups = recordings(np.random.default_rng(3), 300, 5, 2, windows=4)
    grouped = GroupedPredictions(y, guess[np.newaxis], groups, 300, 3)
    for g in (0, 17, 299):
        left = groups != g
        for key, measure in MEASURES.items():
            # Accuracy and macro-F1 without weights: the influence is that of fewer samples of a class, too.
            change = measure(y, guess) - measure(y[left], guess[left])
            assert grouped.influences[key][0, g] == pytest.approx(change, rel=0.06, abs=2e-5), key


def test_the_posterior_of_a_recall_is_that_of_numerical_integration():
    samples, hits = np.array([30.0, 12, 25, 30]), np.array([30.0, 3, 25, 22])
    groups = np.repeat(np.arange(4), samples.astype(int))
    correct = np.concatenate([np.arange(n) < h for n, h in zip(samples, hits, strict=True)]).astype(float)
    recalls = GroupedRecalls(cells_of(np.zeros(len(groups), int), correct, groups, 4, 1))

    def likelihood(recall, root):
        scale = (1 - root**2) / root**2
        with np.errstate(all="ignore"):
            return np.prod(stats.betabinom.pmf(hits, samples, recall * scale, (1 - recall) * scale)) * stats.beta.pdf(
                recall, 0.5, 0.5
            )

    roots = np.linspace(0.01, 0.99, 99)
    weights = np.array([integrate.quad(likelihood, 1e-4, 1 - 1e-4, args=(root,), limit=80)[0] for root in roots])
    weights /= weights.sum()
    n, share = samples.sum(), hits.sum() / samples.sum()
    effective = n**2 / (n + roots**2 * 4 / 3 * (samples * (samples - 1)).sum())
    low, high = recalls.limits(0.95)
    for end, level in ((low[0], 0.025), (high[0], 0.975)):
        below = weights @ stats.beta.cdf(end, share * effective + 0.5, (1 - share) * effective + 0.5)
        assert below == pytest.approx(level, abs=0.003)


def test_recalls_that_scatter_as_measured_on_recordings_are_covered():
    """24 recordings of 30 windows: an interval for independent windows covers 28 % where it promises 95 %."""
    rng = np.random.default_rng(4)
    inside = {"groups": [], "independent": []}
    for _ in range(150):
        y, guess, groups = recordings(rng, 48, 0.84, 0.36, classes=2)
        for name, of in (("groups", {"groups": groups}), ("independent", {})):
            evaluation = tailfit.evaluate(y, guess, resamples=40, **of)
            figures = [evaluation.classes[0].recall, evaluation.balanced_accuracy]
            inside[name].append([each.low <= 0.7 <= each.high for each in figures])
    assert np.mean(inside["groups"], axis=0).min() > 0.89
    assert np.mean(inside["independent"], axis=0).max() < 0.45


def test_groups_without_an_error_are_no_proof():
    y, groups = np.repeat([0, 1], 500), np.arange(1000) // 100
    evaluation = tailfit.evaluate(y, y, groups=groups)
    assert 0.5 < evaluation.classes[0].recall.low < 0.8
    assert 0.5 < evaluation.balanced_accuracy.low < 0.9
    assert evaluation.difference_to(evaluation)["balanced_accuracy"].high > 0
    assert tailfit.evaluate(y, y).classes[0].recall.low > 0.9


def test_a_class_in_one_group_and_few_groups_are_marked():
    y = np.repeat([0, 1, 2], 40)
    groups = np.array([f"run {k}" for k in np.concatenate([np.arange(40) // 5, [20] * 40, np.arange(40) // 10 + 30])])
    evaluation = tailfit.evaluate(y, y, ["ok", "leak", "worn"], groups=groups)
    assert [each.groups for each in evaluation.classes] == [8, 1, 4]
    assert [each.trusted for each in evaluation.classes] == [True, False, False]
    text = str(evaluation)
    assert "1.000]?" in next(line for line in text.splitlines() if line.startswith("leak"))
    flat = " ".join(text.split())
    assert "All samples of 'leak' are in the group 'run 20': its recall measures that group." in flat
    assert "not enough for a trustworthy interval (leak, worn)" in flat
    assert "Do not trust the intervals of figures over all classes either" in flat
    page = evaluation.to_html()
    assert "its recall measures that group" in page
    assert '<th scope="col" rowspan="2">groups</th>' in page
    assert page.count("fewer than five groups: do not trust") == 2
    fields = json.loads(evaluation.to_json())
    assert [each["groups"] for each in fields["classes"]] == [8, 1, 4]
    fields["classes"][1]["groups"] = 7
    with pytest.raises(tailfit.errors.DataError, match="class 1 with 7 groups"):
        tailfit.evaluation.Evaluation.from_json(json.dumps(fields))


def test_a_comparison_resamples_the_groups_of_all_trainings_together():
    rng = np.random.default_rng(5)
    y, guess, groups = recordings(rng, 30, 2, 1)
    better = np.where(rng.random(len(y)) < 0.5, guess, y)

    def trained(predictions, **of):
        return [tailfit.evaluate(y, each, **of) for each in predictions]

    both = {"plain": [guess, guess], "better": [better, better]}
    known = comparison({name: trained(each, groups=groups) for name, each in both.items()})
    unknown = comparison({name: trained(each) for name, each in both.items()})
    assert Comparison.from_json(known.to_json()) == known
    wide, narrow = (each.figures["plain"]["balanced_accuracy"] for each in (known, unknown))
    assert float(wide) == pytest.approx(float(narrow))
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)
    assert known.verdicts == {"better": "helps"}
    assert "between 30 groups" in " ".join(str(known).split())
    assert '<th scope="col">groups</th>' in known.to_html()
    for wide, narrow in zip(known.recalls["plain"], unknown.recalls["plain"], strict=True):
        assert float(wide) == pytest.approx(float(narrow))
        assert wide.low < narrow.low < narrow.high < wide.high
    # Groups of one sample: the same as independent samples, in the method for groups itself.
    alone = comparison({name: trained(each, groups=np.arange(len(y))) for name, each in both.items()})
    assert alone.recall_differences == unknown.recall_differences


def test_the_g_mean_of_a_class_that_is_hardly_ever_right_has_room_above():
    y = np.repeat([0, 1], 1000)
    predictions = np.ones_like(y)
    predictions[0] = 0
    figure = tailfit.evaluate(y, predictions, groups=y).geometric_mean  # warnings fail tests
    assert figure.low == 0
    assert 0.4 < figure.high < 0.9
    assert float(figure) == pytest.approx(0.0316, abs=1e-4)
