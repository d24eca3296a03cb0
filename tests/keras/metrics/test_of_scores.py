"""Checks of the metrics of scores. They are discovered; each names its examples and its oracle here."""

import inspect

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import average_precision_score, roc_auc_score
from support.autograd import double_precision, numpy

from tailfit import metrics
from tailfit.errors import ArgumentError
from tailfit.keras_private import set_keras_mask
from tailfit.metrics._base import ClassMetric, ConfusionMetric

C, N = 4, 60
rng = np.random.default_rng(11)
LOGITS = rng.standard_normal((N, C)).astype("float32")
LOGITS[::7] = LOGITS[1]  # ties
PROBABILITIES = softmax(LOGITS, axis=1)
CODES = rng.integers(0, C, N)
ONE_HOT = np.eye(C, dtype="float32")[CODES]
SEVERAL = (rng.random((N, C)) < 0.3).astype("float32")
WEIGHTS = rng.uniform(0.1, 3.0, N).astype("float32")


def gap_of_bins(y, p, w=None, bins=15):
    w = np.ones(len(y)) if w is None else w
    sure, right = p.max(1), p.argmax(1) == y
    number = np.ceil(sure * bins).astype(int)
    gaps = [abs(np.sum((w * (right - sure))[number == k])) for k in range(bins + 1)]
    return np.sum(gaps) / w.sum()


def over_classes(score, both_sides):
    """Return the mean of scikit-learn's binary score of each class against the rest, over the classes that have one."""

    def oracle(y, p, w=None):
        rows = y if np.ndim(y) == 2 else np.eye(C)[y]
        w = np.ones(len(rows)) if w is None else w
        sides = [(w @ rows[:, k], w @ (1 - rows[:, k])) for k in range(C)]
        values = [
            score(rows[:, k], p[:, k], sample_weight=w)
            for k, (own, rest) in enumerate(sides)
            if own > 0 and (rest > 0 or not both_sides)
        ]
        return np.mean(values) if values else 0.0

    return oracle


auc, precision = over_classes(roc_auc_score, True), over_classes(average_precision_score, False)
EXAMPLES = {
    "AveragePrecision": [({"capacity": 80}, precision), ({"capacity": 80, "multi_label": True}, precision)],
    "CalibrationError": [({}, gap_of_bins), ({"bins": 4}, lambda *a: gap_of_bins(*a, bins=4))],
    "RocAuc": [({"capacity": 80}, auc), ({"capacity": 80, "multi_label": True}, auc)],
}
CLASSES = {
    name: value
    for name in metrics.__all__
    if inspect.isclass(value := getattr(metrics, name))
    and issubclass(value, ClassMetric)
    and not issubclass(value, ConfusionMetric)
}
CASES = [(name, config, oracle) for name in CLASSES for config, oracle in EXAMPLES.get(name, [])]
every = pytest.mark.parametrize(("name", "config", "oracle"), CASES)
ranking = pytest.mark.parametrize("name", ["AveragePrecision", "RocAuc"])


def truth(config):
    return SEVERAL if config.get("multi_label") else CODES


def measured(name, config, *batches, from_logits=True, **kwargs):
    metric = CLASSES[name](**config, from_logits=from_logits, **kwargs)
    for batch in batches:
        metric.update_state(*batch)
    return float(numpy(metric.result()))


def test_every_metric_has_examples():
    assert CLASSES.keys() == EXAMPLES.keys(), "name the example configurations of each metric in EXAMPLES"


@every
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("from_logits", [True, False])
def test_batches_equal_whole_equals_oracle(name, config, oracle, weighted, from_logits):
    y, w = truth(config), WEIGHTS if weighted else None
    scores = LOGITS if from_logits else PROBABILITIES
    cuts = [slice(0, 30), slice(30, 60)]
    parts = [(y[c], scores[c], None if w is None else w[c]) for c in cuts]
    got = measured(name, config, *parts, from_logits=from_logits)
    whole = measured(name, config, (y, scores, w), from_logits=from_logits)
    assert got == pytest.approx(whole, rel=1e-6, abs=1e-7)
    seen = LOGITS if from_logits and config.get("multi_label") else PROBABILITIES
    assert got == pytest.approx(oracle(y, seen, w), abs=1e-6)


@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_random_problems_with_ties_and_absent_classes(data):
    n = 6
    y = np.array(data.draw(st.lists(st.integers(0, C - 1), min_size=n, max_size=n)))
    # Make ties from equal rows, since rounding may create or break other ties.
    logits = LOGITS[data.draw(st.lists(st.integers(1, 4), min_size=n, max_size=n))]
    w = np.array(data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=n, max_size=n)))
    w[0] = 1

    def padded(values):  # to a shape that is already compiled, since JAX compiles for each shape
        return np.concatenate([values, np.zeros((30 - n, *np.shape(values)[1:]), values.dtype)])

    for name, config, oracle in CASES:
        if config.get("multi_label"):
            hot, seen = (np.arange(C) <= y[:, None]).astype("float32"), logits
        else:
            hot, seen = y, softmax(logits.astype("float64"), axis=1)
        got = measured(name, config, tuple(map(padded, (hot, logits, w))))
        assert got == pytest.approx(oracle(hot, seen, w), abs=2e-6), f"{name} {config}"


