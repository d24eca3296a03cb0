"""The battery every classification loss passes. Losses are discovered; each names its example configurations here."""

import inspect

import keras
import numpy as np
import pytest
from batteries.autograd import double_precision, gradient, numpy
from keras import ops

from tailfit import losses
from tailfit.errors import ArgumentError

C = 4
COUNTS = [1000.0, 100.0, 30.0, 5.0]
EXAMPLES = {
    "BalancedSoftmax": [{"class_counts": COUNTS}],
    "CrossEntropy": [{}, {"label_smoothing": 0.1, "class_weights": [0.5, 1.0, 2.0, 4.0]}],
    "Focal": [{}, {"gamma": 0.5}, {"gamma": 0.0}, {"gamma": 3.0, "alpha": [0.25, 1.0, 2.0, 3.0]}],
    "LogitAdjusted": [{"class_counts": COUNTS}, {"class_counts": COUNTS, "tau": 0.5}],
}
CLASSES = {
    name: value
    for name in losses.__all__
    if inspect.isclass(value := getattr(losses, name)) and issubclass(value, keras.losses.Loss)
}
CASES = [
    pytest.param(name, config, id=f"{name}-{index}")
    for name in CLASSES
    for index, config in enumerate(EXAMPLES.get(name, []))
]
every = pytest.mark.parametrize(("name", "config"), CASES)
once = pytest.mark.parametrize(("name", "config"), [case for case in CASES if case.id.endswith("-0")])

rng = np.random.default_rng(7)
LOGITS = (2 * rng.standard_normal((9, C))).astype("float32")
CODES = rng.integers(0, C, 9)
ONE_HOT = np.eye(C, dtype="float32")[CODES]
SOFT = rng.dirichlet(np.ones(C), 9).astype("float32")
WEIGHTS = rng.uniform(0.1, 3.0, 9).astype("float32")


def make(class_name, config, *, from_logits=True, **kwargs):
    return CLASSES[class_name](**config, from_logits=from_logits, **kwargs)


def per_sample(name, config, y, z, **kwargs):
    return numpy(make(name, config, reduction=None, **kwargs)(y, z))


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_every_loss_has_examples():
    assert CLASSES.keys() == EXAMPLES.keys(), "name the example configurations of each loss in EXAMPLES"
    assert all(EXAMPLES.values())


@every
def test_every_argument_is_keyword_only_but_class_counts(name, config):
    parameters = list(inspect.signature(CLASSES[name].__init__).parameters.values())[1:]
    free = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    assert free in ([], ["class_counts"])
    assert {"from_logits", "name", "reduction", "dtype"} <= {p.name for p in parameters}


@every
@pytest.mark.parametrize(
    "y",
    [
        CODES[:, None],
        CODES.astype("uint8"),
        CODES.astype("float32"),
        CODES.tolist(),
        ONE_HOT,
        ONE_HOT.astype("int32"),
        ONE_HOT.astype("bool"),
        ONE_HOT.astype("float64"),
    ],
    ids=["column", "uint8", "float", "list", "one-hot", "int one-hot", "bool one-hot", "float64 one-hot"],
)
def test_one_hot_equals_codes(name, config, y):
    want = per_sample(name, config, CODES, LOGITS)
    assert want.shape == (9,)
    assert np.all(want >= 0)
    np.testing.assert_allclose(per_sample(name, config, y, LOGITS), want, rtol=1e-6)


@every
def test_codes_keep_their_value_in_low_precision(name, config):
    """bfloat16 holds whole numbers up to 256: class 299 must not become class 300."""
    wide = dict(config)
    for key, value in config.items():
        if isinstance(value, list):
            wide[key] = [*value, *np.linspace(1, 50, 296)]
    y = np.array([257, 297, 299])  # bfloat16 has 256, 296 and 300 in their place
    z = np.zeros((3, 300), "float32")
    z[np.arange(3), y] = 5
    value = per_sample(name, wide, y, z, dtype="bfloat16")
    np.testing.assert_allclose(value, per_sample(name, wide, y, z), rtol=1e-2)


@every
def test_soft_labels_are_accepted_and_continuous(name, config):
    value = per_sample(name, config, SOFT, LOGITS)
    assert value.shape == (9,)
    assert np.all(np.isfinite(value))
    # Linear in the labels: the soft value is the mix of the values at each class.
    at = np.stack([per_sample(name, config, np.full(9, k), LOGITS) for k in range(C)], axis=-1)
    np.testing.assert_allclose(value, (SOFT * at).sum(-1), rtol=2e-5)


@every
def test_extra_axes(name, config):
    want = per_sample(name, config, CODES, LOGITS).reshape(3, 3)
    for y in (CODES.reshape(3, 3), CODES.reshape(3, 3, 1), ONE_HOT.reshape(3, 3, C)):
        np.testing.assert_allclose(per_sample(name, config, y, LOGITS.reshape(3, 3, C)), want, rtol=1e-6)


