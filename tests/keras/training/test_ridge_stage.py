"""The last layer by ridge regression, against scikit-learn's, and against fits without each sample."""

import keras
import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifierCV

import tailfit
from tailfit.errors import ArgumentError, DataError
from tailfit.stages import ridge_classifier
from tailfit.stages.ridge_regression import fit_ridge

RNG = np.random.default_rng(0)
Y = np.arange(60) % 20 // 9  # 27, 27 and 6 samples
X = (RNG.normal(size=(60, 90)) + 3 * np.eye(90)[Y]).astype("float32")


def linear(features=90, **options):
    inputs = keras.Input((features,))
    return tailfit.Model(inputs, keras.layers.Dense(3, **options)(inputs))


def batches(features=90, **options):
    return tailfit.Batches(tailfit.data.Arrays(X[:, :features], Y), 16, **options)


@pytest.mark.parametrize("features", [90, 20])  # more and fewer than the samples
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_scores_are_those_of_scikit_learn(features, class_weight):
    model = linear(features)
    found = ridge_classifier(model, batches(features, class_weight=class_weight))
    x = X[:, :features].astype(float)
    weights = batches(features, class_weight="balanced").weights if class_weight else np.ones(60)
    centred = x - weights @ x / weights.sum()
    unit = (weights @ np.square(centred).sum(axis=1)) / 60
    theirs = RidgeClassifierCV(np.array(tailfit.stages.ridge.STRENGTHS) * unit, class_weight=class_weight).fit(x, Y)
    assert found["strength"] == pytest.approx(theirs.alpha_ / unit)
    ours = model.predict(X[:, :features], verbose=0) / found["scale"]
    np.testing.assert_allclose(ours, theirs.decision_function(x), atol=1e-4)


@pytest.mark.parametrize("centered", [True, False])
def test_samples_left_out_are_those_of_fits_without_them(centered):
    weights = RNG.uniform(0.5, 2, 60)
    targets = np.eye(3)[Y]
    errors, unit = [], None
    for strength in (0.1, 1.0):
        squares = 0.0
        mean = weights @ X / weights.sum() if centered else 0.0
        unit = (weights @ np.square(X - mean).sum(axis=1)) / 60
        for out in range(60):
            kept = np.arange(60) != out
            x, t, w = X[kept].astype(float), 2 * targets[kept] - 1, weights[kept]
            mean_x, mean_t = (w @ each / w.sum() if centered else np.zeros(each.shape[1]) for each in (x, t))
            x, t = x - mean_x, t - mean_t
            kernel = np.linalg.solve(x.T * w @ x + strength * unit * np.eye(90), x.T * w @ t)
            score = (X[out] - mean_x) @ kernel + mean_t
            squares += weights[out] * np.square(2 * targets[out] - 1 - score).sum()
        errors.append(squares)
    best = (0.1, 1.0)[int(np.argmin(errors))]
    assert fit_ridge(X, targets, weights, [0.1, 1.0], centered=centered).strength == best
    own = [fit_ridge(X, targets, weights, [each], centered=centered).error for each in (0.1, 1.0)]
    np.testing.assert_allclose(own, errors, rtol=1e-6)


@pytest.mark.parametrize("centered", [True, False])
def test_copies_of_a_sample_are_left_out_together(centered):
    copies, strength = 3, 0.3
    x = np.concatenate([X + 0.3 * RNG.normal(size=X.shape) for _ in range(copies)])
    t, w = np.tile(np.eye(3)[Y], (copies, 1)), np.tile(RNG.uniform(0.5, 2, 60), copies)
    mean = w @ x / w.sum() if centered else 0.0
    penalty = copies * strength * (w @ np.square(x - mean).sum(axis=1)) / len(x) * np.eye(90)
    squares = 0.0
    for out in range(60):
        kept = np.arange(len(x)) % 60 != out
        mean_x = w[kept] @ x[kept] / w[kept].sum() if centered else np.zeros(90)
        mean_t = w[kept] @ (2 * t[kept] - 1) / w[kept].sum() if centered else np.zeros(3)
        inside = x[kept] - mean_x
        kernel = np.linalg.solve(inside.T * w[kept] @ inside + penalty, inside.T * w[kept] @ (2 * t[kept] - 1 - mean_t))
        scores = (x[~kept] - mean_x) @ kernel + mean_t
        squares += (w[~kept, None] * np.square(2 * t[~kept] - 1 - scores)).sum()
    assert fit_ridge(x, t, w, [strength], copies=copies, centered=centered).error == pytest.approx(squares, rel=1e-6)
    alone = fit_ridge(x, t, w, [copies * strength], centered=centered).error
    assert alone < 0.9 * squares  # a copy predicts the others