@pytest.mark.slow
@ranking
def test_thousands_of_samples_are_precise_to_1e_6(name):
    rng = np.random.default_rng(3)
    y = rng.choice(C, 5000, p=[0.9, 0.05, 0.04, 0.01])
    logits = (3 * rng.standard_normal((5000, C)) + np.eye(C)[y] + [4, 1, 1, 0]).astype("float32")
    w = rng.uniform(0.1, 3, 5000).astype("float32")
    for weights in (None, w):
        parts = [
            (y[i : i + 500], logits[i : i + 500], None if weights is None else w[i : i + 500])
            for i in range(0, 5000, 500)
        ]
        want = EXAMPLES[name][0][1](y, softmax(logits.astype("float64"), axis=1), weights)
        assert measured(name, {}, *parts) == pytest.approx(want, abs=1e-6)


@every
def test_label_forms(name, config, oracle):
    want = measured(name, config, (truth(config), LOGITS, WEIGHTS))
    forms = [SEVERAL == 1, SEVERAL.tolist()] if config.get("multi_label") else [CODES[:, None], ONE_HOT, CODES.tolist()]
    for y in forms:
        assert measured(name, config, (y, LOGITS, WEIGHTS[:, None])) == want


@every
def test_extra_axes_mask_and_zero_weights(name, config, oracle):
    y = truth(config)
    want = measured(name, config, (y, LOGITS))
    shaped = LOGITS.reshape(12, 5, C)
    long = y.reshape(12, 5, *y.shape[1:])
    assert measured(name, config, (long, shaped)) == pytest.approx(want, rel=1e-6)
    keep = rng.random((12, 5)) < 0.7
    masked = keras.ops.convert_to_tensor(shaped)
    set_keras_mask(masked, keras.ops.convert_to_tensor(keep))
    want = oracle(y, LOGITS if config.get("multi_label") else PROBABILITIES, keep.ravel().astype(float))
    assert measured(name, config, (long, masked)) == pytest.approx(want, abs=1e-6)
    assert measured(name, config, (y, LOGITS, keep.ravel().astype("float32"))) == pytest.approx(want, abs=1e-6)


@every
def test_invalid_labels_give_nan_unless_their_weight_is_zero(name, config, oracle):
    y = np.array(truth(config), "float32")
    y[3] = C  # neither a class index nor 0 or 1
    assert np.isnan(measured(name, config, (y, LOGITS)))
    odd = LOGITS.copy()
    odd[3] = np.nan
    assert np.isnan(measured(name, config, (truth(config), odd)))
    w = np.where(np.arange(N) == 3, 0, WEIGHTS)
    want = measured(name, config, (truth(config), LOGITS, w))
    assert measured(name, config, (y, LOGITS, w)) == pytest.approx(want, rel=1e-6)


@every
def test_empty_and_reset(name, config, oracle):
    metric = CLASSES[name](**config, from_logits=True)
    assert float(numpy(metric.result())) == 0
    for _ in range(2):
        metric.update_state(truth(config), LOGITS)
        found = float(numpy(metric.result()))
        metric.reset_state()
        assert float(numpy(metric.result())) == 0
    assert found == measured(name, config, (truth(config), LOGITS))


@every
def test_config_round_trip(name, config, oracle):
    metric = CLASSES[name](**config, from_logits=True, name="mine", dtype="float16", num_classes=C)
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert twin.get_config() == metric.get_config()
    assert set(inspect.signature(type(metric)).parameters) == metric.get_config().keys()
    for m in (metric, twin):
        m.update_state(truth(config), LOGITS)
    assert float(numpy(twin.result())) == float(numpy(metric.result()))


@pytest.mark.slow
@every
def test_float64(name, config, oracle):
    """Scores are ranked in float32; sums are computed in float64."""
    y, logits, w = truth(config), LOGITS.astype("float64"), WEIGHTS.astype("float64")
    with double_precision():
        got = measured(name, config, (y, logits, w), dtype="float64")
    seen = logits if config.get("multi_label") else softmax(logits, axis=1)
    assert got == pytest.approx(oracle(y, seen, w), abs=1e-12 if name == "CalibrationError" else 1e-6)


