"""Values of each loss: published implementations first, then golden values, then properties of single losses."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy.special import log_softmax, softmax
from support.autograd import gradient, numpy
from support.loss_oracles import CODES, FEATURES, LABELS, ORACLES, Z

from tailfit import layers, losses
from tailfit.errors import ArgumentError
from tailfit.losses._binary import MultiLabelLoss

AGAINST_SCIPY = {
    "BalancedSoftmax",
    "Bootstrapping",
    "CrossEntropy",
    "Focal",
    "LogitAdjusted",
    "MeanFalseError",
    "VectorScaling",
}


@pytest.mark.parametrize(
    ("name", "config", "want"), ORACLES, ids=[f"{number}-{name}" for number, (name, _, _) in enumerate(ORACLES)]
)
def test_oracles(name, config, want):
    z = ops.convert_to_tensor((Z / 3 if name == "LDAM" else Z).astype("float32"))
    if name == "InfluenceBalanced":
        z = layers.WithFeatures()(z, ops.convert_to_tensor(FEATURES.astype("float32")))
    loss = getattr(losses, name)(**config, from_logits=True, reduction=None)
    several = isinstance(loss, MultiLabelLoss) and name != "Equalization"  # its authors' code takes class indices
    got = numpy(loss(LABELS if several else CODES, z))
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-7)


def test_every_loss_of_a_paper_has_an_oracle():
    """Losses without an oracle are tested against SciPy, here or in test_values.py."""
    classes = {name for name in losses.__all__ if isinstance(getattr(losses, name), type)}
    missing = sorted(classes - {name for name, _, _ in ORACLES} - AGAINST_SCIPY)
    assert not missing, (
        f"add a line for each of {missing} to ORACLES in tests/support/loss_oracles.py: its values for `Z`, by a "
        "published implementation; without one, test it against SciPy in this folder and name it in AGAINST_SCIPY"
    )


# Golden values

GOLDEN_Z = np.array([[2, 0.5, -1], [0.2, -0.3, 1.5], [1, 1, 1]], "float32")
COSINES = np.array([[0.6, 0.1, -0.2], [0.05, -0.1, 0.4], [0.3, 0.3, 0.3]], "float32")
Y, N = np.array([2, 2, 1]), [1000, 100, 10]
GOLDEN = [
    (losses.Asymmetric, {}, GOLDEN_Z, [1.897739, 0.089354, 0.575969]),
    (losses.BinaryFocal, {}, GOLDEN_Z, [1.696084, 0.257939, 1.058467]),
    (losses.ClassBalanced, {"class_counts": N}, GOLDEN_Z, np.array([3.241311, 0.363136, 1.098612])),
    (losses.GeneralizedCrossEntropy, {"q": 0.7}, GOLDEN_Z, [1.280823, 0.320656, 0.766481]),
    (losses.LDAM, {"class_counts": N}, COSINES, [39.0, 4.521975, 9.128376]),
    (losses.NormalizedCrossEntropy, {}, GOLDEN_Z, [0.620473, 0.086679, 0.333333]),
    (losses.Seesaw, {"class_counts": N}, GOLDEN_Z, [9.01117, 0.363136, 0.769409]),
    (losses.SymmetricCrossEntropy, {}, GOLDEN_Z, [9.174231, 2.840934, 6.250088]),
    (losses.VectorScaling, {"class_counts": N, "gamma": 0.3, "tau": 1}, GOLDEN_Z, [6.874631, 4.507547, 2.864799]),
]


@pytest.mark.parametrize(("kind", "config", "z", "want"), GOLDEN, ids=lambda value: getattr(value, "__name__", ""))
def test_golden_values(kind, config, z, want):
    if kind is losses.ClassBalanced:
        want = want * np.array([0.0283624, 0.2712551, 2.7003825])[Y]
    np.testing.assert_allclose(numpy(kind(**config, from_logits=True, reduction=None)(Y, z)), want, rtol=1e-5)


# SciPy, for losses without a published implementation


def test_bootstrapping_and_vector_scaling_against_scipy():
    log_p, p, one_hot = log_softmax(Z, axis=-1), softmax(Z, axis=-1), np.eye(4)[CODES]
    z = Z.astype("float32")
    soft = -((0.9 * one_hot + 0.1 * p) * log_p).sum(-1)
    np.testing.assert_allclose(numpy(losses.bootstrapping(CODES, z, beta=0.9, from_logits=True)), soft, rtol=1e-5)
    hard = -((0.8 * one_hot + 0.2 * np.eye(4)[p.argmax(-1)]) * log_p).sum(-1)
    np.testing.assert_allclose(numpy(losses.bootstrapping(CODES, z, hard=True, from_logits=True)), hard, rtol=1e-5)
    n = np.array([500.0, 100, 30, 2])
    scaled = log_softmax(Z / (n.max() / n) ** 0.25 + 1.5 * np.log(n / n.sum()), axis=-1)
    got = losses.vector_scaling(CODES, z, n, gamma=0.25, tau=1.5, from_logits=True)
    np.testing.assert_allclose(numpy(got), -(one_hot * scaled).sum(-1), rtol=1e-5)
    temperatures = (n.max() / n) ** 0.3  # class-dependent temperatures: Ye et al. 2020, eq. 5
    cdt = -(one_hot * log_softmax(Z / temperatures, axis=-1)).sum(-1)
    got = losses.vector_scaling(CODES, z, n, gamma=0.3, tau=0.0, from_logits=True)
    np.testing.assert_allclose(numpy(got), cdt, rtol=1e-5)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("base", ["cross_entropy", "squared_error"])
def test_mean_false_error_by_hand(squared, base):
    p, one_hot = softmax(Z, axis=-1), np.eye(4)[CODES]
    each = -np.log((p * one_hot).sum(-1)) if base == "cross_entropy" else 0.5 * ((p - one_hot) ** 2).sum(-1)
    weights = np.array([1.0, 2.0, 0.5, 3.0, 0.0, 1.0])
    for w in (None, weights):
        means = [np.average(each[c == CODES], weights=None if w is None else w[c == CODES]) for c in range(4)]
        want = sum(mean**2 if squared else mean for mean in means)
        for reduction in ("sum_over_batch_size", "mean_with_sample_weight"):
            loss = losses.MeanFalseError(squared=squared, base=base, from_logits=True, reduction=reduction)
            np.testing.assert_allclose(numpy(loss(CODES, Z.astype("float32"), sample_weight=w)), want, rtol=1e-5)


def test_mean_false_error_without_a_class():
    """Classes 0 and 3 are not in the batch: they add neither a loss nor NaN."""
    keep = (CODES == 1) | (CODES == 2)
    loss = losses.MeanFalseError(from_logits=True)
    each = -log_softmax(Z, axis=-1)[np.arange(6), CODES]
    want = each[CODES == 1].mean() + each[CODES == 2].mean()
    np.testing.assert_allclose(numpy(loss(CODES[keep], Z[keep].astype("float32"))), want, rtol=1e-5)
    weights = keep.astype("float32")
    np.testing.assert_allclose(numpy(loss(CODES, Z.astype("float32"), sample_weight=weights)), want, rtol=1e-5)


# Identities


def close(got, want):
    np.testing.assert_allclose(numpy(got), numpy(want), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("y", [CODES, np.random.default_rng(3).dirichlet(np.ones(4), 6)], ids=["codes", "soft"])
def test_softmax_losses_reduce_to_cross_entropy(y):
    z, n = Z.astype("float32"), [900.0, 300.0, 70.0, 3.0]
    kept = {"from_logits": True}
    plain = losses.cross_entropy(y, z, **kept)
    smooth = losses.cross_entropy(y, z, label_smoothing=0.1, **kept)
    norms = np.linalg.norm(z, axis=-1, keepdims=True)
    close(losses.active_passive(y, z, a=1.0, b=0.0, active="ce", **kept), plain)
    close(losses.active_passive(y, z, a=0.0, b=2.0, **kept), 2 * numpy(losses.mean_absolute(y, z, **kept)))
    close(losses.asymmetric_single_label(y, z, gamma_neg=0.0, **kept), smooth)
    close(losses.bootstrapping(y, z, beta=1.0, **kept), plain)
    close(losses.class_balanced(y, z, n, beta=0.0, **kept), plain)
    close(losses.class_balanced(y, z, [70] * 4, **kept), plain)
    close(losses.generalized_cross_entropy(y, z, q=1.0, **kept), losses.mean_absolute(y, z, **kept))
    np.testing.assert_allclose(numpy(losses.generalized_cross_entropy(y, z, q=1e-4, **kept)), numpy(plain), rtol=1e-3)
    close(losses.influence_balanced(y, z, np.ones((6, 2)), share=0.0, **kept), plain)
    close(losses.label_aware_smoothing(y, z, n, head=0.0, tail=0.0, **kept), plain)
    close(losses.label_aware_smoothing(y, z, [70] * 4, head=0.4, tail=0.1, **kept), smooth)
    close(losses.ldam(y, z, n, max_margin=0.0, scale=1.0, **kept), plain)
    close(losses.logit_norm(y, z / norms, temperature=1.0, **kept), losses.cross_entropy(y, z / norms, **kept))
    close(losses.poly1(y, z, epsilon=0.0, **kept), plain)
    close(losses.seesaw(y, z, n, p=0.0, q=0.0, **kept), plain)
    close(losses.seesaw(y, z, [70] * 4, q=0.0, **kept), plain)
    close(losses.symmetric_cross_entropy(y, z, alpha=1.0, beta=0.0, **kept), plain)
    close(losses.vector_scaling(y, z, n, gamma=0.0, tau=1.3, **kept), losses.logit_adjusted(y, z, n, tau=1.3, **kept))
    close(losses.vector_scaling(y, z, [70] * 4, **kept), plain)


def test_sigmoid_losses_reduce_to_binary_cross_entropy():
    z, n = Z.astype("float32"), [900.0, 300.0, 70.0, 3.0]
    kept = {"from_logits": True}
    plain = np.logaddexp(0, np.where(LABELS, -Z, Z)).sum(-1)
    close(losses.asymmetric(LABELS, z, gamma_neg=0.0, gamma_pos=0.0, clip=0.0, **kept), plain)
    close(losses.binary_focal(LABELS, z, gamma=0.0, alpha=None, **kept), plain)
    close(losses.binary_focal(LABELS, z, gamma=0.0, alpha=0.5, **kept), plain / 2)
    close(losses.equalization(LABELS, z, n, threshold=0.0, **kept), plain)
    flat = {"alpha": 0.5, "beta": 0.0, "kappa": 0.0, "neg_scale": 1.0, "gamma": 0.0}
    close(losses.distribution_balanced(LABELS, z, n, num_samples=1500, **flat, **kept), plain)
    one_hot = np.eye(4)[CODES]
    of_classes = np.logaddexp(0, np.where(one_hot == 1, -Z, Z)).sum(-1)
    close(losses.class_balanced(CODES, z, [70] * 4, base="sigmoid", **kept), of_classes)
    close(losses.class_balanced(CODES, z, [70] * 4, base="focal", gamma=0.0, **kept), of_classes)


def test_binary_focal_of_one_output():
    """A binary problem: labels `(batch,)` or `(batch, 1)` with one logit; alpha=0 is a weight, not "disabled"."""
    z, y = np.array([[2.0], [-1.0], [0.5]], "float32"), np.array([1, 0, 0])
    want = losses.BinaryFocal(gamma=0.0, alpha=None, from_logits=True, reduction=None)(y[:, None], z)
    close(want, np.logaddexp(0, np.where(y == 1, -z[:, 0], z[:, 0])))
    close(losses.BinaryFocal(gamma=0.0, alpha=None, from_logits=True, reduction=None)(y, z), want)
    close(losses.binary_focal(y, z, gamma=0.0, alpha=0.0, from_logits=True), numpy(want) * (y == 0))
    assert np.isnan(numpy(losses.binary_focal(np.array([2, 0, -1]), z, from_logits=True))[[0, 2]]).all()


# Properties of single losses


def test_class_balanced_weights_keep_their_digits():
    """1 - beta ** n would lose all digits for beta near 1; the weights of 1 and 2 samples have the ratio 2 : 1."""
    weights = losses.ClassBalanced([1, 2, 10**9], beta=1 - 1e-12, from_logits=True).weights
    assert weights[0] / weights[1] == pytest.approx(2, rel=1e-9)
    assert sum(weights) == pytest.approx(3)


def test_seesaw_treats_probabilities_as_constants():
    """Its gradient is that of a softmax whose logits are shifted by constants."""
    n, z = np.array([900.0, 300.0, 70.0, 3.0]), Z.astype("float32")
    p, one_hot = softmax(Z, axis=-1), np.eye(4)[CODES]
    own_n, own_p = n[CODES][:, None], np.maximum(p[np.arange(6), CODES], 0.01)[:, None]
    shift = np.log(np.minimum(1, n / own_n) ** 0.8 * np.maximum(1, p / own_p) ** 2) * (1 - one_hot)
    slope = gradient(lambda q: ops.sum(losses.seesaw(CODES, q, n, from_logits=True)), z)
    np.testing.assert_allclose(slope, softmax(Z + shift, axis=-1) - one_hot, rtol=1e-4, atol=1e-5)


def test_bootstrapping_stops_the_gradient_of_its_target_on_request():
    z, p = Z.astype("float32"), softmax(Z, axis=-1)
    slope = gradient(
        lambda q: ops.sum(losses.bootstrapping(CODES, q, beta=0.6, stop_gradient=True, from_logits=True)), z
    )
    np.testing.assert_allclose(slope, 0.6 * (p - np.eye(4)[CODES]), rtol=1e-4, atol=1e-5)
    hard = gradient(lambda q: ops.sum(losses.bootstrapping(CODES, q, beta=0.6, hard=True, from_logits=True)), z)
    np.testing.assert_allclose(hard, p - 0.6 * np.eye(4)[CODES] - 0.4 * np.eye(4)[p.argmax(-1)], rtol=1e-4, atol=1e-5)


def test_influence_balanced_stops_the_gradient_of_its_factor_on_request():
    z, p, one_hot = Z.astype("float32"), softmax(Z, axis=-1), np.eye(4)[CODES]
    factor = 10 / (np.abs(p - one_hot).sum(-1) * np.abs(FEATURES).sum(-1) + 0.001)
    slope = gradient(
        lambda q: ops.sum(
            losses.influence_balanced(CODES, q, FEATURES, alpha=10.0, stop_gradient=True, from_logits=True)
        ),
        z,
    )
    np.testing.assert_allclose(slope, factor[:, None] * (p - one_hot), rtol=1e-4, atol=1e-5)


def test_logit_norm_of_zero_logits_has_a_gradient():
    slope = gradient(
        lambda q: ops.sum(losses.logit_norm([1, 0], q, temperature=1.0, from_logits=True)), np.zeros((2, 2), "float32")
    )
    np.testing.assert_allclose(slope, np.array([[0.5, -0.5], [-0.5, 0.5]]) / 1e-7, rtol=1e-4)


def test_influence_balanced_requires_features():
    loss = losses.InfluenceBalanced(from_logits=True)
    with pytest.raises(ArgumentError, match="without features"):
        loss(CODES, Z.astype("float32"))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda k: losses.ActivePassive(a=-1.0, **k), "a=-1"),
        (lambda k: losses.ActivePassive(active="focal", **k), "active='focal'"),
        (lambda k: losses.Asymmetric(clip=1.0, **k), "clip=1"),
        (lambda k: losses.Asymmetric(gamma_neg=-1, **k), "gamma_neg=-1"),
        (lambda k: losses.BinaryFocal(alpha=1.5, **k), "alpha=1.5"),
        (lambda k: losses.Bootstrapping(beta=1.5, **k), "beta=1.5"),
        (lambda k: losses.Bootstrapping(hard="yes", **k), "hard='yes'"),
        (lambda k: losses.ClassBalanced(N, beta=1.0, **k), "beta=1.0"),
        (lambda k: losses.ClassBalanced(N, base="hinge", **k), "base='hinge'"),
        (lambda k: losses.ClassBalanced([5, 0, 3], **k), "0 for class 1"),
        (lambda k: losses.DistributionBalanced([5, 3], num_samples=5, **k), "a count of 5 for class 0"),
        (lambda k: losses.DistributionBalanced([5, 3], num_samples=9, neg_scale=0, **k), "neg_scale=0"),
        (lambda k: losses.Equalization(N, threshold=2, **k), "threshold=2"),
        (lambda k: losses.GeneralizedCrossEntropy(q=0.0, **k), "q=0.0"),
        (lambda k: losses.InfluenceBalanced(alpha=0, **k), "alpha=0"),
        (lambda k: losses.LDAM(N, scale=0, **k), "scale=0"),
        (lambda k: losses.LDAM(N, max_margin=-0.5, **k), "max_margin=-0.5"),
        (lambda k: losses.LabelAwareSmoothing(N, head=1.5, **k), "head=1.5"),
        (lambda k: losses.LogitNorm(temperature=0, **k), "temperature=0"),
        (lambda k: losses.MeanFalseError(base="mse", **k), "base='mse'"),
        (lambda k: losses.Poly1(epsilon=-2, **k), "epsilon=-2"),
        (lambda k: losses.Seesaw(p=-1, **k), "p=-1"),
        (lambda k: losses.SymmetricCrossEntropy(A=1.0, **k), "A=1.0"),
        (lambda k: losses.VectorScaling(N, gamma=-1, **k), "gamma=-1"),
    ],
)
def test_bad_arguments(make, match):
    with pytest.raises(ArgumentError, match=match):
        make({"from_logits": True})


def test_class_balanced_weights_follow_a_schedule():
    """Deferred re-weighting: beta=0, then 0.9999, as in LDAM-DRW."""
    from tailfit import schedules

    moving = losses.ClassBalanced(N, beta=schedules.Deferred(0.0, 0.9999, at=5), from_logits=True, reduction=None)
    close(moving(Y, GOLDEN_Z), losses.cross_entropy(Y, GOLDEN_Z, from_logits=True))
    schedules.set_epoch(5, moving)
    close(moving(Y, GOLDEN_Z), losses.class_balanced(Y, GOLDEN_Z, N, from_logits=True))
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(moving))
    close(twin(Y, GOLDEN_Z), moving(Y, GOLDEN_Z))
