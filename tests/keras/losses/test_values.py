"""Values of each loss: identities, then Keras and SciPy as oracles, then golden values."""

import types

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax
from support.autograd import gradient, numpy

from tailfit import losses
from tailfit.errors import ArgumentError

rng = np.random.default_rng(3)
LOGITS = (3 * rng.standard_normal((40, 5))).astype("float32")
CODES = rng.integers(0, 5, 40)
SOFT = rng.dirichlet(np.ones(5), 40).astype("float32")
COUNTS = [900.0, 300.0, 70.0, 12.0, 3.0]


def close(got, want, rtol=2e-6, atol=1e-6):
    np.testing.assert_allclose(numpy(got), numpy(want), rtol=rtol, atol=atol)


# Identities


@pytest.mark.parametrize("y", [CODES, SOFT], ids=["codes", "soft"])
def test_special_cases_are_cross_entropy(y):
    plain = losses.cross_entropy(y, LOGITS, from_logits=True)
    close(losses.focal(y, LOGITS, gamma=0.0, from_logits=True), plain)
    close(losses.logit_adjusted(y, LOGITS, COUNTS, tau=0.0, from_logits=True), plain)
    close(losses.logit_adjusted(y, LOGITS, [7] * 5, tau=1.7, from_logits=True), plain)
    close(losses.balanced_softmax(y, LOGITS, [7] * 5, from_logits=True), plain)
    close(losses.cross_entropy(y, LOGITS, class_weights=[1] * 5, from_logits=True), plain)


def test_balanced_softmax_is_logit_adjusted_with_tau_1():
    adjusted = losses.logit_adjusted(CODES, LOGITS, COUNTS, tau=1.0, from_logits=True)
    close(losses.balanced_softmax(CODES, LOGITS, COUNTS, from_logits=True), adjusted)
    close(losses.balanced_softmax(CODES, LOGITS, [1e4 * n for n in COUNTS], from_logits=True), adjusted)


def test_alpha_scales_and_never_enters_the_probability():
    plain = losses.focal(CODES, LOGITS, from_logits=True)
    close(losses.focal(CODES, LOGITS, alpha=0.25, from_logits=True), 0.25 * numpy(plain))
    alpha = np.array([0.1, 1, 2, 3, 4])
    close(losses.focal(CODES, LOGITS, alpha=alpha, from_logits=True), alpha[CODES] * numpy(plain))


def test_weights_from_a_dict():
    weights = {4: 5.0, 0: 1.0, 1: 2.0, 3: 4.0, 2: 3.0}
    want = losses.cross_entropy(CODES, LOGITS, class_weights=[1, 2, 3, 4, 5], from_logits=True)
    close(losses.cross_entropy(CODES, LOGITS, class_weights=weights, from_logits=True), want)


def test_counts_from_an_object():
    batches = types.SimpleNamespace(class_counts=np.array([3.0, 1.0]))
    assert losses.LogitAdjusted(batches, from_logits=True).class_counts == (3.0, 1.0)


def test_gamma_and_tau_may_be_variables():
    """Required by schedules: nothing derived from the option is cached."""
    loss = losses.LogitAdjusted(COUNTS, from_logits=True, reduction=None)
    loss.tau = keras.Variable(0.0)
    close(loss(CODES, LOGITS), losses.cross_entropy(CODES, LOGITS, from_logits=True))
    loss.tau.assign(1.0)
    close(loss(CODES, LOGITS), losses.balanced_softmax(CODES, LOGITS, COUNTS, from_logits=True))
    focal = losses.Focal(gamma=keras.Variable(0.0), from_logits=True, reduction=None)
    close(focal(CODES, LOGITS), losses.cross_entropy(CODES, LOGITS, from_logits=True))


@settings(deadline=None, max_examples=20)
@given(
    z=arrays(np.float32, (4, 3), elements=st.floats(-40, 40, width=32)),
    gamma=st.floats(0, 6),
    shift=st.floats(-20, 20),
)
def test_properties_for_random_inputs(z, gamma, shift):
    y = np.array([0, 1, 2, 0])
    cross = numpy(losses.cross_entropy(y, z, from_logits=True))
    focal = numpy(losses.focal(y, z, gamma=gamma, from_logits=True))
    assert np.all(focal >= 0)
    assert np.all(focal <= cross + 1e-6)
    moved = losses.focal(y, z + np.float32(shift), gamma=gamma, from_logits=True)
    close(moved, focal, rtol=1e-3, atol=1e-4)  # adding a constant to all logits only changes rounding
    assert np.isfinite(gradient(lambda q: keras.ops.sum(losses.focal(y, q, gamma=gamma, from_logits=True)), z)).all()


# Oracles: an independent float64 derivation, and Keras where it has the loss


