"""Comparisons: both sources of chance, their sum, measured coverage, and the outputs."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from support.fuzzing import damaged, fuzzed, refused
from support.pages import HOSTILE, Page

from tailfit.errors import ArgumentError, DataError
from tailfit.evaluation import Comparison, comparison, evaluate
from tailfit.evaluation.deciding import Stopped
from tailfit.evaluation.intervals import philox
from tailfit.evaluation.tables import as_text

SUPPORT = np.array([120, 80, 60, 45, 35, 25, 15, 10, 6, 4])
NAMES = [f"cause {k}" for k in range(10)]


def trained(rng, y, recalls, seeds, *, scatter=0.3, alike=0.6, hard=None):
    """Draw predictions of trainings whose recalls vary, on the probit scale; hard samples are hard for all of them."""
    hard = rng.normal(size=len(y)) if hard is None else hard
    found = []
    for _ in range(seeds):
        level = stats.norm.ppf(recalls) + scatter * rng.normal(size=len(recalls))
        right = np.sqrt(alike) * hard + np.sqrt(1 - alike) * rng.normal(size=len(y)) < level[y]
        found.append(np.where(right, y, (y + rng.integers(1, len(recalls), len(y))) % len(recalls)))
    return found


def evaluated(y, several, **options):
    return [evaluate(y, guess, NAMES[: len(np.unique(y))], **options) for guess in several]


@pytest.fixture(scope="module")
def two():
    """Two remedies, three seeds."""
    rng, y = philox(5), np.repeat(np.arange(10), SUPPORT)
    hard = rng.normal(size=len(y))
    plain = trained(rng, y, np.linspace(0.95, 0.3, 10), 3, hard=hard)
    better = trained(rng, y, np.linspace(0.93, 0.7, 10), 3, hard=hard)
    return {"plain": evaluated(y, plain, train_counts=SUPPORT), "better": evaluated(y, better, train_counts=SUPPORT)}


def test_means_ranges_and_verdict(two):
    found = comparison(two)
    for key in ("balanced_accuracy", "macro_f1", "accuracy"):
        values = [each.overall[key] for each in two["better"]]
        assert float(found.figures["better"][key]) == pytest.approx(np.mean(values))
    worst = [float(each.worst_class_recall) for each in two["plain"]]
    spread = found.ranges["plain"]["worst_class_recall"]
    assert (float(spread), spread.low, spread.high) == pytest.approx((np.mean(worst), min(worst), max(worst)))
    assert found.verdicts == {"better": "helps"}
    recalls = [[each.classes[9].recall for each in two[name]] for name in two]
    gain = found.recall_differences["better"][9]
    assert float(gain) == pytest.approx(np.mean(recalls[1]) - np.mean(recalls[0]))


def test_the_variance_equals_an_oracle(two):
    """For figures that are means over samples, test part and seed part have a closed form."""
    found = comparison(two, resamples=20_000)
    y = two["plain"][0].y_true
    right = {name: np.stack([each.y_pred == y for each in two[name]]) for name in two}
    test_part, values = 0.0, np.zeros(3)
    for k, support in enumerate(SUPPORT):
        each = (right["better"].mean(axis=0) - right["plain"].mean(axis=0))[y == k]
        mean, square = each.sum() / (support + 1), ((each**2).sum() + 0.5) / (support + 1)
        test_part += (square - mean**2) / support / 100
        values += (right["better"][:, y == k].mean(axis=1) - right["plain"][:, y == k].mean(axis=1)) / 10
    seed_part = values.var(ddof=1) / 3
    wide = np.sqrt(stats.norm.ppf(0.975) ** 2 * test_part + stats.t.ppf(0.975, 2) ** 2 * seed_part)
    gain = found.differences["better"]["balanced_accuracy"]
    assert (gain.high - gain.low) / 2 == pytest.approx(wide, rel=0.03)


def test_equal_trainings_have_no_seed_part(two):
    once = {name: each[:1] for name, each in two.items()}
    thrice = {name: each[:1] * 3 for name, each in two.items()}
    one, three = comparison(once), comparison(thrice)
    for name in two:
        for key, figure in one.figures[name].items():
            assert three.figures[name][key].high == pytest.approx(figure.high, abs=2e-3)
    assert float(one.recalls["plain"][0]) == float(once["plain"][0].classes[0].recall)
    assert one.recalls["plain"][0].low == pytest.approx(once["plain"][0].classes[0].recall.low)


def test_one_seed_agrees_with_the_paired_difference(two):
    found = comparison({name: each[:1] for name, each in two.items()})
    expected = two["better"][0].difference_to(two["plain"][0])
    for key, gain in found.differences["better"].items():
        assert float(gain) == pytest.approx(float(expected[key]))
        assert gain.low == pytest.approx(expected[key].low, abs=0.01)
        assert gain.high == pytest.approx(expected[key].high, abs=0.01)
    assert "They do not cover other trainings" in str(found)


def test_exchanging_the_baseline_changes_the_sign(two):
    there, back = comparison(two), comparison(two, baseline="better")
    gain, loss = there.differences["better"]["balanced_accuracy"], back.differences["plain"]["balanced_accuracy"]
    assert (float(loss), loss.low, loss.high) == pytest.approx((-gain, -gain.high, -gain.low))
    assert back.verdicts == {"plain": "hurts"}


def test_more_remedies_make_wider_differences(two):
    more = comparison({**two, "third": two["plain"], "fourth": two["plain"]})
    gain, alone = more.differences["better"]["balanced_accuracy"], comparison(two).differences["better"]
    assert gain.low < alone["balanced_accuracy"].low
    assert more.verdicts["third"] == "undecided"


def test_three_of_three_by_every_seed_is_not_certain():
    y = [0] * 50 + [1] * 3
    found = comparison(
        {"a": evaluated(np.array(y), [np.array(y)] * 3), "b": evaluated(np.array(y), [np.zeros(53, int)] * 3)}
    )
    assert 0.4 < found.recalls["a"][1].low < 0.6
    assert found.recalls["b"][1].high > 0.4
    assert found.recall_differences["b"][1].high > -1
    assert found.figures["a"]["balanced_accuracy"].low < 0.95


def test_three_of_three_next_to_none_of_three_is_no_evidence():
    """Two of the 8 possible outcomes for three samples look like this, for any number of seeds."""
    y = np.repeat([0, 1], [50, 3])
    for seeds in (1, 5):
        found = comparison({"a": evaluated(y, [0 * y] * seeds), "b": evaluated(y, [y] * seeds)})
        gain = found.recall_differences["b"][1]
        assert float(gain) == 1 == gain.high
        assert gain.low < 0


def test_a_difference_in_recall_equals_an_oracle(two):
    """A second computation for one class, sample by sample."""
    found, k, level = comparison(two), 3, 1 - 0.05 / 10
    y = two["plain"][0].y_true
    sides = []
    for name in ("better", "plain"):
        right = [[float(each.y_pred[i] == k) for i in range(len(y)) if y[i] == k] for each in two[name]]
        share = [sum(column) / 3 for column in zip(*right, strict=True)]
        n, hits = len(share), sum(share)
        beta = stats.beta(hits + 0.5, n - hits + 0.5)
        mean = (hits + 0.5) / (n + 1)
        variance = (sum(each**2 for each in share) + 0.5) / (n + 1) - mean**2
        scale = (variance / mean / (1 - mean)) ** 0.5
        down, up = scale * (hits / n - beta.ppf((1 - level) / 2)), scale * (beta.ppf((1 + level) / 2) - hits / n)
        sides.append((share, mean, variance, down, up, [sum(row) / n for row in right]))
    (new, new_mean, new_variance, down, _, values), (old, old_mean, old_variance, _, up, before) = sides
    product = (sum(a * b for a, b in zip(new, old, strict=True)) + 0.25) / (n + 1)
    correlation = (product - new_mean * old_mean) / (new_variance * old_variance) ** 0.5
    gains = np.array(values) - np.array(before)
    seed_part = stats.t.ppf((1 + level) / 2, 2) ** 2 * gains.var(ddof=1) / 3
    low = gains.mean() - np.sqrt(down**2 + up**2 - 2 * correlation * down * up + seed_part)
    assert found.recall_differences["better"][k].low == pytest.approx(low)


def test_classes_without_test_samples_are_left_out():
    y = np.array([0] * 6 + [2] * 4)
    found = comparison({name: [evaluate(y, y, ["x", "y", "z"])] * 2 for name in "ab"})
    assert np.isnan(found.recalls["a"][1])
    assert np.isnan(found.recall_differences["b"][1])
    assert found.recalls["a"][2] == 1
    assert "undecided" in found.to_html()
    assert Comparison.from_json(found.to_json()) == found


def test_one_remedy_alone_has_no_differences(two):
    found = comparison({"plain": two["plain"]})
    assert found.verdicts == found.differences == {}
    assert "baseline" in found.to_html()


def test_training_counts_of_each_remedy_where_they_differ(two):
    y = two["plain"][0].y_true
    more = [evaluate(y, each.y_pred, NAMES, SUPPORT + 1000, resamples=50) for each in two["better"]]
    unknown = [evaluate(y, each.y_pred, NAMES, resamples=50) for each in two["better"]]
    text = Page(comparison({"a": two["plain"], "b": more, "c": unknown}).to_html()).text
    assert "120 / 1,120 / –" in text  # noqa: RUF001
    assert "120 / 120" not in Page(comparison(two).to_html()).text


# -- measured coverage ---------------------------------------------------------------------------

OLD, NEW = np.linspace(0.95, 0.4, 10), np.linspace(0.92, 0.6, 10)


def drawn(rng, y, seeds, old=OLD, new=NEW, *, shared=True, confidence=0.95, **chance):
    """Compare two remedies on newly drawn samples."""
    hard = rng.normal(size=len(y))
    other = hard if shared else rng.normal(size=len(y))
    return comparison(
        {
            "old": evaluated(y, trained(rng, y, old, seeds, hard=hard, **chance), resamples=50),
            "new": evaluated(y, trained(rng, y, new, seeds, hard=other, **chance), resamples=50),
        },
        resamples=300,
        confidence=confidence,
    )


def expected(recalls, scatter=0.3):
    """Return the mean recall over trainings, the mean of a probit-normal distribution."""
    return stats.norm.cdf(stats.norm.ppf(recalls) / np.sqrt(1 + scatter**2))


def coverage(seeds, trials, support=SUPPORT, *, scatter=0.3, **options):
    rng, y = philox(seeds), np.repeat(np.arange(10), support)
    true, hits = (expected(NEW, scatter) - expected(OLD, scatter)).mean(), 0
    for _ in range(trials):
        gain = drawn(rng, y, seeds, scatter=scatter, **options).differences["new"]["balanced_accuracy"]
        hits += gain.low <= true <= gain.high
    print(f"{seeds} seeds, {options}: {hits / trials:.3f}")
    return hits / trials


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 3, 5, 10])
def test_intervals_have_their_nominal_coverage(seeds):
    """With one seed the intervals describe only these models, so the coverage of other trainings is too low."""
    covered = coverage(seeds, 400)
    assert covered < 0.93 if seeds == 1 else covered >= 0.93


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_intervals_cover_when_no_class_is_small(seeds):
    """Here the pseudo-samples are too few to compensate for a seed part that is too narrow."""
    assert coverage(seeds, 400, np.full(10, 60)) >= 0.93


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 10])
def test_intervals_cover_when_trainings_hardly_differ(seeds):
    assert coverage(seeds, 400, scatter=0.1, alike=0.9, shared=False) >= 0.93


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_each_of_seven_differences_has_a_stricter_level(seeds):
    """Bonferroni's inequality requires 99.3 % for each."""
    assert coverage(seeds, 600, np.full(10, 60), confidence=1 - 0.05 / 7) >= 0.985


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 3, 10])
def test_differences_of_all_classes_hold_simultaneously(seeds):
    """The least favourable case: four classes of 3 to 5 samples, recalls of 1/2, trainings nearly equal."""
    rng, y = philox(seeds), np.repeat(np.arange(10), [120, 80, 60, 45, 30, 20, 5, 4, 3, 3])
    half, held = np.full(10, 0.5), 0
    for _ in range(400):
        gains = drawn(rng, y, seeds, half, half, shared=False, scatter=0.02, alike=0.98).recall_differences["new"]
        held += all(gain.low <= 0 <= gain.high for gain in gains)
    print(f"{seeds} seeds: {held / 400:.3f}")
    assert held / 400 >= 0.92


