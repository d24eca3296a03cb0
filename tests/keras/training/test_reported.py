"""The reported loss is the loss of the whole epoch in one batch (traps 13 to 17), and the objective stays Keras'."""

import keras
import numpy as np
import pytest
from keras import ops

import tailfit
from tailfit import keras_private as private
from tailfit.training.reported import report_whole_epochs


def identity(cls=tailfit.Model, loss="mse", outputs=1, optimizer=None, **kwargs):
    """A model that predicts its input, so that every loss is known: a frozen step size of 0."""
    inputs = keras.Input((1,))
    layers = [
        keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", name=f"out{k}")(inputs) for k in range(outputs)
    ]
    model = cls(inputs, layers[0] if outputs == 1 else layers)
    model.compile(optimizer or keras.optimizers.SGD(0.0), loss, **kwargs)
    return model


X = np.array([[1.0], [2.0], [3.0], [4.0], [5.0]], "float32")
Y = np.zeros((5, 1), "float32")
W = np.array([1.0, 0.0, 2.0, 10.0, 3.0], "float32")


def reported(model, *args, **kwargs):
    given = {"batch_size": 2, "shuffle": False, "verbose": 0, **kwargs}
    return model.fit(*args, **given).history


def whole(loss, y, prediction, weight=None):
    return float(loss(ops.convert_to_tensor(y), ops.convert_to_tensor(prediction), weight))


REDUCTIONS = ["sum_over_batch_size", "mean", "mean_with_sample_weight", "sum"]


