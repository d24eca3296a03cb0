"""torch: steps that are recorded and repeated, beside built-in fit and a loop written by hand.

    python benchmarks/steps/torch_graph.py [--rounds 9] [--out benchmarks/steps/torch_graph.txt]

All rows train the same network on the same arrays in batches of 64 with the loss and the accuracy of each epoch, on one
thread, in one process that runs an epoch of each in turn, in random order: what is compared is the ratio in each round.
On a GPU, recorded steps also run as CUDA graphs, and the loop's data is on the GPU.
First calls (60 batches) and peak memory have a process of their own each, the median of three.
"""

import argparse
import gc
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(KERAS_BACKEND="torch", OMP_NUM_THREADS="1", TF_CPP_MIN_LOG_LEVEL="3")

import keras
import numpy as np
import torch
from networks import NETWORKS, Job, Network
from rows import build

import tailfit

CASES = {
    "MLP 500-96-48-8": (Network("MLP 500-96-48-8", (500,), (("dense", 96), ("dense", 48))), 200),
    "1-D convnet on 128x12": (NETWORKS["1-D convnet on 128x12"], 60),
}
FIT, OURS, PLAIN, LOOP = "built-in fit", "tailfit.Model.fit", "the same, TAILFIT_TORCH_GRAPH=0", "loop, by hand"
CAPTURED = "the same, as CUDA graphs"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LIMITS = {  # at most, of built-in fit, and of the loop
    ("MLP 500-96-48-8", "sgd"): (0.30, 1.5),
    ("MLP 500-96-48-8", "adam"): (0.40, 1.5),
    ("1-D convnet on 128x12", "adam"): (0.90, None),
}
FIRST, MEMORY = 1.5, 1.1
Epoch = Callable[[int], float]


