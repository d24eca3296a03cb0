"""Further files of runs: plans of races, learning curves, tables of predictions, and what lists of runs show."""

import functools
import json

import numpy as np
import polars as pl

from fuzz.bounds import REFUSED, answer, scratch
from fuzz.of_runs import CLAIM, comparisons
from fuzz.targets import parser
from tailfit import evaluate
from tailfit.distributed.environment import read_environment
from tailfit.errors import ArgumentError, TailfitError
from tailfit.evaluation import Evaluation
from tailfit.evaluation.history import history_chart, read_history
from tailfit.evaluation.origin import batch_rows, read_origin
from tailfit.evaluation.pictures import draw_pictures, read_pictures, write_pictures
from tailfit.evaluation.stored import read_scores
from tailfit.processes.messages import describe_error, encoded, error_of, exit_code, parsed
from tailfit.recipes.listing import list_runs
from tailfit.recipes.racing import Pace, Race, race

NAMES = ["a", "b"]
SCORES = np.array([[0.5, 0.5], [0.25, 0.75], [1.0, 0.0]])


def races() -> list[bytes]:
    epochs = dict.fromkeys(NAMES, 4)
    Race.planned(10, 1, dict.fromkeys(NAMES, Pace(0.5, 1.0)), epochs, 3).write(root := scratch("race-seeds"))
    plan = json.loads((root / "race.json").read_text())
    plan["rounds"] = [{"remedies": 2, "share": 0.25, "seeds": 1}, {"remedies": 2, "share": 1, "seeds": 3}]
    return [(root / "race.json").read_bytes(), json.dumps(plan).encode()]


@parser(races, json=True)
def race_json(data: bytes) -> None:
    root = scratch("race")
    (root / "race.json").write_bytes(data)
    found = answer(lambda: Race.read(root, NAMES))
    if found is REFUSED or len(found.rounds) > 100:
        return
    left, stopped = race(found.rounds, dict.fromkeys(NAMES, 4), lambda names, _: dict.fromkeys(names, 0.5))
    assert left[0] == "a"
    assert len(left) + len(stopped) == len(NAMES)
    found.write(root)
    assert Race.read(root, NAMES) == found


@parser(
    lambda: [b"epoch,loss,val_loss\n0,0.5,0.75\n1,0.25,nan\n", b"epoch,loss\n"],
    words=("epoch", "loss", "val_", "nan", "inf", "1e308", ",", "\n", '"'),
)
def history(data: bytes) -> None:
    """What can be read is drawn; what can't counts as missing."""
    root = scratch("history")
    (root / "history.csv").write_bytes(data)
    found = answer(lambda: read_history(root))
    assert found is not REFUSED
    if len(found) < 50:
        assert answer(lambda: history_chart(found)) is not REFUSED


@functools.cache
def evaluated() -> Evaluation:
    table = pl.DataFrame({"record": ["r", "r", "s"], "start": [0, 1, 0], "well": ["w", None, "v"]})
    return evaluate([0, 1, 1], SCORES, NAMES, [5, 6], ids=["x", "y", "z"], metadata=table, resamples=50)


def predictions() -> list[bytes]:
    saved = evaluated().save(scratch("predictions-seeds"))
    bare = evaluate([0, 1, 1], SCORES, NAMES, resamples=50).save(scratch("bare-predictions-seeds"))
    return [(place / "predictions.parquet").read_bytes() for place in (saved, bare)]


@parser(predictions, native=True, longest=1 << 13)
def predictions_table(data: bytes) -> None:
    """The table of an evaluation, and the scores of the folds of a search for doubtful labels."""
    root = scratch("predictions")
    if not (root / "evaluation.json").exists():
        evaluated().save(root)
    (root / "predictions.parquet").write_bytes(data)
    found = answer(lambda: Evaluation.load(root))
    if found is not REFUSED:
        assert found.ids == ("x", "y", "z")
        assert found.y_true.tolist() == [0, 1, 1]
        assert found.scores is None or found.scores.shape == (3, 2)
        str(found)
    scores = answer(lambda: read_scores(root, NAMES))
    assert scores is REFUSED or scores[1].shape == (len(scores[0]), 2)


