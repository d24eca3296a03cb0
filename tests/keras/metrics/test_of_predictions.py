"""Checks of the metrics of predicted classes. They are discovered; each names its examples and its oracle here."""

import inspect
import math
import warnings

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.metrics import geometric_mean_score
from keras import ops
from sklearn.metrics import (
    balanced_accuracy_score,
    cohen_kappa_score,
    f1_score,
    matthews_corrcoef,
    recall_score,
)
from support.autograd import numpy

from tailfit import metrics
from tailfit.errors import ArgumentError
from tailfit.metrics._base import ConfusionMetric

C = 4
NAMES = ["valve leak", "sensor", "pump/seal", "ok"]


def recalls(y, called, w=None):
    return recall_score(y, called, labels=range(C), average=None, sample_weight=w, zero_division=0)


def root_of_recalls(y, called, w=None):
    return geometric_mean_score(y, called, labels=np.unique(y), average="multiclass", sample_weight=w)


def mean_of_roots(y, called, w=None):
    if w is None:
        return geometric_mean_score(y, called, labels=np.unique(y), average=None).mean()
    # imbalanced-learn's specificity ignores sample weights: use scikit-learn twice instead.
    roots = [
        np.prod([recall_score(y == k, called == k, pos_label=side, sample_weight=w) for side in (True, False)])
        for k in np.unique(y)
    ]
    return np.sqrt(roots).mean()


def balanced(y, called, w=None, *, adjusted=False):
    if adjusted and len(np.unique(y)) == 1:
        return 0.0  # scikit-learn divides by zero
    return balanced_accuracy_score(y, called, sample_weight=w, adjusted=adjusted)


def kappa(y, called, w=None):
    return np.nan_to_num(cohen_kappa_score(y, called, sample_weight=w))  # tailfit defines 0 / 0 as 0


def by_group(y, called, w=None):
    found = recalls(y, called, w)
    present = np.isin(np.arange(C), y)
    groups = [np.array([True, False, False, False]), np.array([False, True, True, False]), np.arange(C) == 3]
    return np.array([found[g & present].mean() if (g & present).any() else 0.0 for g in groups])


EXAMPLES = {
    "BalancedAccuracy": [
        ({}, balanced),
        ({"adjusted": True, "num_classes": C}, lambda *a: balanced(*a, adjusted=True)),
    ],
    "CohenKappa": [({}, kappa)],
    "GeometricMean": [({}, root_of_recalls), ({"average": "one_vs_rest"}, mean_of_roots)],
    "GroupRecall": [({"class_counts": [1000, 100, 20, 19]}, by_group)],
    "MacroF1": [({}, lambda y, called, w=None: f1_score(y, called, average="macro", sample_weight=w))],
    "MatthewsCorrelation": [({}, lambda y, called, w=None: matthews_corrcoef(y, called, sample_weight=w))],
    "PerClassRecall": [({}, recalls), ({"class_names": NAMES}, recalls)],
    "WorstClassRecall": [({}, lambda y, called, w=None: recalls(y, called, w)[np.unique(y)].min())],
}
CLASSES = {
    name: value
    for name in metrics.__all__
    if inspect.isclass(value := getattr(metrics, name)) and issubclass(value, ConfusionMetric)
}
CASES = [
    pytest.param(name, config, oracle, id=f"{name}-{index}")
    for name in CLASSES
    for index, (config, oracle) in enumerate(EXAMPLES.get(name, []))
]
every = pytest.mark.parametrize(("name", "config", "oracle"), CASES)

rng = np.random.default_rng(11)
SCORES = rng.standard_normal((60, C)).astype("float32")
CODES = rng.integers(0, C, 60)
ONE_HOT = np.eye(C, dtype="float32")[CODES]
WEIGHTS = rng.uniform(0.1, 3.0, 60).astype("float32")


def value(metric):
    result = metric.result()
    return np.array([numpy(v) for v in result.values()]) if isinstance(result, dict) else numpy(result)


def measured(name, config, *batches, **kwargs):
    metric = CLASSES[name](**config, **kwargs)
    for batch in batches:
        metric.update_state(*batch)
    return value(metric)