# -- JSON, table, page ----------------------------------------------------------------------------------------


def test_json_round_trip(two, tmp_path):
    found = comparison(two, seeds=[3, 5, 8], confidence=0.9)
    again = Comparison.from_json(found.to_json())
    assert again == found
    assert (again.seeds, again.baseline, hash(again)) == ((3, 5, 8), "plain", hash(found))
    assert again.evaluations["better"][1] == two["better"][1]
    found.save_json(tmp_path / "comparison.json")
    assert Comparison.from_json((tmp_path / "comparison.json").read_text()) == found
    fields = json.loads(found.to_json())
    assert fields["verdicts"] == {"better": "helps"}
    assert Comparison.from_json(comparison(two, seeds=np.array([3, 5, 8])).to_json()).seeds == (3, 5, 8)


DAMAGED = {
    "y_true": ([2**70] * 3, [0.5, 1.0, 1.0], [[0], [1], [1]], [], [0, 1], [0, -1, 1], [0, 1, 7], None),
    "y_pred": ([0, -1, 1], [0, 1, 2], [0, 1], "010"),
    "class_names": (["x"], [1, 2], "ab", []),
    "classes": ([], [1, 2], None),
    "train_counts": ([1.0], ["x", "y"], {"0": 1}),
    "confidence": (2, None, "0.95"),
    "worst_class": ("unknown", 3),
    "overall": ({}, {"accuracy": 1}),
}


