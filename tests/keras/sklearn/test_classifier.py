"""`tailfit.sklearn.Classifier`: scikit-learn's checks, and equality with training by hand."""

import functools
import pickle
import random

import joblib
import keras
import numpy as np
import polars as pl
import pytest
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

import tailfit
from tailfit.errors import ArgumentError, DataError
from tailfit.sklearn import Classifier, dense_network
from tailfit.training.generators import seeded

pytestmark = pytest.mark.above_training

small = functools.partial(dense_network, units=8)

# -- scikit-learn's checks ---------------------------------------------------------------------------------

CANNOT_HOLD = {
    "check_sample_weight_equivalence_on_dense_data": "a sample of weight 2 comes once an epoch, one repeated twice: "
    "there are more steps, in another order. A weight of 0 does equal leaving the sample out, see below",
}
# Each of the 60 checks builds its own networks. PyTorch runs all of them in seconds. The other backends compile each
# network, which takes a minute, so they run only the checks that depend on the backend. `--every` runs all everywhere.
BY_BACKEND = {"check_estimators_pickle", "check_fit_idempotent", "check_dict_unchanged"}


def checks():
    estimator = Classifier(small, epochs=4, learning_rate=0.2, batch_size=128)
    for case in estimator_checks_generator(estimator, expected_failed_checks=CANNOT_HOLD, mark="xfail"):
        values, marks = (case.values, case.marks) if hasattr(case, "marks") else (case, ())
        name = values[1].func.__name__ if not hasattr(values[1].func, "func") else values[1].func.func.__name__
        yield pytest.param(
            *values, id=name, marks=marks if name in BY_BACKEND else [*marks, pytest.mark.mostly_on("torch")]
        )


@pytest.mark.parametrize(("estimator", "check"), list(checks()))
@pytest.mark.filterwarnings("ignore:.*:sklearn.exceptions.SkipTestWarning")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


# -- what it trains ----------------------------------------------------------------------------------------