def expected(oracle, *args):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both libraries warn about absent classes
        return oracle(*args)


def test_every_metric_has_examples():
    assert CLASSES.keys() == EXAMPLES.keys(), "name the example configurations of each metric in EXAMPLES"
    assert all(EXAMPLES.values())


@every
def test_batches_equal_whole_equals_oracle(name, config, oracle):
    cuts = [slice(0, 7), slice(7, 8), slice(8, 60)]
    for w in (None, WEIGHTS):
        parts = [(CODES[c], SCORES[c], None if w is None else w[c]) for c in cuts]
        got = measured(name, config, *parts)
        np.testing.assert_allclose(got, measured(name, config, (CODES, SCORES, w)), rtol=1e-6)
        np.testing.assert_allclose(got, expected(oracle, CODES, SCORES.argmax(1), w), rtol=1e-6, atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_random_problems_with_absent_classes(data):
    """Equal to scikit-learn and imbalanced-learn whichever classes are absent from labels or predictions."""
    n = 6  # one size, since JAX compiles for each size
    few = st.lists(st.integers(0, C - 1), min_size=n, max_size=n).map(np.array)
    y, called = data.draw(few), data.draw(few)
    w = np.array(data.draw(st.lists(st.floats(0.125, 8, width=16), min_size=n, max_size=n)))
    for name, examples in EXAMPLES.items():
        for config, oracle in examples:
            got = measured(name, config, (y, 5 * np.eye(C, dtype="float32")[called], w))
            want = expected(oracle, y, called, w)
            np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6, err_msg=f"{name} {config}")


@every
@pytest.mark.parametrize(
    "y",
    [CODES[:, None], CODES.astype("uint8"), CODES.astype("float32"), CODES.tolist(), ONE_HOT, ONE_HOT == 1],
    ids=["column", "uint8", "float", "list", "one-hot", "bool one-hot"],
)
def test_label_forms(name, config, oracle, y):
    want = measured(name, config, (CODES, SCORES, WEIGHTS))
    np.testing.assert_array_equal(measured(name, config, (y, SCORES, WEIGHTS)), want)
    np.testing.assert_array_equal(measured(name, config, (y, SCORES, WEIGHTS[:, None])), want)


@every
def test_extra_axes_and_mask(name, config, oracle):
    from tailfit.keras_private import set_keras_mask

    want = measured(name, config, (CODES, SCORES))
    shaped = SCORES.reshape(12, 5, C)
    np.testing.assert_array_equal(measured(name, config, (CODES.reshape(12, 5), shaped)), want)
    keep = rng.random((12, 5)) < 0.7
    masked = ops.convert_to_tensor(shaped)
    set_keras_mask(masked, ops.convert_to_tensor(keep))
    want = measured(name, config, (CODES[keep.ravel()], SCORES[keep.ravel()]))
    np.testing.assert_allclose(measured(name, config, (CODES.reshape(12, 5), masked)), want, rtol=1e-6)
    # A weight per row applies to all positions of the row.
    rows = WEIGHTS[:12]
    want = measured(name, config, (CODES, SCORES, np.repeat(rows, 5)))
    np.testing.assert_allclose(measured(name, config, (CODES.reshape(12, 5), shaped, rows)), want, rtol=1e-6)


@every
@pytest.mark.parametrize("code", [-1, C])
def test_invalid_classes_give_nan_unless_their_weight_is_zero(name, config, oracle, code):
    y = CODES.copy()
    y[3] = code
    assert np.isnan(measured(name, config, (y, SCORES))).all()
    metric = CLASSES[name](**{**config, "num_classes": C})
    compiled_update(metric)(y, SCORES)
    assert np.isnan(value(metric)).all()
    w = np.where(np.arange(60) == 3, 0, WEIGHTS)
    want = measured(name, config, (CODES, SCORES, w))
    np.testing.assert_array_equal(measured(name, config, (y, SCORES, w)), want)