@once
@pytest.mark.parametrize("weights", [None, WEIGHTS, WEIGHTS[:, None]], ids=["plain", "weighted", "column"])
@pytest.mark.parametrize("reduction", ["sum", "sum_over_batch_size", "mean", "mean_with_sample_weight", "none", None])
def test_reductions_and_sample_weight(name, config, weights, reduction):
    values = per_sample(name, config, CODES, LOGITS)
    w = np.ones(9) if weights is None else WEIGHTS.astype("float64")
    total = (w * values).sum()
    want = {"sum": total, "mean_with_sample_weight": total / w.sum(), "none": w * values, None: w * values}
    got = numpy(make(name, config, reduction=reduction)(CODES, LOGITS, sample_weight=weights))
    # A column of weights makes Keras return unreduced values as a column.
    np.testing.assert_allclose(np.ravel(got), np.ravel(want.get(reduction, total / 9)), rtol=1e-5)


@every
def test_mask(name, config):
    """Keras hangs a mask on the predictions by a private hook; it must survive our reading of the labels."""
    from tailfit.keras_private import set_keras_mask

    keep = np.arange(9) % 3 != 0
    z = ops.convert_to_tensor(LOGITS)
    set_keras_mask(z, ops.convert_to_tensor(keep))
    y = np.where(keep, CODES, -1)
    want = per_sample(name, config, CODES, LOGITS)[keep].mean()
    np.testing.assert_allclose(numpy(make(name, config)(y, z)), want, rtol=1e-5)


@every
@pytest.mark.parametrize("code", [-1, C, 255, 1.5])
def test_unknown_codes_are_nan_unless_their_weight_is_zero(name, config, code):
    y = CODES.astype("float32" if code == 1.5 else "int32")
    y[2] = code
    values = per_sample(name, config, y, LOGITS)
    assert np.isnan(values[2])
    assert np.isfinite(np.delete(values, 2)).all()
    weights = np.where(np.arange(9) == 2, 0, WEIGHTS)
    loss = make(name, config, reduction="sum")
    want = numpy(loss(CODES, LOGITS, sample_weight=weights))
    for w in (weights, weights[:, None]):
        np.testing.assert_allclose(numpy(loss(y, LOGITS, sample_weight=w)), want, rtol=1e-6)
    slope = gradient(lambda z: loss(y, z, sample_weight=weights), LOGITS)
    assert np.isfinite(slope).all()
    assert not slope[2].any()


@every
def test_probabilities_agree_with_logits(name, config):
    want = per_sample(name, config, CODES, LOGITS)
    got = per_sample(name, config, CODES, softmax(LOGITS.astype("float64")), from_logits=False)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@every
def test_probabilities_of_zero_and_one(name, config):
    p = np.array([[0, 1, 0, 0], [1e-40, 1, 0, 0], [1e-30, 1, 1e-30, 0]], "float32")
    loss = make(name, config, from_logits=False, reduction="sum")
    for y in (np.array([0, 0, 0]), np.array([1, 1, 1])):
        assert np.isfinite(numpy(loss(y, p)))
        assert np.isfinite(gradient(lambda q, y=y: loss(y, q), p)).all()
    # 1e-30 is still a number: it pulls.
    assert gradient(lambda q: loss(np.array([0, 0, 0]), q), p)[2, 0] < 0


@once
@pytest.mark.parametrize("given", [{}, {"from_logits": None}, {"from_logits": 1}, {"from_logits": "True"}])
def test_from_logits_must_be_said(name, config, given):
    with pytest.raises(ArgumentError, match="softmax") as caught:
        CLASSES[name](**config, **given)
    assert "from_logits=True" in str(caught.value)
    assert "from_logits=False" in str(caught.value)


@every
@pytest.mark.parametrize(("dtype", "size"), [("float32", 100), ("bfloat16", 30), ("float16", 30)])
def test_extreme_logits(name, config, dtype, size):
    """The sample that is badly wrong must still teach: loss near its size, slope near 1 in both classes."""
    z = np.zeros((2, C), "float32")
    z[:, 0], z[:, 1] = size, -size
    loss = make(name, config, dtype=dtype, reduction=None)
    values = numpy(loss(np.array([1, 0]), z))
    assert np.isfinite(values).all()
    assert values[0] > 0.4 * size
    for code, row in ((1, 0), (0, 1)):
        y = np.array([code, code])
        slope = gradient(lambda q, y=y: ops.sum(loss(y, q)), z)
        assert np.isfinite(slope).all()
        if row == 0:
            assert slope[0, 0] > 0.3
            assert slope[0, 1] < -0.3


@every
def test_minus_infinity_switches_a_class_off(name, config):
    if config.get("label_smoothing"):
        pytest.skip("smoothing gives the class a share of the label: infinite is right")
    z = LOGITS.copy()
    z[:, 3] = -np.inf
    y = CODES % 3
    assert np.isfinite(per_sample(name, config, y, z)).all()
    slope = gradient(lambda q: make(name, config)(y, q), z)
    assert np.isfinite(slope).all()
    assert not slope[:, 3].any()


