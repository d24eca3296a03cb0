"""On torch a step is recorded and repeated; a repeated step gives the numbers of an eager one."""

import logging

import keras
import numpy as np
import pytest
from keras import ops
from support.parity import assert_same_state
from support.progress import draw_every

import tailfit
from tailfit import metrics
from tailfit.whole_calls import call_whole

pytestmark = pytest.mark.only_on("torch")  # other backends compile

X = np.random.default_rng(0).normal(size=(72, 6)).astype("float32")
Y = np.arange(72) % 3


@pytest.fixture(autouse=True)
def said(caplog):
    caplog.set_level(logging.INFO, "tailfit.training")
    return caplog


class Graphs:
    """Stands in for CUDA graphs on a CPU: a replay runs the lines again and writes where the first run wrote."""

    def __init__(self):
        self.replayed = 0

    def __call__(self, run):
        first = run()

        def replay():
            self.replayed += 1
            again = run()
            kept = {place: one.clone() for place, one in again.items()}  # some share memory
            for place, tensor in first.items():
                tensor.copy_(kept[place])

        return first, replay


def capture_with(monkeypatch, graph_of):
    """Capture steps on the CPU, by a stand-in for CUDA graphs."""
    from tailfit.training.backends.torch_graph import cuda_graph

    monkeypatch.setenv("TAILFIT_TORCH_CUDA_GRAPH", "1")
    monkeypatch.setattr(cuda_graph, "_DEVICE", "cpu")
    monkeypatch.setattr(cuda_graph, "_graph_of", graph_of)


@pytest.fixture(params=["line by line", "captured"])
def repetition(request, monkeypatch):
    """The two ways in which a recorded step is repeated."""
    graphs = Graphs()
    if request.param == "captured":
        capture_with(monkeypatch, graphs)
    yield
    assert (graphs.replayed > 0) == (request.param == "captured")


def network(*layers, cls=tailfit.Model):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(3)
    inputs = outputs = keras.Input((6,))
    for layer in layers:
        outputs = layer()(outputs)
    model = cls(inputs, keras.layers.Dense(3)(outputs))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss, metrics=["accuracy"])
    return model


def fitted(model, **options):
    history = model.fit(X, Y, **{"batch_size": 8, "epochs": 2, "verbose": 0, **options}).history
    return model, history


def both(monkeypatch, make, **options):
    """A model trained with recorded steps, and one without."""
    recorded, its_history = fitted(make(), **options)
    with monkeypatch.context() as patch:
        patch.setenv("TAILFIT_TORCH_GRAPH", "0")
        plain, plain_history = fitted(make(), **options)
    assert plain._tailfit_traced == ()
    assert_same_state(recorded, plain)
    assert its_history == plain_history
    return recorded, plain


def calls_counted(counts):
    class Counted(keras.layers.Layer):
        def call(self, x):
            if not x.is_meta:
                counts.append(x.shape[0])
            return x

    return Counted


def test_a_step_runs_in_python_three_times_and_once_an_epoch():
    counts = []
    model = network(calls_counted(counts))
    counts.clear()
    fitted(model, epochs=3)
    assert counts.count(8) == 3 + 2
    # Batches of another size are recorded, too; the last one of each epoch has 2 samples.
    counts.clear()
    model.fit(X, Y, batch_size=10, epochs=6, verbose=0)
    assert counts.count(2) == 3


def test_dropout_normalisation_and_evaluation_give_the_same_numbers(repetition, monkeypatch, said):
    def make():
        return network(
            lambda: keras.layers.Dense(5, activation="relu"),
            lambda: keras.layers.BatchNormalization(),
            lambda: keras.layers.Dropout(0.4),
            lambda: keras.layers.Dropout(0.2, seed=5),
            lambda: keras.layers.GaussianNoise(0.1),
        )

    model, _ = both(monkeypatch, make, validation_data=(X[:20], Y[:20]), batch_size=10)
    first, second = (model.predict(X, batch_size=9, verbose=0) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, ops.convert_to_numpy(model(X, training=False)))
    assert not said.messages


class Branching(keras.layers.Layer):
    """Does one of two things, by the numbers of the batch, after it has changed its state."""

    def build(self, shape):
        self.seen = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.seen.assign_add(ops.sum(x))
        if ops.sum(x[:, 0]) > 0:
            return 2 * x
        return x - self.seen.value


def test_branches_on_values_are_recorded_one_by_one(repetition, monkeypatch, said):
    both(monkeypatch, lambda: network(Branching), epochs=4)
    assert not said.messages


class InPython(tailfit.Model):
    """Counts its steps in Python, and treats every fifth one differently."""

    steps = 0

    def train_step(self, data):
        self.steps += 1
        x, y = data
        if self.steps % 5 == 0:
            x = x * 2
        return super().train_step((x, y))


class OutOfTorch(keras.layers.Layer):
    def call(self, x):
        return x if x.is_meta else x + ops.convert_to_tensor(np.tanh(ops.convert_to_numpy(x)))


