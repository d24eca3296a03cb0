"""An interrupted run that continues ends like an uninterrupted one: weights, optimizer, metrics, callbacks, logs."""

import gc
import json
import os
import shutil
import signal
import warnings

import keras
import numpy as np
import pytest
from support import resumable
from support.outcomes import differing
from support.resumable import EPOCHS, RUNS, batches, dense, run

import tailfit
from tailfit.callbacks import Resume, ResumeWarning
from tailfit.errors import ArgumentError, CheckpointError, StepError
from tailfit.resume import variables
from tailfit.resume.identity import differences, identity_of
from tailfit.resume.store import Store
from tailfit.storage.disk import Disk

# Every process of a run compiles its step again. Tests that do not depend on compilation run on torch, which compiles
# nothing, and on other backends only with the slow tests.
where_nothing_compiles = pytest.mark.mostly_on("torch")
QUICK = ("everything", "fused", "own_step")


class Killed(BaseException):
    """A BaseException, so that no code in between handles it as an error."""


class Kill(keras.callbacks.Callback):
    """Callback that ends the run after its n-th step, or calls a function; it has no state to save.

    Args:
        after: Steps, counted over the run.
        begin, end: Called with the number of each step in its epoch, before and after it.
        validating: Called with the number of the epoch and that of each batch of its validation, after it.
    """

    def __init__(self, after=None, begin=None, end=None, validating=None):
        super().__init__()
        self.after, self.begin, self.end, self.validating = after, begin, end, validating

    def get_state(self):
        return {}

    def set_state(self, state):
        pass

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if self.begin:
            self.begin(batch)

    def on_train_batch_end(self, batch, logs=None):
        if self.end:
            self.end(batch)
        # With several steps per execution, Keras passes the number of the last one.
        if self.after is not None and self.params["steps"] * self.epoch + batch + 1 >= self.after:
            raise Killed

    def on_test_batch_end(self, batch, logs=None):
        if self.validating:
            self.validating(self.epoch, batch)


