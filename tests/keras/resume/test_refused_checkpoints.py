"""Invalid checkpoints with correct checksums: one clear error, and nothing is changed."""

import re
import shutil

import keras
import numpy as np
import pytest
from support import resumable

from tailfit.callbacks import Resume
from tailfit.errors import CheckpointError
from tailfit.resume.encoding import encode
from tailfit.resume.store import Store
from tailfit.training import generators


class Best(keras.callbacks.Callback):
    """A callback with `get_state` and `set_state`, which fails after it has restored a part of the state."""

    def __init__(self):
        super().__init__()
        self.kept, self.half = 0, None

    def get_state(self):
        return {"kept": self.kept, "array": np.zeros(2)}

    def set_state(self, state):
        self.half = state["array"]
        self.kept = int(state["kept"])


def made(folder):
    """Create a model, and the callbacks of its fit."""
    resumable.seeded()
    inputs = keras.Input((6,))
    hidden = keras.layers.Dropout(0.3)(keras.layers.Dense(5, name="hidden")(inputs))
    # Its second optimizer creates its variables only in the first step.
    model = resumable.compiled(resumable.TwoOptimizers(inputs, keras.layers.Dense(5)(hidden)))
    model.optimizer.build(model.trainable_variables)
    callbacks = [
        keras.callbacks.History(),
        keras.callbacks.EarlyStopping("loss", patience=9, restore_best_weights=True),
        keras.callbacks.CSVLogger(f"{folder}/log.csv"),
        resumable.Counter(),
        Best(),
        keras.callbacks.ModelCheckpoint(f"{folder}/best.weights.h5", monitor="loss", save_weights_only=True),
    ]
    return model, callbacks


