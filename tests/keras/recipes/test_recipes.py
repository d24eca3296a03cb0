"""Recipes: valid and invalid ones, and that they train what they specify."""

import csv
import importlib.util
import json
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import polars as pl
import pytest
from support.compiling import own_programs
from support.paths import ROOT

import tailfit
from tailfit import losses, metrics, samplers, steps
from tailfit.data import DataWarning
from tailfit.errors import ArgumentError, CheckpointError, DataError, PackageError, TailfitError
from tailfit.evaluation import ReportWarning
from tailfit.networks import cnn, image_resnet, inception_time, lite, mlp, rnn
from tailfit.recipes import evaluate_run, load_recipe, schema, train
from tailfit.recipes.choices import Named
from tailfit.recipes.data_identity import identity_of_data
from tailfit.recipes.document import parse
from tailfit.recipes.objects import training_batches
from tailfit.recipes.parts import open_other_data, open_parts
from tailfit.recipes.serving import save_serving_model
from tailfit.recipes.training import finished_evaluations
from tailfit.training.generators import seeded

pytestmark = pytest.mark.above_training

NAMES = ("leak", "ok", "stuck")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Records of three causes, one of them rare, in the classic layout."""
    root = tmp_path_factory.mktemp("recipes")
    rng = np.random.default_rng(0)
    y = np.repeat([1, 0, 2], [140, 50, 20])
    x = rng.normal(1.5 * np.eye(3)[y], size=(len(y), 3)).astype("float32")
    ids = [f"r{i:03d}" for i in range(len(y))]
    order = rng.permutation(len(y))
    parts = {"train": order[:130], "validation": order[130:160], "test": order[160:]}
    tailfit.data.save_npy_folder(
        root / "pumps",
        x,
        np.array(NAMES)[y],
        ids,
        metadata=pl.DataFrame({"id": ids, "site": ["A", "B"] * 105, "trust": np.linspace(0.1, 1, 210)}),
        partition={name: [ids[i] for i in part] for name, part in parts.items()},
    )
    return root


def written(home, text, name="pumps.yaml"):
    (home / name).write_text(text)
    return home / name


SOUND = "data: {path: pumps}\nepochs: 2\nbatch_size: 32\n"
SOUND_DICT = {"data": {"path": "pumps"}, "epochs": 2, "batch_size": 32}


# -- valid and invalid recipes -------------------------------------------------------------------------


def options_of(definitions, name):
    return set(definitions[name]["properties"]) - {"name"}


def test_every_loss_sampler_step_and_metric_can_be_named():
    """Except those with a required argument that YAML can't express."""
    names = json.dumps(schema())
    rooms = {losses: keras.losses.Loss, metrics: keras.metrics.Metric, samplers: samplers.Sampler, steps: steps.Step}
    for room, base in rooms.items():
        for name in room.__all__:
            thing = getattr(room, name)
            if isinstance(thing, type) and issubclass(thing, base) and thing is not base:
                assert (f'"const": "{name}"' in names) == (name != "ByLength"), name


def test_the_schema_contains_options_and_their_types():
    definitions = schema()["$defs"]
    assert options_of(definitions, "LogitAdjusted") == {"tau"}
    assert options_of(definitions, "cnn") == {"filters", "kernel_size", "dropout", "head", "padding"}
    assert definitions["LogitAdjusted"]["additionalProperties"] is False
    assert json.loads(json.dumps(schema())) == schema()


def test_a_recipe_with_its_defaults_can_be_read_again():
    recipe = load_recipe({"data": {"path": "pumps"}, "loss": {"label_smoothing": 0.1}, "optimizer": {"clipnorm": 1}})
    again = load_recipe(recipe.plain())
    assert again.plain() == recipe.plain()
    assert (recipe.loss.name, recipe.optimizer.name, recipe.sampler.name) == ("CrossEntropy", "Adam", "Shuffle")
    assert json.loads(json.dumps(recipe.plain())) == recipe.plain()


