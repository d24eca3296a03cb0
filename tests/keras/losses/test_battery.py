"""Checks of all classification losses. Losses are discovered; support/losses.py has examples of each."""

import inspect
import runpy

import keras
import numpy as np
import pytest
from keras import ops
from support.autograd import double_precision, gradient, numpy
from support.losses import (
    BATCHWISE,
    CASES,
    CLASSES,
    CODES,
    EXAMPLES,
    LABELS,
    LOGITS,
    NOT_LINEAR_IN_LABELS,
    ONE_HOT,
    PULL,
    SEES_LOGITS,
    SOFT,
    STOPS_GRADIENT,
    WEIGHTS,
    C,
    dressed,
    make,
    network,
    over_labels,
    per_sample,
    probabilities,
)
from support.paths import ROOT

from tailfit import losses, registration, schedules
from tailfit.errors import ArgumentError

every = pytest.mark.parametrize(("name", "index"), CASES, ids=str)
once = pytest.mark.parametrize("name", CLASSES)
# Behaviour of the base class is tested on a softmax loss, a sigmoid loss and a loss of the whole batch.
kinds = pytest.mark.parametrize("name", ["CrossEntropy", "BinaryFocal"])
compiled = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in ("CrossEntropy", "BinaryFocal") else pytest.mark.slow) for name in CLASSES],
)


def test_every_loss_is_in_the_lists():
    """`scripts/register` writes them from the files of the room."""
    register = runpy.run_path(str(ROOT / "scripts" / "register"))
    files = {path.stem: register["losses_of"](path) for path in register["ROOM"].parent.glob("[!_]*.py")}
    found = {name for names in files.values() for name in names}
    assert found == set(losses.__all__), "run scripts/register"
    classes = {f"tailfit>{name}" for name in found if name in CLASSES}
    assert classes == {name for name, home in registration.CLASSES.items() if home == "tailfit.losses"}, (
        "run scripts/register"
    )


def test_every_loss_is_documented():
    """Each has a section and a plot, made when the site is built; what losses.md does not name is added to it."""
    plots = runpy.run_path(str(ROOT / "docs" / "loss_plots.py"))
    page = (ROOT / "docs" / "losses.md").read_text(encoding="utf-8")
    assert plots["CURVES"].keys() == CLASSES.keys()
    for text in (page + plots["further"](page), plots["further"]("")):
        for name in CLASSES:
            assert text.count(f"### {name}\n") == 1
            assert f"(_build/losses/{name}.svg)" in text


@once
def test_every_argument_is_keyword_only_but_class_counts(name):
    parameters = list(inspect.signature(CLASSES[name].__init__).parameters.values())[1:]
    free = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    assert free in ([], ["class_counts"])
    assert {"from_logits", "name", "reduction", "dtype"} <= {p.name for p in parameters}


@once
def test_every_loss_has_a_function_with_the_same_arguments(name):
    """Class and function agree on every argument and default, and the function is public too."""
    function = CLASSES[name].function
    assert getattr(losses, function.__name__) is function
    assert function.__name__ in losses.__all__
    of_class = inspect.signature(CLASSES[name]).parameters
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in of_class:
            assert parameter.default == of_class[parameter.name].default or parameter.name == "class_counts"
    assert of_class.keys() - inspect.signature(function).parameters.keys() == {"name", "reduction", "dtype"}


# Labels


@every
def test_one_hot_equals_class_indices(name, index):
    want = per_sample(name, index, CODES, LOGITS)
    assert want.shape == (9,)
    assert np.all(want >= 0)
    for y in (CODES[:, None], ONE_HOT, ONE_HOT.astype("bool")):
        np.testing.assert_allclose(per_sample(name, index, y, LOGITS), want, rtol=1e-6)


