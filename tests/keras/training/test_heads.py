"""The check of `compile` that a loss fits the output layer: every layer and loss of Keras is read."""

import functools
import inspect

import keras
import pytest

import tailfit
from tailfit.errors import ArgumentError
from tailfit.training.heads import _activation, from_logits_of

LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def classes_with(module, argument):
    found = {kind for kind in vars(module).values() if inspect.isclass(kind)}
    return sorted(
        (kind for kind in found if argument in inspect.signature(kind.__init__).parameters),
        key=lambda kind: kind.__name__,
    )


def test_the_from_logits_of_every_loss_of_keras_is_read():
    for kind in classes_with(keras.losses, "from_logits"):
        assert [from_logits_of(kind(from_logits=flag)) for flag in (True, False)] == [True, False], kind
    functions = [fn for fn in vars(keras.losses).values() if inspect.isfunction(fn)]
    for fn in (fn for fn in functions if "from_logits" in inspect.signature(fn).parameters):
        assert from_logits_of(fn) is from_logits_of(fn.__name__) is False
        assert from_logits_of(functools.partial(fn, from_logits=True)) is True
    assert from_logits_of("mse") is from_logits_of(keras.losses.Huber()) is from_logits_of(lambda y, p: p) is None


def test_the_activation_of_every_layer_of_keras_is_read():
    given = {"units": 2, "filters": 2, "kernel_size": 1, "equation": "ab,bc->ac", "output_shape": 2}
    recurrent = ("LSTM", "GRU", "RNN")  # what their activation makes goes into a state
    layers = [
        kind for kind in classes_with(keras.layers, "activation") if not any(r in kind.__name__ for r in recurrent)
    ]
    assert len(layers) > 10
    for kind in layers:
        own = {name: value for name, value in given.items() if name in inspect.signature(kind.__init__).parameters}
        assert _activation(kind(activation="softmax", **own)) == "softmax", kind


def heads():
    inputs = keras.Input((3,), name="features")
    softmax = keras.layers.Dense(2, activation="softmax", name="cause")
    shared = keras.layers.Identity()
    shared(keras.layers.Dense(2)(inputs))
    steps = keras.layers.TimeDistributed(keras.layers.Dense(2, activation="softmax"), name="cause")
    nested = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Softmax(name="cause")])
    yield (
        "a layer as activation",
        inputs,
        keras.layers.Dense(2, activation=keras.layers.Softmax(), name="cause")(inputs),
    )
    yield "float32 at the end", inputs, keras.layers.Activation("linear", dtype="float32")(softmax(inputs))
    yield "a nested model", inputs, nested(inputs)
    yield "a function", inputs, keras.ops.softmax(keras.layers.Dense(2)(inputs))
    yield "in another shape", inputs, keras.layers.Reshape((1, 2))(softmax(inputs))
    yield "a layer called twice", inputs, shared(softmax(inputs))
    yield "each step", inputs, steps(keras.layers.Reshape((3, 1))(inputs))


@pytest.mark.parametrize("number", range(7), ids=lambda number: list(heads())[number][0])
def test_a_softmax_is_found_wherever_it_is(number):
    _, inputs, outputs = list(heads())[number]
    with pytest.raises(ArgumentError, match="'softmax'"):
        tailfit.Model(inputs, outputs).compile("sgd", LOGITS)
    tailfit.Model(inputs, outputs).compile("sgd", "sparse_categorical_crossentropy")


def test_a_loss_that_is_a_function_is_read():
    inputs = keras.Input((3,))
    model = tailfit.Model(inputs, keras.layers.Dense(2, activation="softmax")(inputs))
    model.compile("sgd", keras.losses.sparse_categorical_crossentropy)
    with pytest.raises(ArgumentError, match="from_logits=True"):
        model.compile("sgd", functools.partial(keras.losses.sparse_categorical_crossentropy, from_logits=True))


@pytest.mark.parametrize("by", ["keys", "layers"])
def test_outputs_in_a_dict_are_told_apart(by):
    inputs = keras.Input((3,))
    a = keras.layers.Dense(2, activation="softmax", name="x")(inputs)
    b = keras.layers.Dense(2, name="y")(inputs)
    model = tailfit.Model(inputs, {"z": a, "b": b} if by == "keys" else [a, b])
    with pytest.raises(ArgumentError, match="'x'"):
        model.compile("sgd", {"z" if by == "keys" else "x": LOGITS, "b" if by == "keys" else "y": LOGITS})


def test_a_check_that_can_not_be_made_says_so():
    """As in a Keras whose layers or losses keep what is needed under another name."""
    inputs = keras.Input((3,))
    layer = keras.layers.Dense(2, activation="softmax", name="cause")
    model = tailfit.Model(inputs, layer(inputs))

    class Hidden(keras.losses.SparseCategoricalCrossentropy):
        def __init__(self, *, from_logits=False):
            super().__init__()
            vars(self).pop("from_logits", None)

        def get_config(self):
            return {}

    with pytest.warns(UserWarning, match=r"from_logits of Hidden cannot be read.*not checked"):
        model.compile("sgd", Hidden(from_logits=True))
    with pytest.warns(UserWarning, match="whose from_logits cannot be read"):
        assert from_logits_of(Hidden()) is None
    del layer.activation
    with pytest.warns(UserWarning, match=r"the activation of the output layer 'cause' \(Dense\)"):
        model.compile("sgd", LOGITS)
    model.compile("sgd", "mse")  # where nothing is to be checked nothing is said


def test_nothing_is_said_where_nothing_can_be_known():
    class Own(keras.layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], 2))

        def call(self, x):
            return keras.ops.softmax(x @ self.kernel)

    class Subclassed(tailfit.Model):
        outputs = (3, 4)  # of its own

        def call(self, x):
            return x

    inputs = keras.Input((3,))
    for from_logits in (True, False):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
        tailfit.Model(inputs, Own()(inputs)).compile("sgd", loss)
        tailfit.Model(inputs, keras.layers.Dense(2, activation=lambda x: x)(inputs)).compile("sgd", loss)
        Subclassed().compile("sgd", loss)