def killed(name, folder, after, **options):
    with pytest.raises(Killed):
        run(name, folder, Kill(after), **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The result of each uninterrupted run, computed once."""
    ends = {}

    def end(name):
        if name not in ends:
            ends[name] = run(name, tmp_path_factory.mktemp(name), Kill())
        return ends[name]

    return end


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=where_nothing_compiles) for name in RUNS]
)
def test_killed_within_an_epoch_and_at_its_beginning(name, whole, tmp_path):
    killed(name, tmp_path, 5)
    killed(name, tmp_path, 9)
    assert differing(whole(name), run(name, tmp_path, Kill())) == []


@where_nothing_compiles
def test_killed_after_every_step_in_turn(tmp_path):
    """Each process of the run gets two steps further than the last one, and repeats one of them."""
    lives = 0
    while True:
        try:
            end = run("accumulated", tmp_path / "killed", Kill(lives + 2), epochs=2)
            break
        except Killed:
            lives += 1
    assert lives >= 2 * len(batches()) - 1
    assert differing(run("accumulated", tmp_path / "whole", Kill(), epochs=2), end) == []


@where_nothing_compiles
@pytest.mark.parametrize("save_freq", ["epoch", 4])
def test_other_save_frequencies(save_freq, whole, tmp_path):
    for after in (3, 7, 11):
        killed("everything", tmp_path, after, save_freq=save_freq)
    assert differing(whole("everything"), run("everything", tmp_path, Kill(), save_freq=save_freq)) == []


@pytest.mark.parametrize("name", ["own_step", pytest.param("everything", marks=where_nothing_compiles)])
def test_a_finished_run_returns_its_result_and_can_be_extended(name, whole, tmp_path):
    killed(name, tmp_path, 4)
    first = run(name, tmp_path, Kill(), epochs=1)
    again = run(name, tmp_path, Kill(1), epochs=1)  # not one step is run
    assert differing(first, again) == []
    assert differing(whole(name), run(name, tmp_path, Kill())) == []


@where_nothing_compiles
def test_the_number_and_size_of_checkpoints(tmp_path):
    run("transformed", tmp_path, keep=2)
    store = Store(tmp_path / "run")
    steps = len(batches())
    assert store.positions() == [(EPOCHS, 0), (EPOCHS - 1, steps - 1)]
    state = json.loads((tmp_path / "run" / f"{EPOCHS:06d}-{0:09d}" / "state.json").read_text())
    # Order and randomness of batches: the position is all there is to save.
    assert len(json.dumps([state["position"], state["identity"]["seed"], state["identity"]["sampler"]])) <= 200


@where_nothing_compiles
def test_saving_by_time(tmp_path, monkeypatch):
    run("transformed", tmp_path / "never", save_freq=10**6, every_seconds=3600)
    assert Store(tmp_path / "never" / "run").positions() == [(EPOCHS, 0)]  # the end is always saved
    run("transformed", tmp_path / "always", save_freq=10**6, every_seconds=0, keep=100)
    assert len(Store(tmp_path / "always" / "run").positions()) == EPOCHS * len(batches())


# -- other runs ----------------------------------------------------------------------------------------


def changed(folder, *, allow=(), units=5, batch_size=8, sampler=None, seed=3, x=resumable.X, rate=0.02, callbacks=()):
    resumable.seeded()
    inputs = keras.Input((6,))
    model = tailfit.Model(inputs, keras.layers.Dense(3)(keras.layers.Dense(units)(inputs)))
    model.compile(keras.optimizers.Adam(rate), tailfit.losses.CrossEntropy(from_logits=True))
    data = tailfit.Batches(tailfit.data.Arrays(x, resumable.Y), batch_size, sampler, seed=seed)
    resume = Resume(folder, save_freq=2, allow=allow)
    return model.fit(data, epochs=2, callbacks=[resume, *callbacks], verbose=0)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    with pytest.raises(Killed):
        changed(folder, callbacks=[Kill(5)])
    return folder


OTHERS = {
    "model": {"units": 4},
    "batch_size": {"batch_size": 4},
    "sampler": {"sampler": tailfit.samplers.Sequential()},
    "seed": {"seed": 4},
    "data": {"x": resumable.X + 1},
    "compile": {"rate": 0.01},
    "callbacks": {"callbacks": [keras.callbacks.TerminateOnNaN()]},
}


@pytest.mark.parametrize("key", OTHERS)
def test_a_different_run_is_refused_with_the_differences(saved, key):
    options = {"callbacks": [Kill()], **OTHERS[key]}
    with pytest.raises(CheckpointError, match=rf"{key}: .*when saved.*allow=\['{key}'\]"):
        changed(saved, **options)


@where_nothing_compiles
def test_samplers_that_differ_in_the_middle_of_an_array_are_different():
    model = tailfit.Model(inputs := keras.Input((6,)), keras.layers.Dense(3)(inputs))
    model.compile("sgd", "mse")
    source = tailfit.data.Arrays(np.zeros((2001, 6), "float32"), np.arange(2001) % 3)
    lengths = np.arange(2001)
    found = []
    for last in (1.0, 2.0):
        weights = np.ones(2001)
        weights[1000] = last
        for sampler in (
            tailfit.samplers.Weighted(weights),
            tailfit.samplers.ByLength(np.where(lengths == 7, last, 9).astype(int)),
        ):
            found.append(identity_of(model, tailfit.Batches(source, 8, sampler), None, ()))
    assert all(len(each["sampler"]) <= 200 for each in found)
    assert [list(differences(found[i], found[i + 2])) for i in (0, 1)] == [["sampler"], ["sampler"]]


@where_nothing_compiles
@pytest.mark.parametrize("key", ["batch_size", "seed"])
def test_an_allowed_difference_is_a_warning_with_its_consequence(saved, key, tmp_path):
    shutil.copytree(saved, tmp_path / "run")
    with pytest.warns(ResumeWarning, match=f"{key}: .* when saved"):
        history = changed(tmp_path / "run", allow=[key], callbacks=[Kill()], **OTHERS[key])
    assert history.epoch == [0, 1]


def test_weights_of_another_shape_are_refused_even_if_the_model_may_differ(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "run")
    with (
        pytest.warns(ResumeWarning, match="model: "),
        pytest.raises(CheckpointError, match=r"model\.0000.*\(6, 5\).*\(6, 4\)"),
    ):
        changed(tmp_path / "run", units=4, allow=["model"], callbacks=[Kill()])


@where_nothing_compiles
def test_fewer_epochs_than_already_done(tmp_path):
    run("transformed", tmp_path, epochs=2, save_freq="epoch")
    with pytest.raises(CheckpointError, match=r"epochs=1 for .*run of 2 epochs"):
        run("transformed", tmp_path, epochs=1, save_freq="epoch")


# -- runs that can't be resumed -------------------------------------------------------------------------


class Holds(keras.callbacks.Callback):
    def __init__(self, kept):
        super().__init__()
        self.kept = kept


@pytest.mark.parametrize(
    ("others", "error", "says"),
    [
        (
            [Holds({"file": object()})],
            ArgumentError,
            r"Holds in a fit with Resume: its kept\.file is of type object.*get",
        ),
        ([keras.callbacks.BackupAndRestore("x")], ArgumentError, "BackupAndRestore in a fit with Resume"),
        ([Resume("other")], ArgumentError, "two Resume"),
    ],
)
def test_callbacks_that_can_not_be_saved(others, error, says, tmp_path):
    with pytest.raises(error, match=says):
        dense().fit(batches(), callbacks=[Resume(tmp_path), *others], verbose=0)


def test_data_in_an_unknown_order(tmp_path):
    stream = ((resumable.X[:4], resumable.Y[:4]) for _ in range(3))
    with pytest.raises(ArgumentError, match=r"generator in a fit with Resume.*tailfit\.Batches"):
        dense().fit(stream, callbacks=[Resume(tmp_path)], verbose=0)


def test_validation_data_that_can_be_read_only_once(tmp_path):
    stream = ((resumable.X[:4], resumable.Y[:4]) for _ in range(3))
    with pytest.raises(ArgumentError, match="validation_data of type generator"):
        dense().fit(batches(), validation_data=stream, callbacks=[Resume(tmp_path)], verbose=0)


def test_a_plain_keras_model(tmp_path):
    inputs = keras.Input((6,))
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(StepError, match=r"tailfit\.Model"):
        model.fit(resumable.X, resumable.Y, callbacks=[Resume(tmp_path)], verbose=0)


def test_state_that_can_not_be_found_is_an_error(tmp_path):
    elsewhere = keras.Variable(0.0)

    class Hides(tailfit.Model):
        def train_step(self, data):
            elsewhere.assign_add(1.0)
            return super().train_step(data)

    inputs = keras.Input((6,))
    model = resumable.compiled(Hides(inputs, keras.layers.Dense(3)(inputs)))
    with pytest.raises(StepError, match=r"changes the variable .*an attribute of the model"):
        model.fit(batches(), callbacks=[Resume(tmp_path, save_freq=2)], verbose=0)


@pytest.mark.parametrize(
    "arguments", [{"save_freq": 0}, {"save_freq": "batch"}, {"keep": 0}, {"every_seconds": -1}, {"allow": ["all"]}]
)
def test_arguments(arguments, tmp_path):
    with pytest.raises((ArgumentError, TypeError)):
        Resume(tmp_path, **arguments)


# -- disks, locks, signals -----------------------------------------------------------------------------


@where_nothing_compiles
def test_a_full_disk_is_a_warning_and_training_continues(tmp_path, monkeypatch, whole):
    real, calls = Disk.write, []

    def write(self, file, content):
        calls.append(file)
        if len(calls) < 6:
            raise OSError(28, "No space left on device")
        return real(self, file, content)

    monkeypatch.setattr(Disk, "write", write)
    with pytest.warns(ResumeWarning, match="No space left on device"):
        end = run("transformed", tmp_path, Kill())
    assert differing(whole("transformed"), end) == []
    assert Store(tmp_path / "run").positions()[0] == (EPOCHS, 0)


@where_nothing_compiles
def test_a_failure_is_reported_before_the_next_save(tmp_path, monkeypatch):
    told = []

    def write(self, file, content):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Disk, "write", write)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResumeWarning)
        run("transformed", tmp_path, Kill(begin=lambda batch: told.append(len(caught))), epochs=1, save_freq=2)
    assert told[-1] >= 1  # the failure of the save after step 2 is reported before the last step
    assert {warning.category for warning in caught} == {ResumeWarning}


@where_nothing_compiles
def test_a_removed_directory(tmp_path, whole):
    def delete(batch):
        if batch == 2:
            shutil.rmtree(tmp_path / "run", ignore_errors=True)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResumeWarning)  # depends on whether a save is in progress
        end = run("transformed", tmp_path, Kill(end=delete))
    assert differing(whole("transformed"), end) == []
    assert Store(tmp_path / "run").positions()[0] == (EPOCHS, 0)


@where_nothing_compiles
def test_two_runs_in_one_directory(tmp_path):
    def begin_another(batch):
        if batch == 1:
            with pytest.raises(CheckpointError, match="another run is at work"):
                run("transformed", tmp_path)

    run("transformed", tmp_path, Kill(end=begin_another), epochs=1)
    run("transformed", tmp_path, Kill(), epochs=1)  # the lock has been released


@where_nothing_compiles
@pytest.mark.parametrize(
    ("number", "leaves", "status"),
    [(signal.SIGINT, KeyboardInterrupt, None), (signal.SIGTERM, SystemExit, 128 + signal.SIGTERM)],
)
def test_a_signal_finishes_the_step_and_saves(number, leaves, status, tmp_path, whole):
    def send(batch):
        if batch == 1:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(leaves) as caught:
        run("transformed", tmp_path, Kill(begin=send), save_freq=1000)
    assert getattr(caught.value, "code", None) == status
    assert signal.getsignal(number) is before
    assert Store(tmp_path / "run").positions() == [(0, 2)]
    assert differing(whole("transformed"), run("transformed", tmp_path, Kill(), save_freq=1000)) == []


def in_validation(of, act):
    """Return a callback that calls `act` after the first validation batch of an epoch, and the list of batches."""
    seen = []

    def validating(epoch, batch):
        if epoch == of:
            seen.append(batch)
            if len(seen) == 1:
                act()

    return Kill(validating=validating), seen


VALIDATED = {"validation_data": (resumable.X[:9], resumable.Y[:9]), "validation_batch_size": 3}


@where_nothing_compiles
@pytest.mark.parametrize("name", ["own_step", "fused"])
def test_a_signal_ends_a_validation_that_has_a_checkpoint_before_it(name, tmp_path):
    """The first validation has a checkpoint before it, because its duration is unknown; a short one is finished."""
    end = run(name, tmp_path / "whole", Kill(), save_freq="epoch", fit=VALIDATED)
    steps = len(batches())
    last = steps - 2 if name == "fused" else steps - 1
    assert steps % 2 == 0
    ends, seen = in_validation(0, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit):
        run(name, tmp_path / "one", ends, save_freq="epoch", fit=VALIDATED)
    assert len(seen) == 1
    assert Store(tmp_path / "one" / "run").positions() == [(0, last)]
    ends, seen = in_validation(1, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit):
        run(name, tmp_path / "one", ends, save_freq="epoch", fit=VALIDATED)
    assert len(seen) == (2 if name == "fused" else 3)
    assert Store(tmp_path / "one" / "run").positions()[0] == (2, 0)
    assert differing(end, run(name, tmp_path / "one", Kill(), save_freq="epoch", fit=VALIDATED)) == []


@where_nothing_compiles
def test_a_kill_in_a_long_validation_costs_one_step(tmp_path, monkeypatch):
    monkeypatch.setattr("tailfit.resume.run._LONG", 0.0)

    def kill():
        raise Killed

    end = run("own_step", tmp_path / "whole", Kill(), save_freq="epoch", fit=VALIDATED)
    for epoch in (0, 1):
        with pytest.raises(Killed):
            run("own_step", tmp_path / "one", in_validation(epoch, kill)[0], save_freq="epoch", fit=VALIDATED)
        assert Store(tmp_path / "one" / "run").positions()[0] == (epoch, len(batches()) - 1)
    assert differing(end, run("own_step", tmp_path / "one", Kill(), save_freq="epoch", fit=VALIDATED)) == []


@where_nothing_compiles
def test_a_validation_is_finished_if_the_checkpoint_before_it_failed(tmp_path, monkeypatch):
    """The process exits after the checkpoint at the end of the validation."""
    written = []

    def fails_once(self, *args):
        written.append(args[0])
        if len(written) == 1:
            raise OSError("no space left")
        return write(self, *args)

    write = Store.write
    monkeypatch.setattr(Store, "write", fails_once)
    ends, seen = in_validation(0, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.warns(ResumeWarning, match="no space left"), pytest.raises(SystemExit):
        run("own_step", tmp_path, ends, save_freq="epoch", fit=VALIDATED)
    assert seen == [0, 1, 2]
    assert Store(tmp_path / "run").positions() == [(1, 0)]


@where_nothing_compiles
def test_a_second_ctrl_c_acts_at_once(tmp_path):
    at_once = []

    def send_two(batch):
        if batch == 1:
            signal.raise_signal(signal.SIGINT)
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                at_once.append(batch)

    with pytest.raises(KeyboardInterrupt):
        run("transformed", tmp_path, Kill(begin=send_two))
    assert at_once == [1]


# -- damage, other backends ----------------------------------------------------------------------------


@where_nothing_compiles
def test_a_damaged_checkpoint_is_a_warning_and_the_previous_one_is_used(tmp_path, whole):
    killed("transformed", tmp_path, 5)
    newest = max((tmp_path / "run").glob("0*"))
    with (newest / "arrays.safetensors").open("r+b") as file:
        file.seek(-3, 2)
        file.write(b"\xff")
    with pytest.warns(ResumeWarning, match=f"{newest.name}.*set aside, and an older one is used"):
        end = run("transformed", tmp_path, Kill())
    assert differing(whole("transformed"), end) == []


@where_nothing_compiles
def test_another_backend_keeps_the_weights(tmp_path):
    """Like a checkpoint of another backend: seeds of another type, no random state of this backend."""
    killed("transformed", tmp_path, 5)
    position = Store(tmp_path / "run").positions()[0]
    state, arrays = Store(tmp_path / "run").read(position)[1:]
    state["identity"]["backend"] = "another"
    state["random"].pop(keras.backend.backend())
    for entry in state["variables"]:
        if "seed" in entry["array"]:
            arrays[entry["array"]] = arrays[entry["array"]].astype(np.int64)
    for name in list((tmp_path / "run").glob("0*")):
        shutil.rmtree(name)
    Store(tmp_path / "run").write(position, state, arrays)
    with pytest.raises(CheckpointError, match="backend: another when saved"):
        run("transformed", tmp_path, Kill())
    with pytest.warns(ResumeWarning, match="backend: .*random numbers"):
        run("transformed", tmp_path, Kill(), allow=["backend"])


def test_the_search_for_variables_does_not_disturb_other_threads(monkeypatch):
    """`gc.get_objects` would reference tuples that other threads are building, which raises SystemError there."""
    mine = keras.Variable(1.0)
    every = {id(each) for each in gc.get_objects() if issubclass(type(each), keras.Variable)}
    monkeypatch.setattr(gc, "get_objects", None)
    found = {id(each) for each in variables._all_variables()}
    assert id(mine) in found
    assert found == every
