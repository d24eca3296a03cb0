"""`tailfit.doctor`: live models and data, which stay as they are."""

import random
import threading
import warnings

import keras
import numpy as np
import pytest
from keras import ops

import tailfit
from tailfit.errors import ArgumentError

X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
Y = np.arange(40) % 2


def model(cls=keras.Model, **options):
    inputs = keras.Input((3,))
    made = cls(inputs, keras.layers.Dense(2)(keras.layers.BatchNormalization()(keras.layers.Dropout(0.5)(inputs))))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile(**{"optimizer": "adam", "loss": loss, **options})
    return made


def state(made):
    return [np.array(ops.convert_to_numpy(v)) for v in [*made.variables, *made.metrics_variables]]


class Own(keras.Model):
    """A model with code of the user in its step, so that the doctor runs one."""

    def call(self, inputs, training=False):
        return super().call(inputs, training=training)


class Twice(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = np.random.choice(40, 4)  # noqa: NPY002
        return X[rows], Y[rows]


def test_model_data_and_random_numbers_stay_as_they_are():
    made = model(Own)
    made.optimizer.build(made.trainable_variables)
    before, python, numpy = state(made), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    data = Twice(workers=2)
    (finding,) = tailfit.doctor(made, data)
    assert (finding.trap, finding.file) == (28, __file__)
    assert "read twice" in finding.numbers
    for was, now in zip(before, state(made), strict=True):
        np.testing.assert_array_equal(was, now)
    assert python == random.getstate()
    assert numpy == np.random.get_state()[1].tolist()  # noqa: NPY002
    assert data.workers == 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("Worker")]
    history = made.fit(data, epochs=2, verbose=0)
    assert len(history.history["loss"]) == 2


def test_a_step_that_fails_leaves_the_model_usable():
    class Fails(keras.layers.Layer):
        broken = True

        def call(self, x, training=False):
            if training and self.broken and not isinstance(x, keras.KerasTensor):
                raise RuntimeError("broken")
            return x

    inputs = keras.Input((3,))
    layer = Fails()
    made = keras.Model(inputs, keras.layers.Dense(1)(layer(inputs)))
    made.compile("sgd", "mse")
    before = state(made)
    assert tailfit.doctor(made, (X, Y)) == []
    for was, now in zip(before, state(made), strict=True):
        np.testing.assert_array_equal(was, now)
    layer.broken = False
    made.fit(X, Y, verbose=0)


def test_numbers_are_those_of_keras():
    """The val_loss that a finding quotes is what `evaluate` returns."""
    made = model()
    stop = keras.callbacks.EarlyStopping()
    given = {"class_weight": {0: 0.2, 1: 1.8}, "validation_data": (X, Y), "callbacks": [stop]}
    (finding,) = tailfit.doctor(made, X, Y, **given)
    assert finding.trap == 13
    assert f"is {made.evaluate(X, Y, verbose=0):.4g} with" in finding.numbers
    weights = np.where(Y == 0, 0.2, 1.8)
    assert finding.numbers.endswith(f"it is {made.evaluate(X, Y, sample_weight=weights, verbose=0):.4g}")


def test_tailfit_models_have_no_findings():
    assert tailfit.doctor(model(tailfit.Model), X, Y, class_weight={0: 1.0}) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tailfit.doctor("model.keras"), "model of type str"),
        (lambda: tailfit.doctor(keras.Sequential([keras.layers.Dense(1)])), "not compiled"),
        (lambda: tailfit.doctor(model(), "data.csv"), "data of type str"),
        (lambda: tailfit.doctor(model(), object()), "data of type object"),
        (lambda: tailfit.doctor(model(), [[1.0, 2.0]]), "data of type list"),
    ],
)
def test_bad_input_is_one_error(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


def test_a_model_alone_is_examined():
    loss = keras.losses.CategoricalGeneralizedCrossEntropy(q=0.7)
    assert [each.trap for each in tailfit.doctor(model(loss=loss))] == [18]


def test_a_fit_within_the_doctor_writes_no_file(tmp_path):
    """A short training must not overwrite the model of a long one."""
    from tailfit.diagnosis.script import examined

    script = tmp_path / "script.py"
    script.write_text(
        "import keras, numpy as np\n"
        "model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])\n"
        "model.compile('sgd', 'mse')\n"
        f"best = {str(tmp_path / 'best.weights.h5')!r}\n"
        "keep = keras.callbacks.ModelCheckpoint(best, save_weights_only=True)\n"
        f"backup = keras.callbacks.BackupAndRestore({str(tmp_path / 'backup')!r})\n"
        "history = model.fit(np.ones((80, 3)), np.ones((80, 1)), batch_size=2, epochs=7, verbose=0,\n"
        "                    callbacks=[keep, backup])\n"
        "assert len(history.history['loss']) == len(history.epoch) == 7\n"
        "assert int(model.optimizer.iterations) == 2\n"
        "model.load_weights(best)\n"
    )
    found = []
    examined(script, [], found.append)
    assert found == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["script.py"]


class Odd(keras.losses.Loss):
    """A loss that raises where it is asked for its configuration."""

    reduction = property(lambda self: 1 / 0, lambda self, value: None)

    def call(self, y_true, y_pred):
        return ops.mean(y_pred, axis=-1)


def test_a_check_that_fails_is_a_warning_and_others_go_on(tmp_path):
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        findings = tailfit.doctor(model(loss=Odd()), X, Y, batch_size=8, callbacks=[backup])
    assert [each.trap for each in findings] == [26]
    messages = [str(each.message) for each in caught if issubclass(each.category, UserWarning)]
    assert "The check for trap 14 failed: ZeroDivisionError: division by zero" in messages
