"""Time of `tailfit.evaluate` for a million windows of a thousand recordings, of 20 classes.

    python benchmarks/coverage/speed.py [--repeats 5] [--out benchmarks/coverage/speed.txt]

The calls take turns; shown are the median and the best wall-clock time of the whole call, and the peak of the memory
that Python and NumPy allocate during it. Scores are float32, names of groups and IDs are strings.
"""

import argparse
import os
import platform
import statistics
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import tailfit
from tailfit.evaluation import comparison

WINDOWS, GROUPS, CLASSES = 1_000_000, 1_000, 20


def calls() -> dict[str, Callable[[], Any]]:
    rng = np.random.default_rng(0)
    group = np.sort(rng.integers(GROUPS, size=WINDOWS))
    y = rng.integers(CLASSES, size=WINDOWS)
    scores = [rng.normal(size=(WINDOWS, CLASSES)).astype("float32") for _ in range(2)]
    for each in scores:  # classes are easier in some recordings than in others
        each[np.arange(WINDOWS), y] += 2 + rng.normal(size=(GROUPS, CLASSES))[group, y]
    names, counts = [f"cause {k}" for k in range(CLASSES)], np.bincount(y)
    wells = [f"recording {g}" for g in group]
    ids = [f"recording {g}@{start}" for start, g in enumerate(group)]
    evaluate = partial(tailfit.evaluate, y, scores[0], names, counts)
    of_two = {
        name: [tailfit.evaluate(y, each, names, counts, groups=group)]
        for name, each in zip(("plain", "tailored"), scores, strict=True)
    }
    return {
        "evaluate(y, scores, ...)": evaluate,
        "evaluate(..., groups=numbers)": partial(evaluate, groups=group),
        "evaluate(..., groups=names)": partial(evaluate, groups=wells),
        "evaluate(..., groups=names, ids=ids)": partial(evaluate, groups=wells, ids=ids),
        "comparison of two such evaluations": partial(comparison, of_two),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    alternatives = calls()
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for _ in range(given.repeats):
        for name, call in alternatives.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    lines = [
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {platform.system()}",
        f"Python {platform.python_version()}, NumPy {np.__version__}, tailfit {tailfit.__version__}",
        f"{WINDOWS:,} windows, {GROUPS:,} groups, {CLASSES} classes",
        "",
    ]
    for name, call in alternatives.items():
        tracemalloc.start()
        call()
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        median, best = statistics.median(seconds[name]), min(seconds[name])
        lines.append(f"{name:38} median {median:5.2f} s, best {best:5.2f} s, memory {peak:6.0f} MiB")
    text = "\n".join(lines) + "\n"
    print(text)
    if given.out is not None:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