def faults(n=60, seed=0, gap=2):
    """Three classes with different means, the last one rare."""
    rng = np.random.default_rng(seed)
    codes = np.array([0, 0, 0, 1, 1, 2]).repeat(n // 6)
    x = (rng.normal(size=(n, 4)) + gap * np.eye(3, 4)[codes]).astype("float32")
    return x, np.array(["leak", "ok", "wear"])[codes]


def classifier(**changes):
    settings = {"model_fn": small, "epochs": 2, "learning_rate": 0.1, "batch_size": 32, "random_state": 0}
    return Classifier(**settings | changes)


def weights(fitted):
    return fitted.model_.get_weights()


def assert_same(one, other):
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.on_each
def test_equals_training_by_hand():
    x, y = faults()
    sampler, loss = tailfit.samplers.ClassBalanced(power=0.5), functools.partial(tailfit.losses.LogitAdjusted, tau=0.8)
    class_weight = {"wear": 2.0, "leak": 1.0, "ok": 0.5}
    fitted = classifier(loss=loss, sampler=sampler, class_weight=class_weight).fit(x, y)

    seed = int(np.random.RandomState(0).randint(np.iinfo(np.int32).max))
    with seeded(seed):
        model = small((4,), 3)
    batches = tailfit.Batches(tailfit.data.Arrays(x, y), 32, sampler, seed, class_weight)
    model.compile(keras.optimizers.Adam(0.1), loss(batches, from_logits=True))
    history = model.fit(batches, epochs=2, verbose=0)
    assert_same(weights(fitted), model.get_weights())
    assert fitted.history_ == history.history
    assert fitted.classes_.tolist() == ["leak", "ok", "wear"]
    logits = model.predict(x, verbose=0).astype(float)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(fitted.predict_proba(x), shares / shares.sum(1, keepdims=True), rtol=1e-5)
    assert fitted.predict(x).tolist() == [fitted.classes_[k] for k in logits.argmax(1)]


def global_generators():
    return random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002


def with_dropout(input_shape, num_classes):
    """On torch, dropout without a seed draws from torch's own generator."""
    inputs = keras.Input(input_shape)
    return tailfit.Model(inputs, keras.layers.Dense(num_classes)(keras.layers.Dropout(0.3)(inputs)))


def test_fits_are_equal_and_have_no_side_effects():
    x, y = faults()
    mixed = classifier(
        model_fn=with_dropout,
        steps=[tailfit.steps.Mixup(alpha=0.5)],
        callbacks=[keras.callbacks.EarlyStopping("loss")],
        run_eagerly=True,
    )
    before = global_generators()
    first = weights(mixed.fit(x, y))
    assert_same(first, weights(mixed.fit(x, y)))  # each fit copies steps and callbacks
    assert before == global_generators()
    assert mixed.callbacks[0].model is None

    other = mixed.set_params(random_state=1).fit(x, y)
    assert np.abs(first[0] - weights(other)[0]).max() > 0.01


def test_without_a_seed_the_global_numpy_seed_decides():
    x, y = faults()
    runs = []
    for _ in range(2):
        np.random.seed(5)  # noqa: NPY002
        runs.append(weights(classifier(random_state=None, epochs=1, run_eagerly=True).fit(x, y)))
    assert_same(*runs)


def norm_network(input_shape, num_classes):
    """A model that is not a tailfit.Model, with non-trainable state and several input axes."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Flatten(),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(num_classes),
        ]
    )


@pytest.mark.on_each
def test_a_warm_start_continues_bit_by_bit(tmp_path):
    x, y = faults()
    x = x.reshape(-1, 2, 2)
    straight = classifier(model_fn=norm_network, epochs=2).fit(x, y)
    halves = classifier(model_fn=norm_network, epochs=1, warm_start=True).fit(x, y)
    joblib.dump(halves, tmp_path / "halves.joblib")
    assert halves.fit(x, y).n_iter_ == 2
    assert_same(weights(straight), weights(halves))

    halves = joblib.load(tmp_path / "halves.joblib", mmap_mode="r")
    assert halves.fit(x, y).n_iter_ == 2
    assert_same(weights(straight), weights(halves))

    with pytest.raises(DataError, match="'leak', 'ok' and warm_start"):
        halves.fit(x[:50], y[:50])
    with pytest.raises(DataError, match=r"shape \(2, 1\)"):
        halves.predict(x[:, :, :1])


class Own(keras.Model):
    """A model that Keras can't save: it has no get_config, and builds its layers from arguments."""

    def __init__(self, num_classes):
        super().__init__()
        self.head = keras.layers.Dense(num_classes, activation="softmax")

    def call(self, x):
        return self.head(x)


def own_network(input_shape, num_classes):
    return Own(num_classes)


def test_probabilities_of_a_softmax_head_and_a_pickled_custom_network():
    x, y = faults()
    loss = tailfit.losses.Focal(gamma=1.0, from_logits=False)
    fitted = classifier(model_fn=own_network, loss=loss, epochs=1).fit(x, y)
    outputs = fitted.model_.predict(x, verbose=0).astype(float)
    np.testing.assert_allclose(fitted.predict_proba(x), outputs / outputs.sum(1, keepdims=True), rtol=1e-6)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(x), fitted.predict_proba(x))


def test_samples_of_weight_zero_are_ignored():
    x, y = faults()
    given = np.arange(60) % 5 / 2.0
    kept = given > 0
    one = classifier().fit(x, y, sample_weight=given)
    other = classifier().fit(x[kept], y[kept], sample_weight=given[kept].tolist())
    assert_same(weights(one), weights(other))
    with pytest.raises(DataError, match="zero for every sample of the class 'wear'"):
        classifier().fit(x, y, sample_weight=(y != "wear").astype(float))
    with pytest.raises(DataError, match=r"sample_weight -1\.0"):
        classifier().fit(x, y, sample_weight=given - 1)


def test_held_out_samples_get_the_weights_of_training_samples():
    x, y = faults()
    seen = []
    watch = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: seen.append(True))
    stop = keras.callbacks.EarlyStopping("val_loss", patience=0, min_delta=100.0)
    fitted = classifier(
        validation_fraction=0.25, class_weight="balanced", callbacks=lambda: [watch, stop], epochs=9
    ).fit(x, y, sample_weight=np.linspace(1, 2, 60))
    assert seen == [True]
    assert (fitted.n_iter_, len(fitted.history_["val_loss"])) == (2, 2)

    seed = int(np.random.RandomState(0).randint(np.iinfo(np.int32).max))
    train, held_out = tailfit.data.Arrays(x, y).split(0.75, 0.25, seed=seed)
    table = tailfit.weights.class_weights(train)
    codes = held_out.labels
    w = np.linspace(1, 2, 60)[held_out.indices] * np.array([table[k] for k in codes])
    probabilities = fitted.predict_proba(held_out.read(np.arange(15)))
    expected = np.mean(w * -np.log(probabilities[np.arange(15), codes]))
    assert fitted.history_["val_loss"][-1] == pytest.approx(expected, rel=1e-4)