@kinds
def test_labels_of_every_type(name):
    want = per_sample(name, 0, CODES, LOGITS)
    same = [CODES.astype("uint8"), CODES.astype("float32"), CODES.tolist()]
    for y in (*same, ONE_HOT.astype("int32"), ONE_HOT.astype("float64")):
        np.testing.assert_allclose(per_sample(name, 0, y, LOGITS), want, rtol=1e-6)


@kinds
def test_class_indices_are_exact_in_low_precision(name):
    """bfloat16 holds whole numbers up to 256: class 299 must not become class 300."""
    y = np.array([257, 297, 299])  # bfloat16 rounds them to 256, 296 and 300
    z = np.zeros((3, 300), "float32")
    z[np.arange(3), y] = 5
    value = per_sample(name, 0, y, z, dtype="bfloat16")
    np.testing.assert_allclose(value, per_sample(name, 0, y, z), rtol=1e-2)


@every
def test_soft_labels_are_accepted_and_continuous(name, index):
    value = per_sample(name, index, SOFT, LOGITS)
    assert value.shape == (9,)
    assert np.all(np.isfinite(value))
    if (name, index) in NOT_LINEAR_IN_LABELS:
        near = per_sample(name, index, 0.999999 * ONE_HOT + 0.000001 * SOFT, LOGITS)
        np.testing.assert_allclose(near, per_sample(name, index, ONE_HOT, LOGITS), rtol=1e-3, atol=1e-4)
        return
    # Linear in the labels: the value of a soft label is the weighted mean of the values for each class.
    at = np.stack([per_sample(name, index, np.full(9, k), LOGITS) for k in range(C)], axis=-1)
    np.testing.assert_allclose(value, (SOFT * at).sum(-1), rtol=2e-5)


@pytest.mark.parametrize(("name", "index"), [case for case in CASES if over_labels(*case)], ids=str)
def test_labels_of_several_classes_at_once(name, index):
    """Multi-label 0/1 rows, including one without labels."""
    values = per_sample(name, index, LABELS, LOGITS)
    assert values.shape == (9,)
    assert np.isfinite(values).all()
    np.testing.assert_allclose(per_sample(name, index, LABELS.astype("bool"), LOGITS), values, rtol=1e-6)
    np.testing.assert_allclose(per_sample(name, index, LABELS[:, ::-1][:, ::-1].tolist(), LOGITS), values, rtol=1e-6)
    assert np.isfinite(gradient(lambda z: ops.sum(make(name, index)(LABELS, z)), LOGITS)).all()


@once
def test_extra_axes(name):
    want = per_sample(name, 0, CODES, LOGITS).reshape(3, 3)
    for y in (CODES.reshape(3, 3), CODES.reshape(3, 3, 1), ONE_HOT.reshape(3, 3, C)):
        np.testing.assert_allclose(per_sample(name, 0, y, LOGITS.reshape(3, 3, C)), want, rtol=1e-6)


# Reductions, weights, masks


@kinds
@pytest.mark.parametrize("weights", [None, WEIGHTS, WEIGHTS[:, None]], ids=["plain", "weighted", "column"])
@pytest.mark.parametrize("reduction", ["sum", "sum_over_batch_size", "mean", "mean_with_sample_weight", "none", None])
def test_reductions_and_sample_weight(name, weights, reduction):
    values = per_sample(name, 0, CODES, LOGITS)
    w = np.ones(9) if weights is None else WEIGHTS.astype("float64")
    total = (w * values).sum()
    want = {"sum": total, "mean_with_sample_weight": total / w.sum(), "none": w * values, None: w * values}
    got = numpy(make(name, reduction=reduction)(CODES, LOGITS, sample_weight=weights))
    # A column of weights makes Keras return unreduced values as a column.
    np.testing.assert_allclose(np.ravel(got), np.ravel(want.get(reduction, total / 9)), rtol=1e-5)