class Clock(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds = time.perf_counter() - self.began


def keras_fit(job: Job, optimizer: str, cls: type, recorded: bool = True, captured: bool = False) -> Epoch:
    os.environ["TAILFIT_TORCH_GRAPH"] = "1" if recorded else "0"
    model = build(job, cls)
    rate = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}[optimizer](1e-3)
    model.compile(rate, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    model.make_train_function()
    clock = Clock()

    def epoch(samples: int) -> float:
        os.environ["TAILFIT_TORCH_CUDA_GRAPH"] = "1" if captured else "0"
        model.fit(job.x[:samples], job.y[:samples], batch_size=64, verbose=0, callbacks=[clock])
        return clock.seconds

    return epoch


def by_hand(job: Job, optimizer: str) -> Epoch:
    from loop_torch import build as build_torch

    model = build_torch(job.network).to(DEVICE)
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
    changes = kind(model.parameters(), lr=1e-3)
    x = torch.from_numpy(np.ascontiguousarray(np.moveaxis(job.x, -1, 1))).to(DEVICE)
    y = torch.from_numpy(job.y.astype("int64")).to(DEVICE)

    def epoch(samples: int) -> float:
        start = time.perf_counter()
        total, hits = torch.zeros((), device=DEVICE), torch.zeros((), device=DEVICE)
        for rows in torch.randperm(samples, device=DEVICE).split(64):
            given, labels = x[rows], y[rows]
            changes.zero_grad()
            logits = model(given)
            loss = torch.nn.functional.cross_entropy(logits, labels)
            loss.backward()
            changes.step()
            total += loss.detach()
            hits += (logits.argmax(dim=1) == labels).sum()
        float(total), float(hits)
        return time.perf_counter() - start

    return epoch


def rows(job: Job, optimizer: str) -> dict[str, Callable[[], Epoch]]:
    captured = {CAPTURED: lambda: keras_fit(job, optimizer, tailfit.Model, captured=True)} if DEVICE == "cuda" else {}
    return {
        FIT: lambda: keras_fit(job, optimizer, keras.Model),
        OURS: lambda: keras_fit(job, optimizer, tailfit.Model),
        **captured,
        PLAIN: lambda: keras_fit(job, optimizer, tailfit.Model, recorded=False),
        LOOP: lambda: by_hand(job, optimizer),
    }


def job_of(case: str) -> tuple[Job, int]:
    network, steps = CASES[case]
    return Job(network, *network.data(steps * 64), mixup=False), steps


def first(case: str, optimizer: str, row: str) -> dict[str, float]:
    job, _ = job_of(case)
    epoch = rows(job, optimizer)[row]()
    gc.collect()  # what the imports left: it takes .2 s, and would fall into the first call of some rows
    start = time.perf_counter()
    epoch(60 * 64)
    seconds = time.perf_counter() - start
    epoch(len(job.x))
    # Not ru_maxrss, which a process inherits from the one that starts it.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {"first": seconds, "peak": int(status["VmHWM"].split()[0]) / 1024}


def ratio(rounds: list[dict[str, float]], one: str, other: str) -> float:
    return statistics.median(turn[one] / turn[other] for turn in rounds)


def verdict(measured: float, limit: float | None) -> str:
    return "" if limit is None else f"  at most {limit:.2f}: {'reached' if measured <= limit else 'MISSED'}"


def table(case: str, optimizer: str, count: int) -> list[str]:
    job, steps = job_of(case)
    epochs = {name: make() for name, make in rows(job, optimizer).items()}
    for epoch in epochs.values():
        epoch(len(job.x))
    rounds = []
    for _ in range(count):
        names = random.sample(sorted(epochs), len(epochs))
        rounds.append({name: epochs[name](len(job.x)) for name in names})
    lines = ["", f"{case}, {optimizer}, {steps} steps of 64: medians of {count} rounds"]
    for name in epochs:
        milliseconds = statistics.median(turn[name] for turn in rounds) / steps * 1e3
        of_fit, of_loop = ratio(rounds, name, FIT), ratio(rounds, name, LOOP)
        lines.append(f"  {name:34}{milliseconds:8.3f} ms/step{of_fit:8.2f} of fit{of_loop:8.2f} of the loop")
    for other, limit in zip((FIT, LOOP), LIMITS[case, optimizer], strict=True):
        measured = ratio(rounds, OURS, other)
        lines.append(f"  {OURS} / {other}: {measured:.2f}{verdict(measured, limit)}")
    return lines


def first_calls(case: str, optimizer: str) -> list[str]:
    runs: dict[str, list[dict[str, float]]] = {FIT: [], OURS: []}
    for _ in range(3):
        for row, measured in runs.items():
            command = [sys.executable, __file__, "--first", json.dumps([case, optimizer, row])]
            ended = subprocess.run(command, capture_output=True, text=True, check=True)
            measured.append(json.loads(ended.stdout.splitlines()[-1]))
    lines = []
    for key, what, limit in (("first", "first call, 60 batches", FIRST), ("peak", "peak memory", MEMORY)):
        ours, fit = (statistics.median(one[key] for one in runs[name]) for name in (OURS, FIT))
        unit = "s" if key == "first" else "MiB"
        lines.append(f"  {what}: {ours:.2f} {unit}, {ours / fit:.2f} of fit{verdict(ours / fit, limit)}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--first", help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.first:
        print(json.dumps(first(*json.loads(given.first))))
        return
    lines = [
        f"$ python benchmarks/steps/torch_graph.py {' '.join(sys.argv[1:])}".rstrip(),
        f"{platform.machine()}, {os.cpu_count()} cores, one thread; load {os.getloadavg()[0]:.1f} at the start",
        f"Python {platform.python_version()}, keras {keras.__version__}, torch {torch.__version__}",
    ]
    for measure in (lambda one: table(*one, given.rounds), lambda one: ["", ", ".join(one), *first_calls(*one)]):
        for one in LIMITS:
            lines += measure(one)
            if given.out:
                given.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
