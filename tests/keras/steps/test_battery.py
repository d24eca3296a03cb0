"""What every step must do: found by discovery, each with an example configuration here."""

import inspect
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import polars
import pytest
from keras import ops

import tailfit
from tailfit import steps

EXAMPLES = {
    "Accumulate": {"parts": 2},
    "BCL": {"units": 3, "weight": tailfit.schedules.Linear(0.2, 0.4, epochs=2), "seed": 1},
    "CCSAM": {"class_counts": [90, 10, 1], "rho": 0.5, "share": 0.5},
    "CMO": {"class_counts": [90, 10, 1], "probability": 1.0, "seed": 1},
    "CutMix": {"alpha": 1.0, "seed": 1},
    "DiVE": {"teacher": None, "alpha": 0.7},
    "ELR": {"strength": tailfit.schedules.Linear(1.0, 3.0, epochs=2), "from_logits": True},
    "GCL": {"class_counts": [90, 10, 1], "noise": tailfit.schedules.Linear(0.5, 1.0, epochs=2), "seed": 1},
    "GradientCentralization": {},
    "GroupDRO": {"eta": 0.5, "by": "site"},
    "ImbSAM": {"class_counts": [90, 10, 1], "threshold": 10, "rho": 0.1},
    "LADE": {"class_counts": [90, 10, 1], "weight": 0.5},
    "MAMix": {"class_counts": [90, 10, 1], "seed": 1},
    "Mixup": {"alpha": tailfit.schedules.Linear(0.5, 1.0, epochs=2), "seed": 1},
    "RDrop": {"alpha": 1.0, "from_logits": True},
    "RIDE": {"class_counts": [90, 10, 1], "diversity": 0.3},
    "Remix": {"class_counts": [90, 10, 1], "seed": 1},
    "SADE": {"class_counts": [90, 10, 1]},
    "SAM": {"rho": 0.1},
    "SmallLoss": {"forget_rate": tailfit.schedules.Linear(0.0, 0.5, epochs=2)},
}
CLASSES = 3
REFUSES_MIXED = {"BCL", "ELR"}
OF_EXPERTS = (steps.RIDE, steps.SADE)
NOT_FOR_TOKENS = {"BCL", "CMO", "CutMix", "MAMix", "Mixup", "Remix"}  # tokens can't be changed or mixed


def found() -> list[str]:
    kinds = [getattr(steps, name) for name in steps.__all__]
    return [kind.__name__ for kind in kinds if inspect.isclass(kind) and issubclass(kind, steps.Step)]


NAMES = sorted(set(found()) - {"Step"})


def make(name: str) -> Any:
    return getattr(steps, name)(**EXAMPLES[name])