@once
def test_mean_with_sample_weight(name):
    values = per_sample(name, 0, CODES, LOGITS)
    if name in BATCHWISE:
        pytest.skip("weights are inside the means of the batch: tested separately")
    got = numpy(make(name, reduction="mean_with_sample_weight")(CODES, dressed(name, LOGITS), sample_weight=WEIGHTS))
    np.testing.assert_allclose(got, np.average(values, weights=WEIGHTS), rtol=1e-5)


@once
def test_mask(name):
    """The mask that Keras attaches to predictions with a private hook survives the conversion of the labels."""
    from tailfit.keras_private import set_keras_mask

    keep = np.arange(9) % 3 != 0
    z = dressed(name, LOGITS)
    set_keras_mask(z, ops.convert_to_tensor(keep))
    if name in BATCHWISE:
        want = per_sample(name, 0, CODES[keep], LOGITS[keep]).mean()
    else:
        want = per_sample(name, 0, CODES, LOGITS)[keep].mean()
    np.testing.assert_allclose(numpy(make(name)(np.where(keep, CODES, -1), z)), want, rtol=1e-5)


@once
def test_invalid_classes_give_nan_unless_their_weight_is_zero(name):
    y = CODES.astype("int32")
    y[2] = -1
    values = per_sample(name, 0, y, LOGITS)
    assert np.isnan(values[2])
    assert name in BATCHWISE or np.isfinite(np.delete(values, 2)).all()
    weights = np.where(np.arange(9) == 2, 0, WEIGHTS)
    loss = make(name, reduction="sum")
    want = numpy(loss(CODES, dressed(name, LOGITS), sample_weight=weights))
    np.testing.assert_allclose(numpy(loss(y, dressed(name, LOGITS), sample_weight=weights)), want, rtol=1e-6)
    slope = gradient(lambda z: loss(y, dressed(name, z), sample_weight=weights), LOGITS)
    assert np.isfinite(slope).all()
    assert not slope[2].any()


@kinds
@pytest.mark.parametrize("code", [C, 255, 1.5])
def test_more_invalid_classes(name, code):
    y = CODES.astype("float32" if code == 1.5 else "int32")
    y[2] = code
    weights = np.where(np.arange(9) == 2, 0, WEIGHTS)
    assert np.isnan(per_sample(name, 0, y, LOGITS)[2])
    want = numpy(make(name)(CODES, LOGITS, sample_weight=weights))
    np.testing.assert_allclose(numpy(make(name)(y, LOGITS, sample_weight=weights[:, None])), want, rtol=1e-6)


# Probabilities


@every
def test_probabilities_agree_with_logits(name, index):
    p = probabilities(name, index, LOGITS.astype("float64"))
    z = np.log(p).astype("float32") if name in SEES_LOGITS else LOGITS
    want = per_sample(name, index, CODES, z)
    got = per_sample(name, index, CODES, p, from_logits=False)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@once
def test_probabilities_of_zero_and_one(name):
    p = np.tile(np.array([[0, 1, 0, 0], [1e-40, 1, 0, 0], [1e-30, 1, 1e-30, 0]], "float32"), (3, 1))
    loss, y = make(name, from_logits=False, reduction="sum"), np.repeat([0, 1, 0], 3)
    assert np.isfinite(numpy(loss(y, dressed(name, p))))
    slope = gradient(lambda q: loss(y, dressed(name, q)), p)
    assert np.isfinite(slope).all()
    assert slope[2, 0] < 0  # 1e-30 is above the lower bound, so its gradient is not 0


@once
def test_from_logits_is_required(name):
    for given in ({}, {"from_logits": None}, {"from_logits": 1}, {"from_logits": "True"}):
        with pytest.raises(ArgumentError, match="softmax") as caught:
            CLASSES[name](**EXAMPLES[name][0], **given)
        assert "from_logits=True" in str(caught.value)
        assert "from_logits=False" in str(caught.value)


# Numerics


