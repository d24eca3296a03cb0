"""One process of steps.py, on one backend: times rows side by side, few of them often, or one's first call.

    KERAS_BACKEND=jax python benchmarks/steps/child.py '{"network": "MLP 784-64-64-10", "steps": 60, "repeats": 1}'

Prints one line of JSON.
"""

import contextlib
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
            Row("eager tape loop, by hand", partial(tape, job, compiled=False), part=16),
            Row("tf.function loop, by hand", partial(tape, job, compiled=True), extra=True),
        ]
    elif backend == "torch":
        by_hand = [Row("plain loop, by hand", partial(importlib.import_module("loop_torch").loop, job))]
    else:
        make, slow = importlib.import_module("loop_jax").by_hand, len(job.network.shape) > 1
        by_hand = [
            Row("lax.scan, by hand (the limit)", partial(make, job, scanned=True), part=4 if slow else 1),
            Row("compiled step in a loop, by hand", partial(make, job, scanned=False), extra=True),
        ]
    built_in = MixupByHand if job.mixup else keras.Model
    return [
        *by_hand,
        Row("built-in fit", partial(fit, job, built_in, 1)),
        Row("built-in fit, K=32", partial(fit, job, built_in, 32), extra=True),
        Row("tailfit.function loop", partial(function_loop, job)),
        Row("tailfit.Model.fit", partial(fit, job, tailfit.Model, 1)),
        Row("tailfit.Model.fit, K=32", partial(fit, job, tailfit.Model, 32)),
        Row("tailfit.Model.fit of Batches", partial(fit, job, tailfit.Model, 1, through_batches=True), extra=True),
        *(on_device(job) if backend == "jax" else []),
    ]


def on_device(job: Job) -> list[Row]:
    """Rows whose samples are on the device, beside the same ones from the host."""
    through = partial(fit, job, tailfit.Model, through_batches=True)
    return [
        Row("tailfit.Model.fit of Batches, K=32", partial(through, 32), extra=True),
        Row("tailfit.Model.fit of Batches, on the device", partial(through, 1, device=True), extra=True),
        Row("tailfit.Model.fit of Batches, on the device, K=32", partial(through, 32, device=True), extra=True),
    ]


def reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def timed(network: Any, steps: int, repeats: int) -> dict[str, Any]:
    """Every row trains an epoch in the order of the arrays, which shows that all do the same work; then the timed ones.

    With Mixup and without are timed together.
    """
    x, y = network.data(steps * BATCH)
    told: dict[str, Any] = {"rows": []}
    running: list[tuple[dict[str, Any], Epoch, Row]] = []
    for mixup in (False, True):
        for row in rows(Job(network, x, y, mixup)):
            if mixup and row.extra:
                continue
            keras.utils.set_random_seed(0)
            said: dict[str, Any] = {"name": row.name, "mixup": mixup, "seconds": []}
            told["rows"].append(said)
            try:
                epoch = row.make()
                _, said["loss"] = epoch(len(x), False)
                if row.part > 1:
                    epoch(steps // row.part * BATCH, True)
            except Exception as error:
                said["refused"] = reason(error)
                continue
            running.append((said, epoch, row))
    reading = []
    for _ in range(repeats):
        for said, epoch, row in running:
            seconds, _ = epoch(steps // row.part * BATCH, True)
            said["seconds"].append(seconds * steps / (steps // row.part))
        start = time.perf_counter()
        for chosen in np.random.default_rng().permutation(len(x)).reshape(-1, BATCH):
            x.take(chosen, axis=0), y.take(chosen)
        reading.append(time.perf_counter() - start)
    return {**told, "reading": reading}


def turns(network: Any, steps: int, names: list[str], rounds: int, optimizer: str) -> dict[str, Any]:
    """Seconds of an epoch of some rows in each of many rounds, in a new order each: for ratios close to one."""
    x, y = network.data(steps * BATCH)
    made = {row.name: row.make() for row in rows(Job(network, x, y, optimizer=optimizer)) if row.name in names}
    for epoch in made.values():
        epoch(len(x), True)
    told: list[dict[str, float]] = []
    rng = np.random.default_rng()
    for _ in range(rounds):
        told.append({name: made[name](len(x), True)[0] for name in rng.permutation(names).tolist()})
    return {"turns": told}


def first(network: Any, steps: int, row: str) -> dict[str, Any]:
    """What a row's first call of 60 batches takes, compiling included, and the process's peak memory after an epoch."""
    x, y = network.data(steps * BATCH)
    try:
        epoch = {made.name: made for made in rows(Job(network, x, y, False))}[row].make()
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
        told = (first if "row" in given else turns if "rounds" in given else timed)(network, **given)
    backend = keras.backend.backend()
    names = ("numpy", "keras", backend)
    told["versions"] = {
        "Python": platform.python_version(),
        **{name: version(name) for name in names},
        "tailfit": tailfit.__version__,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