@every
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_computes_in_single(name, config, dtype):
    """Logits a half can hold exactly: the per-sample loss is the float32 one, rounded once."""
    z = np.round(LOGITS * 8) / 8
    want = per_sample(name, config, CODES, z)
    got = make(name, config, dtype=dtype, reduction=None)(CODES, z)
    assert keras.backend.standardize_dtype(got.dtype) == dtype
    np.testing.assert_allclose(numpy(got), want, rtol=2**-8 if dtype == "bfloat16" else 2**-10, atol=1e-6)


@every
@pytest.mark.parametrize("from_logits", [True, False])
def test_gradient_against_finite_differences(name, config, from_logits):
    x = LOGITS[:3].astype("float64")
    x = x if from_logits else softmax(x)
    y = SOFT[:3].astype("float64")
    with double_precision():
        loss = make(name, config, from_logits=from_logits, dtype="float64", reduction="sum")
        slope = gradient(lambda q: loss(y, q), x, "float64")
        numeric = np.empty_like(x)
        for at in np.ndindex(x.shape):
            step = np.zeros_like(x)
            step[at] = 1e-5
            numeric[at] = (numpy(loss(y, x + step)) - numpy(loss(y, x - step))) / 2e-5
    np.testing.assert_allclose(slope, numeric, rtol=1e-6, atol=1e-8)


@every
@pytest.mark.parametrize(
    ("dtype", "reduction"), [(None, "sum"), ("bfloat16", None), (keras.DTypePolicy("mixed_float16"), "mean")]
)
def test_config_round_trip(name, config, dtype, reduction):
    """Trap 18: Keras' own losses forget their dtype."""
    loss = make(name, config, dtype=dtype, reduction=reduction, name="mine")
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(twin) is type(loss)
    assert twin.get_config() == loss.get_config()
    assert (twin.dtype, twin.reduction, twin.name) == (loss.dtype, reduction, "mine")
    assert set(inspect.signature(type(loss)).parameters) == loss.get_config().keys()
    np.testing.assert_array_equal(numpy(twin(CODES, LOGITS)), numpy(loss(CODES, LOGITS)))


def tiny(name, config, **kwargs):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(C)])
    model.compile("sgd", make(name, config, **kwargs), metrics=["accuracy"])
    return model


@once
def test_compile_fit_save_load(name, config, tmp_path):
    x = rng.standard_normal((9, 3)).astype("float32")
    model = tiny(name, config, dtype="bfloat16")
    before = model.get_weights()
    model.fit(x, CODES, sample_weight=WEIGHTS, batch_size=4, verbose=0)
    after = model.get_weights()
    assert all(np.isfinite(w).all() for w in after)
    assert any((a != b).any() for a, b in zip(after, before, strict=True))
    model.save(tmp_path / "model.keras")
    twin = keras.saving.load_model(tmp_path / "model.keras")
    assert twin.loss.get_config() == model.loss.get_config()
    np.testing.assert_array_equal(twin.predict(x, verbose=0), model.predict(x, verbose=0))


@once
def test_unknown_codes_are_nan_in_a_compiled_step_too(name, config):
    """A compiler may turn 0 * NaN into 0: seen with XLA."""
    history = tiny(name, config).fit(np.ones((4, 3), "float32"), np.array([0, 1, -1, 2]), verbose=0).history
    assert np.isnan(history["loss"][0])


@once
def test_fit_is_the_same_with_codes_and_one_hot(name, config):
    x = rng.standard_normal((9, 3)).astype("float32")
    start = tiny(name, config).get_weights()
    ends = []
    for y in (CODES, ONE_HOT):
        model = tiny(name, config)
        model.set_weights(start)
        model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
        ends.append(model.get_weights())
    for a, b in zip(*ends, strict=True):
        np.testing.assert_array_equal(a, b)


@once
@pytest.mark.parametrize(
    ("y", "z", "match"),
    [
        (np.zeros(3, int), np.zeros((3, 1)), "two outputs"),
        (np.zeros(3, int), np.zeros(3), "one score a class"),
        (np.zeros((3, 5)), np.zeros((3, C)), "y_true of shape"),
        (np.zeros((3, 2, 2), int), np.zeros((3, C)), "y_true of shape"),
    ],
)
def test_shapes_that_do_not_fit(name, config, y, z, match):
    with pytest.raises(ArgumentError, match=match):
        make(name, config)(y, z)


@every
def test_another_number_of_classes(name, config):
    if not any(isinstance(value, list) for value in config.values()):
        pytest.skip("nothing that is given one a class")
    with pytest.raises(ArgumentError, match=f"for {C} classes"):
        make(name, config)(np.array([0]), np.zeros((1, C + 1)))