@pytest.mark.parametrize("key", DAMAGED)
def test_json_of_a_damaged_evaluation_is_refused(key, small):
    for value in DAMAGED[key]:
        fields = json.loads(small)
        for each in (*fields["evaluations"]["a"], *fields["evaluations"]["b"]):
            each[key] = value
        with pytest.raises(DataError):
            Comparison.from_json(json.dumps(fields))


@pytest.fixture(scope="module")
def small():
    one = [evaluate([0, 1, 1], [0, 1, 0], resamples=50)]
    return comparison({"a": one, "b": one}, resamples=100).to_json().encode()


@fuzzed
@given(st.data())
def test_a_comparison_of_any_json(small, data):
    text = data.draw(damaged(small).map(lambda content: content.decode("utf-8", "replace")))
    refused(lambda: str(Comparison.from_json(text)))


def test_the_table(two):
    text = str(comparison(two))
    assert "helps" in text
    assert "baseline" in text
    assert "Means of 3 seeds" in text


def test_a_narrow_terminal_shows_all_columns(two):
    found = comparison(two)
    text = as_text(found.table(), width=80)
    assert f"{found.ranges['better']['worst_class_recall']:.3f}" in text
    for heading in ("balanced", "difference", "verdict", "macro-F1", "worst"):
        assert heading in text