def fitted(model, callbacks, folder, epochs):
    resume = Resume(folder / "run", save_freq=4)
    try:
        model.fit(resumable.batches(), epochs=epochs, callbacks=[resume, *callbacks], verbose=0)
    finally:
        log = next(each for each in callbacks if isinstance(each, keras.callbacks.CSVLogger))
        if log.csv_file is not None:
            log.csv_file.close()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run of two epochs, after the first one."""
    folder = tmp_path_factory.mktemp("saved")
    fitted(*made(folder), folder, 1)
    return folder


def state_of(state, name):
    return next(each["state"] for each in state["callbacks"] if each["class"] == name)


def swap(state, arrays, one, other, *, entries):
    """Exchange the arrays of two variables, in the document or in the file."""
    a, b = (next(each for each in state["variables"] if re.search(name, each["array"])) for name in (one, other))
    if entries:
        a["array"], b["array"] = b["array"], a["array"]
    else:
        arrays[a["array"]], arrays[b["array"]] = arrays[b["array"]], arrays[a["array"]]


def attribute(name, key, value):
    """Set an attribute in the state of a callback."""

    def change(state, arrays):
        states = state_of(state, name)
        index = [each["class"] for each in state["callbacks"]].index(name)
        states[key] = encode(value, arrays, f"callback.{index}.{key}")

    return change


def drawn(*path, value):
    """Set a number in the state of the global generators."""

    def change(state, arrays):
        at = state["random"]
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value

    return change


def own_generator(state, arrays):
    own = state["random"][keras.backend.backend()]
    own.update({"cpu": 3, "generator": 3, "none": 3})


def early_weights(change):
    """Change the list of weights that EarlyStopping keeps."""

    def spoil(state, arrays):
        index = [each["class"] for each in state["callbacks"]].index("EarlyStopping")
        kept = change([arrays[each["$array"]] for each in state_of(state, "EarlyStopping")["best_weights"]])
        state_of(state, "EarlyStopping")["best_weights"] = encode(kept, arrays, f"callback.{index}.best_weights")

    return spoil


def without(*path):
    def change(state, arrays):
        at = state
        for key in path[:-1]:
            at = at[key]
        del at[path[-1]]

    return change


def document(**fields):
    return lambda state, arrays: state.update(fields)


def foreign_array(state, arrays):
    state_of(state, "Counter")["seen"] = {"$array": next(each["array"] for each in state["variables"])}


def other_bytes(state, arrays):
    name = state_of(state, "CSVLogger")["$file"]["$bytes"]
    arrays[name] = arrays[name].astype(np.float32)


EARLY = {
    "arrays swapped in the document": lambda s, a: swap(s, a, r"model.*kernel", r"optimizer.*momentum", entries=True),
    "arrays of other shapes swapped": lambda s, a: swap(s, a, r"model\.0001", r"model\.0002", entries=False),
    "an array left out": lambda s, a: a.pop(s["variables"][0]["array"]),
    "a variable twice": lambda s, a: s["variables"].append(s["variables"][0]),
    "a variable of no shape": lambda s, a: s["variables"][0].update(shape=7),
    "no variables": without("variables"),
    "stopped as text": document(stopped="no"),
    "no identity": document(identity=[]),
    "identity without a batch size": without("identity", "batch_size"),
    "states of other callbacks": lambda s, a: s["callbacks"].pop(),
    "a callback without state": lambda s, a: s["callbacks"][1].pop("state"),
    "a callback's state as a list": lambda s, a: s["callbacks"][1].update(state=[1]),
    "a count as text": attribute("EarlyStopping", "wait", "2"),
    "a count below 0": attribute("EarlyStopping", "wait", -2),
    "the best value as a list": attribute("EarlyStopping", "best", [0.5]),
    "half a state": lambda s, a: state_of(s, "EarlyStopping").pop("best"),
    "weights as numbers": early_weights(lambda weights: [1.0 for _ in weights]),
    "a method overwritten": attribute("Counter", "on_epoch_end", 3),
    "what Keras sets overwritten": attribute("EarlyStopping", "patience", 3),
    "the model overwritten": attribute("Counter", "_model", 3),
    "an own count as text": attribute("Counter", "epochs", "two"),
    "an array of a variable": foreign_array,
    "a log of floats": other_bytes,
    "a log of text": attribute("CSVLogger", "$file", "epoch,loss"),
    "columns as numbers": attribute("CSVLogger", "keys", [1, 2]),
    "a step as text": attribute("ModelCheckpoint", "_last_batch_seen", "3"),
    "a history as a list": attribute("History", "history", [1.0]),
    "a history of text": attribute("History", "history", {"loss": ["1.0"]}),
    "a history longer than the run": attribute("History", "history", {"loss": [1.0, 0.5]}),
    "epochs that were not done": attribute("History", "epoch", [0, 1]),
    "epochs as text": attribute("History", "epoch", ["0"]),
    "no random state": without("random"),
    "Python's random state short": lambda s, a: s["random"]["python"]["$tuple"][1]["$tuple"].pop(),
    "Python's random state as floats": drawn("python", "$tuple", 1, "$tuple", 3, value=0.5),
    "Python's random position": drawn("python", "$tuple", 1, "$tuple", 624, value=700),
    "Python's normal number as text": drawn("python", "$tuple", 2, value="0.5"),
    "NumPy's random position": drawn("numpy", "state", "pos", value=10**6),  # NumPy itself would take it
    "NumPy's other generator": drawn("numpy", "bit_generator", value="PCG64"),
    "NumPy's words short": lambda s, a: a.update({"random.numpy.state.key": np.zeros(5, np.uint32)}),
    "NumPy's normal number as text": drawn("numpy", "gauss", value="0.5"),
    "Keras' seed as text": drawn("keras", value="0"),
    "the backend's own generator": own_generator,
    "a state within another": drawn("numpy", value={"$tuple": [{"$items": 3}]}),
}
LATE = {
    "weights of another model": early_weights(lambda weights: weights[::-1]),
    "a state that a callback itself refuses": lambda s, a: state_of(s, "Best").update(kept="many"),
}


def plain(value):
    """Something comparable of a state."""
    arrays = {}
    coded = encode(value, arrays, "")
    return repr(coded), {name: array.tobytes() for name, array in arrays.items()}


def all_of(model, callbacks, folder):
    """Everything that a refused checkpoint must leave as it is, callbacks apart."""
    variables = [*model.variables, *model.optimizer.variables]
    return (
        [keras.ops.convert_to_numpy(variable).tobytes() for variable in variables],
        plain(generators.captured()),
        (folder / "log.csv").read_bytes(),
        model.stop_training,
        plain([getattr(each, "kept", None) for each in callbacks]),
    )


@pytest.mark.parametrize("what", [*EARLY, *LATE])
def test_a_checkpoint_that_no_run_has_saved_is_refused_and_changes_nothing(what, saved, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    position, state, arrays = Store(folder).read(Store(folder).positions()[0])
    spoil = {**EARLY, **LATE}[what]
    spoil(state, arrays := dict(arrays))
    shutil.rmtree(folder)
    Store(folder).write(position, state, arrays)
    model, callbacks = made(tmp_path)
    kept = [{key: repr(value) for key, value in vars(each).items()} for each in callbacks]
    before = all_of(model, callbacks, tmp_path)
    with pytest.raises(CheckpointError, match=re.escape(f"{folder / position.name}: ")):
        fitted(model, callbacks, tmp_path, 2)
    assert all_of(model, callbacks, tmp_path) == before
    if what in EARLY:  # else Keras has told the callbacks that the training begins
        assert [{key: repr(value) for key, value in vars(each).items()} for each in callbacks] == kept
    assert Store(folder).positions() == [position]  # and it is still there, to be looked at


def test_the_same_checkpoint_unspoilt_goes_on(saved, tmp_path):
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    model, callbacks = made(tmp_path)
    fitted(model, callbacks, tmp_path, 2)
    assert callbacks[0].epoch == [0, 1]
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3


def test_arrays_are_named_by_place_and_not_by_what_the_process_has_made_before(saved):
    store = Store(saved / "run")
    names = [each["array"] for each in store.read(store.positions()[0]).state["variables"]]
    assert not [name for name in names if re.search(r"dense|hidden|drop|_\d", name)]
    assert {"model.0001.kernel", "model.0002.bias", "optimizer.0001.learning_rate"} <= set(names)
    assert len(set(names)) == len(names)
