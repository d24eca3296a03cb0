"""The suite of standard remedies, and second training stages that a recipe can name."""

import keras
import numpy as np
import pytest

import tailfit
from tailfit.errors import ArgumentError, DataError
from tailfit.recipes import load_recipe, train
from tailfit.recipes.staging import STAGES
from tailfit.recipes.suites import remedies_of_suite

pytestmark = pytest.mark.above_training

RECIPE = {
    "data": {"path": "pumps", "split": {"train": 0.5, "validation": 0.25, "test": 0.25}},
    "network": {"name": "mlp", "units": [8], "dropout": 0.3},
    "batch_size": 32,
    "epochs": 2,
}
NETWORK = """
import keras, tailfit

def own(input_shape, num_classes):
    inputs = keras.Input(input_shape)
    hidden = keras.layers.Dense(4)(keras.layers.Flatten()(inputs))
    scores = keras.layers.Dense(num_classes)(hidden)
    return tailfit.Model(inputs, keras.layers.Rescaling(1.0)(scores))
"""


@pytest.fixture
def pumps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    y = (np.arange(120) % 6 == 0).astype(int)
    x = rng.normal(2.0 * y[:, None], size=(120, 3)).astype("float32")
    tailfit.data.save_npy_folder("pumps", x, np.array(["ok", "leak"])[y])
    (tmp_path / "functions.py").write_text(NETWORK)
    return tmp_path


def test_the_suite_has_a_dozen_remedies_that_can_be_built(pumps):
    kept, left_out = remedies_of_suite("standard", load_recipe(RECIPE), fetch=False)
    assert len(kept) == 13
    assert next(iter(kept)) == "plain"
    assert left_out == {}
    kept, _ = remedies_of_suite("standard", load_recipe({**RECIPE, "loss": "LogitAdjusted"}), fetch=False)
    assert (list(kept)[-1], kept["the recipe"], kept["plain"]["loss"]) == ("the recipe", {}, "CrossEntropy")


@pytest.mark.mostly_on("torch")
def test_remedies_that_do_not_fit_are_left_out_with_the_reason(pumps):
    own = load_recipe({**RECIPE, "epochs": 1, "network": {"function": "functions:own"}}, modules=["functions.py"])
    kept, left_out = remedies_of_suite("standard", own, fetch=False)
    assert "nothing can be deferred" in left_out["LDAM, deferred weights"]
    assert "whose last layer is" in left_out["cRT"]
    assert len(kept) == 11
    in_parts = load_recipe({**RECIPE, "parts": 2})
    assert "with parts: 2" in remedies_of_suite("standard", in_parts, fetch=False)[1]["cRT"]
    x = np.zeros((80, 3), "float32")
    tailfit.data.save_npy_folder("even", x, np.array(["ok", "leak"])[np.arange(80) % 2])
    even = load_recipe({**RECIPE, "data": {**RECIPE["data"], "path": "even"}})
    kept, left_out = remedies_of_suite("standard", even, fetch=False)
    assert set(kept) == {"plain", "focal loss", "bootstrap"}
    assert left_out["class weights"] == "all classes have equally many training samples"
    found = tailfit.compare({**RECIPE, "data": even.plain()["data"] | {"path": "even"}}, seeds=2, suite="standard")
    assert found.left_out == left_out
    assert "'cRT' was left out" in " ".join(str(found).split())


def test_invalid_suites_are_refused(pumps):
    with pytest.raises(ArgumentError, match=r"suite='all'.*standard"):
        tailfit.compare(RECIPE, suite="all")
    with pytest.raises(ArgumentError, match="with vary"):
        tailfit.compare(RECIPE, {"a": {}, "b": {"loss": "Focal"}}, suite="standard")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_changes_the_last_layer_alone_or_all_and_an_interrupted_run_ends_with_the_same_bytes(stage, pumps):
    plain = train(RECIPE, pumps / "plain").model
    recipe = {**RECIPE, "stage": stage}
    run = train(recipe, pumps / "once")
    before, after = (
        [keras.ops.convert_to_numpy(each).tolist() for each in model.weights] for model in (plain, run.model)
    )
    last = len(plain.layers[-1].weights)
    if stage == "DiVE":  # whose student has new weights
        assert before[:-last] != after[:-last]
    else:
        assert before[:-last] == after[:-last]
    assert before[-last:] != after[-last:]

    def end(epoch, figures):
        if epoch == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(recipe, pumps / "twice", progress=end)
    train(recipe, pumps / "twice")
    for name in ("weights.safetensors", "evaluation.json", "validation.json"):
        assert (pumps / "once" / name).read_bytes() == (pumps / "twice" / name).read_bytes()
    again = tailfit.recipes.evaluate_run(pumps / "once")
    assert again.y_pred.tolist() == run.evaluation.y_pred.tolist()


@pytest.mark.parametrize(
    ("changes", "received"),
    [
        ({"stage": "Retrain"}, "the unknown stage 'Retrain'"),
        ({"stage": {"name": "LearnScales", "epochs": 0}}, "epochs"),
        ({"stage": {"name": "NormalizeClassifier", "tau": -1.0}}, "tau=-1.0"),
        ({"stage": "LearnScales", "parts": 2}, "stage: LearnScales with parts: 2"),
    ],
)
def test_invalid_stages_are_refused(changes, received):
    with pytest.raises(DataError, match=received):
        load_recipe({**RECIPE, **changes})