@every
def test_empty_and_reset(name, config, oracle):
    metric = CLASSES[name](**config)
    assert not value(metric).any()  # 0, as in Keras, or an empty vector
    metric.update_state(CODES, SCORES)
    metric.reset_state()
    assert np.isfinite(value(metric)).all()
    assert not value(metric).any()
    metric.update_state(CODES, SCORES)
    np.testing.assert_array_equal(value(metric), measured(name, config, (CODES, SCORES)))


@every
def test_config_round_trip(name, config, oracle):
    metric = CLASSES[name](**config, name="mine", dtype="float16")
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert type(twin) is type(metric)
    assert twin.get_config() == metric.get_config()
    assert set(inspect.signature(type(metric)).parameters) == metric.get_config().keys()
    assert (twin.name, twin.dtype) == ("mine", "float16")
    for m in (metric, twin):
        m.update_state(CODES, SCORES)
    np.testing.assert_array_equal(value(twin), value(metric))


@every
def test_counts_stay_exact_past_2_to_the_24(name, config, oracle):
    """A single float32 stops at 16,777,216. Also run compiled, as a compiler might remove the compensation."""
    metric = CLASSES[name](**config)
    y, z = np.array([0, 0, 1]), np.eye(C, dtype="float32")[[0, 1, 1]]
    metric.update_state(y, z)
    metric.reset_state()
    start = np.zeros((3, C), "float32")
    start[:, 0] = 2**24
    metric.variables[0].assign(start)
    metric.variables[1].assign(np.zeros_like(start))
    step = compiled_update(metric)
    for _ in range(5):
        metric.update_state(y, z)
        step(y, z)
    assert keras.backend.standardize_dtype(metric.variables[0].dtype) == "float32"
    sums, rests = (numpy(v) for v in metric.variables)
    exact = sums + rests
    assert exact[:, 0].tolist() == [2**24 + 10, 2**24 + 10, 2**24]
    assert exact[:, 1].tolist() == [10, 0, 10]
    assert sums[0, 0] == np.float32(exact[0, 0])  # carried over: otherwise the second float would stop at 2**24, too


def compiled_update(metric):
    """Return `metric.update_state`, compiled by the backend."""
    if keras.backend.backend() == "jax":
        import jax

        pure = jax.jit(metric.stateless_update_state)

        def step(y, z):
            for variable, new in zip(metric.variables, pure([v.value for v in metric.variables], y, z), strict=True):
                variable.assign(new)

        return step
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(metric.update_state, jit_compile=True)
    return metric.update_state  # torch.compile needs a C++ compiler and takes minutes


@every
def test_weighted_sums_keep_small_weights(name, config, oracle):
    """At 1e6 the resolution of float32 is 1/16: each addition of 0.01 would be lost."""
    metric = CLASSES[name](**config)
    y, z = np.array([0]), np.eye(C, dtype="float32")[[0]]
    metric.update_state(y, z, np.array([1e6], "float32"))
    for _ in range(50):
        metric.update_state(y, z, np.array([0.01], "float32"))
    total = sum(numpy(v)[0, 0] for v in metric.variables)
    assert total == pytest.approx(1e6 + 50 * float(np.float32(0.01)), rel=1e-12)


def tiny(*args, **kwargs):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(C)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), *args, **kwargs)
    return model