BAD = {
    "nothing": ("", "a mapping", "None"),
    "a list": ("- a", "a mapping", r"\['a'\]"),
    "no data": ("loss: Focal", "data, which has no default", "no 'data'"),
    "data of text": ("data: pumps", "a mapping", "'pumps'"),
    "no path": ("data: {}", "path, which has no default", "no 'path'"),
    "an empty path": ("data: {path: ''}", "not empty", "''"),
    "an unknown key": (
        SOUND + "los: Focal",
        "data, name, backend, network, loss",
        "line 4, los: the unknown key 'los'",
    ),
    "an unknown key within": ("data:\n  path: x\n  splt: {}", "path, label", r"line 3, data.splt"),
    "a key that is a number": (SOUND + "3: 4", "data, ", "the unknown key 3"),
    "partition and split": ("data: {path: x, partition: p, split: {}}", "one of them", "both partition and split"),
    "a share of one": ("data: {path: x, split: {train: 1.0}}", "below 1", r"data.split.train: 1.0"),
    "shares of less": (
        "data: {path: x, split: {train: 0.5, test: 0.2}}",
        "sum to one",
        "line 1, data.split: shares 0.5, 0.1, 0.2, which sum to 0.8",
    ),
    "a reserved option": ("data: {path: x, options: {nan: keep}}", "the reader", "'nan'"),
    "the cache": ("data: {path: x, options: {cache: /tmp}}", "the reader", "'cache'"),
    "an unknown filling": ("data: {path: x, fill_missing: best}", "'forward', 'mean' or 'zero'", "'best'"),
    "windows of length 0": ("data: {path: x, windows: {length: 0}}", ">= 1", r"windows.length: 0"),
    "an unknown loss": (SOUND + "loss: Focall", "Focal", "line 4, loss: the unknown loss 'Focall'"),
    "a loss of a number": (SOUND + "loss: 3", "the name of a loss", "loss: 3"),
    "a loss of a list": (SOUND + "loss: [Focal]", "the name of a loss", "loss: \\['Focal'\\]"),
    "an unknown option": (SOUND + "loss:\n  name: Focal\n  gama: 2", "name, gamma, alpha", "line 6, loss.gama"),
    "what tailfit supplies": (SOUND + "loss: {name: LogitAdjusted, from_logits: true}", "name, tau", "'from_logits'"),
    "text for a number": (SOUND + "loss: {name: Focal, gamma: two}", "a number or a schedule", "loss.gamma: 'two'"),
    "a flag for a number": (SOUND + "loss: {name: Focal, gamma: true}", "a number or a schedule", "loss.gamma: True"),
    "a number out of range": (SOUND + "loss: {name: Focal, gamma: -1}", "a finite number >= 0", "gamma=-1"),
    "infinity": (SOUND + "loss: {name: Focal, gamma: .inf}", "a finite number", "inf"),
    "an unknown choice": (SOUND + "loss: {name: ActivePassive, active: bce}", "'nce' or 'ce'", "loss.active: 'bce'"),
    "an option that is needed": (SOUND + "loss: Equalization", "threshold", "no 'threshold'"),
    "half a schedule": (SOUND + "loss: {name: Focal, gamma: {name: Linear, start: 0}}", "stop", "no 'stop'"),
    "an unknown schedule": (SOUND + "loss: {name: Focal, gamma: {name: Line}}", "Linear", "unknown schedule 'Line'"),
    "a schedule out of range": (
        SOUND + "loss: {name: Focal, gamma: {name: Linear, start: 1, stop: -1, epochs: 2}}",
        ">= 0",
        "gamma=-1.0 at epoch 2",
    ),
    "an unknown optimizer": (SOUND + "optimizer: Adamm", "Adam", "'Adamm'"),
    "a learning rate of zero": (SOUND + "optimizer: {learning_rate: 0}", "above 0", "learning_rate: 0"),
    "Keras' own check": (SOUND + "optimizer: {name: SGD, momentum: 9}", "valid options of SGD", "momentum"),
    "an unknown sampler": (SOUND + "sampler: Balanced", "ClassBalanced", "'Balanced'"),
    "a sampler that needs m": (SOUND + "sampler: PerClass", "m, which has no default", "no 'm'"),
    "m of zero": (SOUND + "sampler: {name: PerClass, m: 0}", ">= 1", "m=0"),
    "half a sample": (SOUND + "sampler: {name: PerClass, m: 1.5}", "a whole number", "sampler.m: 1.5"),
    "negative weights": (SOUND + "sampler: {name: Weighted, weights: {leak: -1}}", ">= 0", "weights.leak: -1"),
    "an unknown scheme": (SOUND + "class_weight: balance", "'balanced'", "class_weight: 'balance'"),
    "a scheme's beta": (SOUND + "class_weight: {scheme: effective_number, beta: 1}", "below 1", "class_weight.beta: 1"),
    "class weights of a list": (SOUND + "class_weight: [1, 2]", "null or text", r"\[1, 2\]"),
    "a negative class weight": (SOUND + "class_weight: {leak: -1}", ">= 0", "class_weight.leak: -1"),
    "sample weights of text": (SOUND + "sample_weight: trust", "null or a mapping", "'trust'"),
    "steps that are no list": (SOUND + "steps: Mixup", "a list", "steps: 'Mixup'"),
    "a step out of range": (SOUND + "steps:\n- Mixup\n- {name: SAM, rho: -1}", ">= 0", r"line 6, steps\[1\]: rho=-1"),
    "an unknown metric": (SOUND + "metrics: [Accuracy]", "BalancedAccuracy", "'Accuracy'"),
    "an unknown correction": (SOUND + "correction: Platt", "TemperatureScaling", "'Platt'"),
    "a correction too many": (
        SOUND + "loss: LogitAdjusted\ncorrection: LogitAdjustment",
        "one of them",
        "already corrects for the class shares",
    ),
    "a network of no layers": (SOUND + "network: {name: mlp, units: []}", "1 or more", r"network.units: \[\]"),
    "a network of no units": (SOUND + "network: {name: mlp, units: [0]}", ">= 1", r"network.units\[0\]: 0"),
    "a function of a module": (SOUND + "network: {function: 'os:system'}", "module that you allow", "'os:system'"),
    "a function without a module": (SOUND + "network: {function: system}", "module:name", "'system'"),
    "a transform by name": (SOUND + "transform: flip", "TimeWarp", "unknown transform 'flip'"),
    "a function for a schedule": (
        SOUND + "loss: {name: Focal, gamma: {function: 'os:system', name: x}}",
        "one of",
        "a function as schedule",
    ),
    "a batch size of 0": (SOUND.replace("32", "0"), ">= 1", "batch_size: 0"),
    "epochs of text": (SOUND.replace("2\n", "'2'\n", 1), "a whole number", "epochs: '2'"),
    "a negative seed": (SOUND + "seed: -1", ">= 0", "seed: -1"),
    "a seed of true": (SOUND + "seed: true", "a whole number", "seed: True"),
    "another backend": (SOUND + "backend: theano", "'jax', 'tensorflow' or 'torch'", "'theano'"),
    "stopping by the training": (SOUND + "early_stopping: {monitor: loss}", "val_", "monitor: 'loss'"),
    "no patience": (SOUND + "early_stopping: {patience: 0}", ">= 1", "patience: 0"),
    "nothing to compare": (SOUND + "compare: {vary: {}}", "1 or more", "compare.vary"),
    "costs without a decision": (
        SOUND + "compare: {costs: [[0]]}",
        "together",
        "decide_on: balanced_accuracy with costs",
    ),
    "a cost below zero": (SOUND + "compare: {decide_on: cost, costs: [[-1]]}", ">= 0", "-1"),
    "an unknown figure": (SOUND + "compare: {decide_on: recall}", "worst_class", "decide_on: 'recall'"),
    "seeds without end": (
        SOUND + "compare: {vary: {a: {}}, seeds: 1000000000}",
        "<= 1000",
        "compare.seeds: 1000000",
    ),
    "one seed": (SOUND + "compare: {vary: {a: {}}, seeds: 1}", ">= 2", "compare.seeds: 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_recipes_name_the_place_and_the_fix(name):
    text, expected, received = BAD[name]
    with pytest.raises(DataError) as caught:
        load_recipe(parse(text))
    error = caught.value
    assert re.search(received, error.received), error
    assert re.search(expected, error.expected), error
    assert error.received.startswith("recipe")
    assert len(error.fix) > 4
    assert "\n" not in str(error)


def test_all_defaults_are_of_the_type_of_their_option():
    """A default of another type makes pydantic print warnings for `network: mlp`."""
    models = Named.__subclasses__()
    assert {"mlp", "Focal", "Adam"} <= {model.__name__ for model in models}
    for model in models:
        model.model_construct(name=model.__name__).model_dump(mode="json", warnings="error")


def test_several_errors_are_counted():
    with pytest.raises(DataError, match=r"line 2, epochs.*2 more values are wrong"):
        load_recipe(parse("data: {path: x}\nepochs: 0\nseed: -1\nbatch_size: x"))


def test_errors_in_a_dict_name_the_keys():
    with pytest.raises(DataError, match=r"^Received recipe, loss.gamma: 'x'"):
        load_recipe({"data": {"path": "x"}, "loss": {"name": "Focal", "gamma": "x"}})


@pytest.mark.parametrize("page", ["docs/getting-started.md", "docs/recipes.md", "examples/which_remedy.py"])
def test_the_recipes_of_the_documentation_are_valid(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) or re.findall(r'RECIPE = """(.*?)"""', text, re.DOTALL)
    recipes = [each for each in found if re.search(r"^data:", each, re.MULTILINE)]
    assert recipes
    for each in recipes:
        assert load_recipe(parse(each)).compare is not None


# -- training ------------------------------------------------------------------------------------------

FULL = """
data: {path: pumps, normalize: true}
network: {name: mlp, units: [16], dropout: 0.2}
loss: {name: LogitAdjusted, tau: {name: Linear, start: 0.0, stop: 1.0, epochs: 3}}
optimizer: {name: AdamW, learning_rate: {name: CosineDecay, initial_learning_rate: 0.02}, clipnorm: 1.0}
sampler: {name: ClassBalanced, power: 0.5}
class_weight: {scheme: effective_number, beta: 0.99}
sample_weight: {"site = 'B'": 0.5, leak: 2}
steps: [{name: Mixup, alpha: 0.1}, GradientCentralization]
metrics: [BalancedAccuracy, {name: GroupRecall, many: 50, few: 20}, PerClassRecall]
correction: {name: LogitAdjustment, tau: null}
early_stopping: {patience: 3}
epochs: 4
batch_size: 32
seed: 3
"""


@pytest.fixture(scope="module")
def full(home):
    return train(written(home, FULL), home / "full")


@pytest.mark.on_each
def test_a_recipe_equals_the_same_training_written_by_hand(home, full):
    parts = tailfit.data.open(home / "pumps").split(home / "pumps" / "partition.json")
    source = parts["train"]
    batches = tailfit.Batches(
        source,
        32,
        samplers.ClassBalanced(power=0.5),
        3,
        tailfit.weights.class_weights(source, "effective_number", beta=0.99),
        {"site = 'B'": 0.5, "leak": 2.0},
    )
    loss = full.model.loss
    np.testing.assert_allclose(loss.get_config()["class_counts"], batches.class_counts)
    rate = full.model.optimizer.learning_rate
    assert float(keras.ops.convert_to_numpy(rate)) < 1e-3  # the decay's end is that of the training
    runner = full.model._tailfit_runner
    assert [type(step).__name__ for step in runner.steps] == ["Mixup", "GradientCentralization"]
    assert {"loss", "val_loss", "balanced_accuracy", "val_balanced_accuracy"} <= full.history.keys()
    assert full.evaluation.train_counts == tuple(source.class_counts)
    assert full.evaluation.y_true.tolist() == parts["test"].labels.tolist()


def test_a_run_writes_all_files(home, full):
    there = {path.name for path in full.directory.iterdir()}
    assert there == {
        "checkpoints",
        "evaluation.json",
        "history.csv",
        "lock",
        "model.keras",
        "predictions.parquet",
        "report.html",
        "result.json",
        "run.json",
        "validation.json",
        "weights.safetensors",
    }
    with (full.directory / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_loss"]) for row in rows] == pytest.approx(full.history["val_loss"])
    table = pl.read_parquet(full.directory / "predictions.parquet")
    called = np.array(NAMES)[full.evaluation.y_pred]
    assert table["predicted"].to_list() == called.tolist()
    assert table.columns[: 3 + len(NAMES)] == ["id", "label", "predicted", *(f"score {name}" for name in NAMES)]
    assert all(name.startswith("metadata ") for name in table.columns[3 + len(NAMES) :])
    scores = table.select(pl.col("^score .*$")).to_numpy()
    served = keras.saving.load_model(full.directory / "model.keras")
    x = np.stack([np.load(home / "pumps" / "data" / f"{name}.npy") for name in table["id"]])
    np.testing.assert_allclose(served.predict(x, verbose=0), scores, atol=1e-5)


def test_the_same_recipe_gives_the_same_numbers(home, full):
    again = train(written(home, FULL), home / "again")
    assert again.history == full.history
    assert again.evaluation == full.evaluation
    other = train(
        {**load_recipe(written(home, FULL)).plain(), "seed": 4, "data": {"path": str(home / "pumps")}}, home / "o"
    )
    assert other.history != full.history


def test_a_finished_run_returns_its_result_and_can_continue(home, full):
    before = (full.directory / "weights.safetensors").read_bytes()
    again = train(written(home, FULL), home / "full")
    assert again.history == full.history
    assert (full.directory / "weights.safetensors").read_bytes() == before
    with pytest.raises(CheckpointError, match=r"steps_per_execution: 1 before, 2 now"):
        train(written(home, FULL + "steps_per_execution: 2"), home / "full")


class InterruptedRunError(Exception):
    """Simulates a killed process."""


@pytest.mark.on_each
def test_an_interrupted_run_continues_exactly(home, full):
    def end(epoch, figures):
        if epoch == 2:
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        train(written(home, FULL), home / "ended", progress=end)
    with pytest.raises(DataError, match=r"contains no result.json"):
        evaluate_run(home / "ended")
    epochs = []
    run = train(written(home, FULL), home / "ended", progress=lambda epoch, figures: epochs.append(epoch))
    assert 1 not in epochs
    assert run.history == full.history
    assert run.evaluation == full.evaluation
    ended, whole = (home / name / "weights.safetensors" for name in ("ended", "full"))
    assert ended.read_bytes() == whole.read_bytes()


def test_a_run_is_evaluated_again(home, full):
    assert evaluate_run(full.directory) == full.evaluation
    validation = evaluate_run(full.directory, part="validation")
    assert len(validation.y_true) == 30
    with pytest.warns(DataWarning, match="130 samples have the ID and the record of a training sample"):
        whole = evaluate_run(full.directory, data=str(home / "pumps"))
    assert len(whole.y_true) == 210


def test_different_data_must_have_the_same_classes_and_shape(home, full, tmp_path):
    tailfit.data.save_npy_folder(tmp_path / "classes", np.zeros((4, 3), "float32"), ["leak", "ok", "ok", "burst"])
    with pytest.raises(DataError, match=r"classes 'burst', 'leak', 'ok'"):
        evaluate_run(full.directory, data=str(tmp_path / "classes"))
    tailfit.data.save_npy_folder(tmp_path / "shape", np.zeros((3, 5), "float32"), list(NAMES))
    with pytest.raises(DataError, match=r"shape \(5,\)"):
        evaluate_run(full.directory, data=str(tmp_path / "shape"))
    with pytest.raises(DataError, match=r"contains no result.json"):
        evaluate_run(tmp_path)


def test_different_data_are_read_with_the_options_of_the_recipe(home, tmp_path):
    table = pl.DataFrame({"cause": list(NAMES), "run": ["007", "7", "8"], "a": [1.0, 2, 3], "b": [4.0, 5, 6]})
    for name in ("own", "other"):
        table.write_csv(tmp_path / f"{name}.csv", separator=";")
    text = f"data:\n  path: {tmp_path / 'own.csv'}\n  options: {{label: cause, id: run}}\nepochs: 1\n"
    loaded = load_recipe(written(home, text, "table.yaml"))
    other = open_other_data(loaded, str(tmp_path / "other.csv"), None)
    assert (other.ids, other.class_names) == (("007", "7", "8"), tuple(sorted(NAMES)))
    tailfit.data.pack(other, tmp_path / "packed")  # in another form, which takes no such options
    assert open_other_data(loaded, str(tmp_path / "packed"), None).ids == other.ids


def test_the_default_network_learns_from_few_steps(tmp_path):
    """No running means, as in batch normalization, which would lag behind by hundreds of steps."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [150, 50])
    x = rng.normal(size=(200, 16, 2)).astype("float32")
    x[y == 1, ::2] += 1.5
    tailfit.data.save_npy_folder(tmp_path / "waves", x, np.array(["ok", "leak"])[y])
    recipe = {
        "data": {"path": str(tmp_path / "waves")},
        "network": {"name": "cnn", "filters": [8]},
        "optimizer": {"learning_rate": 0.02},
        "batch_size": 16,
        "epochs": 3,
    }
    run = train(recipe, tmp_path / "run")
    assert run.evaluation.balanced_accuracy > 0.8
    assert run.history["val_balanced_accuracy"][-1] > 0.8


@pytest.mark.parametrize("loss", ["LDAM", "InfluenceBalanced", "Seesaw", "DistributionBalanced"])
def test_losses_with_special_heads_or_arguments_train(home, loss):
    recipe = load_recipe(written(home, SOUND + f"loss: {loss}\n"))
    run = train(recipe, home / f"of-{loss}")
    assert np.isfinite(run.history["loss"]).all()
    assert evaluate_run(run.directory) == run.evaluation


@pytest.mark.parametrize("correction", ["TemperatureScaling", "VectorScaling", "Thresholds", "TauNorm"])
def test_corrections_are_fitted_on_the_validation_part(home, correction):
    run = train(written(home, SOUND + f"correction: {correction}\n"), home / f"by-{correction}")
    assert evaluate_run(run.directory) == run.evaluation
    assert json.loads((run.directory / "result.json").read_text())["correction"] is not None


def test_a_correction_that_can_not_be_fitted_keeps_the_training(home):
    text = "data: {path: pumps, split: {train: 0.9, validation: 0.01, test: 0.09}}\nepochs: 1\ncorrection: "
    with pytest.raises(DataError, match=r"pumps.yaml, line 3, correction: .*the training is kept"):
        train(written(home, text + "TemperatureScaling\n"), home / "uncorrected")
    epochs = []
    run = train(
        written(home, text + "null\n"), home / "uncorrected", progress=lambda epoch, figures: epochs.append(epoch)
    )
    assert epochs == []
    assert run.evaluation == evaluate_run(run.directory)


def test_weights_of_a_column(home):
    run = train(written(home, SOUND + "sample_weight: {column: trust}\n"), home / "column")
    plain = train(written(home, SOUND), home / "plain")
    assert run.history["loss"] != plain.history["loss"]
    with pytest.raises(DataError, match=r"the unknown column 'thrust'.*site, trust"):
        train(written(home, SOUND + "sample_weight: {column: thrust}\n"), home / "no-column")
    with pytest.raises(DataError, match=r"the column 'site' of type String"):
        train(written(home, SOUND + "sample_weight: {column: site}\n"), home / "no-number")


def test_a_sampler_by_condition(home):
    recipe = load_recipe(written(home, SOUND + "sampler: {name: Weighted, weights: {\"site = 'B'\": 0.0}}\n"))
    from tailfit.recipes.objects import training_batches
    from tailfit.recipes.parts import open_parts

    batches = training_batches(recipe, open_parts(recipe))
    drawn = batches.source.metadata["site"].gather(batches.indices(0, 0))
    assert set(drawn) == {"A"}


def test_no_validation_part(home):
    text = "data: {path: pumps, split: {train: 0.8, validation: null, test: 0.2}}\nepochs: 1\n"
    assert "val_loss" not in train(written(home, text), home / "unvalidated").history
    for key in ("early_stopping: {}", "correction: TemperatureScaling"):
        with pytest.raises(ArgumentError, match=r"without a validation part"):
            train(written(home, text + key), home / f"needs-{key[:4]}")


def test_a_correction_of_known_strength_needs_no_validation_part(home):
    text = "data: {path: pumps, split: {train: 0.8, validation: null, test: 0.2}}\nepochs: 1\ncorrection: "
    for number, correction in enumerate(("LogitAdjustment", "{name: TauNorm, tau: 0.5}")):
        run = train(written(home, text + correction), home / f"known-{number}")
        assert json.loads((run.directory / "result.json").read_text())["correction"] is not None


def test_an_unknown_monitor_is_an_error(home):
    path = written(home, SOUND + "early_stopping: {monitor: val_macro_f1}\n")
    with pytest.raises(ArgumentError, match=r"line 4, early_stopping.monitor: 'val_macro_f1'.*val_loss"):
        train(path, home / "unknown-monitor")


def test_a_continued_run_is_not_finished_until_its_end(home):
    """The evaluation of a shorter run is not the result of the longer one."""
    recipe = load_recipe({**SOUND_DICT, "data": {"path": str(home / "pumps")}})
    data = identity_of_data(recipe)
    train(recipe, home / "longer")
    assert finished_evaluations(recipe, home / "longer", data) is not None
    assert finished_evaluations(recipe, home / "longer", {**data, "count": 1}) is None
    more = recipe.model_copy(update={"epochs": 4})

    def end(epoch, figures):
        raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        train(more, home / "longer", progress=end)
    assert finished_evaluations(more, home / "longer", data) is None
    assert len(train(more, home / "longer").history["loss"]) == 4
    assert finished_evaluations(more, home / "longer", data) is not None
    # Even if run.json has the same recipe: another process may have written it.
    text = (home / "longer" / "run.json").read_text()
    (home / "longer" / "run.json").write_text(text.replace('"epochs": 4', '"epochs": 300'))
    long = recipe.model_copy(update={"epochs": 300})
    assert finished_evaluations(long, home / "longer", data) is None


def failing(*arguments, **options):
    raise OSError(28, "No space left on device")


def test_results_are_written_before_any_page(home, monkeypatch):
    """If the report page can't be written, for whatever reason, the results are still complete."""
    recipe = {**SOUND_DICT, "data": {"path": str(home / "pumps")}}
    monkeypatch.setattr("tailfit.evaluation.Evaluation.save_html", failing)
    monkeypatch.setattr("tailfit.recipes.reports.keep_pictures", failing)
    with (
        pytest.warns(ReportWarning, match=r"pictures.json was not written \(OSError.*all results were"),
        pytest.warns(ReportWarning, match=r"report.html was not written \(OSError.*all results were"),
    ):
        run = train(recipe, home / "no-page")
    written = {path.name for path in (home / "no-page").iterdir()}
    assert {"result.json", "evaluation.json", "predictions.parquet", "weights.safetensors", "model.keras"} <= written
    assert "report.html" not in written
    again = evaluate_run(home / "no-page")
    assert again.y_pred.tolist() == run.evaluation.y_pred.tolist()


SERVED = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tailfit":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import keras, numpy as np
for path in sys.argv[1:]:
    model = keras.saving.load_model(path)
    known = np.load(path + ".npz")
    assert type(model).__module__.startswith("keras.") and not model.compiled
    np.testing.assert_allclose(model.predict(known["x"], verbose=0), known["scores"], atol=1e-5)
"""


def test_the_served_model_needs_no_tailfit_and_is_the_same_to_the_byte(tmp_path):
    """Each network and head of tailfit, with a correction, whatever layers the process has created before."""
    rng = np.random.default_rng(0)
    scale, offset = np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.2, 0.3])
    normalize = tailfit.data.Normalize(mean=np.ones(4), std=np.full(4, 2.0))
    paths = []
    networks = [
        (mlp, (4,), "cosine"), (cnn, (8, 4), "features"), (rnn, (8, 4), "dense"), (inception_time, (8, 4), "dense"),
        (lite, (8, 4), "dense"), (image_resnet, (8, 8, 4), "dense"),
    ]  # fmt: skip
    for kind, shape, head in networks:
        with seeded(3):
            model = kind(shape, 3, head=head, dropout=0.1, normalize=normalize)
        model.compile("sgd", tailfit.losses.CrossEntropy(from_logits=True))
        path = tmp_path / f"{kind.__name__}.keras"
        save_serving_model(model, scale, offset, path)
        x = rng.normal(size=(5, *shape)).astype("float32")
        np.savez(f"{path}.npz", x=x, scores=model.predict(x, verbose=0) * scale + offset)
        with seeded(3):
            again = kind(shape, 3, head=head, dropout=0.1, normalize=normalize)
        save_serving_model(again, scale, offset, tmp_path / "again.keras")
        assert (tmp_path / "again.keras").read_bytes() == path.read_bytes()
        paths.append(str(path))
    assert not [path.name for path in tmp_path.iterdir() if "draft" in path.name]
    command = [sys.executable, "-c", SERVED, *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]


def test_windows_are_cut_after_the_records_are_divided(tmp_path):
    rng = np.random.default_rng(0)
    records = tmp_path / "runs" / "data"
    records.mkdir(parents=True)
    causes = {}
    for number in range(30):
        cause = ("ok", "leak")[number % 2]
        causes[f"run{number}"] = cause
        record = rng.normal(float(number % 2), size=(rng.integers(12, 30), 2)).astype("float32")
        record[3, 1] = np.nan
        np.save(records / f"run{number}.npy", record)
    (tmp_path / "runs" / "labels.json").write_text(json.dumps(causes))
    text = (
        "data:\n  path: runs\n  options: {ragged: true}\n  windows: {length: 8, stride: 4}\n  fill_missing: forward\n"
        "  split: {train: 0.6, validation: 0.2, test: 0.2}\nnetwork: {name: rnn, units: [4]}\nepochs: 2\n"
    )
    run = train(written(tmp_path, text), tmp_path / "out")
    ids = pl.read_parquet(run.directory / "predictions.parquet")["id"]
    tested = {name.split("@")[0] for name in ids}
    assert len(tested) == 6
    assert len(ids) > 6
    assert evaluate_run(run.directory) == run.evaluation


def test_unsuitable_data_are_errors(home, tmp_path):
    for name, text, received in (
        ("nothing", "data: {path: nowhere}", "nowhere"),
        ("parts", "data: {path: pumps, partition: odd.json}", r"no part 'test', only 'train'"),
        ("option", "data: {path: pumps, options: {lable: x}}", "lable"),
        ("url", "data: {path: 'https://localhost:1/set'}", "the URL https://localhost:1/set"),
    ):
        (home / "odd.json").write_text(json.dumps({"train": ["r000"]}))
        with pytest.raises(TailfitError, match=received):
            train(written(home, text), tmp_path / name)


# -- the user's own code -------------------------------------------------------------------------------

CODE = """
import keras

def network(input_shape, num_classes, units=4):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, keras.layers.Dense(num_classes)(keras.layers.Dense(units, "tanh")(inputs)))

def noisy(batch, rng, deviation=0.0):
    x, *rest = batch
    return (x + rng.normal(0, deviation, x.shape).astype(x.dtype), *rest)

def loss(class_counts):
    assert len(class_counts) == 3
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

def nothing():
    return None

def wide(input_shape):
    return network(input_shape, 5)
"""
OWN = SOUND + (
    "network: {function: 'mine:network', options: {units: 5}}\n"
    "transform: {function: 'mine:noisy', options: {deviation: 0.1}}\n"
    "loss: {function: 'mine:loss'}\n"
)


def test_similar_class_names_are_warned_about(tmp_path):
    names = np.array(["ok", "ok ", "leak"])[np.arange(60) % 3]
    tailfit.data.save_npy_folder(tmp_path / "pumps", np.zeros((60, 2), "float32"), names)
    recipe = {"data": {"path": str(tmp_path / "pumps")}, "epochs": 1}
    with pytest.warns(tailfit.data.DataWarning, match="classes 'ok' and 'ok '.*strip=True"):
        assert len(open_parts(load_recipe(recipe)).train.class_names) == 3
    recipe["data"]["options"] = {"strip": True}
    assert open_parts(load_recipe(recipe)).train.class_names == ("leak", "ok")


def test_functions_of_a_module_that_the_user_allows(home):
    (home / "mine.py").write_text(CODE)
    path = written(home, OWN)
    with pytest.raises(DataError, match=r"the function 'mine:network'.*--module mine"):
        load_recipe(path)
    run = train(path, home / "own", modules=[str(home / "mine.py")])
    assert [layer.units for layer in run.model.layers[1:]] == [5, 3]
    assert evaluate_run(run.directory, modules=[str(home / "mine.py")]) == run.evaluation
    with pytest.raises(DataError, match=r"mine:network"):
        evaluate_run(run.directory)  # a run's own files don't allow code, either


def test_augmentations_by_name_alone_and_beside_a_function(home):
    (home / "mine.py").write_text(CODE)
    modules = [str(home / "mine.py")]
    alone = load_recipe(written(home, SOUND + "transform: {name: Jitter, sigma: 0.2, only_repeats: true}\n"))
    assert load_recipe(alone.plain()).plain() == alone.plain()
    batches = training_batches(alone, open_parts(alone))
    assert batches.transform == tailfit.augment.Jitter(sigma=0.2, only_repeats=True)
    both = SOUND + "transform: [TimeWarp, {function: 'mine:noisy', options: {deviation: 0.1}}]\n"
    both = load_recipe(written(home, both), modules=modules)
    first, second = training_batches(both, open_parts(both)).transform.transforms
    assert (first, second.keywords) == (tailfit.augment.TimeWarp(), {"deviation": 0.1})
    with pytest.raises(DataError, match=r"sigma"):
        load_recipe(written(home, SOUND + "transform: {name: Jitter, sigma: -1}\n"))


def test_unsuitable_user_functions_are_errors(home):
    (home / "mine.py").write_text(CODE)
    modules = [str(home / "mine.py")]
    with pytest.raises(ArgumentError, match=r"pumps.yaml, line 4, loss: a function that returns NoneType"):
        train(written(home, SOUND + "loss: {function: 'mine:nothing'}"), home / "own1", modules=modules)
    with pytest.raises(ArgumentError, match=r"line 4, loss: the function 'mine:lost'.*a function in mine"):
        train(written(home, SOUND + "loss: {function: 'mine:lost'}"), home / "own2", modules=modules)
    with pytest.raises(ArgumentError, match=r"nowhere.py.*FileNotFoundError"):
        load_recipe(written(home, SOUND), modules=["nowhere.py"])
    with pytest.raises(ArgumentError, match=r"line 4, network: .*NoneType"):
        train(written(home, SOUND + "network: {function: 'mine:nothing'}"), home / "own3", modules=modules)
    with pytest.raises(ArgumentError, match=r"line 4, network: .*output shape \(None, 5\) for 3 classes"):
        train(written(home, SOUND + "network: {function: 'mine:wide'}"), home / "own4", modules=modules)
    (home / "broken.py").write_text("1 / 0")
    with pytest.raises(ArgumentError, match=r"broken.py.*ZeroDivisionError"):
        load_recipe(written(home, SOUND), modules=[str(home / "broken.py")])


# -- comparing remedies --------------------------------------------------------------------------------


@pytest.mark.mostly_on("jax")  # which keeps compiled programs
def test_remedies_are_trained_with_the_same_seeds_and_a_comparison_can_continue(home):
    path = written(home, SOUND + "compare:\n  seeds: 2\n  vary:\n    plain: {}\n    adjusted: {loss: LogitAdjusted}\n")
    reported = []

    def report(name, seed, epoch, figures):
        reported.append((name, seed, epoch))
        programs = list((home / "compared").glob(".programs-*"))
        assert len(programs) == (keras.backend.backend() == "jax")
        for folder in programs:  # code, which nobody else may write
            assert folder.stat().st_mode & 0o777 == 0o700
            assert any(folder.iterdir())
        if len(reported) == 5:
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError), own_programs():
        tailfit.compare(path, directory=home / "compared", progress=report)
    reported.clear()
    assert not list((home / "compared").glob(".programs-*"))
    (home / "compared" / ".programs-0").mkdir()  # of a killed process
    ended = []
    found = tailfit.compare(
        path,
        directory=home / "compared",
        progress=lambda name, seed, epoch, _: reported.append((name, seed)),
        run_ended=lambda name, seed, figures: ended.append((name, seed, "val_balanced_accuracy" in figures)),
    )
    assert not (home / "compared" / ".programs-0").exists()
    assert ended == [(name, seed, True) for seed in (0, 1) for name in ("plain", "adjusted")]
    assert set(reported) == {("plain", 1), ("adjusted", 1)}  # those of seed 0 were finished
    assert list(found.evaluations) == ["plain", "adjusted"]
    assert found.seeds == (0, 1)
    alone = train({**SOUND_DICT, "data": {"path": str(home / "pumps")}, "seed": 1}, home / "alone").evaluation
    assert found.evaluations["plain"][1].y_pred.tolist() == alone.y_pred.tolist()
    weights = [home / place / "weights.safetensors" for place in ("alone", "compared/00-plain/seed-1")]
    assert weights[0].read_bytes() == weights[1].read_bytes()  # also with programs that were compiled for seed 0
    there = tailfit.Comparison.from_json((home / "compared" / "comparison.json").read_text())
    assert there == found
    assert (home / "compared" / "report.html").is_file()


def test_compare_repairs_a_damaged_run(home):
    recipe = {**SOUND_DICT, "data": {"path": str(home / "pumps")}}
    vary = {"plain": {}, "larger": {"batch_size": 64}}
    first = tailfit.compare(recipe, vary, 2, directory=home / "broken")
    plain, larger = (home / "broken" / name / "seed-0" for name in ("00-plain", "01-larger"))
    whole, page = (plain / "evaluation.json").read_bytes(), (plain / "report.html").read_bytes()
    (plain / "evaluation.json").write_bytes(b"\xff{")
    (larger / "evaluation.json").unlink()
    (larger / "result.json").write_text("{")
    (plain / "report.html").unlink()
    (plain / "checkpoints" / ".writing-000002-000000000-1").mkdir()  # of a process that was killed while it saved
    (home / "broken" / ".comparison.json.0123456789abcdef.draft").write_text("half")
    assert tailfit.compare(recipe, vary, 2, directory=home / "broken") == first
    assert (plain / "evaluation.json").read_bytes() == whole
    assert (plain / "report.html").read_bytes() == page
    assert not list((home / "broken").glob(".*.draft"))
    assert not list((plain / "checkpoints").glob(".writing-*"))
    # Also in a finished run, which was killed while its page was written.
    (plain / "report.html").rename(plain / ".report.html.0123456789abcdef.draft")
    assert tailfit.compare(recipe, vary, 2, directory=home / "broken") == first
    assert (plain / "report.html").read_bytes() == page
    assert not list(plain.glob(".*.draft"))


def test_compare_refuses_changed_data(home, tmp_path):
    shutil.copytree(home / "pumps", tmp_path / "pumps")
    recipe = {**SOUND_DICT, "data": {"path": str(tmp_path / "pumps")}}
    vary = {"plain": {}, "larger": {"batch_size": 64}}
    tailfit.compare(recipe, vary, 2, directory=tmp_path / "compared")
    record = tmp_path / "pumps" / "data" / "r117.npy"
    np.save(record, np.load(record) + 1)
    more = {**vary, "smaller": {"batch_size": 16}}
    with pytest.raises(CheckpointError, match=r"data have changed since it was started: different contents"):
        tailfit.compare(recipe, more, 2, directory=tmp_path / "compared")
    with pytest.raises(CheckpointError, match=r"data have changed"):
        train({**recipe, "name": "plain"}, tmp_path / "compared" / "00-plain" / "seed-0")


def test_lists_are_combined(home):
    recipe = load_recipe({**SOUND_DICT, "data": {"path": str(home / "pumps")}})
    vary = {"loss": ["CrossEntropy", {"name": "Focal", "gamma": 1.0}], "class_weight": [None, "balanced"]}
    found = tailfit.compare(recipe, vary, seeds=[7, 8])
    assert list(found.evaluations) == [
        "loss=CrossEntropy, class_weight=null",
        "loss=CrossEntropy, class_weight=balanced",
        "loss=Focal(gamma=1.0), class_weight=null",
        "loss=Focal(gamma=1.0), class_weight=balanced",
    ]
    assert found.baseline == "loss=CrossEntropy, class_weight=null"
    assert len({each[0].to_json() for each in found.evaluations.values()}) == 4


@pytest.mark.parametrize(
    ("vary", "seeds", "received"),
    [
        (None, 2, "nothing to vary|vary=None"),
        ({}, 2, r"vary=\{\}"),
        ({"loss": ["Focal"]}, 2, "vary="),
        ({"loss": ["Focal", "Focal"]}, 2, "vary="),
        ({"a": {}}, 2, "vary="),
        ({"a": {}, "b": ["x"]}, 2, "vary="),
        ({"a": {}, "b": {"seed": 3}}, 2, "the remedy 'b', which changes seed"),
        ({"a": {}, "b": {"data": {"path": "x"}}}, 2, "the remedy 'b', which changes data"),
        ({"a": {}, "b": {"data.split.seed": 3}}, 2, "the remedy 'b', which changes data.split.seed"),
        ({"a": {}, "b": {"los": "Focal"}}, 2, "los: the unknown key"),
        ({"a": {}, "b": {"loss": "Focall"}}, 2, "the unknown loss 'Focall'"),
        ({"a": {}, "b": {"loss": "Focal"}}, 0, "seeds=0"),
        ({"a": {}, "b": {"loss": "Focal"}}, 1, "seeds=1.*chance"),
        ({"a": {}, "b": {"loss": "Focal"}}, [7], r"seeds=\[7\]"),
        ({"a": {}, "b": {"loss": "Focal"}}, True, "seeds=True"),
        ({"a": {}, "b": {"loss": "Focal"}}, 10**9, "seeds=1000000000"),
        ({"epochs": list(range(1, 50)), "batch_size": list(range(1, 50))}, 2, "2401 remedies"),
        ({"a": {}, "b": {"loss": "Focal"}}, [1, 1], r"seeds=\[1, 1\]"),
        ({"a": {}, "b": {"loss": "Focal"}}, [-1], r"seeds=\[-1\]"),
    ],
)
def test_invalid_comparisons_are_refused_before_training(vary, seeds, received):
    with pytest.raises(TailfitError, match=received):
        tailfit.compare(SOUND_DICT, vary, seeds)


@pytest.mark.parametrize("jobs", [0, -1, True, 1.5, "2"])
def test_an_invalid_number_of_jobs_is_refused(jobs):
    with pytest.raises(ArgumentError, match=rf"jobs={jobs!r}.*a whole number >= 1"):
        tailfit.compare(SOUND_DICT, {"a": {}, "b": {"loss": "Focal"}}, 2, jobs=jobs)


@pytest.mark.parametrize(
    ("options", "error", "received"),
    [
        ({"ray": "auto", "jobs": 2}, ArgumentError, "jobs=2 with ray='auto'"),
        ({"ray": "auto", "directory": None}, ArgumentError, "ray='auto' without a directory"),
        ({"ray": "head"}, ArgumentError, "ray='head'"),
        ({"ray": True}, ArgumentError, "ray=True"),
        ({"ray": "auto"}, PackageError, r"a Ray cluster, which needs ray.*pip install 'tailfit\[ray\]'"),
    ],
)
def test_an_invalid_use_of_ray_is_refused(home, tmp_path, options, error, received):
    if error is PackageError and importlib.util.find_spec("ray") is not None:
        pytest.skip("Ray is installed")
    recipe = {**SOUND_DICT, "data": {"path": str(home / "pumps")}}
    with pytest.raises(error, match=received):
        tailfit.compare(recipe, {"a": {}, "b": {"loss": "Focal"}}, 2, **{"directory": tmp_path / "out", **options})


def test_remedies_can_differ_in_normalization(home):
    recipe = {**SOUND_DICT, "data": {"path": str(home / "pumps")}}
    found = tailfit.compare(recipe, {"scaled": {}, "raw": {"data.normalize": False}}, 2)
    assert len(found.evaluations) == 2


def test_remedies_with_user_functions(home):
    (home / "mine.py").write_text(CODE)
    recipe = load_recipe({**SOUND_DICT, "data": {"path": str(home / "pumps")}}, modules=[str(home / "mine.py")])
    vary = {"ours": {}, "own": {"network": {"function": "mine:network"}}}
    assert len(tailfit.compare(recipe, vary, 2).evaluations) == 2


def test_names_of_remedies_do_not_leave_the_directory(home, tmp_path):
    recipe = {**SOUND_DICT, "epochs": 1, "data": {"path": str(home / "pumps")}}
    tailfit.compare(recipe, {"../../up": {}, "/": {"loss": "Focal"}}, 2, directory=tmp_path / "in")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert {"00-up", "01-remedy"} <= {path.name for path in (tmp_path / "in").iterdir()}
