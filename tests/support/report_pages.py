"""Pages with every view that a page can have, for tests in a browser."""

import warnings

import numpy as np
import polars as pl

import tailfit
from tailfit.evaluation import Evaluation, comparison, report
from tailfit.evaluation.deciding import Stopped
from tailfit.evaluation.origin import Origin
from tailfit.evaluation.pictures import pictures_of
from tailfit.evaluation.score_report import worst_mistakes

SCRIPT = "<script>alert(1)</script>"
NAMES = ["normal", "valve leak", SCRIPT, "pump wear"]
COUNTS = [400, 60, 25, 8]
_SHARES = [0.6, 0.2, 0.14, 0.06]


def scores_of(y: np.ndarray, names: list[str], strength: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(len(y), len(names))) + strength * np.eye(len(names))[y]


def evaluated(names: list[str] = NAMES, changing: bool = False, strength: float = 2.0, seed: int = 0) -> Evaluation:
    """Return an evaluation of windows of recordings, with scores, groups, IDs and metadata.

    Args:
        names: Class names.
        changing: Whether labels change within recordings, so that events are measured instead of recordings.
        strength: How good the scores are.
        seed: Of the scores.
    """
    rng = np.random.default_rng(3)
    shares = np.resize(_SHARES, len(names)) / np.resize(_SHARES, len(names)).sum()
    record = np.repeat(np.arange(60), 10)
    y = np.repeat(rng.choice(len(names), 60, p=shares), 10)
    y[: 10 * len(names)] = np.repeat(np.arange(len(names)), 10)
    if changing:
        y = np.where(np.arange(600) % 10 < 5, 0, y)
    ids = [f"well {r} {SCRIPT if r == 3 else ''}@{i % 10}" for i, r in enumerate(record)]
    sites = np.array(["A", "B", SCRIPT])[record % 3]
    table = pl.DataFrame({"id": ids, "record": record, "start": np.arange(600) % 10, "site": sites})
    scores = scores_of(y, names, strength, seed)
    counts = np.resize(COUNTS, len(names)).tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tailfit.evaluate(
            y, scores, names, counts, groups=record, ids=ids, metadata=table, name=SCRIPT, seed=1, resamples=200
        )


def history(epochs: int = 30) -> dict[str, list[float]]:
    steps = np.arange(1, epochs + 1)
    return {
        "epoch": list(map(float, steps - 1)),
        "loss": (1 / steps).tolist(),
        "val_loss": (1 / steps + 0.1).tolist(),
        "balanced_accuracy": (1 - 0.8 / steps).tolist(),
        "val_balanced_accuracy": (0.9 - 0.8 / steps).tolist(),
        SCRIPT: (0.5 / steps).tolist(),
    }


def report_page(names: list[str] = NAMES, changing: bool = False) -> str:
    evaluation = evaluated(names, changing)
    counts = np.resize(COUNTS, len(names)).astype(float)
    origin = Origin(f"name: {SCRIPT}\nloss: Focal\n", [counts, counts], [counts, counts[::-1]])
    rows = worst_mistakes(evaluation)
    series = pictures_of(np.random.default_rng(0).normal(size=(len(rows), 30, 2)))
    images = pictures_of(np.random.default_rng(0).random(size=(len(rows), 20, 20, 3)))
    pictures = dict(zip(rows, [*series[:20], *images[20:]], strict=True))
    options = {
        "pictures": pictures,
        "notes": [SCRIPT],
        "details": {SCRIPT: SCRIPT},
        "history": history(),
        "origin": origin,
    }
    return report({SCRIPT: evaluation}, title=f"Pumps {SCRIPT}", **options)


def compare_page(names: list[str] = NAMES) -> str:
    remedies = {"plain": 1.0, "LogitAdjusted": 2.0, SCRIPT: 1.5}
    parts = [
        {
            name: [evaluated(names, strength=each, seed=seed + part) for seed in (0, 1, 2)]
            for name, each in remedies.items()
        }
        for part in (0, 10)
    ]
    stopped = Stopped(name=f"stopped {SCRIPT}", epochs=3, seeds=1, figure=0.4, rank=4, remedies=4)
    result = comparison(*parts, resamples=100, stopped=[stopped], left_out={SCRIPT: SCRIPT})
    return result.to_html(title=f"Pumps {SCRIPT}", details={SCRIPT: SCRIPT})
