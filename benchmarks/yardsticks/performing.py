"""The list of yardsticks, and the execution of one run."""

import os
import platform
import time
import traceback
from itertools import islice
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")  # on a GPU; on a CPU TensorFlow is faster for the convnet of (b)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import gaussians
import keras
import mnist
import noise
import speed
import tep
import tep_networks
import ucr
from store import Run, Store

import tailfit

YARDSTICKS = {module.NAME: module for module in (speed, gaussians, mnist, tep, noise, tep_networks, ucr)}


def made_with() -> str:
    versions = f"keras {keras.__version__} on {keras.backend.backend()}, tailfit {tailfit.__version__}"
    python = f"Python {platform.python_version()}"
    return ", ".join([platform.machine(), f"{os.cpu_count()} cores", *accelerator(), python, versions])


def accelerator() -> list[str]:
    """Return the name of the GPU, if the backend uses one."""
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
    shown = "; ".join(f"{row} " + ", ".join(f"{k} {v:.4f}" for k, v in islice(f.items(), 2)) for row, f in rows.items())
    print(f"{run.name}: {seconds:.0f} s; {shown}", flush=True)


def perform_by_name(yardstick: str, name: str, data: Path, store: Store) -> None:
    """Perform a run in another process: its function can't be pickled, so it is looked up by name there."""
    perform(next(run for run in YARDSTICKS[yardstick].runs(data, None) if run.name == name), store)
