"""Speed of the convnet on each backend on this machine: run `--only speed` once under each."""

import time
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
from store import Figures, Run, Store
from training import Budget, Remedy, convnet, trained

import tailfit

NAME, IMAGES = "speed", 2560


def runs(data: Path, seeds: int | None) -> Iterator[Run]:
    yield Run(NAME, keras.backend.backend(), 0, measured)


def measured() -> dict[str, Figures]:
    rng = np.random.default_rng(0)
    x, y = rng.random((IMAGES, 28, 28, 1), dtype="float32"), rng.integers(0, 10, IMAGES)
    budget = Budget(epochs=1, batch_size=64, learning_rate=1e-3)
    model, batches = trained(convnet, tailfit.data.Arrays(x, y), Remedy(), budget, 0)  # compiles
    start, cpu = time.perf_counter(), time.process_time()
    model.fit(batches, epochs=2, verbose=0)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    return {
        keras.backend.backend(): {
            "images a second": 2 * IMAGES / seconds,
            "CPU ms for 1000": 1e6 * cpu_seconds / (2 * IMAGES),
        }
    }


def table(store: Store) -> list[str]:
    lines = [
        f"Convnet of (b), {'images a second':>28}{'CPU ms for 1000':>20}   (processor time counts on a shared machine)"
    ]
    for name, seeds in sorted(store.rows(NAME).items(), key=lambda row: row[1][0]["CPU ms for 1000"]):
        lines.append(f"{name:16}{seeds[0]['images a second']:28.0f}{seeds[0]['CPU ms for 1000']:20.0f}")
    return lines