def test_figures_and_headings_of_the_page_fit_its_width(two):
    page = comparison(two).to_html()
    assert '<table class="stacked">' in page
    assert ".stacked .interval { display: block" in page


def test_the_page_is_self_contained_and_shows_the_figures(two):
    found = comparison(two)
    page = Page(found.to_html(title="pumps"))
    assert page.elements["svg"] == len(page.blocks) == 2
    for text in ("pumps", "helps", "cause 9", "3 seeds", f"{found.figures['better']['macro_f1']:.3f}"):
        assert text in page.text
    policy = [value for name, value in page.attributes if name == "content" and "default-src" in str(value)]
    assert policy == [
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    ]


def test_the_charts_of_the_page_show_seeds_classes_and_the_race(two):
    stopped = Stopped(name="third", epochs=3, seeds=1, figure=0.25, rank=3, remedies=3)
    found = comparison(two, two, stopped=[stopped])
    seeds, classes, race = map(json.loads, (Page(found.to_html()).blocks[k] for k in (0, 2, 1)))
    of_seeds = [
        float(new.balanced_accuracy) - float(old.balanced_accuracy)
        for new, old in zip(two["better"], two["plain"], strict=True)
    ]
    assert seeds[0]["seeds"] == pytest.approx(of_seeds)
    assert seeds[0]["difference"] == pytest.approx(np.mean(of_seeds))
    rows = {row["row"]: row["difference"] for row in classes}
    gains = found.recall_differences["better"]
    assert rows == {
        **{name: float(gain) for name, gain in zip(NAMES, gains, strict=True)},
        "balanced accuracy": float(found.differences["better"]["balanced_accuracy"]),
        "accuracy": float(found.differences["better"]["accuracy"]),
    }
    assert [(row["remedy"], row["trained"]) for row in race] == [
        ("plain", "trained to the end"),
        ("better", "trained to the end"),
        ("third", "stopped after 3 epochs of 1 seed, rank 3 of 3"),
    ]
    assert race[2]["figure"] == 0.25


