"""Steps that know their samples: the fields of a batch, ELR and GroupDRO, each against NumPy."""

from typing import Any

import keras
import numpy as np
import polars
import pytest
from keras import ops

import tailfit
from tailfit import samplers, steps
from tailfit.data import Arrays
from tailfit.errors import StepError

C = 3
RNG = np.random.default_rng(3)
X = RNG.normal(size=(10, 4)).astype("float32")
Y = np.array([0, 1, 2, 0, 0, 1, 0, 2, 0, 1])
SITES = np.array(list("aabbbcacca"))


def source(x: Any = X) -> Arrays:
    ids = [f"s{number}" for number in range(len(x))]
    return Arrays(x, Y, ids=ids, metadata=polars.DataFrame({"id": ids, "site": SITES}))


def network(given: list[Any], *, features: int = 4, **options: Any) -> Any:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(2)
    inputs = keras.Input((features,))
    model = tailfit.Model(inputs, keras.layers.Dense(C, use_bias=False)(inputs))
    loss = tailfit.losses.CrossEntropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.5), loss, steps=given, **options)
    return model


def as_numpy(value: Any) -> Any:
    return np.array(ops.convert_to_numpy(value))


# -- fields ----------------------------------------------------------------------------------------------


class Comparing(steps.Step):
    """Sums up how far the position that a batch carries is from the one in its records."""

    def __init__(self) -> None:
        self.wrong = keras.Variable(0.0, trainable=False, name="wrong")
        self.rows = keras.Variable(0.0, trainable=False, name="rows")

    def fields(self, source):
        return {"position": np.arange(len(source)), "site": np.unique(SITES, return_inverse=True)[1] / 2}

    def loss(self, model, loss, batch, y_pred):
        inputs, position = ops.cast(batch.x, "float32"), ops.cast(batch.field("position"), "float32")
        expected = ops.take(ops.convert_to_tensor((SITES != "a") * 0.5 + (SITES == "c") * 0.5, "float32"),
                            batch.field("position"))  # fmt: skip
        distance = ops.abs(inputs[:, 0] - position) + ops.abs(expected - batch.field("site"))
        self.wrong.assign_add(ops.stop_gradient(ops.sum(distance)))
        self.rows.assign_add(ops.cast(ops.shape(position)[0], "float32"))
        return loss(batch, y_pred)


def doubled(batch, rng):
    return (batch[0] + 0.0, *batch[1:])


WAYS: dict[str, dict[str, Any]] = {
    "repeats": {"sampler": samplers.Bootstrap()},
    "a transform, read ahead": {"transform": doubled},
    "worker processes": {"transform": doubled, "processes": 1},
    "substitutes": {"on_error": "skip"},
}
PROGRAMS: dict[str, dict[str, Any]] = {
    "two steps per call": {"steps_per_execution": 2},
    "by parts": {"parts": 2},
    "with Accumulate": {"outer": [steps.Accumulate(parts=2)]},
}


@pytest.mark.parametrize("way", [*WAYS, *PROGRAMS])
def test_fields_are_those_of_the_samples(way):
    positions = np.repeat(np.arange(10.0, dtype="float32")[:, None], 4, axis=1)
    step, options = Comparing(), dict(PROGRAMS.get(way, {}))
    model = network([*options.pop("outer", []), step], **options)
    batches = tailfit.Batches(source(positions), batch_size=4, seed=1, **WAYS.get(way, {}))
    model.fit(batches, validation_data=batches, epochs=2, verbose=0)
    assert float(step.wrong) == 0.0
    assert float(step.rows) == 2 * batches.plan.size(0)
    assert next(x.shape for x, _ in batches) == (4, 4), "the batches of the user are as before"


def test_data_without_a_source_are_refused():
    with pytest.raises(StepError, match="wrap arrays"):
        network([Comparing()]).fit(X, Y, verbose=0)
    with pytest.raises(StepError, match=r"a batch without the field 'position'.*not train_on_batch"):
        network([Comparing()], run_eagerly=True).train_on_batch(X, Y)


class Returns(steps.Step):
    def __init__(self, values: Any) -> None:
        self.values = values

    def fields(self, source):
        return {"position": self.values}