def network(given: list[Any] | None = None) -> Any:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(7)
    inputs = keras.Input((6, 2))
    # No convolution: on a CPU JAX would not fuse the steps.
    x = keras.layers.Dense(4, activation="tanh", kernel_regularizer=keras.regularizers.L2(1e-3))(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(0.2, seed=3)(keras.layers.Flatten()(x))
    return tailfit.Model(inputs, head(given)(x))


def head(given: list[Any] | None) -> Any:
    """The last layer that steps need."""
    experts = any(isinstance(step, OF_EXPERTS) for step in given or [])
    return tailfit.layers.Experts(CLASSES) if experts else keras.layers.Dense(CLASSES)


def taught(given: list[Any], make: Any = None) -> list[Any]:
    """Steps, those of students with a teacher, which is not saved."""
    for step in given:
        if isinstance(step, steps.DiVE):
            step.teacher = (make or network)()
    return given


def batches(x: Any, y: Any, size: int = 8, **options: Any) -> tailfit.Batches:
    """The samples in order, from two sites."""
    ids = [str(number) for number in range(len(x))]
    sites = polars.DataFrame({"id": ids, "site": ["AB"[number % 2] for number in range(len(x))]})
    source = tailfit.data.Arrays(x, y, ids=ids, metadata=sites, class_names=list("abc"))
    return tailfit.Batches(source, size, tailfit.samplers.Sequential(), **options)


def train(given: list[Any], *, one_hot: bool = False, epochs: int = 2, **options: Any) -> tuple[list[Any], Any]:
    taught(given)
    model = network(given)
    loss = tailfit.losses.CrossEntropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"], steps=given, **options)
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(20, 6, 2)).astype("float32"), rng.integers(0, CLASSES, 20).astype("int32")
    weights = rng.uniform(0.5, 2.0, 20).astype("float32")
    history = model.fit(batches(x, y, sample_weight=weights, one_hot=one_hot), epochs=epochs, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    return [ops.convert_to_numpy(v) for v in model.weights], model


def assert_close(ours: list[Any], theirs: list[Any]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def test_every_step_has_an_example():
    assert sorted(EXAMPLES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_trains_alike_compiled_eagerly_fused_and_with_either_labels(name):
    weights, model = train([make(name)])
    assert_close(train([make(name)], run_eagerly=True)[0], weights)
    assert_close(train([make(name)], steps_per_execution=2, one_hot=True)[0], weights)
    untouched = network([make(name)])
    moved = [np.abs(a - ops.convert_to_numpy(b)).max() for a, b in zip(weights, untouched.weights, strict=True)]
    assert max(moved) > 1e-3
    assert int(ops.convert_to_numpy(model.optimizer.iterations)) == 6


@pytest.mark.parametrize("name", NAMES)
def test_each_is_saved_with_its_model(name, tmp_path):
    _, model = train([make(name)])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    (step,) = loaded._tailfit_runner.steps
    assert type(step).__name__ == name
    assert step.get_config() == make(name).get_config()
    assert EXAMPLES[name].keys() <= step.get_config().keys()
    taught([step])
    x = np.zeros((4, 6, 2), "float32")
    loaded.fit(batches(x, np.arange(4) % CLASSES), verbose=0)


OTHERS = ("GradientCentralization", "SAM", "Mixup", "SmallLoss")


def mixes(name: str, other: str) -> bool:
    return not (name in REFUSES_MIXED and other == "Mixup")


def with_others(name: str, others: Sequence[str] = OTHERS) -> list[Any]:
    return [make(name), *(make(other) for other in others if mixes(name, other))]


@pytest.mark.parametrize("name", NAMES)
def test_each_composes_with_steps_of_other_hooks(name):
    train(with_others(name, ("GradientCentralization", "SmallLoss", "Mixup")))


@pytest.mark.slow  # twelve passes to compile
@pytest.mark.parametrize("name", NAMES)
def test_each_composes_with_the_others(name):
    """Uncompiled: so many passes a step take long to compile."""
    train(with_others(name), run_eagerly=True, epochs=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_each_composes_with_the_others_compiled(name):
    assert_close(train(with_others(name))[0], train(with_others(name), run_eagerly=True)[0])


@pytest.mark.parametrize("name", [name for name in NAMES if "seed" in EXAMPLES[name]])
def test_seeds_decide(name):
    kind, given = getattr(steps, name), EXAMPLES[name]
    weights, _ = train([kind(**{**given, "seed": 2})])
    assert max(np.abs(a - b).max() for a, b in zip(weights, train([make(name)])[0], strict=True)) > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_each_trains_with_loss_scaling_embeddings_and_frozen_layers(name):
    given = [make("SAM" if name in NOT_FOR_TOKENS else name)]

    def embedding() -> Any:
        keras.utils.set_random_seed(3)
        inputs = keras.Input((5,), dtype="int32")
        x = keras.layers.Embedding(7, 4)(inputs)
        x = keras.layers.Dense(4, trainable=False)(keras.layers.GlobalAveragePooling1D()(x))
        return tailfit.Model(inputs, head(given)(x))

    taught(given, embedding)
    model = embedding()
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.5), initial_scale=64.0)
    loss = tailfit.losses.CrossEntropy(from_logits=True)
    model.compile(optimizer, loss, steps=given)
    before = [w.copy() for w in model.get_weights()]
    model.fit(batches(np.arange(40).reshape(8, 5) % 7, np.arange(8) % CLASSES), verbose=0)
    after = model.get_weights()
    np.testing.assert_array_equal(after[1], before[1])  # frozen
    moves = [np.abs(after[i] - before[i]).max() for i in (0, 3)]
    assert 0 < max(moves) < 1.0, "the gradient is unscaled"


def test_several_outputs():
    inputs = keras.Input((4,))
    outputs = {"a": keras.layers.Dense(CLASSES, name="a")(inputs), "b": keras.layers.Dense(1, name="b")(inputs)}
    model = tailfit.Model(inputs, outputs)
    losses = {"a": tailfit.losses.CrossEntropy(from_logits=True), "b": "mse"}
    given = [steps.SAM(), steps.Accumulate(parts=2), steps.Mixup(seed=0)]
    model.compile("sgd", losses, steps=given)
    y = {"a": np.arange(6) % CLASSES, "b": np.ones((6, 1), "float32")}
    history = model.fit(np.ones((6, 4), "float32"), y, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