@parser(lambda: [*comparisons(), b"{}"], json=True, longest=1 << 13)
def listed(data: bytes) -> None:
    """A comparison, and a run whose evaluation and result it is, in a table of runs."""
    root = scratch("listed")
    for name in ("compared", "run"):
        (root / name).mkdir(exist_ok=True)
    run = {"format": "tailfit.run", "version": 2, **CLAIM}
    (root / "run" / "run.json").write_text(json.dumps(run))
    for place in ("compared/comparison.json", "run/result.json", "run/evaluation.json"):
        (root / place).write_bytes(data)
    found = answer(lambda: list_runs(root))
    assert found is not REFUSED
    assert found.height == 2
    assert set(found["state"]) <= {"done", "damaged"}


MADE = {"class_names": NAMES, "recipe": {"loss": {"Focal": {"gamma": 2.0}}, "epochs": 3, "name": None}}


@parser(
    lambda: [json.dumps({**MADE, "drawn": [[5.0, 6.0]], "weighted": [[5.0, 6.5]]}).encode(), json.dumps(MADE).encode()],
    json=True,
)
def origin(data: bytes) -> None:
    """How a run was made, which its page shows: anything that is damaged counts as unknown."""
    root = scratch("origin")
    (root / "result.json").write_bytes(data)
    found = answer(lambda: read_origin(root))
    assert found is not REFUSED
    if found is not None:
        found.recipe.encode("utf-8", "surrogatepass")
        batch_rows(evaluated(), found, 10)


def pictured() -> list[bytes]:
    series, images = np.arange(40.0).reshape(1, 20, 2), np.zeros((1, 20, 20, 3), np.uint8)
    found = []
    for records in (series, images):
        write_pictures(root := scratch("pictures-seeds"), [0], records)
        found.append((root / "pictures.json").read_bytes())
    return found


@parser(pictured, json=True)
def pictures(data: bytes) -> None:
    """Small pictures on the page of a run: anything that is damaged counts as none."""
    root = scratch("pictures")
    (root / "pictures.json").write_bytes(data)
    found = answer(lambda: read_pictures(root))
    assert found is not REFUSED
    for row in found:
        (markup,) = draw_pictures(found, [row], ["<a>"])
        assert "<a>" not in markup
        assert "nan" not in markup


def messages() -> list[bytes]:
    error = ArgumentError("3", expected="4", fix="add one")
    return [encoded({"error": describe_error(each)}) for each in (error, ValueError("odd"))]


@parser(messages, json=True)
def message(data: bytes) -> None:
    """A line of a worker process, whose error is raised here."""
    found = answer(lambda: parsed(data))
    if isinstance(found, dict) and isinstance(found.get("error"), dict):
        error = error_of(found["error"], "worker 1")
        assert isinstance(error, TailfitError)
        assert exit_code(error) in (1, 2)


@parser(
    lambda: [
        b"RANK=1\nWORLD_SIZE=2\nMASTER_ADDR=node1\nMASTER_PORT=29500",
        b"SLURM_JOB_ID=7\nSLURM_STEP_ID=0\nSLURM_PROCID=3\nSLURM_NTASKS=4\nSLURM_JOB_NODELIST=gpu[07-08,11]",
    ],
    words=("RANK=", "WORLD_SIZE=", "MASTER_PORT=", "SLURM_NTASKS=", "SLURM_JOB_NODELIST=", "[1-2]", "\xb2"),
)
def environment(data: bytes) -> None:
    """The variables that a launcher has set."""
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    found = answer(lambda: read_environment(dict(line.partition("=")[::2] for line in lines)))
    assert found is REFUSED or found is None or 0 <= found.rank < found.world
