"""Numbered cases in which Keras applies class weights wrongly without an error, or refuses them."""

import keras
import numpy as np
import pytest
from support.autograd import numpy

import tailfit
from tailfit.errors import ArgumentError

rng = np.random.default_rng(4)
X = rng.standard_normal((24, 3)).astype("float32")
Y = np.repeat([0, 1, 2], 8)
WEIGHT = {0: 1.0, 1: 2.0, 2: 5.0}
OWN = rng.uniform(0.5, 2, 24).astype("float32")


def model(cls=tailfit.Model, loss=None, outputs=3):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((3,))
    made = cls(inputs, keras.layers.Dense(outputs)(inputs))
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile(keras.optimizers.SGD(0.1), loss)
    return made


def trained(made, *args, **kwargs):
    made.fit(*args, shuffle=False, batch_size=None if isinstance(args[0], tailfit.Batches) else 8, verbose=0, **kwargs)
    return numpy(made.layers[-1].kernel)


def test_trap_09_data_sets_are_weighted_by_class():
    """Batches of any source get the same weights as arrays in Keras."""
    batches = tailfit.Batches(
        tailfit.data.Arrays(X, Y), 8, tailfit.samplers.Sequential(), class_weight={0: 1.0, 1: 2.0, 2: 5.0}
    )
    want = trained(model(keras.Model), X, Y, class_weight=WEIGHT)
    np.testing.assert_allclose(trained(model(), batches), want, rtol=1e-5, atol=1e-6)
    assert np.abs(want - trained(model(), X, Y)).max() > 1e-3


def test_trap_09_class_weight_with_a_custom_adapter_is_refused():
    class Adapter:
        def get_numpy_iterator(self):
            return iter([(X, Y)])

    with pytest.raises(ArgumentError, match="class_weight together with the data adapter Adapter"):
        model().fit(Adapter(), class_weight=WEIGHT)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ((rng.random((24, 3)) < 0.5).astype("float32"), "class_weight for multi-label y.*class_weights="),
        (np.eye(3)[Y] * (np.arange(24) > 0)[:, None], "class_weight for labels whose row 0"),
        (np.stack([Y, Y, Y[::-1]], axis=1), "class_weight for labels whose row 0"),
        (np.zeros((24, 3, 3), "int32"), r"class_weight for labels of shape \(24, 3, 3\)"),
    ],
    ids=["several labels", "a row of none", "tokens", "pixels"],
)
def test_trap_10_labels_without_one_class_each_are_refused(y, message):
    with pytest.raises(ArgumentError, match=message):
        model(loss="mse").fit(X, y, class_weight=WEIGHT, verbose=0)


def test_trap_11_several_outputs_take_a_dict_of_weights():
    inputs = keras.Input((3,))
    outputs = {name: keras.layers.Dense(3, name=name)(inputs) for name in ("cause", "site")}
    both = tailfit.Model(inputs, outputs)
    losses = {name: keras.losses.SparseCategoricalCrossentropy(from_logits=True) for name in outputs}
    both.compile(keras.optimizers.SGD(0.0), losses)
    labels = {"cause": Y, "site": Y[::-1].copy()}
    with pytest.raises(ArgumentError, match=r"several outputs.*tailfit\.weights\.sample_weights"):
        both.fit(X, labels, class_weight=WEIGHT, verbose=0)
    weights = tailfit.weights.sample_weights(labels, {"cause": WEIGHT, "site": {2: 0.5}})
    history = both.fit(X, labels, sample_weight=weights, batch_size=24, verbose=0).history
    want = 0
    for name, y in labels.items():
        alone = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")
        want += np.mean(numpy(alone(y, both(X)[name])) * weights[name])
    assert history["loss"][0] == pytest.approx(want, rel=1e-5)


def test_trap_12_class_and_sample_weights_multiply():
    want = trained(model(keras.Model), X, Y, sample_weight=np.array([1, 2, 5])[Y] * OWN)
    np.testing.assert_array_equal(trained(model(), X, Y, class_weight=WEIGHT, sample_weight=OWN), want)
    one_hot = model(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    found = trained(one_hot, X, np.eye(3, dtype="float32")[Y], class_weight=WEIGHT, sample_weight=OWN[:, None])
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)
    with pytest.raises(ArgumentError, match="validation_split"):
        model().fit(X, Y, class_weight=WEIGHT, sample_weight=OWN, validation_split=0.2, verbose=0)


def test_trap_12_a_class_without_a_weight_is_refused():
    with pytest.raises(ArgumentError, match=r"class_weight without class 2.*add 2: 1\.0"):
        model().fit(X, Y, class_weight={0: 1.0, 1: 2.0}, verbose=0)
