"""Recipes and runs of arbitrary bytes: either an error of tailfit or a valid result, without side effects."""

import contextlib
import inspect
import itertools
import json
import math
import os
import shutil
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import fuzzing
from support.fuzzing import damaged
from support.odd_files import KINDS, no_longer_than

import tailfit
from tailfit.cli.recipes import run_evaluate
from tailfit.cli.reporting import run_report
from tailfit.errors import ArgumentError, CheckpointError, DataError, RecordError, TailfitError
from tailfit.exporting import export
from tailfit.networks import NETWORKS
from tailfit.networks.sizes import size_of
from tailfit.recipes import evaluate_run, find_suspects, load_recipe, predict, train
from tailfit.recipes.document import parse
from tailfit.recipes.recipe import Recipe
from tailfit.recipes.result import Result, read_trained_arrays, restore_result
from tailfit.recipes.training import finished_evaluations
from tailfit.storage.reading import digest_of
from tailfit.text import TailfitWarning

pytestmark = pytest.mark.above_training

refused = partial(fuzzing.refused, most=1 << 25)  # memory that a backend allocates at first use counts, too
fuzzed = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
TEXT = b"""data: {path: pumps, split: {train: 0.8, validation: null, test: 0.2}, options: {label: a}}
network: {name: mlp, units: [4]}
loss: {name: Focal, gamma: {name: Linear, start: 0, stop: 1, epochs: 3}}
optimizer: {name: SGD, learning_rate: {name: CosineDecay, initial_learning_rate: 0.1}}
sampler: {name: ClassBalanced, power: 0.5}
steps: [Mixup, {name: SAM, rho: 0.1}]
class_weight: {leak: 2.0}
sample_weight: {column: trust}
compare: {vary: {a: {}, b: {loss: LDAM}}, seeds: 2}
"""
WORDS = ["Focal", "name", "data", "path", "loss", "function", "os:system", "steps", "tau", "gamma", "Linear", "split"]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(WORDS)
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*WORDS, *Recipe.model_fields]) | st.integers(0, 3), inner, max_size=5)
    ),
    max_leaves=12,
)


def sound(document):
    """Check that an accepted recipe can be written and read again, with the same meaning."""
    recipe = load_recipe(document)
    plain = recipe.plain()
    assert load_recipe(json.loads(json.dumps(plain))).plain() == plain


def test_the_text_is_sound():
    assert not refused(lambda: sound(parse(TEXT)))


@fuzzed
@given(damaged(TEXT))
def test_recipes_of_any_bytes(content):
    refused(lambda: sound(parse(content)))


@fuzzed
@given(values)
def test_recipes_of_any_values(value):
    refused(lambda: sound(value if isinstance(value, dict) else {"data": value}))


@fuzzed
@given(st.sampled_from(sorted(Recipe.model_fields)), values)
def test_any_value_in_the_place_of_any_key(key, value):
    document = parse(TEXT)
    refused(lambda: sound({**document.value, key: value}))


