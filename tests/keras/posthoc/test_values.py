"""Values of each correction: oracles of scikit-learn and SciPy, identities, refused arguments."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.metrics import precision_recall_curve, roc_curve
from support.corrections import CODES, COSTS, COUNTS, LOGITS, PROBABILITIES, WEIGHTS, C, fitted, head

import tailfit
from tailfit.errors import ArgumentError, DataError
from tailfit.posthoc import TauNorm, TemperatureScaling, Thresholds, VectorScaling


def of(code):
    return np.equal(CODES, code)


def likelihood_loss(logits, weights=WEIGHTS):
    return -np.average(log_softmax(logits, axis=1)[np.arange(1000), CODES], weights=weights)


class TestTemperatureScaling:
    def test_is_the_minimum(self):
        found = fitted("TemperatureScaling", {}, weights=WEIGHTS).temperature_
        oracle = minimize_scalar(lambda s: likelihood_loss(LOGITS * s), bounds=(0.01, 100), options={"xatol": 1e-10})
        assert 1 / found == pytest.approx(oracle.x, rel=1e-5)
        ends = [likelihood_loss(LOGITS.astype(float) / (found * (1 + e))) for e in (-1e-4, 1e-4)]
        assert (ends[1] - ends[0]) / 2e-4 == pytest.approx(0, abs=1e-6)

    @pytest.mark.parametrize("scale", [1e-3, 7.0, 1e3])
    def test_undoes_a_scale(self, scale):
        plain = fitted("TemperatureScaling", {})
        scaled = TemperatureScaling(from_logits=True).fit(LOGITS * scale, CODES)
        assert scaled.temperature_ == pytest.approx(plain.temperature_ * scale, rel=1e-6)
        np.testing.assert_array_equal(plain.predict(LOGITS), LOGITS.argmax(1))

    def test_disabled_classes(self):
        off = np.concatenate([LOGITS, np.full((1000, 1), -np.inf, "float32")], axis=1)
        found = TemperatureScaling(from_logits=True).fit(off, CODES)
        assert found.temperature_ == pytest.approx(fitted("TemperatureScaling", {}).temperature_, rel=1e-6)
        assert np.isneginf(found.transform(off)[:, -1]).all()

    def test_without_a_minimum(self):
        for sign, message in [(1, "with more confidence"), (-1, "with less confidence")]:
            with pytest.raises(DataError, match=message):
                TemperatureScaling(from_logits=True).fit(sign * 5 * np.eye(C)[CODES], CODES)

    def test_calibrates(self):
        sure = 4 * LOGITS
        metric = tailfit.metrics.CalibrationError(from_logits=True)
        metric.update_state(CODES, sure)
        before = float(metric.result())
        metric.reset_state()
        metric.update_state(
            CODES, TemperatureScaling(from_logits=True).fit(sure, CODES).transform(sure).astype("float32")
        )
        assert float(metric.result()) < before / 2


class TestVectorScaling:
    def test_is_the_minimum(self):
        found = fitted("VectorScaling", {}, weights=WEIGHTS)
        best = likelihood_loss(found.transform(LOGITS))
        start = np.r_[np.ones(C), np.zeros(C)]
        oracle = minimize(lambda v: likelihood_loss(LOGITS * v[:C] + v[C:]), start, method="BFGS")
        assert best == pytest.approx(oracle.fun, abs=1e-6)
        assert best <= likelihood_loss(fitted("TemperatureScaling", {}, weights=WEIGHTS).transform(LOGITS))
        numbers = np.r_[found.scale_, found.offset_]
        for step in 1e-4 * np.eye(2 * C):
            ends = [likelihood_loss(LOGITS * v[:C] + v[C:]) for v in (numbers - step, numbers + step)]
            assert (ends[1] - ends[0]) / 2e-4 == pytest.approx(0, abs=1e-5)
        assert found.offset_.sum() == pytest.approx(0, abs=1e-12)

    def test_a_penalty_keeps_it_close_to_the_input(self):
        strong = fitted("VectorScaling", {"penalty": 1e6})
        np.testing.assert_allclose(strong.transform(LOGITS), LOGITS, atol=1e-4)

    def test_without_a_minimum(self):
        with pytest.raises(DataError, match="no maximum"):
            VectorScaling(from_logits=True).fit(5 * np.eye(C)[CODES] + 1e-3 * LOGITS, CODES)
        with pytest.raises(DataError, match="without a sample of class 3"):
            VectorScaling(from_logits=True).fit(LOGITS[CODES < 3], CODES[CODES < 3])
        with pytest.raises(ArgumentError, match="penalty=-1"):
            VectorScaling(-1, from_logits=True)


def reached(criterion, y, called, w):
    """Compute the criterion of predictions independently."""
    rates = [np.average(called[y == side], weights=w[y == side]) for side in (0, 1)]
    if criterion == "f1":
        hits = w @ (y * called)
        return 2 * hits / (w @ y + w @ called)
    if criterion == "youden":
        return rates[1] - rates[0]
    if criterion == "gmean":
        return np.sqrt(rates[1] * (1 - rates[0]))
    return -(w @ np.asarray(criterion)[y, called])


@settings(deadline=None, max_examples=60)
@given(
    scores=st.lists(st.integers(0, 9), min_size=8, max_size=8),
    y=st.lists(st.integers(0, 1), min_size=8, max_size=8).filter(lambda y: 0 < sum(y) < 8),
    w=st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=8, max_size=8),
)
def test_no_threshold_is_better_and_ties_get_equal_predictions(scores, y, w):
    scores, y, w = np.array(scores) / 10 + 0.05, np.array(y), np.array(w)
    pair = np.stack([1 - scores, scores], axis=1)
    for criterion in ("youden", "gmean", "f1", [[0, 1], [7, 0]], [[-1, 2], [1, 0]]):
        cut = Thresholds(criterion, from_logits=False).fit(scores, y, w)
        called = cut.predict(scores)
        best = max(reached(criterion, y, (scores >= t).astype(int), w) for t in [*np.unique(scores), 2])
        assert reached(criterion, y, called, w) == pytest.approx(best, abs=1e-9)
        two = Thresholds(criterion, from_logits=False).fit(pair, y, w)
        np.testing.assert_array_equal(two.predict(pair), called)
        assert two.thresholds_ == pytest.approx([1 - cut.thresholds_[0], cut.thresholds_[0]])
        of_logits = Thresholds(criterion, from_logits=True).fit(np.log(pair), y, w)
        np.testing.assert_array_equal(of_logits.predict(np.log(pair)), called)


class TestThresholds:
    def test_youden_and_f1_equal_the_optimum_of_scikit_learn(self):
        y, p = (CODES == 3).astype(int), PROBABILITIES[:, 3].round(2)
        false, true, _ = roc_curve(y, p, sample_weight=WEIGHTS, drop_intermediate=False)
        called = Thresholds("youden", from_logits=False).fit(p, y, WEIGHTS).predict(p)
        assert reached("youden", y, called, WEIGHTS) == pytest.approx((true - false).max(), abs=1e-12)
        precision, recall, _ = precision_recall_curve(y, p, sample_weight=WEIGHTS)
        called = Thresholds("f1", from_logits=False).fit(p, y, WEIGHTS).predict(p)
        best = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))
        assert reached("f1", y, called, WEIGHTS) == pytest.approx(best, abs=1e-12)

    def test_the_largest_ratio_of_several_classes_is_predicted(self):
        cut = fitted("Thresholds", {"criterion": "gmean"}, from_logits=False)
        for code in range(C):
            alone = Thresholds("gmean", from_logits=False).fit(PROBABILITIES[:, code], of(code))
            assert cut.thresholds_[code] == pytest.approx(alone.thresholds_[0], rel=1e-3)
        np.testing.assert_array_equal(cut.predict(PROBABILITIES), (PROBABILITIES / cut.thresholds_).argmax(1))
        recalls = [(cut.predict(PROBABILITIES)[of(code)] == code).mean() for code in range(C)]
        plain = [(PROBABILITIES.argmax(1)[of(code)] == code).mean() for code in range(C)]
        assert min(recalls) > min(plain)

    def test_independent_labels(self):
        y = (np.random.default_rng(2).random((1000, C)) < PROBABILITIES).astype(int)
        y[0], y[1] = 0, 1
        cut = Thresholds("f1", multi_label=True, from_logits=True).fit(LOGITS, y)
        called = cut.predict(LOGITS)
        for code in range(C):
            alone = Thresholds("f1", from_logits=True).fit(LOGITS[:, code], y[:, code])
            np.testing.assert_array_equal(called[:, code], alone.predict(LOGITS[:, code]))
        layer = cut.as_layer()
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(LOGITS)) > 0, called)
        p = 1 / (1 + np.exp(-LOGITS.astype(float)))
        of_p = Thresholds("f1", multi_label=True, from_logits=False).fit(p, y)
        np.testing.assert_allclose(of_p.thresholds_, cut.thresholds_, rtol=1e-6)
        found = keras.ops.convert_to_numpy(of_p.as_layer()(p.astype("float32")))
        np.testing.assert_allclose(found, of_p.transform(p), rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(of_p.predict(p), called)

    def test_costs_of_several_classes_by_elkan(self):
        cut = fitted("Thresholds", {"criterion": COSTS}, from_logits=False)
        np.testing.assert_array_equal(cut.predict(PROBABILITIES), (PROBABILITIES @ np.array(COSTS)).argmin(1))
        equal = Thresholds(1 - np.eye(C), from_logits=True).fit(LOGITS, CODES)
        np.testing.assert_array_equal(equal.predict(LOGITS), LOGITS.argmax(1))

    def test_bad_arguments(self):
        for criterion in ("best", [[0, 1]], [[0, np.nan], [1, 0]], 3):
            with pytest.raises(ArgumentError, match="criterion="):
                Thresholds(criterion, from_logits=True)
        with pytest.raises(ArgumentError, match="costs of 2 classes"):
            Thresholds([[0, 1], [1, 0]], from_logits=True).fit(LOGITS, CODES)
        with pytest.raises(DataError, match="no sample is of class 3"):
            Thresholds(from_logits=True).fit(LOGITS[CODES < 3], CODES[CODES < 3])
        with pytest.raises(DataError, match="labels of shape"):
            Thresholds(multi_label=True, from_logits=True).fit(LOGITS, CODES)
        with pytest.raises(DataError, match=r"outside \[0, 1\]"):
            Thresholds(from_logits=False).fit(LOGITS[:, 0], CODES == 0)


class TestTauNorm:
    @pytest.mark.parametrize("tau", [0.0, 0.5, 1.0])
    def test_equals_the_normalised_model(self, tau):
        model, twin = head(), head()
        corrected = TauNorm(tau).fit(model).append_to(model)
        tailfit.stages.normalize_classifier(twin, tau=tau)
        np.testing.assert_allclose(
            corrected.predict(LOGITS, verbose=0), twin.predict(LOGITS, verbose=0), rtol=1e-5, atol=1e-5
        )

    def test_tau_is_chosen_for_balanced_accuracy(self):
        biased = LOGITS * np.array([3, 2, 1, 0.5]) + [1, 0, 0, -1]
        chosen = TauNorm(None).fit(head(), biased, CODES)

        def recall(correction):
            called = correction.predict(biased)
            return np.mean([(called[of(code)] == code).mean() for code in range(C)])

        others = [recall(TauNorm(tau).fit(head())) for tau in np.linspace(0, 1, 21)]
        assert recall(chosen) == max(others)
        assert max(others) > min(others)

    def test_bad_arguments(self):
        with pytest.raises(ArgumentError, match="from_logits=False"):
            TauNorm(from_logits=False)
        with pytest.raises(ArgumentError, match="tau=-1"):
            TauNorm(-1)
        with pytest.raises(ArgumentError, match="without scores"):
            TauNorm(None).fit(head())
        with pytest.raises(ArgumentError, match="not fitted"):
            TauNorm().transform(LOGITS)
        inputs = keras.Input((2,))
        with pytest.raises(ArgumentError, match="Flatten"):
            TauNorm().fit(tailfit.Model(inputs, keras.layers.Flatten()(inputs)))


def test_golden_case_of_adjustment_and_thresholds():
    """Shares 6:2.5:1:0.5 by hand: adjustment, and thresholds equal to the shares, both divide by the shares."""
    adjusted = tailfit.posthoc.LogitAdjustment(COUNTS, from_logits=False).transform(PROBABILITIES)
    by_hand = PROBABILITIES / (np.array(COUNTS) / 1000)
    np.testing.assert_allclose(adjusted, by_hand / by_hand.sum(axis=1, keepdims=True), rtol=1e-5)
    assert softmax(LOGITS, axis=1) == pytest.approx(PROBABILITIES)