def test_a_notebook_shows_a_comparison(two):
    found = comparison({"plain": two["plain"], HOSTILE[0]: two["better"]})
    shown = Page(f"<main>{found._repr_html_()}</main>")
    assert (shown.elements["table"], shown.elements["svg"], shown.elements["p"]) == (1, 1, 1)
    assert shown.elements["script"] == 0
    for text in (HOSTILE[0], "helps", f"{found.figures[HOSTILE[0]]['macro_f1']:.3f}"):
        assert text in shown.text
    decided = comparison(two, two)
    assert f"Chosen: &#39;{decided.chosen}&#39;." in decided._repr_html_()
    assert "<svg" not in comparison({"plain": two["plain"]})._repr_html_()


def test_hostile_names_add_no_element(two):
    evil = " ".join(HOSTILE)
    names = [evil, *NAMES[1:]]
    y = two["plain"][0].y_true
    hostile = {
        heading: [evaluate(y, each.y_pred, names, SUPPORT, resamples=50) for each in two[name]]
        for heading, name in ((evil, "plain"), (evil + "2", "better"))
    }
    page = Page(comparison(hostile).to_html(title=evil, details={evil: evil}))
    plain = Page(comparison(two).to_html(title="t", details={"k": "v"}))
    assert page.elements == plain.elements
    assert "\x1b" not in str(comparison(hostile))


def test_the_same_input_gives_the_same_page(two):
    assert comparison(two).to_html() == comparison(two).to_html()


@pytest.mark.parametrize(
    ("change", "error", "received"),
    [
        (lambda two: comparison({}), ArgumentError, "no remedies"),
        (lambda two: comparison([1]), ArgumentError, "type list"),
        (lambda two: comparison({"a": []}), ArgumentError, "an empty list for the remedy 'a'"),
        (lambda two: comparison({"a": [1]}), ArgumentError, "a list of int for the remedy 'a'"),
        (lambda two: comparison({"a": two["plain"][0]}), ArgumentError, "type Evaluation for the remedy 'a'"),
        (lambda two: comparison({1: two["plain"]}), ArgumentError, "the key 1"),
        (lambda two: comparison({**two, "b": two["plain"][:2]}), ArgumentError, "2 evaluations of 'b' and 3"),
        (lambda two: comparison(two, baseline="best"), ArgumentError, "baseline='best'"),
        (lambda two: comparison(two, seeds=[1, 2]), ArgumentError, r"seeds=\[1, 2\]"),
        (lambda two: comparison(two, seeds=[1, 1, 2]), ArgumentError, r"seeds=\[1, 1, 2\]"),
        (lambda two: comparison(two, seeds=3), ArgumentError, "seeds=3"),
        (lambda two: comparison(two, seeds="012"), ArgumentError, "seeds='012'"),
        (lambda two: comparison(two, seeds=[[0], [1], [2]]), ArgumentError, "seeds="),
        (lambda two: comparison(two, seeds=[0.5, 1.5, 2.5]), ArgumentError, "seeds="),
        (lambda two: comparison(two, baseline=["plain"]), ArgumentError, "baseline="),
        (lambda two: comparison(two, resamples=10**9), ArgumentError, "resamples=1000000000"),
        (lambda two: comparison(two, confidence=95), ArgumentError, "confidence=95"),
        (lambda two: comparison(two, resamples=3), ArgumentError, "resamples=3"),
        (lambda two: comparison({"a": two["plain"], "b": [evaluate([0, 1], [0, 1])] * 3}), DataError, "'a' and 'b'"),
    ],
)
def test_bad_input(two, change, error, received):
    with pytest.raises(error, match=received):
        change(two)