@pytest.mark.parametrize("weight", [None, W], ids=["plain", "weighted"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("steps", [1, 2])
def test_trap_14_the_epoch_is_one_batch(reduction, weight, steps):
    loss = keras.losses.MeanSquaredError(reduction=reduction)
    model = identity(loss=loss, steps_per_execution=steps)
    validation = (X, Y) if weight is None else (X, Y, weight)
    history = reported(model, X, Y, sample_weight=weight, validation_data=validation, epochs=2)
    expected = whole(loss, Y, X, weight)
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-6)
    np.testing.assert_allclose(history["val_loss"], expected, rtol=1e-6)
    result = model.evaluate(*validation[:2], sample_weight=weight, batch_size=2, verbose=0)
    assert float(result) == pytest.approx(expected, rel=1e-6)


def test_trap_14_the_numbers_of_the_page():
    """Two batches, sums of weights 1 and 11: Keras says 2.5 where the loss of the epoch is 4.58."""
    x, y = np.sqrt([[0.0], [0.0], [5.0], [5.0]]).astype("float32"), np.zeros((4, 1), "float32")
    weight = np.array([0.5, 0.5, 10.0, 1.0], "float32")
    loss = keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")
    theirs = reported(identity(keras.Model, loss), x, y, sample_weight=weight)["loss"][0]
    ours = reported(identity(loss=loss), x, y, sample_weight=weight)["loss"][0]
    assert theirs == pytest.approx(2.5)
    assert ours == pytest.approx(55 / 12)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_trap_15_the_objective_stays_keras_own(reduction):
    """To the bit: only the number shown differs."""
    loss = keras.losses.MeanSquaredError(reduction=reduction)
    pair = [identity(cls, loss, optimizer=keras.optimizers.Adam(0.1)) for cls in (keras.Model, tailfit.Model)]
    for model in pair:
        reported(model, X, Y, sample_weight=W, epochs=3)
    np.testing.assert_array_equal(*[ops.convert_to_numpy(model.weights[0]) for model in pair])


@pytest.mark.parametrize("reduction", ["sum", "mean_with_sample_weight"])
def test_penalties_are_averaged_and_losses_of_outputs_too(reduction):
    class Fixed(keras.layers.Layer):
        def call(self, x):
            self.add_loss(ops.convert_to_tensor(0.25))
            return x

    inputs = keras.Input((1,))
    a, b = Fixed(name="a")(inputs), keras.layers.Rescaling(2.0, name="b")(inputs)
    loss = keras.losses.MeanSquaredError(reduction=reduction)
    model = tailfit.Model(inputs, {"a": a, "b": b})
    model.compile(keras.optimizers.SGD(0.0), {"a": loss, "b": "mse"}, loss_weights={"a": 3.0, "b": 0.5})
    history = reported(model, X, {"a": Y, "b": Y}, sample_weight={"a": W, "b": W})
    one = whole(loss, Y, X, W)
    two = whole(keras.losses.MeanSquaredError(), Y, 2 * X, W)
    assert history["a_loss"][0] == pytest.approx(one, rel=1e-6)
    assert history["b_loss"][0] == pytest.approx(two, rel=1e-6)
    assert history["loss"][0] == pytest.approx(3 * one + 0.5 * two + 0.25, rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_trap_17_masked_positions_count_by_how_many_there_are(reduction, weighted):
    """Batches of very different lengths: 1 of 4 positions, then 7 of 8."""
    x = np.array([[1, 0, 0, 0], [0, 0, 0, 0], [2, 3, 4, 5], [6, 7, 8, 0]], "float32")[..., None]
    y = np.zeros((4, 4, 1), "float32")
    weight = np.array([1.0, 1.0, 2.0, 4.0], "float32") if weighted else None
    inputs = keras.Input((4, 1))
    hidden = keras.layers.Masking(0.0)(inputs)
    model = tailfit.Model(inputs, keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")(hidden))
    loss = keras.losses.MeanSquaredError(reduction=reduction)
    model.compile(keras.optimizers.SGD(0.0), loss)
    weights = None if weight is None else np.repeat(weight[:, None], 4, 1)
    mask = x[..., 0] != 0
    squares, factor = x[..., 0] ** 2, np.ones((4, 4)) if weights is None else weights
    total = (squares * mask * factor).sum()
    divisor = {"sum": 1.0, "mean_with_sample_weight": (mask * factor).sum()}.get(reduction, mask.sum())
    history = reported(model, x, y, sample_weight=weights)
    assert history["loss"][0] == pytest.approx(total / divisor, rel=1e-5)


def test_trap_16_plain_metrics_ignore_weights_as_in_keras():
    plain, weighed = keras.metrics.MeanSquaredError(name="plain"), keras.metrics.MeanSquaredError(name="weighed")
    history = reported(identity(metrics=[plain], weighted_metrics=[weighed]), X, Y, sample_weight=W)
    assert history["plain"][0] == pytest.approx(11.0)
    assert history["weighed"][0] == pytest.approx((X[:, 0] ** 2 * W).sum() / W.sum())


def test_trap_13_class_weights_for_validation_too():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    inputs = keras.Input((2,))
    x, y = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 1.0]], "float32"), np.array([0, 1, 1])
    weight = {0: 1.0, 1: 4.0}
    model = tailfit.Model(inputs, keras.layers.Dense(2, use_bias=False, kernel_initializer="identity")(inputs))
    model.compile(keras.optimizers.SGD(0.0), loss)
    given = {"batch_size": 3, "class_weight": weight, "verbose": 0}
    for labels in (y, y[:, None], keras.utils.to_categorical(y)):
        model.loss = loss = (
            keras.losses.CategoricalCrossentropy(from_logits=True) if labels.shape[-1] == 2 else model.loss
        )
        model.compile(keras.optimizers.SGD(0.0), loss)
        history = model.fit(x, labels, validation_data=(x, labels), validation_class_weight=weight, **given).history
        assert history["val_loss"][0] == pytest.approx(history["loss"][0], rel=1e-6)
    model.compile(keras.optimizers.SGD(0.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    plain = model.fit(x, y, validation_data=(x, y), **given).history
    assert abs(plain["val_loss"][0] - plain["loss"][0]) > 0.1


def test_validation_class_weight_multiplies_with_sample_weights():
    model = identity()
    y = np.array([[0.0], [1.0], [0.0], [1.0], [0.0]], "float32")
    validation = (X, y, W)
    history = reported(model, X, y, validation_data=validation, validation_class_weight={0: 1.0, 1: 3.0})
    expected = ((X - y)[:, 0] ** 2 * W * np.array([1, 3, 1, 3, 1])).mean()
    assert history["val_loss"][0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "no validation_data"),
        ({"validation_data": (X,)}, "without labels"),
        ({"validation_data": (X, Y + 7)}, "class 7"),
        ({"validation_data": "batches"}, "validation_class_weight: a weight for the unknown class 1"),
    ],
)
def test_validation_class_weight_that_can_not_be_applied_is_refused(given, message):
    if given.get("validation_data") == "batches":
        given = {"validation_data": tailfit.Batches(tailfit.data.Arrays(X, Y[:, 0].astype(int)))}
    with pytest.raises(tailfit.errors.ArgumentError, match=message):
        reported(identity(), X, Y, validation_class_weight={0: 1.0, 1: 2.0}, **given)


def test_a_container_of_losses_that_is_not_known_is_refused():
    """In a Keras that keeps them otherwise the losses would not be those of whole epochs, and nobody would know."""

    class Other(private.CompileLoss):
        pass

    model = identity(keras.Model)
    private.compiled_loss(model).__class__ = Other
    with pytest.raises(tailfit.errors.StepError, match="losses are a Other"):
        report_whole_epochs(model)


def test_an_own_compute_loss_is_reported_as_it_is():
    class Own(tailfit.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(ops.abs(y_pred - y)) + 1.0

    inputs = keras.Input((1,))
    model = Own(inputs, keras.layers.Rescaling(1.0)(inputs))
    model.compile("sgd", keras.losses.MeanSquaredError(reduction="sum"))
    assert reported(model, X, Y)["loss"][0] == pytest.approx(4.0)


def test_a_compiled_model_is_saved_and_loaded(tmp_path):
    model = identity(loss=keras.losses.MeanSquaredError(reduction="sum"))
    first = reported(model, X, Y)["loss"]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert reported(loaded, X, Y)["loss"] == first
