"""Steps for long tails against the authors' formulas in NumPy: GCL, LADE, MAMix and CMO."""

import keras
import numpy as np
import pytest
from keras import ops

import tailfit
from tailfit import steps
from tailfit.errors import StepError
from tailfit.steps import Batch, Target

COUNTS = [100, 20, 4]
RNG = np.random.default_rng(2)
Z, Y = (2 * RNG.normal(size=(7, 3))).astype("float32"), np.array([0, 0, 1, 2, 0, 1, 0])


def as_numpy(value):
    return np.array(ops.convert_to_numpy(value))


def of_step(step, loss=lambda batch, y_pred: ops.sum(y_pred), z=Z, y=Y):
    """The loss that a step computes from a batch."""
    batch = Batch(ops.zeros((len(y), 1)), (Target(ops.convert_to_tensor(y)),))
    return float(step.loss(None, loss, batch, ops.convert_to_tensor(z)))


# -- GCL -------------------------------------------------------------------------------------------------


def test_clouds_are_folded_clipped_normals_deeper_for_rare_classes():
    seen = []
    step = steps.GCL(class_counts=COUNTS, noise=0.5, seed=3)
    z = ops.zeros((20000, 3))
    step.loss(None, lambda batch, y_pred: seen.append(as_numpy(y_pred)), Batch(z, ()), z)
    (clouded,) = seen
    # E|e| of a normal of deviation 1/3, clipped at 3 deviations; depths from the logarithms of the counts.
    mean = (2 / np.pi) ** 0.5 / 3
    depth = np.log(100 / np.array(COUNTS)) / np.log(25)
    np.testing.assert_allclose(clouded.mean(axis=0), -0.5 * mean * depth, atol=0.004)
    assert not clouded[:, 0].any()
    assert clouded.min() >= -0.5
    assert (clouded <= 0).all()


def test_gcl_without_noise_is_the_loss_and_balanced_counts_are_finite():
    assert of_step(steps.GCL(class_counts=COUNTS, noise=0.0)) == pytest.approx(float(Z.sum()), rel=1e-5)
    assert of_step(steps.GCL(class_counts=[5, 5, 5])) == pytest.approx(float(Z.sum()), rel=1e-5)


def test_gcl_changes_training_only():
    """An evaluation repeats its loss to the bit, and metrics of the training see scores without noise."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,))
    model = tailfit.Model(inputs, tailfit.layers.CosineDense(3)(inputs))
    loss = tailfit.losses.LDAM(COUNTS, max_margin=0.0, from_logits=True)
    model.compile(keras.optimizers.SGD(0.0), loss, metrics=["accuracy"], steps=[steps.GCL(class_counts=COUNTS, seed=1)])
    x = RNG.normal(size=(30, 4)).astype("float32")
    y = np.asarray(model.predict(x, verbose=0)).argmax(axis=1)
    history = model.fit(x, y, epochs=2, batch_size=30, verbose=0).history
    assert history["accuracy"] == [1.0, 1.0]
    assert history["loss"][0] != history["loss"][1]
    assert model.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)


# -- LADE ------------------------------------------------------------------------------------------------


def lade_in_numpy(z, y, weight, penalty):
    """The bound in float64, after the authors' code."""
    pi = np.array(COUNTS) / np.sum(COUNTS)
    total = 0.0
    for c in range(3):
        own = z[y == c, c].mean() if (y == c).any() else 0.0
        everyone = np.log(np.exp(z[:, c].astype(float)) / (3 * pi[c])).max()  # as logsumexp, by hand
        everyone += np.log(np.exp(np.log(np.exp(z[:, c].astype(float)) / (3 * pi[c])) - everyone).mean())
        total += pi[c] * (own - everyone - penalty * everyone**2)
    return -weight * total


@pytest.mark.parametrize("labels", [Y, np.zeros(7, int)])
def test_lade_is_the_authors_bound(labels):
    step = steps.LADE(class_counts=COUNTS, weight=0.3, penalty=0.2)
    added = of_step(step, lambda batch, y_pred: ops.zeros(()), y=labels)
    assert added == pytest.approx(lade_in_numpy(Z, labels, 0.3, 0.2), rel=1e-5)


