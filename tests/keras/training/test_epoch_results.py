"""Metrics with slow results: the logs of an epoch have them, those of a step do not; the numbers are Keras'."""

import keras
import numpy as np
import pytest

import tailfit
from tailfit.metrics import RocAuc

rng = np.random.default_rng(4)
X = rng.standard_normal((24, 3)).astype("float32")
Y = rng.integers(0, 2, 24)


class OfBatches(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.names = []

    def on_train_batch_end(self, batch, logs=None):
        self.names.append(set(logs))

    def on_test_batch_end(self, batch, logs=None):
        self.names.append(set(logs))


def compiled(kind=tailfit.Model, metrics=None, **kwargs):
    inputs = keras.Input((3,))
    model = kind(inputs, keras.layers.Dense(2, kernel_initializer="ones")(inputs))
    metrics = metrics or ["accuracy", RocAuc(from_logits=True, capacity=32)]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.5), loss, metrics=metrics, **kwargs)
    return model


@pytest.fixture(scope="module")
def of_keras():
    """The numbers of a plain Keras model, which sorts all scores after every step."""
    model = compiled(keras.Model)
    fit = model.fit(X, Y, batch_size=8, epochs=2, validation_data=(X[:16], Y[:16]), shuffle=False, verbose=0)
    of_train = model.train_on_batch(X[:8], Y[:8], return_dict=True)
    return fit.history, of_train, model.test_on_batch(X[:8], Y[:8]), model.evaluate(X, Y, verbose=0)


@pytest.mark.parametrize("options", [{}, {"steps_per_execution": 2}, {"run_eagerly": True}, {"parts": 2}], ids=str)
def test_the_numbers_of_epochs_are_those_of_keras(of_keras, options):
    history, of_train, of_test, of_evaluation = of_keras
    seen, model = OfBatches(), compiled(**options)
    data = {"validation_data": (X[:16], Y[:16]), "shuffle": False, "callbacks": [seen], "verbose": 0}
    got = model.fit(X, Y, batch_size=8, epochs=2, **data).history
    assert got.keys() == history.keys()
    for name in history:
        np.testing.assert_allclose(got[name], history[name], rtol=1e-5, err_msg=name)
    assert all(names == {"loss", "accuracy"} for names in seen.names)
    if options:
        return
    # Of a single batch, the caller gets the value.
    trained = model.train_on_batch(X[:8], Y[:8], return_dict=True)
    assert trained == pytest.approx(of_train, rel=1e-5)
    assert model.test_on_batch(X[:8], Y[:8]) == pytest.approx(of_test, rel=1e-5)
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(of_evaluation, rel=1e-5)


def test_a_custom_step_keeps_its_own_logs():
    class Mine(tailfit.Model):
        def test_step(self, data):
            x, y = data
            y_pred = self(x, training=False)
            logs = self.update_metrics(self.compute_loss(x, y, y_pred), x, y, y_pred)
            return {**logs, "rows": keras.ops.sum(y * 0 + 1)}

    model = compiled(Mine)
    want = compiled().evaluate(X, Y, verbose=0, return_dict=True)
    got = model.evaluate(X, Y, batch_size=12, verbose=0, return_dict=True)
    assert got.pop("rows") == 12
    assert got == pytest.approx(want, rel=1e-5)


def test_a_loop_by_hand_gets_the_value():
    model = compiled()
    step = tailfit.function(lambda x, y: model.test_step((x, y)))
    logs = step(X, Y)
    want = compiled().evaluate(X, Y, verbose=0, return_dict=True)
    assert float(logs["roc_auc"]) == pytest.approx(want["roc_auc"], rel=1e-5)


def test_the_progress_bar_shows_it_at_the_end(capsys):
    compiled().fit(X, Y, batch_size=8, verbose=1)
    shown = capsys.readouterr().out.replace("\b", "").split("\r")
    assert "roc_auc" in shown[-1]
    assert not any("roc_auc" in line for line in shown[:-1])
    assert "nan" not in "".join(shown)