@pytest.mark.parametrize("values", [np.arange(9), np.array(["a"] * 10), np.full(10, 2**40)])
def test_invalid_fields_are_refused(values):
    with pytest.raises(StepError, match="the field 'position'"):
        network([Returns(values)]).fit(tailfit.Batches(source()), verbose=0)


def test_two_meanings_of_a_name_are_refused():
    with pytest.raises(StepError, match="two different fields 'position'"):
        network([Returns(np.arange(10)), Returns(np.ones(10))]).fit(tailfit.Batches(source()), verbose=0)


# -- ELR -------------------------------------------------------------------------------------------------


def softmax(z: Any) -> Any:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def elr_in_numpy(batches: tailfit.Batches, kernel: Any, epochs: int, strength: float, beta: float) -> tuple[Any, Any]:
    """Liu et al. 2020, algorithm 1 in float64, with the gradient worked out by hand; a sample moves once a batch."""
    kernel, targets = kernel.astype(float), np.zeros((10, C))
    for epoch in range(epochs):
        for step in range(len(batches)):
            rows = batches.indices(epoch, step)
            p = softmax(X[rows] @ kernel)
            for row in set(rows):
                targets[row] = beta * targets[row] + (1 - beta) * p[rows == row].mean(axis=0)
            t = targets[rows]
            agreement = (p * t).sum(axis=1, keepdims=True)
            of_logits = p - np.eye(C)[Y[rows]] - strength * p * (t - agreement) / (1 - agreement)
            kernel -= 0.5 * X[rows].T @ of_logits / len(rows)
    return kernel, targets


