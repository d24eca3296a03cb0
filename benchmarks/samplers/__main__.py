"""Cost of a plan (seconds, bytes) and of a draw (nanoseconds per index in bulk, milliseconds of a late batch of 64).

    python benchmarks/samplers [--draws 262144] [--repeats 5] [--out benchmarks/samplers/results.txt]

For comparison: `numpy.random.Generator.permutation`, which shuffles a list of all samples, and, if torch is installed,
`torch.multinomial`, with which PyTorch's WeightedRandomSampler draws. Up to 10**8 samples, labels are an array, as in a
source; beyond, they are `Runs`. Sizes just above a power of two are the slowest for a shuffle.
"""

import argparse
import os
import pickle
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import tailfit
from tailfit.samplers import (
    Bootstrap,
    ClassBalanced,
    PerClass,
    Plan,
    Progressive,
    RepeatFactor,
    Sampler,
    Sequential,
    Shuffle,
    Stratified,
    Weighted,
)
from tailfit.samplers.runs import Runs

SHARES = np.array([0.3, 0.2, 0.15, 0.1, 0.08, 0.06, 0.04, 0.03, 0.02, 0.01, 0.005, 0.0025, 0.0015, 0.0006, 0.0004])
SAMPLERS: list[Sampler] = [
    Sequential(),
    Shuffle(),
    ClassBalanced(power=0.5),
    Progressive(epochs=100),
    RepeatFactor(0.05),
    Stratified(),
    Bootstrap(),
    PerClass(4),
]
TORCH = """
import time, torch
weights = torch.rand({size}, dtype=torch.float64)
start = time.perf_counter()
torch.multinomial(weights, {draws}, replacement=True)
print(time.perf_counter() - start)
"""


def runs(samples: int) -> Runs:
    lengths = np.maximum((SHARES / SHARES.sum() * samples).astype(np.int64), 1)
    lengths[0] += samples - lengths.sum()
    return Runs(np.arange(len(SHARES)), lengths)


def median_of(repeats: int, run: Callable[[], object]) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def measured(plan: Plan, draws: int, repeats: int) -> str:
    draws = min(draws, plan.size(0))
    last = plan.size(0) - draws
    early = median_of(repeats, lambda: plan.indices(1, 0, draws)) / draws * 1e9
    late = median_of(repeats, lambda: plan.indices(10**6, last, last + draws)) / draws * 1e9
    first = median_of(repeats, lambda: plan.indices(7, last, last + min(64, draws))) * 1e3
    kept = len(pickle.dumps(plan))
    return f"{early:10.1f}{late:10.1f}{first:12.2f}{kept:15,}"


def planned(sampler: Sampler, labels: Any, batch_size: int) -> tuple[Plan, str]:
    start = time.perf_counter()
    plan = sampler.plan(labels, 1, batch_size)
    return plan, f"{time.perf_counter() - start:10.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=1 << 18)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    # After a process has freed a large array, glibc reuses memory of that size instead of returning it to the system.
    # Without this line, the arrays of a plan would be mapped anew, page by page, which makes it a third slower.
    np.ones(1 << 21)
    lines = [
        f"$ python benchmarks/samplers {' '.join(sys.argv[1:])}".rstrip(),
        f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        f"Python {platform.python_version()}, NumPy {np.__version__}, tailfit {tailfit.__version__}",
        f"{len(SHARES)} classes, the rarest {SHARES.min() / SHARES.sum():.2%}; {given.draws} draws",
    ]
    for samples in (10**5, 10**6, 10**8, 10**9, 10**11):
        labels: Any = runs(samples)
        if samples <= 10**8:
            labels = np.random.default_rng(0).permutation(np.repeat(labels.codes, labels.lengths))
        heads = f"{'ns, early':>10}{'ns, late':>10}{'first, ms':>12}{'plan, bytes':>15}{'plan, s':>10}"
        lines += ["", f"{f'{samples:,} samples':28}{heads}"]
        for sampler in SAMPLERS:
            plan, took = planned(sampler, labels, 60 if isinstance(sampler, PerClass) else 64)
            lines.append(f"{type(sampler).__name__:28}{measured(plan, given.draws, given.repeats)}{took}")
        above = 1 << samples.bit_length() - 1
        plan = Shuffle().plan(above + 1, 1)
        lines.append(f"{f'Shuffle of {above + 1:,}':28}{measured(plan, given.draws, given.repeats)}")
        if samples <= 10**6:
            weights = np.random.default_rng(0).pareto(2.0, samples)
            plan = Weighted(weights).plan(samples, 1)
            lines.append(f"{'Weighted':28}{measured(plan, given.draws, given.repeats)}")
            draws = min(given.draws, samples)
            seconds = median_of(given.repeats, partial(np.random.default_rng().permutation, samples))
            lines.append(
                f"{'NumPy permutation, all':28}{seconds / samples * 1e9:10.1f}{'':10}{seconds * 1e3:12.2f}"
                f"{8 * samples:15,}"
            )
            code = TORCH.format(size=samples, draws=draws)
            ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
            if ended.returncode == 0:
                seconds = float(ended.stdout)
                lines.append(
                    f"{'torch multinomial':28}{seconds / draws * 1e9:10.1f}{'':10}{seconds * 1e3:12.2f}"
                    f"{8 * samples:15,}"
                )
    print("\n".join(lines))
    if given.out:
        given.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
