"""Weights given to `fit` itself: tables by class in every form users have, for arrays and for `Batches`."""

import keras
import numpy as np
import polars as pl
import pytest
from support.autograd import numpy

import tailfit
from tailfit.callbacks import Resume
from tailfit.data import Arrays
from tailfit.errors import ArgumentError, CheckpointError, DataError
from tailfit.samplers import Sequential

rng = np.random.default_rng(4)
X = rng.standard_normal((24, 3)).astype("float32")
Y = np.repeat([0, 1, 2], [12, 8, 4])
NAMES = ["ok", "leak", "worn"]
OWN = rng.uniform(0.5, 2, 24)
TABLE = {0: 1.0, 1: 2.0, 2: 5.0}
SOURCE = Arrays(X, Y, class_names=NAMES, metadata=pl.DataFrame({"snr": np.arange(24.0)}))


def model(cls=tailfit.Model):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((3,))
    made = cls(inputs, keras.layers.Dense(3)(inputs))
    made.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return made


def batches(**given):
    return tailfit.Batches(SOURCE, 8, seed=2, **given)


def trained(data, y=None, cls=tailfit.Model, **given):
    made = model(cls)
    made.fit(data, y, shuffle=False, epochs=2, verbose=0, **given)
    return numpy(made.layers[-1].kernel)


@pytest.mark.parametrize("kind", [float, np.int64, np.float32, np.str_])
def test_keys_are_what_numpy_gives(kind):
    table = {kind(code): np.float32(weight) for code, weight in TABLE.items()}
    if kind is not np.str_:  # which Keras itself takes for classes that are not there
        np.testing.assert_array_equal(trained(X, Y, class_weight=table), trained(X, Y, keras.Model, class_weight=TABLE))
    y = Y.astype("float32")
    np.testing.assert_array_equal(trained(X, y, class_weight=table), trained(X, y, class_weight=TABLE))
    held = {"validation_data": (X, y), "verbose": 0}
    values = [
        model().fit(X, Y, validation_class_weight=given, **held).history["val_loss"][0] for given in (table, TABLE)
    ]
    assert values[0] == values[1]


def test_keys_of_a_losses_weights():
    for kind in (int, float, np.int64, np.float32):
        table = {kind(code): weight for code, weight in TABLE.items()}
        loss = tailfit.losses.CrossEntropy(class_weights=table, from_logits=True)
        assert loss.class_weights == (1.0, 2.0, 5.0)
    with pytest.raises(ArgumentError, match=r"class_weights with the keys \[False, True, 2\]"):
        tailfit.losses.CrossEntropy(class_weights={False: 1.0, True: 2.0, 2: 5.0}, from_logits=True)


@pytest.mark.parametrize("bad", [float("nan"), -1.0, float("inf"), "2", None])
def test_weights_out_of_range_are_refused(bad):
    for data in ((X, Y), (batches(),)):
        with pytest.raises(ArgumentError, match=r"class_weight: the weight .* for 1\. Expected finite numbers >= 0"):
            trained(*data, class_weight={0: 1.0, 1: bad, 2: 1.0})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({True: 1.0, 0: 1.0, 2: 1.0}, "the key True"),
        ({0.5: 1.0, 0: 1.0, 1: 1.0, 2: 1.0}, r"the key 0\.5"),
        ({0: 1.0, 1: 1.0, "1": 1.0, 2: 1.0}, "'1' twice|'1'"),
        ({0: 1.0, 1: 1.0}, "without "),
        ({-1: 1.0, **TABLE}, "class -1"),
    ],
)
def test_keys_that_name_no_class_are_refused(table, message):
    for data in ((X, Y), (batches(),)):
        with pytest.raises(ArgumentError, match=f"class_weight.*{message}"):
            trained(*data, class_weight=table)


def test_schemes_are_for_batches():
    with pytest.raises(ArgumentError, match=r"class_weight of type str.*class_weights\(y, 'balanced'\)"):
        trained(X, Y, class_weight="balanced")


