"""`fit` and `evaluate` refuse labels that the model's outputs have no place for, and data without labels."""

import keras
import numpy as np
import pytest

import tailfit
from tailfit.data import Arrays
from tailfit.errors import ArgumentError

CLASSES = 3
X = np.zeros((12, 2), "float32")
Y = np.arange(12) % CLASSES
SPARSE = keras.losses.SparseCategoricalCrossentropy


class Subclassed(tailfit.Model):
    def __init__(self, units=CLASSES):
        super().__init__()
        self.head = keras.layers.Dense(units)

    def call(self, x):
        return self.head(x)


def functional(units=CLASSES, steps=None):
    shape = (2,) if steps is None else (steps, 2)
    inputs = keras.Input(shape)
    return tailfit.Model(inputs, keras.layers.Dense(units, name="causes")(inputs))


def compiled(model, loss=None, **given):
    model.compile("sgd", loss or SPARSE(from_logits=True), **given)
    return model


LOSSES = {
    "keras": lambda: SPARSE(from_logits=True),
    "tailfit": lambda: tailfit.losses.CrossEntropy(from_logits=True),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_labels_from_1_are_refused(loss):
    model = compiled(functional(), LOSSES[loss]())
    fix = r"y whose row 2 is 3 for an output of 3 classes \(layer 'causes'\)\. Expected class indices 0 to 2\. Fix: "
    with pytest.raises(ArgumentError, match=fix + r"number the classes from 0 \(y - 1\), or give the layer 4 units\."):
        model.fit(X, Y + 1, verbose=0)
    with pytest.raises(
        ArgumentError, match=r"labels with class index 3 for an output of 3 classes \(layer 'causes'\).*y - 1"
    ):
        model.fit(tailfit.Batches(Arrays(X, Y + 1)), verbose=0)
    model.fit(X, Y, verbose=0)
    for use in (model.fit, model.evaluate):  # now that all is compiled
        with pytest.raises(ArgumentError, match=r"row 2 is 3"):
            use(X, (Y + 1).astype("float32")[:, None], verbose=0)
        with pytest.raises(ArgumentError, match=r"class index 3"):
            use(tailfit.Batches(Arrays(X, Y + 1)), verbose=0)
    with pytest.raises(ArgumentError, match=r"validation labels whose row 2 is 3"):
        model.fit(X, Y, validation_data=(X, Y + 1), verbose=0)
    with pytest.raises(ArgumentError, match=r"validation labels with class index 3"):
        model.fit(X, Y, validation_data=tailfit.Batches(Arrays(X, Y + 1)), verbose=0)


@pytest.mark.parametrize("made", [Subclassed, lambda: keras.Sequential([keras.layers.Dense(3)])], ids=["own", "keras"])
def test_a_model_whose_outputs_show_only_when_it_is_built(made):
    model = made()
    model = model if isinstance(model, tailfit.Model) else tailfit.Model(inputs := keras.Input((2,)), model(inputs))
    with pytest.raises(ArgumentError, match=r"row 2 is 3 for an output of 3 classes"):
        compiled(model).fit(X, Y + 1, verbose=0)


def test_labels_that_are_no_codes_are_refused():
    model = compiled(functional())
    for bad, shown in ((1.7, r"1\.7"), (np.nan, "nan"), (-1, "-1"), (5, "5")):
        y = Y.astype("float32")
        y[7] = bad
        for given in ({}, {"class_weight": {0: 1.0, 1: 2.0, 2: 1.0}}):
            with pytest.raises(ArgumentError, match=rf"row 7 is {shown}" if bad != 5 or not given else "class 5"):
                model.fit(X, y, verbose=0, **given)


def test_what_does_not_count_is_not_refused():
    y, weight = Y.copy(), np.ones(12)
    y[3], weight[3] = 255, 0
    ignoring = SPARSE(from_logits=True, ignore_class=255)
    compiled(functional(), ignoring).fit(X, y, verbose=0)
    loss = tailfit.losses.CrossEntropy(from_logits=True)
    assert np.isfinite(compiled(functional(), loss).fit(X, y, sample_weight=weight, verbose=0).history["loss"]).all()
    unknown = np.where(np.arange(12) == 3, 3, Y)
    zero = tailfit.Batches(Arrays(X, unknown), class_weight={0: 1, 1: 1, 2: 1, 3: 0})
    assert np.isfinite(compiled(functional(), loss).fit(zero, verbose=0).history["loss"]).all()


def test_rows_of_other_classes_are_refused():
    hot = np.eye(4, dtype="float32")[Y]
    model = compiled(functional(), keras.losses.CategoricalCrossentropy(from_logits=True))
    with pytest.raises(ArgumentError, match=r"y of 4 columns for an output of 3 classes.*4 units"):
        model.fit(X, hot, verbose=0)
    with pytest.raises(ArgumentError, match=r"labels of 4 columns for an output of 3 classes"):
        model.fit(tailfit.Batches(Arrays(X, Y, class_names=list("abcd")), one_hot=True), verbose=0)
    model.fit(X, hot[:, :3], verbose=0)


@pytest.mark.parametrize(
    "loss", [keras.losses.BinaryCrossentropy(from_logits=True), tailfit.losses.BinaryFocal(from_logits=True)]
)
def test_a_single_unit_tells_two_classes(loss):
    model = compiled(functional(1), loss)
    model.fit(X, Y % 2, verbose=0)
    model.fit(X, (Y % 2 * 0.5).astype("float32"), verbose=0)
    with pytest.raises(ArgumentError, match=r"row 2 is 2 for an output of 1 unit.*class indices 0 to 1.*3 units"):
        model.fit(X, Y, verbose=0)
    with pytest.raises(ArgumentError, match=r"class index 2 for an output of 1 unit"):
        model.fit(tailfit.Batches(Arrays(X, Y)), verbose=0)


def test_numbers_and_tokens():
    compiled(functional(1), "mse").fit(X, Y * 100, verbose=0)
    compiled(functional(1), "mse").fit(tailfit.Batches(Arrays(X, Y)), verbose=0)
    tokens = np.arange(24).reshape(12, 2) % 3
    model, x = compiled(functional(steps=2)), np.zeros((12, 2, 2), "float32")
    model.fit(x, tokens, verbose=0)
    with pytest.raises(ArgumentError, match=r"row 1 is 3 for an output of 3 classes"):
        model.fit(x, tokens + 1, verbose=0)


def test_each_output_has_its_own_classes():
    inputs = keras.Input((2,))
    outputs = {name: keras.layers.Dense(units, name=name)(inputs) for name, units in (("cause", 3), ("site", 2))}
    losses = dict.fromkeys(outputs, SPARSE(from_logits=True))
    for form in (outputs, list(outputs.values())):
        model = compiled(tailfit.Model(inputs, form), losses)
        y = {"cause": Y, "site": Y % 2}
        for _ in range(2):
            with pytest.raises(ArgumentError, match=r"row 2 is 2 for an output of 2 classes \(layer 'site'\)"):
                model.fit(X, {**y, "site": Y} if isinstance(form, dict) else [Y, Y], verbose=0)
            model.fit(X, y if isinstance(form, dict) else list(y.values()), verbose=0)


def test_labels_that_a_method_of_the_user_changes_are_let_through():
    class FromOne(tailfit.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return super().compute_loss(x, y - 1, y_pred, sample_weight, training)

    inputs = keras.Input((2,))
    model = compiled(FromOne(inputs, keras.layers.Dense(3)(inputs)), tailfit.losses.CrossEntropy(from_logits=True))
    assert np.isfinite(model.fit(X, Y + 1, verbose=0).history["loss"]).all()

    def shifted(batch, rng):
        return batch[0], batch[1] - 1

    batches = tailfit.Batches(Arrays(X, Y + 1), transform=shifted)
    model = compiled(functional(), tailfit.losses.CrossEntropy(from_logits=True))
    assert np.isfinite(model.fit(batches, verbose=0).history["loss"]).all()
    with pytest.raises(ArgumentError, match="class index 3"):
        model.fit(tailfit.Batches(Arrays(X, Y + 1), transform=lambda batch, rng: batch), verbose=0)


def test_data_without_labels_are_refused():
    unlabelled = tailfit.Batches(Arrays(X), 4)
    for made in (functional, Subclassed):
        model = compiled(made())
        for use in (model.fit, model.evaluate):
            with pytest.raises(ArgumentError, match=r"Batches of the unlabelled.*sparse_categorical.*pass labels"):
                use(unlabelled, verbose=0)
            with pytest.raises(ArgumentError, match=r"x without y.*pass y"):
                use(X, verbose=0)
        with pytest.raises(ArgumentError, match=r"unlabelled.* as validation_data"):
            model.fit(X, Y, validation_data=unlabelled, verbose=0)
    assert model.predict(unlabelled, verbose=0).shape == (12, 3)


def test_models_that_need_no_labels():
    class Autoencoder(tailfit.Model):
        def train_step(self, data):
            (x,) = data
            loss, gradients = tailfit.value_and_grad(
                lambda: self.compute_loss(x, x, self(x, training=True)), self.trainable_variables
            )
            self.optimizer.apply(gradients, self.trainable_variables)
            return {"loss": loss}

    class Penalty(keras.layers.Layer):
        def call(self, x):
            self.add_loss(keras.ops.mean(x**2))
            return x

    inputs = keras.Input((2,))
    unlabelled = tailfit.Batches(Arrays(X + 1), 4)
    compiled(Autoencoder(inputs, keras.layers.Dense(2)(inputs)), "mse").fit(unlabelled, verbose=0)
    own = tailfit.Model(inputs, Penalty()(keras.layers.Dense(2)(inputs)))
    own.compile("sgd")
    assert own.fit(unlabelled, verbose=0).history["loss"][0] > 0
