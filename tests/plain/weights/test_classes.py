"""Class weights, compared with scikit-learn and with an independent implementation of the formulas."""

import math
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from support.labelled import source

from tailfit import weights
from tailfit.errors import ArgumentError, DataError
from tailfit.weights import class_weights
from tailfit.weights.classes import Scheme

SCHEMES = get_args(Scheme)
COUNTS = [1000, 100, 10]
LABELS = np.repeat([0, 1, 2], COUNTS)

# An independent implementation, one class at a time in Python floats.
RAW = {
    "balanced": lambda n, counts, beta: sum(counts) / (len(counts) * n),
    "inverse": lambda n, counts, beta: 1 / n,
    "inverse_sqrt": lambda n, counts, beta: n**-0.5,
    "effective_number": lambda n, counts, beta: (1 - beta) / (1 - beta**n),
    "median_frequency": lambda n, counts, beta: sorted(counts)[len(counts) // 2] / n,
}

class_labels = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(
    lambda codes: np.unique(codes, return_inverse=True)[1]
)


@pytest.mark.parametrize("scheme", SCHEMES)
class TestEachScheme:
    def test_equals_the_formula(self, scheme):
        found = class_weights(LABELS, scheme, normalize=None, beta=0.99)
        expected = {code: RAW[scheme](n, COUNTS, 0.99) for code, n in enumerate(COUNTS)}
        assert found == pytest.approx(expected, rel=1e-12)
        assert all(type(code) is int and type(weight) is float for code, weight in found.items())

    @settings(deadline=None, max_examples=30)
    @given(y=class_labels)
    def test_normalization_by_mean_and_sum(self, scheme, y):
        mean = class_weights(y, scheme)
        assert sum(mean[int(code)] for code in y) / len(y) == pytest.approx(1)
        whole = class_weights(y, scheme, normalize="sum")
        assert sum(whole.values()) == pytest.approx(len(whole))
        raw = class_weights(y, scheme, normalize=None)
        for scaled in (mean, whole):  # equal up to scale
            assert scaled[0] / raw[0] * np.array(list(raw.values())) == pytest.approx(list(scaled.values()))

    @settings(deadline=None, max_examples=30)
    @given(y=class_labels)
    def test_rarer_classes_do_not_weigh_less(self, scheme, y):
        counts, found = np.bincount(y), class_weights(y, scheme)
        order = np.argsort(counts)
        ordered = np.array([found[int(code)] for code in order])
        assert np.all(np.diff(ordered) <= 1e-9 * ordered[:-1])

    def test_every_form_of_labels_gives_the_same_weights(self, scheme):
        expected = class_weights(LABELS, scheme)
        names = np.array(["a", "b", "c"])[LABELS]
        for same in (
            LABELS.tolist(),
            names,
            np.eye(3)[LABELS],
            source(LABELS),
            source(names),
            SimpleNamespace(labels=LABELS, class_names=None),
            SimpleNamespace(source=source(LABELS)),
        ):
            assert class_weights(same, scheme) == expected
        soft = np.eye(3)[LABELS] * 0.998 + 0.001 * np.array([1, 1, 0])
        soft[:, 2] += 1 - soft.sum(axis=1)
        assert class_weights(soft, scheme) == pytest.approx(expected, rel=0.05)

    def test_a_class_without_samples_needs_num_classes(self, scheme):
        with pytest.raises(DataError, match="'1' \\(2 of 4"):
            class_weights([0, 3, 0], scheme, num_classes=None)
        found = class_weights([0, 3, 0], scheme, num_classes=5)
        assert list(found) == [0, 1, 2, 3, 4]
        assert all(math.isfinite(weight) and weight > 0 for weight in found.values())
        # It weighs as if it had one sample, like class 3; the mean is over the existing samples.
        assert found[1] == found[2] == found[4] == found[3]
        assert (2 * found[0] + found[3]) / 3 == pytest.approx(1)

    def test_each_label_of_multi_label_data_is_a_two_class_problem(self, scheme):
        y = np.array([[1, 1, 0]] * 3 + [[1, 0, 0]] * 6 + [[1, 0, 1]])
        found = class_weights(y, scheme, beta=0.9)
        for label in (1, 2):
            alone = class_weights(y[:, label], scheme, beta=0.9)
            assert found[label] == pytest.approx(alone[1])
        assert 0 < found[0] < 1  # all samples have the label

    def test_labels_are_checked(self, scheme):
        for bad in ([], [0, -1], [[1, 0], [0, 0]], ["a", None]):
            with pytest.raises(DataError):
                class_weights(bad, scheme)


@settings(deadline=None, max_examples=50)
@given(y=class_labels)
def test_balanced_equals_scikit_learn_to_the_last_bit(y):
    expected = compute_class_weight("balanced", classes=np.unique(y), y=y)
    assert list(class_weights(y).values()) == expected.tolist()


def test_balanced_of_multi_label_is_n_over_2n():
    y = np.array([[1, 1, 0], [1, 0, 1], [1, 0, 0], [1, 1, 0]])
    for normalize in ("mean", None):
        assert class_weights(y, normalize=normalize) == {0: 4 / 8, 1: 4 / 4, 2: 4 / 2}


def test_effective_number_golden_values():
    found = class_weights(LABELS, "effective_number", normalize="sum")
    assert list(found.values()) == pytest.approx([0.0283624, 0.2712551, 2.7003825], abs=5e-8)


def test_effective_number_keeps_its_digits_near_its_limits():
    assert class_weights(LABELS, "effective_number", beta=0) == pytest.approx({0: 1, 1: 1, 2: 1})
    inverse = class_weights(LABELS, "inverse")
    assert class_weights(LABELS, "effective_number", beta=1 - 1e-14) == pytest.approx(inverse, rel=1e-9)


def test_effective_number_keeps_its_digits_for_the_fractional_counts_of_soft_labels():
    # (1 - beta) / (1 - beta**n) in plain floats is wrong by a few percent here.
    y = [[0.3, 0.7], [0.4, 0.6], [0.2, 0.8]]
    found = class_weights(y, "effective_number", beta=1 - 1e-15)
    assert found == pytest.approx(class_weights(y, "inverse"), rel=1e-9)


def test_expected_counts_of_soft_labels():
    y = [[0.5, 0.5], [1, 0], [0.5, 0.5]]
    assert class_weights(y, "inverse", normalize=None) == pytest.approx({0: 0.5, 1: 1})


def test_a_part_of_a_multi_label_source_stays_multi_label():
    whole = source([[1, 1], [1, 0], [0, 1]])
    part = SimpleNamespace(
        labels=whole.labels[1:],
        class_names=whole.class_names,
        encoded=type(whole.encoded)("multi-label", whole.encoded.values[1:], whole.class_names),
        source=whole,
    )
    assert class_weights(part) == {0: 1.0, 1: 1.0}  # 2 / (2 * 1), each


def test_the_message_shows_the_class_name_of_an_empty_class():
    with pytest.raises(DataError, match="'worn'"):
        class_weights(source(["ok", "leak"], class_names=["ok", "worn", "leak"]))
    with pytest.raises(DataError, match="without labels"):
        class_weights(SimpleNamespace(labels=None))


@pytest.mark.parametrize(
    "arguments",
    [
        {"scheme": "ballanced"},
        {"scheme": None},
        {"scheme": 3},
        {"normalize": "max"},
        {"beta": 1.0},
        {"beta": -0.1},
        {"beta": float("nan")},
        {"beta": "0.9"},
        {"beta": True},
        {"num_classes": 0},
        {"num_classes": 2.0},
        {"num_classes": True},
    ],
)
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ArgumentError, match=next(iter(arguments))):
        class_weights([0, 1], **arguments)


def test_the_nearest_scheme_is_suggested():
    with pytest.raises(ArgumentError, match="pass scheme='inverse_sqrt'"):
        class_weights([0, 1], "inverse_sqr")


def test_a_number_of_classes_that_contradicts_the_source_is_refused():
    with pytest.raises(ArgumentError, match="num_classes=3"):
        class_weights(source([0, 1]), num_classes=3)


def test_many_labels_are_fast():
    import time

    y = np.random.default_rng(0).integers(0, 20, 10**7)
    started = time.perf_counter()
    class_weights(y)
    assert time.perf_counter() - started < 3  # a Python loop takes ten times as long


def test_class_names_are_sorted_and_complete():
    assert weights.__all__ == sorted(weights.__all__)
    assert all(callable(getattr(weights, name)) for name in weights.__all__)