def saved_result(directory, model, entries):
    restore_result(model, entries, read_trained_arrays(directory, entries))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run."""
    root = tmp_path_factory.mktemp("safety")
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [60, 20])
    x = rng.normal(2.0 * y[:, None], size=(80, 3)).astype("float32")
    tailfit.data.save_npy_folder(root / "pumps", x, np.array(["leak", "ok"])[y])
    (root / "pumps.yaml").write_text(
        "data: {path: pumps}\nnetwork: {name: mlp, units: [4]}\nepochs: 8\n"
        "optimizer: {learning_rate: 0.05}\ncorrection: TemperatureScaling\n"
    )
    return train(root / "pumps.yaml", root / "run")


@fuzzed
@given(st.data())
def test_a_result_of_any_bytes(run, data):
    path = run.directory / "result.json"
    whole = path.read_bytes()
    try:
        path.write_bytes(data.draw(damaged(whole)))

        def read():
            result, entries = Result.read(run.directory)
            saved_result(run.directory, run.model, entries)
            assert np.isfinite(result.corrected(np.zeros((1, 2)))).all()

        refused(read)
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize(
    "entry", [{"place": []}, {"place": {}}, {"array": []}, {"array": {}}, {"shape": 3}, {"shape": None}], ids=str
)
def test_a_result_of_other_variables(run, entry):
    path = run.directory / "result.json"
    whole = path.read_text()
    fields = json.loads(whole)
    try:
        fields["variables"][0].update(entry)
        path.write_text(json.dumps(fields))
        with pytest.raises(TailfitError, match="variable"):
            saved_result(run.directory, run.model, Result.read(run.directory)[1])
    finally:
        path.write_text(whole)


@fuzzed
@given(st.data())
def test_weights_of_any_bytes(run, data):
    path = run.directory / "weights.safetensors"
    whole = path.read_bytes()
    try:
        path.write_bytes(data.draw(damaged(whole)))
        _, entries = Result.read(run.directory)
        refused(lambda: saved_result(run.directory, run.model, entries))
    finally:
        path.write_bytes(whole)


def swapped(entries, one, other):
    """Two entries with each other's arrays."""
    changed = [dict(entry) for entry in entries]
    changed[one]["array"], changed[other]["array"] = changed[other]["array"], changed[one]["array"]
    return changed


def test_variables_of_other_arrays_change_nothing(run):
    _, entries = Result.read(run.directory)
    before = run.model.get_weights()
    kernels = [place for place, entry in enumerate(entries) if len(entry["shape"]) == 2]
    biases = [place for place, entry in enumerate(entries) if len(entry["shape"]) == 1]
    spoilt = {
        "other shapes": swapped(entries, kernels[0], kernels[1]),
        "the same shape": swapped(entries, biases[-2], biases[-1]),
        "one array twice": [*entries[:-1], {**entries[-1], "array": entries[0]["array"]}],
        "an entry twice": [*entries, entries[0]],
    }
    for what, changed in spoilt.items():
        with pytest.raises(CheckpointError, match="variable"):
            saved_result(run.directory, run.model, changed)
        for now, then in zip(run.model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(now, then, err_msg=what)


def test_weights_of_another_run_are_refused(run):
    path = run.directory / "weights.safetensors"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-4] + b"1234")  # a sound file, of other numbers
        with pytest.raises(TailfitError, match=r"weights.safetensors: a checksum that differs"):
            evaluate_run(run.directory)
    finally:
        path.write_bytes(whole)


# Loaded once before auditing, because imports at first use do not depend on the file.
AUDITED = """
import json, sys
from pathlib import Path
from tailfit.recipes import evaluate_run, load_recipe
recipe, run = sys.argv[1:]
load_recipe(recipe)
evaluate_run(run)
events, watched = [], True
def hook(event, arguments):
    if watched:
        events.append((event, [str(each) for each in arguments[:1] if isinstance(each, str | Path)]))
sys.addaudithook(hook)
load_recipe(recipe)
loading, events = events, []
evaluate_run(run)
watched = False
print(json.dumps({"loading": loading, "evaluating": events}))
"""


