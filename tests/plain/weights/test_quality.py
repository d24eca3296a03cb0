"""Label quality, compared with cleanlab and with an independent implementation of the confident joint."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.labelled import source

from tailfit.errors import ArgumentError, DataError
from tailfit.weights import label_quality
from tailfit.weights.quality import confident_classes

CODES = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
FIRST, SECOND = np.array(
    [
        [0.9, 0.8, 0.95, 0.55, 0.2, 0.6, 0.3, 0.25, 0.85, 0.45, 0.5, 0.3],
        [0.06, 0.15, 0.03, 0.35, 0.72, 0.05, 0.6, 0.7, 0.1, 0.5, 0.1, 0.1],
    ]
)
ROWS = np.stack([FIRST, SECOND, 1 - FIRST - SECOND], axis=1)
OWN = [0.66258, 0.58896, 0.69939, 0.40491, 0.14724, 0.44172, 0.58282, 0.65644, 0.21472, 0.50920, 0.41718, 0.56442]
MARGINS = [0.73865, 0.66871, 0.76810, 0.50307, 0.23804, 0.53068, 0.68098, 0.73620, 0.29448, 0.58896, 0.52454, 0.67178]
# Results of cleanlab 2.9.0 for the same labels and probabilities.
CLEANLAB = {
    ("self_confidence", False): [0.9, 0.8, 0.95, 0.55, 0.2, 0.6, 0.6, 0.7, 0.1, 0.5, 0.4, 0.6],
    ("self_confidence", True): OWN,
    ("normalized_margin", False): [0.92, 0.825, 0.96, 0.6, 0.24, 0.625, 0.65, 0.725, 0.125, 0.525, 0.45, 0.65],
    ("normalized_margin", True): MARGINS,
    ("confident_joint", False): [1, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1],
}
every = pytest.mark.parametrize(("method", "adjusted"), CLEANLAB)


@every
def test_equals_cleanlab(method, adjusted):
    found = label_quality(CODES, ROWS, method, adjusted=adjusted)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, CLEANLAB[method, adjusted], atol=6e-6)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(2, 5))
def test_the_confident_joint_equals_equation_1(seed, classes):
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet(np.full(classes, 0.5), 30)
    y = rng.integers(0, classes, 30)
    wanted = np.ones(30)
    thresholds = {j: rows[y == j, j].mean() for j in set(y.tolist())}
    highest = max(thresholds.values())
    for i, row in enumerate(rows):
        confident = [j for j in range(classes) if row[j] >= thresholds.get(j, highest) - 1e-6]
        if confident and max(confident, key=lambda j: row[j]) != y[i]:
            wanted[i] = 0
    np.testing.assert_array_equal(label_quality(y, rows, "confident_joint"), wanted)


@every
def test_is_in_0_1_and_falls_if_another_class_gains_probability(method, adjusted):
    rng = np.random.default_rng(1)
    rows = rng.dirichlet([0.3] * 4, 200)
    y = rng.integers(0, 4, 200)
    found = label_quality(y, rows, method, adjusted=adjusted)
    assert found.min() >= 0
    assert found.max() <= 1
    sure = np.eye(4)[y]
    assert (label_quality(y, sure, method, adjusted=adjusted) == 1).all()
    assert (label_quality((y + 1) % 4, np.eye(4)[y], "self_confidence") == 0).all()


@every
def test_every_form_of_labels_gives_the_same_quality(method, adjusted):
    wanted = label_quality(CODES, ROWS, method, adjusted=adjusted)
    names = np.array(["a", "b", "c"])[CODES]
    for same in (CODES.tolist(), names, np.eye(3)[CODES], source(names), CODES[:, None]):
        np.testing.assert_array_equal(label_quality(same, ROWS.tolist(), method, adjusted=adjusted), wanted)
    back = label_quality(names, ROWS[:, ::-1], method, adjusted=adjusted, class_names=["c", "b", "a"])
    np.testing.assert_allclose(back, wanted, rtol=1e-6)


def test_outputs_by_name():
    found = label_quality({"cause": CODES, "site": CODES[::-1]}, {"site": ROWS[::-1], "cause": ROWS})
    assert list(found) == ["cause", "site"]
    np.testing.assert_array_equal(found["site"], found["cause"][::-1])
    with pytest.raises(ArgumentError, match=r"probabilities for \['cause'\] together with labels for the outputs"):
        label_quality({"cause": CODES, "site": CODES}, {"cause": ROWS})


def test_a_class_without_samples_has_the_highest_threshold():
    rows = np.array([[0.5, 0.4, 0.1], [0.6, 0.3, 0.1], [0.3, 0.2, 0.5], [0.2, 0.2, 0.6]])
    # t = .55, .2, and .55 for the empty class: the confident class of sample 0 is 1, that of sample 3 is 2.
    assert label_quality([0, 0, 1, 1], rows, "confident_joint").tolist() == [0, 1, 1, 0]
    assert np.isfinite(label_quality([0, 0, 1, 1], rows, adjusted=True)).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((CODES, ROWS, "self-confidence"), ArgumentError, "pass method='self_confidence'"),
        ((CODES, ROWS[:, 0]), DataError, r"shape \(12,\)"),
        ((CODES, np.log(ROWS)), DataError, "softmax"),
        ((CODES, ROWS * 0.9), DataError, "row 0"),
        ((CODES, np.where(ROWS > 0.94, np.nan, ROWS)), DataError, "row 2"),
        ((CODES, ROWS[:5]), DataError, "12 labels .* and 5 rows"),
        ((CODES + 1, ROWS), DataError, "row 10 is 3"),
        ((ROWS, ROWS), DataError, "'soft'"),
        ((["a", "b"] * 6, ROWS), DataError, "class_names"),
        (([[1, 1, 0]] * 12, ROWS), DataError, "multi-label"),
    ],
)
def test_invalid_input_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        label_quality(*arguments)


def test_adjusted_is_refused_for_the_confident_joint():
    with pytest.raises(ArgumentError, match="adjusted=True"):
        label_quality(CODES, ROWS, "confident_joint", adjusted=True)


def test_doubtful_labels_are_those_of_cleanlab():
    """`find_label_issues(filter_by="confident_learning", return_indices_ranked_by="self_confidence")`, 2.9.0."""
    rng = np.random.default_rng(5)
    y = rng.choice(4, 60, p=[0.5, 0.3, 0.15, 0.05])
    random = rng.dirichlet([0.4] * 4, 60)
    rows = 0.6 * random + 0.4 * np.eye(4)[np.where(rng.random(60) < 0.2, rng.integers(0, 4, 60), y)]
    confident, each = confident_classes(y, rows), np.arange(60)
    found = np.flatnonzero(confident != y)
    assert found.tolist() == np.flatnonzero(label_quality(y, rows, "confident_joint") == 0).tolist()
    # cleanlab also leaves out samples whose label is the most probable class, and so does `find_suspects`.
    found = np.flatnonzero(rows[each, confident] > rows[each, y])
    assert found[np.argsort(rows[found, y[found]], kind="stable")].tolist() == [44, 24, 8, 1, 26, 20, 22, 3, 33, 31]
