"""The remedies against published figures: Gaussians, long-tailed MNIST, Tennessee Eastman root causes, label noise.

    KERAS_BACKEND=jax python benchmarks/yardsticks.py --data DIR --out DIR [--only gaussians tep] [--seeds 2]
    KERAS_BACKEND=torch python benchmarks/yardsticks.py --data DIR --out DIR --only speed     # once a backend
    python benchmarks/yardsticks.py --out benchmarks/yardsticks --table benchmarks/yardsticks.txt

--jobs N has N runs at a time, each in a process of its own: on a machine with many cores, or with a GPU that one small
network can't fill (XLA_PYTHON_CLIENT_MEM_FRACTION=0.04 for JAX, which else takes the whole memory for one process).
--data has mnist.npz (X, y, is_train) and tep_windows.npz (X, y, y_names, is_train, run, t0). A finished run lies in
--out as JSON and is never run again: stop the script at any time, and start it again with the same call.
After a change of a budget or a network, begin another --out: old and new runs would stand in one table.
"""

import argparse
import os
import platform
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")  # on a GPU; on a CPU TensorFlow is faster for the convnet of (b)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import _yardsticks_gaussians as gaussians
import _yardsticks_mnist as mnist
import _yardsticks_noise as noise
import _yardsticks_speed as speed
import _yardsticks_tep as tep
import keras
from _yardsticks_store import Run, Store

import tailfit

YARDSTICKS = {module.NAME: module for module in (speed, gaussians, mnist, tep, noise)}


def made_with() -> str:
    versions = f"keras {keras.__version__} on {keras.backend.backend()}, tailfit {tailfit.__version__}"
    python = f"Python {platform.python_version()}"
    return ", ".join([platform.machine(), f"{os.cpu_count()} cores", *accelerator(), python, versions])


def accelerator() -> list[str]:
    """The name of the GPU, if one computes."""
    if keras.backend.backend() == "jax":
        import jax

        return [device.device_kind for device in jax.devices()[:1] if device.platform != "cpu"]
    if keras.backend.backend() == "torch":
        import torch

        return [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    return []


def perform(run: Run, store: Store) -> None:
    start = time.perf_counter()
    try:
        rows = run.do()
    except Exception:
        print(f"{run.name}: FAILED\n{traceback.format_exc()}", flush=True)
        return
    seconds = time.perf_counter() - start
    store.write(run, rows, seconds=round(seconds, 1), made_with=made_with())
    told = "; ".join(f"{row} " + ", ".join(f"{k} {v:.4f}" for k, v in islice(f.items(), 2)) for row, f in rows.items())
    print(f"{run.name}: {seconds:.0f} s; {told}", flush=True)


def perform_by_name(yardstick: str, name: str, data: Path, store: Store) -> None:
    """In a process that shares nothing with the one that asks: what a run does can't be sent there, its name can."""
    perform(next(run for run in YARDSTICKS[yardstick].runs(data, None) if run.name == name), store)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data sets; without it nothing is run")
    parser.add_argument("--out", type=Path, default=Path("runs/yardsticks"), help="folder of the finished runs")
    parser.add_argument("--only", nargs="+", choices=YARDSTICKS, default=list(YARDSTICKS))
    parser.add_argument("--remedies", nargs="+", help="only these, by name")
    parser.add_argument("--seeds", type=int, help="so many seeds instead of all")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--table", type=Path, help="also write the table here")
    given = parser.parse_args()
    store = Store(given.out)
    left = [
        run
        for name in (given.only if given.data else ())
        for run in YARDSTICKS[name].runs(given.data, given.seeds)
        if not store.finished(run) and (given.remedies is None or run.remedy in given.remedies)
    ]
    if given.jobs == 1:
        for run in left:
            perform(run, store)
    else:
        with ProcessPoolExecutor(given.jobs, get_context("spawn")) as pool:
            for done in [pool.submit(perform_by_name, run.yardstick, run.name, given.data, store) for run in left]:
                done.result()
    lines = [
        "$ python benchmarks/yardsticks.py --out benchmarks/yardsticks --table benchmarks/yardsticks.txt",
        "made by: KERAS_BACKEND=jax python benchmarks/yardsticks.py --data DIR --out benchmarks/yardsticks",
    ]
    if not any(map(store.rows, YARDSTICKS)):
        parser.exit(message=f"nothing is finished in {given.out}; --data DIR runs the yardsticks\n")
    for name, yardstick in YARDSTICKS.items():
        if store.rows(name):
            lines += ["", *yardstick.table(store)]
    print("\n".join(lines))
    if given.table:
        given.table.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
