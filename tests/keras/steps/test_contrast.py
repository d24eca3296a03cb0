"""BCL against the definition of the loss, written as loops in NumPy; and where its projections are, and are not."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import tailfit
from tailfit import steps
from tailfit.errors import StepError
from tailfit.steps.contrast import balanced_contrast

C = 3
RNG = np.random.default_rng(4)
X = RNG.normal(size=(7, 4)).astype("float32")
Y = np.array([0, 0, 1, 2, 0, 1, 0])


def as_numpy(value: Any) -> Any:
    return np.array(ops.convert_to_numpy(value))


def unit(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def contrast_in_numpy(first: Any, second: Any, y: Any, prototypes: Any, temperature: float) -> Any:
    """The loss of each sample in float64: means over the classes, without the anchor itself; prototypes are members."""
    vectors = np.concatenate([first, second, prototypes]).astype(float)
    classes = np.concatenate([y, y, np.arange(len(prototypes))])
    losses = []
    for i in range(2 * len(y)):
        others = [j for j in range(len(vectors)) if j != i]
        similar = {j: np.exp(vectors[i] @ vectors[j] / temperature) for j in others}
        total = sum(np.mean([similar[j] for j in others if classes[j] == c]) for c in range(len(prototypes)))
        losses.append(np.mean([-np.log(similar[p] / total) for p in others if classes[p] == classes[i]]))
    return np.reshape(losses, (2, -1)).mean(axis=0)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("labels", [Y, np.zeros(7, int)])
def test_it_is_the_loss_of_the_paper(labels, temperature):
    first, second, prototypes = (unit(RNG.normal(size=(rows, 5))) for rows in (7, 7, C))
    views = np.concatenate([first, second]).astype("float32")
    hot = np.eye(C, dtype="float32")[labels]
    ours = balanced_contrast(views, hot, ops.convert_to_tensor(prototypes, "float32"), temperature)
    np.testing.assert_allclose(
        as_numpy(ours), contrast_in_numpy(first, second, labels, prototypes, temperature), rtol=1e-4
    )


def network(given: list[Any], **options: Any) -> Any:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(2)
    inputs = keras.Input((4,))
    features = keras.layers.Dense(5, activation="relu")(inputs)
    model = tailfit.Model(inputs, keras.layers.Dense(C)(features))
    options = {"optimizer": keras.optimizers.SGD(0.1), **options}
    model.compile(loss=tailfit.losses.CrossEntropy(from_logits=True), steps=given, **options)
    return model


def projected(step: Any, name: str, vectors: Any) -> Any:
    first, first_bias, second, second_bias = (as_numpy(each) for each in step._projections[name])
    return unit(np.maximum(vectors @ first + first_bias, 0) @ second + second_bias)


@pytest.mark.parametrize("weights", [None, RNG.uniform(0.5, 2.0, 7).astype("float32")])
def test_the_loss_of_a_step_is_that_of_the_classifier_and_the_views(weights):
    """With views that equal the records."""
    step = steps.BCL(weight=0.5, units=3, jitter=0.0, scaling=0.0, seed=1)
    model = network([step])
    hidden, bias, kernel, last_bias = model.get_weights()
    features = np.maximum(X @ hidden + bias, 0)
    scores = features @ kernel + last_bias
    plain = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(7), Y]
    views = projected(step, "features", features)
    contrast = contrast_in_numpy(views, views, Y, projected(step, "prototypes", kernel.T), 0.1)
    each = (plain + 0.5 * contrast) * (1 if weights is None else weights)
    history = model.fit(X, Y, sample_weight=weights, batch_size=7, verbose=0)
    assert history.history["loss"][0] == pytest.approx(each.mean(), rel=1e-4)


def test_projections_are_trained_by_the_optimizer_but_not_part_of_the_model(tmp_path):
    step = steps.BCL(units=3, hidden=6, seed=1)
    model = network([step], optimizer=keras.optimizers.Adam(0.01))
    before = [as_numpy(variable) for variable in step.trainable_variables]
    assert [each.shape for each in before] == [(5, 6), (6,), (6, 3), (3,)] * 2
    model.fit(X, Y, epochs=2, verbose=0)
    for old, new in zip(before, step.trainable_variables, strict=True):
        assert np.abs(old - as_numpy(new)).max() > 1e-4
    assert len(model.weights) == 4
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert len(loaded.weights) == 4
    np.testing.assert_allclose(loaded.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-5)
    model.compile("sgd", tailfit.losses.CrossEntropy(from_logits=True))
    assert len(model.trainable_variables) == 4


def test_views_of_a_layer_and_random_views():
    layer = steps.BCL(seed=1, views=keras.layers.GaussianNoise(0.2, seed=3))
    first, second = as_numpy(layer._view(X)), as_numpy(layer._view(X))
    assert 0.1 < np.std(first - X) < 0.3
    assert np.abs(first - second).max() > 0.1
    step = steps.BCL(jitter=0.5, scaling=0.0, seed=1)
    x = np.concatenate([RNG.normal(0, 1, (500, 8, 1)), RNG.normal(5, 10, (500, 8, 1))], axis=2).astype("float32")
    np.testing.assert_allclose((as_numpy(step._view(x)) - x).std(axis=(0, 1)), [0.5, 5.0], rtol=0.05)
    x[0, 0, 0] = np.nan
    assert np.isnan(as_numpy(step._view(x))).sum() == 1
    factors = as_numpy(steps.BCL(jitter=0.0, scaling=0.2, seed=1)._view(np.ones((500, 8, 2), "float32")))
    np.testing.assert_array_equal(factors[:, 0], factors[:, 7])
    assert factors[:, 0].std() == pytest.approx(0.2, rel=0.1)


class StoppedError(Exception):
    pass


def test_a_run_continues_to_the_bit(tmp_path):
    def run(directory: str, at: int | None = None) -> list[Any]:
        ended = []

        def stop(batch, logs=None):
            ended.append(batch)
            if len(ended) == at:
                raise StoppedError

        step = steps.BCL(units=3, seed=1)
        model = network([step], optimizer=keras.optimizers.Adam(0.01))
        resume = tailfit.callbacks.Resume(tmp_path / directory, save_freq=1)
        batches = tailfit.Batches(tailfit.data.Arrays(X, Y), 3, seed=5)
        stopping = keras.callbacks.LambdaCallback(on_train_batch_end=stop)
        model.fit(batches, epochs=3, callbacks=[stopping, resume], verbose=0)
        return [as_numpy(variable) for variable in (*model.weights, *step.trainable_variables)]

    whole = run("whole")
    with pytest.raises(StoppedError):
        run("interrupted", at=5)
    for ours, theirs in zip(run("interrupted"), whole, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_training_by_parts_trains_the_projections():
    step = steps.BCL(units=3, seed=1)
    model = network([step], parts=2)
    before = [as_numpy(variable) for variable in (*model.weights, *step.trainable_variables)]
    model.fit(tailfit.Batches(tailfit.data.Arrays(X, Y), 7), epochs=2, verbose=0)
    for old, new in zip(before, (*model.weights, *step.trainable_variables), strict=True):
        assert 1e-5 < np.abs(old - as_numpy(new)).max() < 1.0


def test_other_networks_and_inputs_are_refused():
    inputs = keras.Input((4,))
    two = tailfit.Model(inputs, [keras.layers.Dense(3)(inputs), keras.layers.Dense(3)(inputs)])
    with pytest.raises(StepError, match="a model with 2 outputs"):
        two.compile("sgd", "mse", steps=[steps.BCL()])
    noisy = tailfit.Model(inputs, keras.layers.GaussianNoise(0.1)(keras.layers.Dense(3)(inputs)))
    with pytest.raises(StepError, match="last layer is <GaussianNoise"):
        noisy.compile("sgd", "mse", steps=[steps.BCL()])
    with pytest.raises(StepError, match="mixed samples for the step BCL"):
        network([steps.BCL(), steps.Mixup()]).fit(X, Y, verbose=0)
    tokens = tailfit.Model(ids := keras.Input((4,), dtype="int32"), keras.layers.Dense(3)(ops.cast(ids, "float32")))
    tokens.compile("sgd", tailfit.losses.CrossEntropy(from_logits=True), steps=[steps.BCL()])
    with pytest.raises(StepError, match="inputs of dtype int32 for a step that changes inputs"):
        tokens.fit(X.astype("int32"), Y, verbose=0)


def test_an_optimizer_that_averages_weights_averages_the_projections():
    step = steps.BCL(units=3, seed=1)
    model = network([step], optimizer=keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5))
    before = [as_numpy(variable) for variable in model.trainable_variables]
    model.fit(X, Y, batch_size=7, epochs=2, verbose=0)
    assert len(before) == len(model.trainable_weights) == 12
    for old, new in zip(before, model.trainable_variables, strict=True):
        assert np.abs(old - as_numpy(new)).max() > 1e-5