def reads_numbers(cls):
    class Reads(cls):
        def train_step(self, data):
            self.largest = float(ops.max(data[0]))
            return super().train_step((data[0] / self.largest, data[1]))

    return Reads


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: network(cls=InPython), "changes the attribute steps"),
        (lambda: network(OutOfTorch), "NumPy"),
        (lambda: network(cls=reads_numbers(tailfit.Model)), "largest"),
    ],
    ids=["counts in Python", "leaves torch", "computes with numbers"],
)
def test_what_can_not_be_repeated_runs_as_always_and_says_so_once(make, why, monkeypatch, said):
    both(monkeypatch, make)
    assert len(said.messages) == 1
    assert why in said.messages[0]


class Changes(keras.callbacks.Callback):
    """Changes what is a number of Python, or of a variable, while the model trains."""

    def on_epoch_begin(self, epoch, logs=None):
        self.model.layers[2].rate = 0.1 + 0.2 * epoch

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = 1e-2 / (1 + batch)
        self.model.layers[1].trainable = batch % 6 < 3


def test_rates_flags_and_numbers_that_change_are_followed(repetition, monkeypatch, said):
    def make():
        return network(lambda: keras.layers.Dense(5), lambda: keras.layers.Dropout(0.1, seed=1))

    both(monkeypatch, make, epochs=3, callbacks=[Changes()])
    assert not said.messages


def test_modules_of_torch_keep_their_mode_and_buffers(repetition, monkeypatch, said):
    import torch

    class Wrapped(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.module = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.3))

        def call(self, x):
            return self.module(x)

    models = both(monkeypatch, lambda: network(Wrapped), validation_data=(X[:16], Y[:16]), epochs=3)
    recorded, plain = ([*model.layers[1].module.buffers()] for model in models)
    assert len(recorded) == 3
    assert all(map(torch.equal, recorded, plain))
    assert not said.messages


def test_a_function_is_recorded_for_each_form_of_its_arguments(repetition, said):
    runs, total = [], keras.Variable(0.0)

    @tailfit.function
    def add(x, more=None):
        runs.append(1)
        total.assign_add(ops.sum(x) if more is None else ops.sum(x) * more)
        return {"total": total.value, "sum": ops.sum(x), "none": None}

    kept = [add(np.full(3, float(k), "float32")) for k in range(8)]
    assert [float(one["total"]) for one in kept] == np.cumsum(3 * np.arange(8)).tolist()
    assert [float(one["sum"]) for one in kept] == [3.0 * k for k in range(8)]
    assert len(runs) == 3
    assert [float(add(np.ones(2, "float32"), 2.0)["total"]) for _ in range(5)] == [88.0, 92.0, 96.0, 100.0, 104.0]
    assert len(runs) == 6
    assert not said.messages


def add_with_numpy(total, values):
    total.numpy()[...] += values.numpy().sum()


def test_a_whole_call_is_repeated_in_its_place(repetition, said):
    runs, total = [], keras.Variable(0.0, trainable=False)

    @tailfit.function
    def step(x):
        runs.append(1)
        before, values = total.value * 2, ((x + 1) * 2 - 2) * 5 - 9 * x  # x again, by enough operators for a graph
        call_whole(add_with_numpy, total.value, values, writes=[0])
        return before, total.value * 2

    found = [[float(value) for value in step(np.full(3, float(k), "float32"))] for k in range(6)]
    sums = 2 * np.cumsum(3 * np.arange(6))
    assert found == [[sums[k] - 6 * k, sums[k]] for k in range(6)]
    assert len(runs) == 3
    assert not said.messages


def test_masks_pass_through_a_function(repetition):
    embedding = keras.layers.Embedding(5, 2, mask_zero=True)

    @tailfit.function
    def embedded(tokens):
        return embedding(tokens)

    for tokens in ([[1, 0]], [[2, 3]], [[0, 4]], [[0, 0]], [[4, 4]]):
        mask = keras.src.backend.get_keras_mask(embedded(np.array(tokens)))
        np.testing.assert_array_equal(ops.convert_to_numpy(mask), np.array(tokens) != 0)


def test_values_that_change_a_counter_around_a_function_are_seen(said):
    count = 0

    @tailfit.function
    def step(x):
        nonlocal count
        count += 1
        return x * count

    assert [float(step(np.float32(1))) for _ in range(6)] == [1, 2, 3, 4, 5, 6]
    assert "the captured variable count" in said.messages[0]


def fails_to_capture(run):
    raise RuntimeError("operation not permitted when stream is capturing")


def replays_nothing(run):
    return run(), lambda: None


@pytest.mark.parametrize(
    ("capture", "why"), [(fails_to_capture, "not permitted"), (replays_nothing, "different numbers")]
)
def test_a_graph_that_fails_or_gives_other_numbers_is_not_used(capture, why, monkeypatch, said):
    capture_with(monkeypatch, capture)
    both(monkeypatch, lambda: network(lambda: keras.layers.Dense(5)), batch_size=12)
    assert len(said.messages) == 1
    assert why in said.messages[0]