def test_fit_with_every_metric(tmp_path):
    """All metrics at once, plain and weighted, in `keras.Model.fit`: built in the traced step, logged and saved."""
    x = rng.standard_normal((60, 3)).astype("float32")
    plain = [CLASSES[c.values[0]](**c.values[1], name=f"m{i}") for i, c in enumerate(CASES)]
    weighted = [CLASSES[c.values[0]](**c.values[1], name=f"w{i}") for i, c in enumerate(CASES)]
    model = tiny(metrics=plain, weighted_metrics=weighted)
    model.fit(x, CODES, sample_weight=WEIGHTS, batch_size=16, epochs=2, verbose=0)
    log = tmp_path / "log.csv"
    history = model.fit(
        x,
        CODES,
        sample_weight=WEIGHTS,
        validation_data=(x, CODES, WEIGHTS),
        batch_size=16,
        verbose=2,
        callbacks=[keras.callbacks.CSVLogger(str(log))],
    ).history
    called = model.predict(x, verbose=0).argmax(1)
    for index, case in enumerate(CASES):
        for metric, w in ((plain[index], None), (weighted[index], WEIGHTS)):
            result = metric.result()
            keys = list(result) if isinstance(result, dict) else [metric.name]
            got = np.squeeze([history[f"val_{key}"][-1] for key in keys])
            np.testing.assert_allclose(got, expected(case.values[2], CODES, called, w), rtol=1e-5, atol=1e-6)
    assert "/valve leak" in log.read_text().splitlines()[0]
    model.save(tmp_path / "model.keras")
    twin = keras.saving.load_model(tmp_path / "model.keras")
    want = model.evaluate(x, CODES, sample_weight=WEIGHTS, verbose=0, return_dict=True)
    got = twin.evaluate(x, CODES, sample_weight=WEIGHTS, verbose=0, return_dict=True)
    assert got.keys() == want.keys()
    for key in want:
        np.testing.assert_allclose(got[key], want[key], rtol=1e-6)


def test_callbacks_can_monitor_per_class_recall():
    x = rng.standard_normal((60, 3)).astype("float32")
    model = tiny(metrics=[metrics.PerClassRecall(class_names=NAMES)])
    stop = keras.callbacks.EarlyStopping(monitor="val_recall/pump/seal", mode="max", patience=50)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*conditioned on metric.*")
        history = model.fit(x, CODES, validation_data=(x, CODES), verbose=0, callbacks=[stop]).history
    assert {f"val_recall/{n}" for n in NAMES} < history.keys()


def test_absent_classes_can_be_nan():
    metric = metrics.PerClassRecall(absent=math.nan)
    metric.update_state([0, 0, 2], SCORES[:3])
    assert np.isnan(value(metric)).tolist() == [False, True, False, True]


def test_specificity_of_a_class_with_nearly_all_samples():
    """N - size would lose all digits here; the sum over the other classes does not."""
    metric = metrics.GeometricMean(average="one_vs_rest", num_classes=2)
    metric.variables[0].assign(np.array([[2.0**30, 5], [0, 2], [2, 0]], "float32"))
    want = math.sqrt(5 / 7)  # for both classes
    np.testing.assert_allclose(value(metric), want, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: metrics.BalancedAccuracy(num_classes=1), "num_classes=1"),
        (lambda: metrics.BalancedAccuracy(num_classes=2.0), "num_classes=2.0"),
        (lambda: metrics.BalancedAccuracy(adjusted=1), "adjusted=1"),
        (lambda: metrics.GeometricMean(average="macro"), "average='macro'"),
        (lambda: metrics.PerClassRecall(class_names="abc"), "class_names='abc'"),
        (lambda: metrics.PerClassRecall(class_names=["a", "a"]), "unique names"),
        (lambda: metrics.PerClassRecall(class_names=["a", "b"], num_classes=3), "num_classes=3"),
        (lambda: metrics.PerClassRecall(absent=0.5), "absent=0.5"),
        (lambda: metrics.GroupRecall([1, 2], many=5, few=9), "few=9 and many=5"),
        (lambda: metrics.GroupRecall([1, 2], num_classes=3), "num_classes=3"),
        (lambda: metrics.GroupRecall([1, -2]), "class_counts with -2"),
        (lambda: metrics.GroupRecall([1, 2], few=float("nan")), "few=nan"),
        (lambda: metrics.MacroF1().update_state(CODES, CODES), "one score per class"),
        (lambda: metrics.MacroF1().update_state(CODES, CODES[:, None]), "one output"),
        (lambda: metrics.MacroF1(num_classes=3).update_state(CODES, SCORES), "with 3 classes"),
        (lambda: metrics.MacroF1().update_state(ONE_HOT[:, :2], SCORES), "y_true of shape"),
        (lambda: metrics.MacroF1().update_state(CODES, SCORES, np.ones((60, 2, 2))), "sample_weight of"),
    ],
)
def test_bad_arguments(make, match):
    with pytest.raises(ArgumentError, match=match):
        make()