def test_every_epoch_has_new_variants_of_each_sample():
    seen = []

    def varied(batch, rng):
        seen.append(rng.normal(size=batch[0].shape))
        return (batch[0] + 0.3 * seen[-1].astype("float32"), *batch[1:])

    model = linear()
    found = ridge_classifier(model, batches(transform=varied, class_weight="balanced"), epochs=3)
    epochs = [np.concatenate(seen[first : first + 4]) for first in range(0, 12, 4)]
    assert len(seen) == 12
    assert not np.array_equal(epochs[0], epochs[1])
    x = np.concatenate([X + 0.3 * each.astype("float32") for each in epochs])
    weights = np.tile(batches(class_weight="balanced").weights, 3)
    ridge = fit_ridge(x, np.eye(3)[np.tile(Y, 3)], weights, tailfit.stages.ridge.STRENGTHS, copies=3)
    assert found["strength"] == pytest.approx(ridge.strength)
    np.testing.assert_allclose(model.get_weights()[0], ridge.scale * ridge.kernel, atol=1e-5)


def test_equal_epochs_change_nothing():
    once, thrice = linear(), linear()
    one, three = ridge_classifier(once, batches()), ridge_classifier(thrice, batches(), epochs=3)
    assert three == pytest.approx(one, rel=1e-4)
    np.testing.assert_allclose(thrice.get_weights()[0], once.get_weights()[0], atol=1e-4)


def test_logits_are_calibrated_and_the_layer_alone_is_changed():
    inputs = keras.Input((90,))
    hidden = keras.layers.Dense(200, activation="relu", name="features")(inputs)
    model = tailfit.Model(inputs, keras.layers.Softmax()(keras.layers.Dense(3, name="head")(hidden)))
    before = [np.array(each) for each in model.get_layer("features").get_weights()]
    found = ridge_classifier(model, batches())
    for one, other in zip(before, model.get_layer("features").get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert 0.4 < found["accuracy"] <= 1
    assert 0.5 < found["scale"] < 100
    np.testing.assert_allclose(model.predict(X, verbose=0).sum(axis=1), 1, rtol=1e-5)


def test_one_hot_labels_and_samples_without_weight():
    hard, soft = linear(), linear()
    weights = np.where(np.arange(60) < 50, 1.0, 0.0)
    ridge_classifier(hard, batches(sample_weight=weights))
    first = tailfit.Batches(tailfit.data.Arrays(X[:50], np.eye(3)[Y[:50]]), 16)
    ridge_classifier(soft, first)
    for one, other in zip(hard.get_weights(), soft.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_what_it_cannot_fit_is_refused():
    with pytest.raises(ArgumentError, match="strengths"):
        ridge_classifier(linear(), batches(), strengths=[0.0])
    with pytest.raises(ArgumentError, match="epochs=0"):
        ridge_classifier(linear(), batches(), epochs=0)
    with pytest.raises(DataError, match="without a label"):
        ridge_classifier(linear(), tailfit.Batches(tailfit.data.Arrays(X)))
    with pytest.raises(DataError, match="not one class each"):
        ridge_classifier(linear(), tailfit.Batches(tailfit.data.Arrays(X, np.maximum(np.eye(3)[Y], np.eye(3)[0]))))
    rocket = tailfit.networks.minirocket((90, 1), 3, num_features=168)
    with pytest.raises(DataError, match="not finite"):
        ridge_classifier(rocket, tailfit.Batches(tailfit.data.Arrays(X[..., None], Y)))
