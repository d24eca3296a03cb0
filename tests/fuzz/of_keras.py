"""What is read with Keras at hand: whole recipes, the result of a run, the state of callbacks and variables."""

import functools
import json
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np

from fuzz.bounds import REFUSED, answer, scratch
from fuzz.of_runs import CLAIM, evaluations
from fuzz.of_text import RECIPE, YAML_WORDS, is_plain
from fuzz.targets import parser
from tailfit.evaluation import Evaluation
from tailfit.recipes import load_recipe
from tailfit.recipes.document import parse
from tailfit.recipes.result import Result, finished_claim
from tailfit.recipes.rounds import read_pace, read_round
from tailfit.resume import random_state, variables
from tailfit.resume.remembered import Remembered
from tailfit.resume.saved import check_document, decoded
from tailfit.resume.store import Checkpoint, Position

MORE = """\
data: {path: x, windows: {length: 5}, fill_missing: mean}
loss: {name: Focal, gamma: {name: Linear, start: 0, stop: 2, epochs: 3}}
sampler: {name: ClassBalanced, power: 0.5}
class_weight: effective_number
metrics: [MacroF1, Recall]
correction: Thresholds
early_stopping: {patience: 3}
network: {name: mlp, units: [8, 8]}
batch_size: 8
epochs: 2
"""


def recipes() -> list[bytes]:
    plain = [json.dumps(parse(text).value).encode() for text in (RECIPE.replace("alpha: .inf", "alpha: 1"), MORE)]
    return [*plain, RECIPE.encode(), MORE.encode()]


@parser(recipes, json=True, keras=True, words=YAML_WORDS)
def recipe(data: bytes) -> None:
    document = answer(lambda: parse(data))
    if document is REFUSED:
        return
    made = answer(lambda: load_recipe(document))
    if made is REFUSED:
        return
    plain = made.plain()
    assert is_plain(plain)
    again = answer(lambda: load_recipe(json.loads(json.dumps(plain))))
    assert again is not REFUSED, "a recipe that is refused as it writes itself"
    assert again.plain() == plain, "a recipe that writes itself as another one"


RESULT = {
    "format": "tailfit.result",
    "version": 2,
    **CLAIM,
    "files": {},
    "class_names": ["a", "b"],
    "train_counts": [1, 2.5],
    "input_shape": [5, 2],
    "fill": {"method": "mean", "mean": [0.5, 1.0], "mask": False},
    "normalize": {"mean": [0, 1], "std": [1, 2]},
    "correction": {"scale": [1, 1], "offset": [0, 0]},
    "variables": [{"place": "0000", "array": "0000.kernel", "shape": [2, 2], "dtype": "float32"}],
}


def results() -> list[bytes]:
    bare = {**RESULT, "fill": None, "normalize": None, "correction": None}
    return [json.dumps(each).encode() for each in (RESULT, bare)]


@parser(results, json=True, keras=True)
def result_json(data: bytes) -> None:
    root = scratch("result")
    (root / "result.json").write_bytes(data)
    answer(lambda: finished_claim(root, ()))
    read = answer(lambda: Result.read(root))
    if read is REFUSED:
        return
    result, entries = read
    classes = len(result.class_names)
    assert result.scale is None or result.scale.shape == result.offset.shape == (classes,)
    answer(lambda: result.corrected(np.zeros((1, classes))))
    assert isinstance(entries, list)


def rounds() -> list[bytes]:
    known = {"format": "tailfit.rounds", "version": 1, **CLAIM, "backend": keras.backend.backend()}
    measured = json.loads(evaluations()[0])
    seconds = {"format": "tailfit.seconds", "version": 1, "start": 0.5, "epoch": 1}
    return [json.dumps({**known, "rounds": {"2": measured}}).encode(), json.dumps(seconds).encode()]


@parser(rounds, json=True, keras=True)
def rounds_json(data: bytes) -> None:
    """Measurements of a race, in which anything that is damaged counts as not measured."""
    root = scratch("rounds")
    for name in ("rounds.json", "seconds.json"):
        (root / name).write_bytes(data)
    recipe = SimpleNamespace(plain=lambda: CLAIM["recipe"])
    read = answer(lambda: read_round(root, recipe, CLAIM["data"], 2))  # type: ignore[arg-type]
    assert read is None or isinstance(read, Evaluation)
    pace = answer(lambda: read_pace(root))
    assert pace is None or 0 <= pace.start + pace.epoch < np.inf


# -- checkpoints ----------------------------------------------------------------------------------------


@functools.cache
def a_run() -> tuple[dict[str, Any], Remembered, dict[str, Any], dict[str, Any]]:
    """Variables, callbacks, and what is saved of them: state and arrays."""
    stopping = keras.callbacks.EarlyStopping("loss")
    stopping.on_train_begin()
    known, remembered = {"model.0000": keras.Variable(np.zeros((2, 2), "float32"))}, Remembered([stopping])
    arrays: dict[str, Any] = {}
    entries = variables.described(known)
    state = {
        "keras": keras.__version__,
        "stopped": False,
        "identity": {"batch_size": 8, "callbacks": remembered.names()},
        "variables": entries,
        "callbacks": remembered.save(arrays),
        "random": random_state.save(arrays),
    }
    arrays |= {entry["array"]: np.asarray(variables.snapshot(known[entry["place"]])) for entry in entries}
    return known, remembered, state, arrays


@parser(lambda: [json.dumps(a_run()[2]).encode()], json=True, keras=True, longest=1 << 16)
def resumed_state(data: bytes) -> None:
    """The state in a checkpoint whose checksums are right, whatever it says."""
    known, remembered, _, arrays = a_run()
    try:
        state = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(state, dict):
        return
    checkpoint = Checkpoint(Position(1, 0), state, arrays)
    if answer(lambda: check_document(checkpoint)) is REFUSED:
        return
    found = answer(lambda: decoded(checkpoint, remembered))
    if found is not REFUSED:
        values = answer(lambda: variables.checked(known, found.entries, found.arrays))
        assert values is REFUSED or {place: value.shape for place, value in values.items()} == {"model.0000": (2, 2)}