@pytest.mark.parametrize("sampler", [samplers.Shuffle(), samplers.Bootstrap()])
def test_elr_is_the_algorithm_of_the_paper(sampler):
    elr = steps.ELR(strength=2.0, beta=0.6, from_logits=True)
    model = network([elr])
    batches = tailfit.Batches(source(), 4, sampler, seed=5)
    kernel, targets = elr_in_numpy(batches, as_numpy(model.weights[0]), 3, 2.0, 0.6)
    model.fit(batches, epochs=3, verbose=0)
    np.testing.assert_allclose(as_numpy(model.weights[0]), kernel, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(as_numpy(elr.targets), targets, rtol=2e-4, atol=2e-5)


def test_elr_of_strength_0_trains_as_without():
    batches = tailfit.Batches(source(), 4)
    ours, theirs = network([steps.ELR(strength=0.0, from_logits=True)]), network([])
    for model in (ours, theirs):
        model.fit(batches, epochs=2, verbose=0)
    np.testing.assert_array_equal(as_numpy(ours.weights[0]), as_numpy(theirs.weights[0]))


class StoppedError(Exception):
    pass


class Interrupt(keras.callbacks.Callback):
    """Interrupts in the second epoch; does nothing when the run continues."""

    def __init__(self, at: int | None) -> None:
        super().__init__()
        self.at, self.epoch = at, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == 1 and batch == self.at:
            raise StoppedError


STEPS = {
    "ELR": lambda: steps.ELR(from_logits=True),
    "GroupDRO": lambda: steps.GroupDRO(by="site", eta=0.5),
}
STATE = {"ELR": "targets", "GroupDRO": "group_weights"}


@pytest.mark.parametrize("name", STEPS)
def test_they_continue_to_the_bit(name, tmp_path):
    def run(directory: Any, at: int | None = None) -> list[Any]:
        step = STEPS[name]()
        model = network([step])
        resume = tailfit.callbacks.Resume(tmp_path / directory, save_freq=1)
        batches = tailfit.Batches(source(), 3, samplers.Bootstrap(), seed=5)
        model.fit(batches, epochs=3, callbacks=[Interrupt(at), resume], verbose=0)
        return [as_numpy(model.weights[0]), as_numpy(getattr(step, STATE[name]))]

    whole = run("whole")
    with pytest.raises(StoppedError):
        run("interrupted", at=1)
    for ours, theirs in zip(run("interrupted"), whole, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", STEPS)
def test_state_stays_for_the_next_fit_and_is_renewed_for_other_data(name):
    step = STEPS[name]()
    model = network([step])
    model.fit(tailfit.Batches(source()), verbose=0)
    first = as_numpy(getattr(step, STATE[name]))
    model.fit(tailfit.Batches(source()), verbose=0)
    assert np.abs(as_numpy(getattr(step, STATE[name])) - first).max() > 1e-3
    smaller = tailfit.Batches(source().split({"a": [f"s{n}" for n in (0, 1, 2, 3)]})["a"])
    model.fit(smaller, verbose=0)
    assert getattr(step, STATE[name]).shape != first.shape
    fresh = STEPS[name]()
    again = network([fresh])
    again.fit(smaller, verbose=0)
    assert getattr(fresh, STATE[name]).shape == getattr(step, STATE[name]).shape


def test_elr_refuses_what_it_can_not_remember():
    elr = steps.ELR(from_logits=True)
    with pytest.raises(StepError, match="mixed samples for the step ELR"):
        network([elr, steps.Mixup()]).fit(tailfit.Batches(source()), verbose=0)
    with pytest.raises(StepError, match="unlabelled data"):
        network([elr]).fit(tailfit.Batches(Arrays(X)), verbose=0)


# -- GroupDRO --------------------------------------------------------------------------------------------


def group_dro_in_numpy(batches: Any, kernel: Any, epochs: int, eta: float, adjustment: float) -> tuple[Any, Any]:
    """Sagawa et al. 2020, algorithm 1 in float64."""
    _, groups, counts = np.unique(SITES, return_inverse=True, return_counts=True)
    kernel, q = kernel.astype(float), np.full(3, 1 / 3)
    for epoch in range(epochs):
        for step in range(len(batches)):
            rows = batches.indices(epoch, step)
            p, hot = softmax(X[rows] @ kernel), np.eye(C)[Y[rows]]
            losses = -(hot * np.log(p)).sum(axis=1)
            present = [group for group in range(3) if (groups[rows] == group).any()]
            for group in present:
                q[group] *= np.exp(eta * (losses[groups[rows] == group].mean() + adjustment / counts[group] ** 0.5))
            q /= q.sum()
            gradient = np.zeros_like(kernel)
            for group in present:
                own = groups[rows] == group
                gradient += q[group] * X[rows][own].T @ (p - hot)[own] / own.sum()
            kernel -= 0.5 * gradient
    return kernel, q


@pytest.mark.parametrize("adjustment", [0.0, 1.5])
def test_group_dro_is_the_algorithm_of_the_paper(adjustment):
    dro = steps.GroupDRO(by="site", eta=0.3, adjustment=adjustment)
    model = network([dro])
    batches = tailfit.Batches(source(), 4, seed=5)
    kernel, q = group_dro_in_numpy(batches, as_numpy(model.weights[0]), 3, 0.3, adjustment)
    model.fit(batches, epochs=3, verbose=0)
    assert dro.group_names == ("a", "b", "c")
    np.testing.assert_allclose(as_numpy(model.weights[0]), kernel, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(as_numpy(dro.group_weights), q, rtol=1e-4)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight", "sum"])
def test_group_dro_at_eta_0_weighs_groups_equally(reduction):
    """Then it equals weights of 1 / (groups * samples of the group), whatever divides the loss."""
    weights = RNG.uniform(0.5, 2, 10).astype("float32")
    _, groups, counts = np.unique(SITES, return_inverse=True, return_counts=True)
    masses = np.bincount(groups, weights) if reduction == "mean_with_sample_weight" else counts
    total = masses.sum()
    by_hand = (weights * total / 3 / masses[groups]).astype("float32")

    def trained(given: list[Any], own: Any) -> Any:
        model = network(given)
        loss = tailfit.losses.CrossEntropy(from_logits=True, reduction=reduction)
        model.compile(keras.optimizers.SGD(0.1), loss, steps=given)
        model.fit(tailfit.Batches(source(), 10, samplers.Sequential(), sample_weight=own), epochs=3, verbose=0)
        return as_numpy(model.weights[0])

    ours = trained([steps.GroupDRO(by="site", eta=0.0)], weights)
    np.testing.assert_allclose(ours, trained([], by_hand), rtol=1e-4, atol=1e-5)


def test_group_dro_uses_the_groups_of_the_source():
    dro = steps.GroupDRO(eta=0.1)
    with pytest.raises(StepError, match="a source without groups"):
        network([dro]).fit(tailfit.Batches(source()), verbose=0)
    network([dro]).fit(tailfit.Batches(source().grouped("site")), verbose=0)
    assert dro.group_names == ("a", "b", "c")
