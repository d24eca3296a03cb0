"""One process of the benchmark of steps, on one backend: times all rows, a few of them often, or the first call of one.

    KERAS_BACKEND=jax python benchmarks/steps/child.py '{"network": "MLP 784-64-64-10", "steps": 60, "repeats": 1}'

Prints one line of JSON.
"""

import contextlib
import gc
import importlib
import json
import platform
import resource
import sys
import time
from functools import partial
from importlib.metadata import version
from typing import Any

import keras
import numpy as np
from names import EAGER, FIT, FIT_K, LOOP, OURS, OURS_K, PLAIN, SCAN
from networks import BATCH, NETWORKS, Epoch, Job, Row
from rows import MixupByHand, fit, function_loop

import tailfit

# A first call trains 60 batches: like an epoch, whole executions of 32 steps and a shorter one.
FIRST_STEPS = 60


def rows(job: Job) -> list[Row]:
    by_hand: list[Row] = []
    backend = keras.backend.backend()
    if backend == "tensorflow":
        tape = importlib.import_module("loop_tensorflow").tape
        by_hand = [
            Row(EAGER, partial(tape, job, compiled=False), part=16),
            Row("tf.function loop, by hand", partial(tape, job, compiled=True), extra=True),
        ]
    elif backend == "torch":
        by_hand = [Row(PLAIN, partial(importlib.import_module("loop_torch").loop, job))]
    else:
        make, slow = importlib.import_module("loop_jax").by_hand, len(job.network.shape) > 1
        by_hand = [
            Row(SCAN, partial(make, job, scanned=True), part=4 if slow else 1),
            Row("compiled step in a loop, by hand", partial(make, job, scanned=False), extra=True),
        ]
    built_in = MixupByHand if job.mixup else keras.Model
    return [
        *by_hand,
        Row(FIT, partial(fit, job, built_in, 1)),
        Row(FIT_K, partial(fit, job, built_in, 32), extra=True),
        Row(LOOP, partial(function_loop, job)),
        Row(OURS, partial(fit, job, tailfit.Model, 1)),
        Row(OURS_K, partial(fit, job, tailfit.Model, 32)),
        Row("tailfit.Model.fit of Batches", partial(fit, job, tailfit.Model, 1, through_batches=True), extra=True),
        *(on_device(job) if backend == "jax" else []),
    ]


def on_device(job: Job) -> list[Row]:
    """Return rows whose samples are on the device, and the same row with samples from the host."""
    through = partial(fit, job, tailfit.Model, through_batches=True)
    return [
        Row("tailfit.Model.fit of Batches, K=32", partial(through, 32), extra=True),
        Row("tailfit.Model.fit of Batches, on the device", partial(through, 1, device=True), extra=True),
        Row("tailfit.Model.fit of Batches, on the device, K=32", partial(through, 32, device=True), extra=True),
    ]


def reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def timed(network: Any, steps: int, repeats: int) -> dict[str, Any]:
    """Time all rows, with Mixup and without it, after an epoch in the order of the arrays.

    The losses of that epoch show that all rows do the same work.
    """
    x, y = network.data(steps * BATCH)
    measured: list[dict[str, Any]] = []
    running: list[tuple[dict[str, Any], Epoch, Row]] = []
    for mixup in (False, True):
        for row in rows(Job(network, x, y, mixup)):
            if mixup and row.extra:
                continue
            keras.utils.set_random_seed(0)
            of_row: dict[str, Any] = {"name": row.name, "mixup": mixup, "seconds": []}
            measured.append(of_row)
            try:
                epoch = row.make()
                _, of_row["loss"] = epoch(len(x), False)
                if row.part > 1:
                    epoch(steps // row.part * BATCH, True)
            except Exception as error:
                of_row["refused"] = reason(error)
                continue
            running.append((of_row, epoch, row))
    reading = []
    for _ in range(repeats):
        for of_row, epoch, row in running:
            seconds, _ = epoch(steps // row.part * BATCH, True)
            of_row["seconds"].append(seconds * steps / (steps // row.part))
        start = time.perf_counter()
        for chosen in np.random.default_rng().permutation(len(x)).reshape(-1, BATCH):
            x.take(chosen, axis=0), y.take(chosen)
        reading.append(time.perf_counter() - start)
    return {"rows": measured, "reading": reading}


def turns(network: Any, steps: int, names: list[str], rounds: int, optimizer: str) -> dict[str, Any]:
    """Time an epoch of some rows in each of many rounds, each in a new order: for ratios close to one."""
    x, y = network.data(steps * BATCH)
    made = {row.name: row.make() for row in rows(Job(network, x, y, optimizer=optimizer)) if row.name in names}
    for epoch in made.values():
        epoch(len(x), True)
    times: list[dict[str, float]] = []
    rng = np.random.default_rng()
    for _ in range(rounds):
        times.append({name: made[name](len(x), True)[0] for name in rng.permutation(names).tolist()})
    return {"turns": times}


def first(network: Any, steps: int, row: str) -> dict[str, Any]:
    """Time a row's first call of 60 batches, compiling included, and measure peak memory after an epoch more."""
    x, y = network.data(steps * BATCH)
    try:
        epoch = {made.name: made for made in rows(Job(network, x, y, False))}[row].make()
        gc.collect()  # what the imports left: it takes .2 s, and would fall into the first call of some rows
        start = time.perf_counter()
        epoch(FIRST_STEPS * BATCH, True)
        seconds = time.perf_counter() - start
        epoch(len(x), True)
    except Exception as error:
        return {"refused": reason(error)}
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"first": seconds, "peak": peak}


def main() -> None:
    given = json.loads(sys.argv[1])
    network = NETWORKS[given.pop("network")]
    with contextlib.redirect_stdout(sys.stderr):
        measured = (first if "row" in given else turns if "rounds" in given else timed)(network, **given)
    backend = keras.backend.backend()
    names = ("numpy", "keras", backend)
    measured["versions"] = {
        "Python": platform.python_version(),
        **{name: version(name) for name in names},
        "tailfit": tailfit.__version__,
    }
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