FORMS = {
    "codes": {"class_weight": TABLE},
    "floats": {"class_weight": {float(code): weight for code, weight in TABLE.items()}},
    "names": {"class_weight": dict(zip(NAMES, TABLE.values(), strict=True))},
    "scheme": {"class_weight": "balanced"},
    "schedule": {"class_weight": tailfit.schedules.Linear([1.0, 1.0, 1.0], [1.0, 2.0, 5.0], 1)},
    "samples": {"sample_weight": OWN},
    "conditions": {"sample_weight": {"snr < 5": 0.0, "worn": 2.0}},
    "both": {"class_weight": TABLE, "sample_weight": OWN},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_fit_of_batches_takes_what_batches_take(form):
    data = batches()
    found = trained(data, **FORMS[form])
    np.testing.assert_array_equal(found, trained(batches(**FORMS[form])))
    assert np.abs(found - trained(batches())).max() > 1e-3
    assert data.weights is None
    assert len(data[0]) == 2


def test_weights_multiply_with_those_of_the_batches():
    schedule = tailfit.schedules.Linear([1.0, 1.0, 1.0], [1.0, 2.0, 5.0], 1)
    want = trained(batches(class_weight=TABLE, sample_weight=OWN))
    np.testing.assert_array_equal(trained(batches(sample_weight=OWN), class_weight=TABLE), want)
    np.testing.assert_array_equal(trained(batches(class_weight=TABLE), sample_weight=OWN), want)
    want = trained(batches(class_weight=schedule, sample_weight=OWN))
    np.testing.assert_array_equal(trained(batches(sample_weight=OWN), class_weight=schedule), want)
    np.testing.assert_array_equal(trained(batches(class_weight=schedule), sample_weight=OWN), want)
    data = batches(class_weight=TABLE)
    counts = data.class_counts
    trained(data, class_weight={0: 3.0, 1: 3.0, 2: 3.0})
    np.testing.assert_array_equal(data.class_counts, counts)


def test_weights_that_do_not_fit_are_one_error():
    with pytest.raises(ArgumentError, match=r"sample_weight of shape \(23,\).*the source's 24 samples"):
        trained(batches(), sample_weight=OWN[1:])
    with pytest.raises(DataError, match="sample_weight nan"):
        trained(batches(), sample_weight=OWN * np.where(np.arange(24) == 5, np.nan, 1))
    with pytest.raises(ArgumentError, match="class_weight for an unlabelled source"):
        trained(tailfit.Batches(Arrays(X)), class_weight=TABLE)


def test_validation_is_weighted_only_by_its_own_argument():
    data = batches(sampler=Sequential())
    fit = model().fit(data, class_weight=TABLE, validation_data=data, verbose=0).history
    plain = model().fit(data, class_weight=TABLE, validation_data=(X, Y), verbose=0).history
    assert fit["val_loss"][0] == pytest.approx(plain["val_loss"][0], rel=1e-5)
    weighted = {"validation_class_weight": TABLE, "class_weight": TABLE, "verbose": 0}
    of_batches = model().fit(data, validation_data=data, **weighted).history["val_loss"][0]
    of_arrays = model().fit(data, validation_data=(X, Y), **weighted).history["val_loss"][0]
    assert of_batches == pytest.approx(of_arrays, rel=1e-5)
    assert of_batches != pytest.approx(fit["val_loss"][0], rel=1e-3)
    made = model()
    want = made.evaluate(X, Y, sample_weight=OWN, verbose=0)
    assert made.evaluate(data, sample_weight=OWN, verbose=0) == pytest.approx(want, rel=1e-5)


def test_a_run_is_resumed_with_the_same_weights_only(tmp_path):
    def run(folder, epochs, **weights):
        made = model()
        made.fit(batches(), epochs=epochs, callbacks=[Resume(tmp_path / folder)], verbose=0, **weights)
        return numpy(made.layers[-1].kernel)

    run("begun", 1, **FORMS["both"])
    with pytest.raises(CheckpointError, match=r"class_weight: .*when saved"):
        run("begun", 2, class_weight=TABLE)
    np.testing.assert_array_equal(run("begun", 2, **FORMS["both"]), run("whole", 2, **FORMS["both"]))


def test_a_plain_keras_fit_weighs_right_or_refuses():
    np.testing.assert_array_equal(
        trained(batches(), cls=keras.Model, class_weight=TABLE), trained(batches(class_weight=TABLE), cls=keras.Model)
    )
    for table, message in (
        (FORMS["names"]["class_weight"], "the key 'ok' in the fit of a plain keras.Model"),
        ({0: 1.0, 1: 2.0}, "without the class 'worn'"),
        ({0: 1.0, 1: 2.0, 2: -1.0}, "-1"),
    ):
        with pytest.raises(ArgumentError, match=message):
            trained(batches(), cls=keras.Model, class_weight=table)
    with pytest.raises(ValueError, match="at the same time"):
        trained(batches(sample_weight=OWN), cls=keras.Model, class_weight=TABLE)