def test_lade_counts_parts_of_a_batch_by_their_size():
    step = steps.LADE(class_counts=COUNTS)
    batch = Batch(ops.zeros((7, 1)), (Target(ops.convert_to_tensor(Y)),), penalties=0.25)
    added = float(step.loss(None, lambda batch, y_pred: ops.zeros(()), batch, Z))
    assert added == pytest.approx(lade_in_numpy(Z, Y, 0.1, 0.1) / 4, rel=1e-5)


@pytest.mark.parametrize("step", [steps.LADE(class_counts=[1, 2]), steps.GCL(class_counts=[1, 2])])
def test_other_numbers_of_classes_are_refused(step):
    with pytest.raises(StepError, match="2 class counts"):
        of_step(step)


# -- MAMix -----------------------------------------------------------------------------------------------


def mamix_in_numpy(partner, n_own, n_other, ratio):
    """The share of the own label, after the code of imbalanced-DL."""
    own, other = n_own**ratio, n_other**ratio
    middle = own / (own + other)
    return 1 - 0.5 * partner / middle if partner < middle else 0.5 * (1 - partner) / (1 - middle)


@pytest.mark.parametrize("ratio", [0.0, -0.25, -3.0])
def test_mamix_changes_labels_over_at_the_margin(ratio):
    step, mixup = steps.MAMix(class_counts=COUNTS, ratio=ratio, seed=4), steps.Mixup(alpha=1.0, seed=4)
    x = np.arange(7, dtype="float32")[:, None]
    batch = Batch(x, (Target(ops.convert_to_tensor(Y)),))
    mixed, plain = step.batch(None, batch), mixup.batch(None, batch)
    np.testing.assert_array_equal(as_numpy(mixed.x), as_numpy(plain.x))
    own, other = mixed.targets
    partner = 1 - float(plain.targets[0].share)
    others = as_numpy(other.y)
    want = [mamix_in_numpy(partner, COUNTS[a], COUNTS[b], ratio) for a, b in zip(Y, others, strict=True)]
    np.testing.assert_allclose(as_numpy(own.share), want, rtol=1e-4)
    np.testing.assert_allclose(as_numpy(other.share), 1 - np.array(want), rtol=1e-4, atol=1e-6)
    if ratio == 0.0:
        np.testing.assert_allclose(want, 1 - partner, rtol=1e-6)


# -- CMO -------------------------------------------------------------------------------------------------


def test_cmo_pastes_classes_equally_often_into_the_batch_as_drawn():
    """Of 124 samples with the counts, each class is pasted into about a third; labels share the loss by area."""
    y = np.repeat([0, 1, 2], COUNTS)
    x = np.repeat(np.arange(124, dtype="float32")[:, None, None], 8, axis=1)
    step, pasted = steps.CMO(class_counts=COUNTS, probability=1.0, seed=5), np.zeros(3)
    for _ in range(20):
        mixed = step.batch(None, Batch(x, (Target(ops.convert_to_tensor(y)),)))
        rows, shares = as_numpy(mixed.x)[..., 0], [float(target.share) for target in mixed.targets]
        foreign = rows != np.arange(124)[:, None]
        first, second = (as_numpy(target.y) for target in mixed.targets)
        assert sum(shares) == pytest.approx(1.0)
        partner = second if (first == y).all() else first
        own_share = shares[0] if (first == y).all() else shares[1]
        area = foreign.mean(axis=1)
        if area.max():
            assert own_share == pytest.approx(1 - area.max(), abs=1e-5)
            where = foreign.any(axis=1)
            values = np.array([row[mask][0] for row, mask in zip(rows[where], foreign[where], strict=True)])
            np.testing.assert_array_equal(y[values.astype(int)], partner[where])
        pasted += np.bincount(partner, minlength=3)
    np.testing.assert_allclose(pasted / pasted.sum(), 1 / 3, atol=0.04)


def test_cmo_of_probability_0_leaves_batches_alone():
    x = RNG.normal(size=(7, 8, 2)).astype("float32")
    mixed = steps.CMO(class_counts=COUNTS, probability=0.0).batch(None, Batch(x, (Target(ops.convert_to_tensor(Y)),)))
    np.testing.assert_array_equal(as_numpy(mixed.x), x)
    assert [float(target.share) for target in mixed.targets] == [1.0, 0.0]