@every
def test_extreme_logits(name, index):
    """Badly misclassified samples have a useful gradient for both classes involved; a finite one in robust losses."""
    pull, y = PULL.get(name, 0.3), np.repeat([1, 0, 2], 3)  # wrong, correct, undecided
    for dtype, size in (("float32", 100), ("bfloat16", 30), ("float16", 30)):
        z = np.zeros((9, C), "float32")
        z[:, 0], z[:, 1] = size, -size
        loss = make(name, index, dtype=dtype, reduction=None)
        values = numpy(loss(y, dressed(name, z)))
        slope = gradient(lambda q, loss=loss: ops.sum(loss(y, dressed(name, q))), z)
        assert np.isfinite(values).all()
        assert np.isfinite(slope).all()
        assert -slope[0, 1] >= pull
        if pull >= 0.01:
            assert over_labels(name, index) or slope[0, 0] >= pull
        if pull >= 0.3:
            assert values[0] > 0.4 * size


@every
def test_minus_infinity_disables_a_class(name, index):
    if EXAMPLES[name][index].get("label_smoothing") or name in ("LabelAwareSmoothing", "AsymmetricSingleLabel"):
        pytest.skip("smoothing gives the class a share of the label, so the loss is infinite")
    z = LOGITS.copy()
    z[:, 3] = -np.inf
    y = CODES % 3
    assert np.isfinite(per_sample(name, index, y, z)).all()
    slope = gradient(lambda q: make(name, index)(y, dressed(name, q)), z)
    assert np.isfinite(slope).all()
    assert not slope[:, 3].any()


@every
def test_half_precision_computes_in_single(name, index):
    """For logits that are exact in half precision, the per-sample loss is the float32 loss, rounded once."""
    z = np.round(LOGITS * 8) / 8
    want = per_sample(name, index, CODES, z)
    for dtype, rtol in (("bfloat16", 2**-8), ("float16", 2**-10)):
        got = make(name, index, dtype=dtype, reduction=None)(CODES, dressed(name, z))
        assert keras.backend.standardize_dtype(got.dtype) == dtype
        np.testing.assert_allclose(numpy(got), want, rtol=rtol, atol=1e-6)


@every
def test_gradient_against_finite_differences(name, index):
    """For the logits; the shared conversion from probabilities is tested on one loss of each kind."""
    if (name, index) in STOPS_GRADIENT:
        pytest.skip("its gradient differs from that of its value by design: tested separately")
    y = SOFT.astype("float64")
    for from_logits in (True, False) if name in ("CrossEntropy", "BinaryFocal") else (True,):
        x = LOGITS.astype("float64")
        x, step = (x, 1e-5) if from_logits else (probabilities(name, index, x), 1e-6)
        # Along random directions: per sample, or of the whole batch if the samples depend on each other.
        directions = np.random.default_rng(2).standard_normal((4 if name in BATCHWISE else 2, 9, C))
        with double_precision():
            loss = make(name, index, from_logits=from_logits, dtype="float64", reduction=None)
            slope = gradient(lambda q, loss=loss: ops.sum(loss(y, dressed(name, q))), x, "float64")
            ahead, behind = (
                np.stack([numpy(loss(y, dressed(name, x + move))) for move in sign * step * directions])
                for sign in (1, -1)
            )
        numeric, exact = (ahead - behind) / (2 * step), (slope * directions).sum(axis=-1)
        if name in BATCHWISE:
            numeric, exact = numeric.sum(axis=-1), exact.sum(axis=-1)
        np.testing.assert_allclose(exact, numeric, rtol=2e-6, atol=1e-7)


# Configuration, saving and training