@pytest.mark.parametrize("y", [CODES, SOFT], ids=["codes", "soft"])
def test_against_scipy_in_float64(y):
    target = np.eye(5)[y] if y.ndim == 1 else y.astype("float64")
    z = LOGITS.astype("float64")
    log_p = log_softmax(z, axis=-1)
    p = np.exp(log_p)
    weights = np.array([0.5, 1, 2, 3, 4])
    smooth = 0.9 * target + 0.1 / 5
    share = np.array(COUNTS) / sum(COUNTS)
    kept = {"from_logits": True}
    close(losses.cross_entropy(y, LOGITS, **kept), -(target * log_p).sum(-1))
    close(
        losses.cross_entropy(y, LOGITS, label_smoothing=0.1, class_weights=weights, **kept),
        -(smooth * weights * log_p).sum(-1),
    )
    for gamma in (0.5, 1.0, 2.0, 5.0):
        want = -(weights * target * (1 - p) ** gamma * log_p).sum(-1)
        close(losses.focal(y, LOGITS, gamma=gamma, alpha=weights, **kept), want, rtol=1e-5)
    for tau in (0.5, 1.0, 2.0):
        want = -(target * log_softmax(z + tau * np.log(share), axis=-1)).sum(-1)
        close(losses.logit_adjusted(y, LOGITS, COUNTS, tau=tau, **kept), want)


def test_against_keras():
    one_hot = np.eye(5, dtype="float32")[CODES]
    plain = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    close(losses.CrossEntropy(label_smoothing=0.1, from_logits=True)(CODES, LOGITS), plain(one_hot, LOGITS))
    p = np.exp(log_softmax(LOGITS / 3, axis=-1)).astype("float32")
    theirs = keras.losses.CategoricalFocalCrossentropy(alpha=0.25, gamma=2.0)(one_hot, p)
    close(losses.Focal(alpha=0.25, gamma=2.0, from_logits=False)(CODES, p), theirs, rtol=1e-5)


# Golden values

Z = np.array([[2, 0.5, -1], [0.2, -0.3, 1.5], [1, 1, 1]], "float32")
Y = np.array([2, 2, 1])
N = [1000, 100, 10]


@pytest.mark.parametrize(
    ("loss", "want"),
    [
        (losses.CrossEntropy(from_logits=True, reduction=None), [3.241311, 0.363136, 1.098612]),
        (losses.Focal(gamma=2, from_logits=True, reduction=None), [2.992718, 0.033672, 0.488272]),
        (losses.LogitAdjusted(N, tau=1, from_logits=True, reduction=None), [7.627725, 3.398065, 2.406945]),
        (losses.BalancedSoftmax(N, from_logits=True, reduction=None), [7.627725, 3.398065, 2.406945]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_golden_values(loss, want):
    close(loss(Y, Z), want, rtol=1e-5, atol=1e-6)


@pytest.mark.only_on("tensorflow")
def test_logits_are_those_passed_even_behind_a_softmax():
    """Keras looks for the operation behind them in a graph, and takes the input of a softmax instead."""
    model = keras.Sequential([keras.Input((5,)), keras.layers.Softmax()])
    model.compile(loss=losses.CrossEntropy(from_logits=True), jit_compile=False)
    want = losses.CrossEntropy(from_logits=True)(CODES, model(LOGITS))
    close(model.evaluate(LOGITS, CODES, batch_size=40, verbose=0), want)


# Refused arguments


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: losses.LogitAdjusted([5, 0, 3], from_logits=True), "0 for class 1"),
        (lambda: losses.BalancedSoftmax([5, 2, -3], from_logits=True), "-3 for class 2"),
        (lambda: losses.BalancedSoftmax([5, np.nan], from_logits=True), "nan for class 1"),
        (lambda: losses.LogitAdjusted("many", from_logits=True), "class_counts='many'"),
        (lambda: losses.LogitAdjusted([[1, 2]], from_logits=True), "one per class"),
        (lambda: losses.LogitAdjusted(N, tau=-1, from_logits=True), "tau=-1"),
        (lambda: losses.LogitAdjusted(N, tau="1", from_logits=True), "tau='1'"),
        (lambda: losses.Focal(gamma=-0.1, from_logits=True), "gamma=-0.1"),
        (lambda: losses.Focal(gamma=float("nan"), from_logits=True), "gamma=nan"),
        (lambda: losses.Focal(gamma=True, from_logits=True), "gamma=True"),
        (lambda: losses.Focal(alpha=[1, -1], from_logits=True), "-1 for class 1"),
        (lambda: losses.Focal(alpha=-1, from_logits=True), "alpha=-1"),
        (lambda: losses.CrossEntropy(label_smoothing=1.5, from_logits=True), "label_smoothing=1.5"),
        (lambda: losses.CrossEntropy(class_weights={0: 1.0, 2: 1.0}, from_logits=True), r"keys \[0, 2\]"),
        (lambda: losses.cross_entropy(Y, Z), "no from_logits"),
        (lambda: losses.focal(Y, Z), "no from_logits"),
        (lambda: losses.logit_adjusted(Y, Z, N), "no from_logits"),
        (lambda: losses.balanced_softmax(Y, Z, N), "no from_logits"),
    ],
)
def test_bad_arguments(make, match):
    with pytest.raises(ArgumentError, match=match):
        make()
