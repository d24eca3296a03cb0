"""`compare` chooses on the validation part: what runs measure there, `recommended.yaml`, old directories, refusals."""

import json

import numpy as np
import pytest

import tailfit
from tailfit.errors import ArgumentError, CheckpointError
from tailfit.evaluation.origin import read_origin
from tailfit.recipes import load_recipe, train

pytestmark = pytest.mark.above_training

RECIPE = """
data: {path: data/pumps, options: {labels: data/names.json}, split: {train: 0.5, validation: 0.25, test: 0.25}}
network: {name: mlp, units: [8]}
optimizer: {learning_rate: 0.05}
epochs: 3
compare:
  seeds: 2
  vary:
    plain: {}
    corrected: {loss: CrossEntropy, correction: {name: LogitAdjustment, tau: null}}
    adjusted: {loss.name: LogitAdjusted}
"""


@pytest.fixture
def pumps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    y = (np.arange(240) % 8 == 0).astype(int)
    x = rng.normal(1.2 * y[:, None], size=(240, 3)).astype("float32")
    tailfit.data.save_npy_folder("data/pumps", x, np.array(["ok", "leak"])[y])
    (tmp_path / "data" / "pumps" / "labels.json").rename(tmp_path / "data" / "names.json")
    (tmp_path / "pumps.yaml").write_text(RECIPE)
    return tmp_path


def test_a_remedy_is_chosen_on_the_validation_part_and_its_recipe_is_ready_to_train(pumps):
    found = tailfit.compare("pumps.yaml", directory="runs/compared")
    place = pumps / "runs" / "compared"
    assert {len(each.y_true) for of in found.validation.values() for each in of} == {60}
    assert tailfit.Comparison.from_json((place / "comparison.json").read_text()) == found
    text = (place / "recommended.yaml").read_text()
    assert text.startswith(f"# '{found.chosen}', chosen by tailfit compare.")
    assert "../../data/pumps" in text
    assert str(pumps) not in text
    alone = train(place / "recommended.yaml", pumps / "elsewhere").evaluation
    assert alone.y_pred.tolist() == found.evaluations[found.chosen][0].y_pred.tolist()
    # The correction is fitted on the validation part, and is measured there by cross-fitting, so not on what it knows.
    run = place / "01-corrected" / "seed-0"
    fitted = tailfit.recipes.evaluate_run(run, part="validation")
    assert fitted.balanced_accuracy >= found.validation["corrected"][0].balanced_accuracy
    # The page of a run shows its recipe, which trains the same.
    origin = read_origin(run)
    (pumps / "again.yaml").write_text(origin.recipe)
    assert load_recipe("again.yaml").plain() == json.loads((run / "run.json").read_text())["recipe"]
    assert origin.weighted == origin.drawn == [[15.0, 105.0]] * 2
    assert "name: &#34;CrossEntropy&#34;" in (run / "report.html").read_text()
    # A directory of an earlier version has no evaluations on validation samples: they are made without any training.
    for result in place.glob("*/*/result.json"):
        (result.parent / "validation.json").unlink()
        fields = json.loads(result.read_text())
        del fields["files"]["validation.json"]
        result.write_text(json.dumps(fields))
    epochs = []
    assert tailfit.compare("pumps.yaml", directory=place, progress=lambda *each: epochs.append(each)) == found
    assert epochs == []
    cheap = tailfit.compare("pumps.yaml", directory=place, decide_on="cost", costs=[[0, 0], [1, 0]])
    assert cheap.chosen == "plain"  # which predicts the frequent class most often


@pytest.mark.mostly_on("torch")
def test_what_can_not_decide_is_refused_before_training(pumps):
    options = {"seeds": 2, "directory": "out"}
    no_part = {"data": {"path": "data/pumps", "options": {"labels": "data/names.json"}}}
    no_part["data"]["split"] = {"train": 0.7, "validation": None, "test": 0.3}
    with pytest.raises(ArgumentError, match=r"without a validation part.*too optimistic.*data.split.validation"):
        tailfit.compare(no_part, {"a": {}, "b": {"loss": "Focal"}}, **options)
    with pytest.raises(ArgumentError, match="costs of 3 x 3 for 2 classes"):
        tailfit.compare("pumps.yaml", decide_on="cost", costs=np.zeros((3, 3)), **options)
    with pytest.raises(ArgumentError, match=r"decide_on='cost' without costs"):
        tailfit.compare("pumps.yaml", decide_on="cost", **options)
    with pytest.raises(ArgumentError, match=r"decide_on='best'"):
        tailfit.compare("pumps.yaml", decide_on="best", **options)
    assert not list((pumps / "out").glob("*/*/run.json"))
    (pumps / "out" / "01-mixup").mkdir()
    with pytest.raises(CheckpointError, match=r"the directory 01-mixup of a different comparison.*02-adjusted"):
        tailfit.compare("pumps.yaml", **options)