@every
def test_config_round_trip(name, index):
    """Trap 18: the losses of Keras lose their dtype."""
    for dtype, reduction in ((None, "sum"), ("bfloat16", None), (keras.DTypePolicy("mixed_float16"), "mean")):
        loss = make(name, index, dtype=dtype, reduction=reduction, name="mine")
        twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
        assert type(twin) is type(loss)
        assert twin.get_config() == loss.get_config()
        assert (twin.dtype, twin.reduction, twin.name) == (loss.dtype, reduction, "mine")
        assert set(inspect.signature(type(loss)).parameters) == loss.get_config().keys()
    z = dressed(name, LOGITS)
    np.testing.assert_array_equal(numpy(twin(CODES, z)), numpy(loss(CODES, z)))


@once
def test_constant_schedules_equal_numbers(name):
    """Tested for each argument whose annotation allows a schedule."""
    want = per_sample(name, 0, CODES, LOGITS)
    for parameter in inspect.signature(CLASSES[name]).parameters.values():
        value = EXAMPLES[name][0].get(parameter.name, parameter.default)
        if "Schedule" not in str(parameter.annotation) or value is None:
            continue
        loss = make(name, reduction=None, **{parameter.name: schedules.Constant(value)})
        np.testing.assert_allclose(numpy(loss(CODES, dressed(name, LOGITS))), want, rtol=1e-5, atol=1e-6)
        twin = type(loss).from_config(loss.get_config())
        assert [follower.schedule for follower in twin.scheduled()] == [schedules.Constant(value)]


@compiled
def test_compile_fit_save_load(name, tmp_path):
    x = np.random.default_rng(1).standard_normal((9, 3)).astype("float32")
    model = network(name)
    model.compile("sgd", make(name, dtype="bfloat16"), metrics=["categorical_accuracy"])
    before = model.get_weights()
    model.fit(x, ONE_HOT, sample_weight=WEIGHTS, batch_size=3, verbose=0)
    after = model.get_weights()
    assert all(np.isfinite(w).all() for w in after)
    assert any((a != b).any() for a, b in zip(after, before, strict=True))
    model.save(tmp_path / "model.keras")
    twin = keras.saving.load_model(tmp_path / "model.keras")
    assert twin.loss.get_config() == model.loss.get_config()
    np.testing.assert_array_equal(twin.predict(x, verbose=0), model.predict(x, verbose=0))


@kinds
def test_invalid_classes_give_nan_in_a_compiled_step(name):
    """A compiler may turn 0 * NaN into 0; XLA does."""
    model = network(name)
    model.compile("sgd", make(name))
    history = model.fit(np.ones((4, 3), "float32"), np.array([0, 1, -1, 2]), verbose=0).history
    assert np.isnan(history["loss"][0])


@kinds
def test_fit_is_the_same_with_class_indices_and_one_hot(name):
    x = np.random.default_rng(1).standard_normal((9, 3)).astype("float32")
    start = network(name).get_weights()
    ends = []
    for y in (CODES, ONE_HOT):
        model = network(name)
        model.compile("sgd", make(name))
        model.set_weights(start)
        model.fit(x, y, batch_size=3, epochs=2, shuffle=False, verbose=0)
        ends.append(model.get_weights())
    for a, b in zip(*ends, strict=True):  # not to the bit: of a class index, one term is computed alone
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


# Refused arguments


@once
def test_mismatched_shapes(name):
    cases = [
        (np.zeros(3, int), np.zeros(3), "one score per class"),
        (np.zeros((3, 5)), np.zeros((3, C)), "y_true of shape"),
        (np.zeros((3, 2, 2), int), np.zeros((3, C)), "y_true of shape"),
    ]
    if CLASSES[name].min_outputs == 2:
        cases.append((np.zeros(3, int), np.zeros((3, 1)), "one output"))
    for y, z, match in cases:
        with pytest.raises(ArgumentError, match=match):
            make(name)(y, dressed(name, z))


@pytest.mark.parametrize("name", [name for name in CLASSES if "class_counts" in EXAMPLES[name][0]])
def test_mismatched_number_of_classes(name):
    with pytest.raises(ArgumentError, match=f"for {C} classes"):
        make(name)(np.array([0]), np.zeros((1, C + 1)))