def test_fit_with_every_metric(monkeypatch, backend):
    """Plain and weighted, in `keras.Model.fit`: built in the traced step, logged, traced once."""
    traced, own = [], metrics.RocAuc.update_state
    monkeypatch.setattr(
        metrics.RocAuc, "update_state", lambda *args, **kwargs: traced.append(1) or own(*args, **kwargs)
    )
    x = rng.standard_normal((N, 3)).astype("float32")
    names = {"plain": ["CalibrationError", "RocAuc"], "weighted": ["CalibrationError", "AveragePrecision"]}
    chosen = {
        kind: [CLASSES[name](**EXAMPLES[name][0][0], from_logits=True, name=f"{kind}_{name}") for name in names[kind]]
        for kind in names
    }
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(C)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=chosen["plain"], weighted_metrics=chosen["weighted"])
    data = (x, CODES, WEIGHTS)
    given = {"sample_weight": WEIGHTS, "validation_data": data, "batch_size": 30, "verbose": 0}
    model.fit(x, CODES, **given)
    before = len(traced)
    history = model.fit(x, CODES, **given).history
    assert backend == "torch" or len(traced) == before
    p = softmax(model.predict(x, verbose=0), axis=1)
    for kind, w in (("plain", None), ("weighted", WEIGHTS)):
        for name in names[kind]:
            want = EXAMPLES[name][0][1](CODES, p, w)
            assert history[f"val_{kind}_{name}"][-1] == pytest.approx(want, abs=2e-6)


@ranking
def test_more_samples_than_the_capacity_give_nan(name):
    for kept, finite in ((20, True), (21, False)):  # samples of a second batch; the others have weight 0
        w = (np.arange(N) < kept).astype("float32")
        found = measured(name, {"capacity": 80}, (CODES, LOGITS, np.ones(N, "float32")), (CODES, LOGITS, w))
        assert np.isfinite(found) == finite


@ranking
def test_one_output_for_two_classes(name):
    y = CODES == 1
    want = {"RocAuc": roc_auc_score, "AveragePrecision": average_precision_score}[name](y, LOGITS[:, 0])
    for hot in (y.astype("int32"), y[:, None]):
        assert measured(name, {"multi_label": True, "capacity": 80}, (hot, LOGITS[:, :1])) == pytest.approx(
            want, abs=1e-6
        )


@ranking
def test_logits_whose_probabilities_round_to_one_are_not_ties(name):
    y, logits = np.zeros(N, int), np.zeros((N, C), "float32")
    y[2:4], logits[:4, 0] = 1, [60, 50, 40, 30]
    found = measured(name, {"capacity": 80}, (y, logits, (np.arange(N) < 4).astype("float32")))
    assert found == pytest.approx(1)


def test_calibration_error_by_hand():
    """Three bins: (0.9, 0.8 | one wrong), (0.55 | correct), weights 1, 1, 2."""
    p = np.array([[0.92, 0.08], [0.92, 0.08], [0.55, 0.45]], "float32")
    got = measured("CalibrationError", {"bins": 10}, ([0, 1, 0], p, np.array([1.0, 1.0, 2.0])), from_logits=False)
    assert got == pytest.approx((abs(1 - 1.84) + 2 * 0.45) / 4, abs=1e-6)
    assert np.isnan(measured("CalibrationError", {}, (CODES, LOGITS), from_logits=False))  # logits


def test_trap_27_metrics_that_keras_lacks():
    """Every metric in the list accepts integer labels; Keras has no metric of that name."""
    for name in metrics.__all__:
        assert not hasattr(keras.metrics, name)
        needs = {"class_counts": [50, 30, 10, 2]} if name == "GroupRecall" else {}
        needs |= {"from_logits": True} if name in CLASSES else {}
        needs |= {"capacity": 80} if name in ("RocAuc", "AveragePrecision") else {}
        metric = getattr(metrics, name)(**needs)
        metric.update_state(CODES, LOGITS)
        result = metric.result()
        values = [*result.values()] if isinstance(result, dict) else [result]
        assert all(np.isfinite(numpy(value)).all() for value in values)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: metrics.RocAuc(), "no from_logits"),
        (lambda: metrics.CalibrationError(15), "no from_logits"),
        (lambda: metrics.CalibrationError(0, from_logits=True), "bins=0"),
        (lambda: metrics.RocAuc(from_logits=True, capacity=0), "capacity=0"),
        (lambda: metrics.RocAuc(from_logits=True, multi_label=1), "multi_label=1"),
        (lambda: metrics.RocAuc(from_logits=True, num_classes=0), "num_classes=0"),
        (lambda: measured("RocAuc", {"num_classes": 3}, (CODES, LOGITS)), "with 3 classes"),
        (lambda: measured("RocAuc", {}, (CODES, LOGITS[:, :1])), "one output"),
        (lambda: measured("RocAuc", {"multi_label": True}, (CODES, LOGITS)), "rows of 0 and 1"),
        (lambda: measured("CalibrationError", {}, (ONE_HOT[:, :2], LOGITS)), "y_true of shape"),
    ],
)
def test_bad_arguments(make, match):
    with pytest.raises(ArgumentError, match=match):
        make()
