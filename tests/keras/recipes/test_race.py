"""`compare` with a budget: the same figures as without, the same bytes after interruptions, and one error each."""

import json
import shutil

import numpy as np
import pytest
from support.comparisons import files

import tailfit
from tailfit.errors import ArgumentError, CheckpointError
from tailfit.recipes import load_recipe, train
from tailfit.recipes.data_identity import identity_of_data
from tailfit.recipes.racing import Pace, Race, Round
from tailfit.recipes.remedies import changes_late
from tailfit.recipes.rounds import read_pace, read_round, write_pace
from tailfit.recipes.runs import RunTrainer

pytestmark = pytest.mark.above_training

RECIPE = {
    "data": {"path": "pumps", "split": {"train": 0.5, "validation": 0.25, "test": 0.25}},
    "network": {"name": "mlp", "units": [4], "dropout": 0.3},
    "optimizer": {"name": "Adam", "learning_rate": {"name": "CosineDecay", "initial_learning_rate": 0.05}},
    "early_stopping": {"patience": 1},
    "batch_size": 16,
    "epochs": 4,
}
VARY = {
    "plain": {},
    "adjusted": {"loss": "LogitAdjusted"},
    "stage": {"stage": "RetrainClassifier", "early_stopping": None},
    "poor": {"optimizer": {"name": "SGD", "learning_rate": 1e-6}},
}
ROUNDS = (Round(4, 0.5, 1), Round(3, 1.0, 1), Round(2, 1.0, 2))


@pytest.fixture
def pumps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    y = (np.arange(160) % 4 == 0).astype(int)
    x = rng.normal(2.0 * y[:, None], size=(160, 3)).astype("float32")
    tailfit.data.save_npy_folder("pumps", x, np.array(["ok", "leak"])[y])
    return tmp_path


def planned_race(place):
    """Fix the plan, which otherwise depends on measured times."""
    place.mkdir()
    Race(5.0, 1, dict.fromkeys(VARY, Pace(1.0, 1.0)), ROUNDS).write(place)


@pytest.mark.parametrize("stopping", [None, {"patience": 1}])
def test_a_run_that_is_interrupted_for_a_round_ends_as_if_it_had_been_trained_alone(stopping, pumps):
    recipe = load_recipe({**RECIPE, "early_stopping": stopping, "stage": "RetrainClassifier"})
    data = identity_of_data(recipe)
    trainer, place = RunTrainer(data, fetch=False), pumps / "rounds"
    for until in (1, 3):
        trainer.train(recipe, place, until=until)
        assert read_round(place, recipe, data, until) is not None
        assert not (place / "result.json").exists()
    trainer.train(recipe, place)
    train(recipe, pumps / "alone")
    for file in ("weights.safetensors", "validation.json", "evaluation.json", "history.csv"):
        assert (pumps / "alone" / file).read_bytes() == (place / file).read_bytes(), file
    other = load_recipe({**RECIPE, "early_stopping": stopping})
    assert read_round(place, other, data, 1) is None


@pytest.mark.timeout(900)  # of one test on a busy machine
@pytest.mark.mostly_on("torch")
def test_a_race_ends_with_the_same_bytes_however_often_it_is_interrupted(pumps):
    planned_race(pumps / "once")
    found = tailfit.compare(RECIPE, VARY, 2, budget=5, directory="once")
    assert len(found.evaluations) == 2
    assert {each.name for each in found.stopped} | set(found.evaluations) == set(VARY)
    assert "poor" in {each.name for each in found.stopped}
    assert found.differences.keys() == set(found.evaluations) - {"plain"}
    assert not list((pumps / "once").glob("*poor/seed-1"))
    assert tailfit.Comparison.from_json((pumps / "once" / "comparison.json").read_text()) == found
    planned_race(pumps / "often")
    for number in range(20):
        left = 4 + 3 * number  # on JAX, each attempt compiles its programs again

        def stop(*each):
            nonlocal left
            left -= 1
            if not left:
                raise InterruptedError

        try:
            again = tailfit.compare(RECIPE, VARY, 2, budget=5, directory="often", progress=stop)
        except InterruptedError:
            continue
        break
    assert again == found
    once, often = files(pumps / "once"), files(pumps / "often")
    assert once.keys() == often.keys()
    assert [name for name in once if once[name] != often[name]] == []


@pytest.mark.timeout(900)
@pytest.mark.mostly_on("torch")
def test_the_plan_is_made_from_measured_times_and_kept(pumps):
    epochs = []
    vary = {name: VARY[name] for name in ("plain", "adjusted", "poor")}
    with pytest.raises(ArgumentError, match=r"budget=1e-05 .*at least .* minutes: one epoch of each of 3"):
        tailfit.compare(RECIPE, vary, 2, budget=1e-5, directory="out", progress=lambda *each: epochs.append(each[:3]))
    assert len(epochs) == 3 * 2  # the first two epochs of each remedy
    found = tailfit.compare(RECIPE, vary, 2, budget=1000, jobs=2, directory="out")
    assert (len(found.evaluations), found.stopped) == (3, ())
    plan = json.loads((pumps / "out" / "race.json").read_text())
    assert plan["rounds"] == [{"remedies": 3, "share": 1.0, "seeds": 2}]
    assert not list((pumps / "out").rglob("seconds.json"))
    everything = tailfit.compare(RECIPE, vary, 2, directory="out")
    assert everything == found
    shutil.rmtree(pumps / "out" / "02-poor")
    with pytest.raises(CheckpointError, match=r"a race of the remedies 'plain', 'adjusted', 'poor'"):
        tailfit.compare(RECIPE, {name: vary[name] for name in ("plain", "adjusted")}, 2, budget=1000, directory="out")


@pytest.mark.parametrize("start", ["1" + "0" * 400, "NaN", "Infinity", "-1", "[]", '"x"'], ids=len)
def test_a_damaged_time_counts_as_not_measured(start, tmp_path):
    write_pace(tmp_path, Pace(0.5, 1.0))
    assert read_pace(tmp_path) == Pace(0.5, 1.0)
    path = tmp_path / "seconds.json"
    path.write_text(path.read_text().replace("0.5", start))
    assert read_pace(tmp_path) is None


@pytest.mark.parametrize("budget", [0, -1, True, "1", float("nan"), float("inf")])
def test_an_invalid_budget_is_refused(budget):
    with pytest.raises(ArgumentError, match=r"budget=.*minutes > 0"):
        tailfit.compare(RECIPE, VARY, 2, budget=budget)


def test_schedules_change_late():
    deferred = {"name": "Deferred", "before": [1.0, 1.0], "after": [0.6, 3.0], "at": 3}
    power = {"name": "ClassBalanced", "power": {"name": "Linear", "start": 1.0, "stop": 0.0, "epochs": 3}}
    for changes in ({"class_weight": deferred}, {"sampler": power}, {"sampler": {"name": "Progressive", "epochs": 3}}):
        assert changes_late(load_recipe({**RECIPE, **changes})), changes
    assert not changes_late(load_recipe({**RECIPE, "steps": ["Mixup"], "class_weight": {"ok": 1.0, "leak": 2.0}}))