def test_groups_are_held_out_as_a_whole(monkeypatch):
    x, y = faults()
    groups, seen = np.repeat([f"run {run}" for run in range(12)], 5), []
    y[:] = np.tile(np.unique(y), len(y))[: len(y)]  # every class in every group
    fit = tailfit.Model.fit

    def watched(self, batches, *rest, validation_data=None, **options):
        seen.extend([batches.source, validation_data.source])
        return fit(self, batches, *rest, validation_data=validation_data, **options)

    monkeypatch.setattr(tailfit.Model, "fit", watched)
    given = np.where(np.arange(60) % 7, 1.0, 0.0)
    classifier(validation_fraction=0.25, epochs=1, run_eagerly=True).fit(x, y, given, groups)
    train, held_out = ({part.group_names[code] for code in part.groups} for part in seen)
    assert len(train) == 9
    assert len(held_out) == 3
    assert not train & held_out
    with pytest.raises(ArgumentError, match=r"groups of shape \(3,\) for 60 samples"):
        classifier().fit(x, y, groups=[1, 2, 3])


def test_pipeline_grid_and_frames():
    x, y = faults()
    frame = pl.DataFrame(x, schema=["flow", "heat", "speed", "load"])
    grid = GridSearchCV(
        make_pipeline(StandardScaler(), classifier(epochs=1, run_eagerly=True)),
        {"classifier__loss": ["CrossEntropy", "BalancedSoftmax"]},
        cv=2,
        scoring="balanced_accuracy",
        error_score="raise",
    ).fit(frame, y)
    assert grid.best_params_["classifier__loss"] in {"CrossEntropy", "BalancedSoftmax"}
    assert grid.feature_names_in_.tolist() == frame.columns
    assert grid.score(frame, y) > 1 / 3


def test_out_of_fold_probabilities_find_a_wrong_label():
    x, y = faults(gap=6)
    y[4] = "ok"  # the true label is "leak", as in all of the first half
    probabilities = cross_val_predict(classifier(epochs=8), x, y, cv=2, method="predict_proba")
    np.testing.assert_allclose(probabilities.sum(1), 1.0)
    quality = tailfit.weights.label_quality(y, probabilities)
    assert np.argmin(quality) == 4


# -- refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "Fokal"}, "loss='Fokal'"),
        ({"loss": "cross_entropy"}, "loss='cross_entropy'"),  # the function, not the class
        ({"loss": keras.losses.mean_squared_error}, "parameters y_true, y_pred"),
        ({"loss": lambda: "mse"}, "that returns one"),
        ({"optimizer": "adamant"}, "optimizer='adamant'"),
        ({"optimizer": 3}, "optimizer=3"),
        ({"optimizer": keras.optimizers.SGD}, r"learning_rate=0\.1 together"),
        ({"class_weight": {"leak": 1.0, "ok": 1.0}}, "without the class 'wear'"),
        ({"class_weight": {"leek": 1.0}}, "the class 'leek'"),
        ({"class_weight": 3}, "class_weight of type int"),
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"validation_fraction": 1.0}, r"validation_fraction=1\.0"),
        ({"validation_fraction": True}, "validation_fraction=True"),
        ({"model_fn": None}, "model_fn=None"),
        ({"model_fn": lambda shape, classes: 3}, "returns a int"),
        ({"model_fn": lambda shape, classes: dense_network(shape, 7)}, "for 3 classes"),
    ],
    ids=lambda given: given if isinstance(given, str) else next(iter(given)),
)
def test_wrong_parameters_are_refused_in_fit(changes, message):
    with pytest.raises(ArgumentError, match=message):
        classifier(**changes).fit(*faults())


def test_one_class_is_refused():
    with pytest.raises(DataError, match="y with one class only, 'leak'"):
        classifier().fit(np.ones((3, 2)), ["leak"] * 3)