def test_a_recipe_and_a_run_are_read_without_running_importing_or_reaching_anything(run, backend):
    environment = {**os.environ, "KERAS_BACKEND": backend}
    recipe = run.directory.parent / "pumps.yaml"
    command = [sys.executable, "-c", AUDITED, str(recipe), str(run.directory)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    harmless = {"open", "builtins.id", "object.__getattr__", "sys._getframe"}
    # torch built for CUDA looks for the driver whenever it is asked for the number of GPUs.
    driver = ["ctypes.dlopen", ["libnvidia-ml.so.1"]]
    assert {each[0] for each in seen["loading"] if each != driver} <= harmless, seen["loading"]
    assert [Path(arguments[0]) for event, arguments in seen["loading"] if event == "open" and arguments] == [recipe]
    reaching = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pickle.", "marshal.")
    assert not [event for event, _ in seen["evaluating"] if event.startswith(reaching)]
    opened = {Path(arguments[0]) for event, arguments in seen["evaluating"] if event == "open" and arguments}
    inside = {path for path in opened if path.is_relative_to(run.directory)}
    assert {path.name for path in inside} == {"result.json", "weights.safetensors"}  # no model.keras


def test_a_recipe_can_not_import_modules(tmp_path, monkeypatch):
    """Neither a module next to the recipe nor one that is already imported."""
    (tmp_path / "evil.py").write_text("import pathlib; pathlib.Path('ran').touch()")
    monkeypatch.chdir(tmp_path)
    for function in ("evil:x", "os:system", "builtins:eval", "tailfit.cli:main"):
        for key in ("network", "loss", "optimizer", "sampler", "transform"):
            recipe = {"data": {"path": "x"}, key: {"function": function}}
            with pytest.raises(TailfitError, match="module that you allow"):
                load_recipe(recipe)
    for plain in ({"function": "evil:x"}, ["evil:x"]):
        with pytest.raises(TailfitError):
            load_recipe({"data": {"path": "x"}, "steps": plain, "metrics": plain})
    assert not (tmp_path / "ran").exists()
    (tmp_path / "weights.safetensors").write_bytes(b"")
    (tmp_path / "result.json").write_text(
        json.dumps(
            {
                "format": "tailfit.result",
                "version": 2,
                "folder": ".",
                "backend": "jax",
                "recipe": {"data": {"path": "x"}, "network": {"function": "evil:x"}},
                "data": {},
                "files": {"weights.safetensors": digest_of(tmp_path / "weights.safetensors")},
            }
        )
    )
    with pytest.raises(TailfitError, match="module that you allow"):
        evaluate_run(tmp_path)
    assert not (tmp_path / "ran").exists()


# -- networks of any size ------------------------------------------------------------------------------

SERIES = [(9, 3), (8, 1)]
SHAPES = {
    "mlp": [(5,), (4, 3)],
    "cnn": [(9, 3), (9, 5, 2), (1, 3)],
    "image_resnet": [(9, 5, 2)],
    "minirocket": [(9, 3), (30, 1)],
}
SMALL = {"filters": [3, 4], "units": [3, 4], "kernel_sizes": [5, 3], "width": 3, "depth": 4, "blocks": 1}
OPTIONS = [{}, {"head": "cosine"}, {"head": "features", "dropout": 0.5}, SMALL]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_the_size_of_a_network_is_known_before_it_is_built(name, options):
    build = NETWORKS[name]
    taken = {key: value for key, value in options.items() if key in inspect.signature(build).parameters}
    for shape in SHAPES.get(name, SERIES):
        built = build(shape, 7, **taken)
        made = sum(math.prod(variable.shape) for variable in built.trainable_variables)
        assert size_of(name, shape, 7, options).parameters == made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda fields: fields.update(input_shape=[60_000_000]), "trained weights of"),
        (lambda fields: fields["recipe"]["network"].update(units=[10**9]), "trained weights of"),
        (lambda fields: fields.update(input_shape=[2**70, 2**70]), "trained weights of"),
    ],
)
def test_a_larger_network_than_was_trained_is_not_built(run, monkeypatch, change, message):
    path = run.directory / "result.json"
    whole = path.read_text()
    monkeypatch.setattr("tailfit.recipes.objects.Network", None)  # nothing is built
    try:
        fields = json.loads(whole)
        change(fields)
        path.write_text(json.dumps(fields))
        with pytest.raises(DataError, match=message):
            evaluate_run(run.directory)
    finally:
        path.write_text(whole)


def test_a_network_that_exceeds_memory_is_not_built(run, tmp_path, monkeypatch):
    monkeypatch.setattr("tailfit.recipes.objects.Network", None)
    recipe = {"data": {"path": str(run.directory.with_name("pumps"))}, "network": {"name": "mlp", "units": [10**12]}}
    with pytest.raises(ArgumentError, match=r"network.*6000000000002 parameters.*bytes of free memory"):
        train(recipe, tmp_path / "run")