def test_arrays_are_read_in_the_order_of_keras_loader():
    import torch
    from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter

    from tailfit.training.backends.torch_batches import _Batches, _direct

    rng = np.random.default_rng(1)
    arrays = {"a": rng.normal(size=(20, 3)), "b": rng.integers(0, 9, (20, 2, 2))}
    weights = np.arange(20, dtype="float32")
    for x, shuffle in ((arrays, True), (arrays["a"], "batch"), (arrays["a"], False)):
        adapter = ArrayDataAdapter(x, weights, batch_size=6, shuffle=shuffle)
        read = []
        for loader in (adapter.get_torch_dataloader(), _Batches(adapter.get_torch_dataloader())):
            torch.manual_seed(4)
            first = iter(loader)
            torch.rand(3)  # what a step draws
            read.append([*first, torch.rand(1)])
        keras.tree.map_structure(torch.testing.assert_close, *read)
        assert _direct(adapter.get_torch_dataloader().dataset.array) is not None


@pytest.mark.parametrize("kind", [keras.Model, tailfit.Model])
def test_hooks_are_called_only_where_there_are_some(kind, monkeypatch):
    class Listens(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            heard.append((batch, sorted(logs)))

    heard, dispatched = [], []
    own = keras.callbacks.CallbackList._on_train_batch_end
    monkeypatch.setattr(
        keras.callbacks.CallbackList,
        "_on_train_batch_end",
        lambda self, batch, logs=None: (dispatched.append(batch), own(self, batch, logs)),
    )
    model = network(cls=kind)
    model.fit(X[:24], Y[:24], batch_size=8, verbose=0)
    assert dispatched == ([] if kind is tailfit.Model else [0, 1, 2])
    model.fit(X[:24], Y[:24], batch_size=8, verbose=0, callbacks=[Listens()])
    assert heard == [(batch, ["accuracy", "loss"]) for batch in range(3)]


def results_computed(monkeypatch):
    """Return a list with an entry for each repeated step: whether its outputs were computed."""
    from tailfit.training.backends.torch_graph.program import Program

    read, run = [], Program.run
    monkeypatch.setattr(Program, "run", lambda *args, **given: read.append(given["read"]) or run(*args, **given))
    return read


class LastLogs(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        self.logs = logs


EVERY_METRIC = {name: getattr(metrics, name) for name in metrics.__all__ if name != "GroupRecall"}


def with_every_metric():
    model = network(lambda: keras.layers.Dense(8, activation="relu"))
    scored = {"CalibrationError", "RocAuc", "AveragePrecision"}
    model.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[
            "accuracy",
            *(make(**({"from_logits": True} if name in scored else {})) for name, make in EVERY_METRIC.items()),
        ],
    )
    return model


@pytest.mark.parametrize("steps", [1, 4])
def test_results_that_nobody_reads_are_left_out_and_those_of_epochs_are_the_same(steps, monkeypatch):
    read = results_computed(monkeypatch)
    data = {"validation_data": (X[:24], Y[:24]), "shuffle": False, "epochs": 3}
    seen, histories, states = LastLogs(), [], []
    for callbacks in ([], [seen]):
        read.clear()
        model = with_every_metric()
        model.steps_per_execution = steps
        histories.append(fitted(model, callbacks=callbacks, **data)[1])
        states.append([variable.numpy() for metric in model.metrics for variable in metric.variables])
        if not callbacks:
            assert len(read) > 20
            assert not any(read[1:])  # before the first repeated step the names of the results may not be known
    assert any(read)
    np.testing.assert_equal(histories[0], histories[1])  # to the bit
    for one, other in zip(*states, strict=True):
        np.testing.assert_array_equal(one, other)
    # The logs of the last step are the results of the epoch, in which no step was left out.
    for name, value in seen.logs.items():
        if np.ndim(value) == 0:
            assert value == pytest.approx(histories[1][name][-1], rel=1e-6), name


@pytest.mark.parametrize(("verbose", "interval", "computed"), [(1, 0, True), (1, 1e9, False), (2, 0, False)])
def test_a_progress_bar_reads_the_results_that_it_draws(verbose, interval, computed, monkeypatch, capsys):
    draw_every(monkeypatch, interval)
    read = results_computed(monkeypatch)
    _, history = fitted(network(), verbose=verbose)
    assert set(read) == {computed}
    shown = capsys.readouterr().out
    assert f"accuracy: {history['accuracy'][-1]:.4f}" in shown
    assert "nan" not in shown


def test_a_step_outside_the_loop_returns_its_results(monkeypatch):
    read = results_computed(monkeypatch)

    class InBetween(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            batch = ops.convert_to_tensor(X[:8]), ops.convert_to_tensor(Y[:8])
            self.found = [self.model.train_on_batch(*batch, return_dict=True) for _ in range(6)]

    between = InBetween()
    fitted(network(), callbacks=[between])
    assert all(np.isfinite(list(logs.values())).all() for logs in between.found)
    assert set(read) == {True, False}


def test_logs_of_a_custom_step_are_computed(monkeypatch):
    class Mine(tailfit.Model):
        def train_step(self, data):
            return {**super().train_step(data), "rows": ops.sum(data[1] * 0 + 1)}

    read = results_computed(monkeypatch)
    _, history = fitted(network(cls=Mine))
    assert history["rows"] == [8, 8]
    assert all(read)