# -- paths that are not regular files ---------------------------------------------------------------------------


def used(recipe, home, *, trained):
    """Run everything that reads a run's directory: each must end, with a result or an error of tailfit."""
    commands = [
        lambda: evaluate_run(home),
        lambda: run_report([home], home.with_name("page.html"), None),
        lambda: finished_evaluations(load_recipe(recipe), home, {}),
        *([lambda: train(recipe, home)] if trained else []),
    ]
    for command in commands:
        with no_longer_than(60), contextlib.suppress(TailfitError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            command()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.mostly_on("torch")
def test_any_file_of_a_run_replaced_by_something_else(run, tmp_path):
    """For every file of a trained run."""
    recipe = run.directory.with_name("pumps.yaml")
    files = sorted(path.relative_to(run.directory) for path in run.directory.rglob("*") if path.is_file())
    assert {"state.json", "weights.safetensors", "history.csv", "lock", "run.json"} <= {path.name for path in files}
    for number, (file, kind) in enumerate(itertools.product(files, ["a link to a pipe", "a sparse terabyte"])):
        home = tmp_path / str(number)
        shutil.copytree(run.directory, home)
        (home / file).unlink()
        KINDS[kind](str(home / file))
        used(recipe, home, trained=kind == "a link to a pipe")


@pytest.mark.parametrize("name", ["history.csv", "report.html", "checkpoints"])
def test_paths_that_can_not_be_written_are_reported_before_training(run, tmp_path, name):
    (tmp_path / "run").mkdir()
    shutil.copy(run.directory / "run.json", tmp_path / "run" / "run.json")
    (tmp_path / "run" / name).mkdir() if name != "checkpoints" else (tmp_path / "run" / name).touch()
    with pytest.raises(RecordError, match=f"{name}: not a"):
        train(run.directory.with_name("pumps.yaml"), tmp_path / "run")
    assert not list((tmp_path / "run").glob("*.safetensors"))


# -- directories and files of others ----------------------------------------------------------------------------


def test_nothing_is_written_over_a_run(run, tmp_path):
    """Neither by a comparison or a search in its directory, nor by an output with the name of one of its files."""
    recipe, home = run.directory.with_name("pumps.yaml"), run.directory
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    with pytest.raises(CheckpointError, match=r"contains the file run\.json"):
        tailfit.compare(recipe, {"loss": ["CrossEntropy", "Focal"]}, 2, directory=home)
    with pytest.raises(CheckpointError, match=r"contains the file run\.json"):
        find_suspects(recipe, home, folds=2)
    with pytest.raises(CheckpointError, match=r"contains the file class_names\.json"):
        find_suspects(recipe, home.with_name("pumps"), folds=2)
    outputs = [
        lambda: predict(home, home.with_name("pumps"), home / "predictions.parquet"),
        lambda: export(home, home / "model.keras"),
        lambda: run_evaluate(home, out=home / "evaluation.json"),
        lambda: run_report([home], home / "evaluation.json", None),
    ]
    for write in outputs:
        with pytest.raises(ArgumentError, match="a file of the run"):
            write()
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


@pytest.mark.mostly_on("torch")
@pytest.mark.parametrize("error", [KeyError("layer"), AttributeError("no config"), RuntimeError("pickle")], ids=repr)
def test_a_network_that_keras_can_not_save_costs_no_results(run, tmp_path, monkeypatch, error):
    def failing(*_):
        raise error

    monkeypatch.setattr("tailfit.recipes.serving.serving_model", failing)
    with pytest.warns(TailfitWarning, match=f"model.keras was not written: {type(error).__name__}"):
        train(run.directory.with_name("pumps.yaml"), tmp_path / "run")
    assert evaluate_run(tmp_path / "run") is not None
