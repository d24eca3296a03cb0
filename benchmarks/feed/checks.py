"""Checks of a feed besides its throughput compared with other libraries."""

import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import tailfit

__all__ = ["CHECKS"]

_FIT = """
import json, statistics, sys, time
import keras, numpy as np, tailfit
root, epochs = sys.argv[1], int(sys.argv[2])
x, y = np.load(root + "/x.npy"), np.load(root + "/y.npy")
def build():
    keras.utils.set_random_seed(0)
    inputs = keras.Input(x.shape[1:])
    hidden = keras.layers.Dense(32, activation="relu")(keras.layers.Flatten()(inputs))
    model = tailfit.Model(inputs, keras.layers.Dense(10)(hidden))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model
batches = tailfit.Batches(tailfit.data.Packed(root + "/packed", memory=True), 256, tailfit.samplers.Sequential())
kinds = {
    "arrays": (build(), lambda model, epoch: model.fit(x, y, batch_size=256, shuffle=False, verbose=0)),
    "packed": (build(), lambda model, epoch: model.fit(batches, verbose=0)),
}
took = {kind: [] for kind in kinds}
for epoch in range(epochs + 1):
    for kind, (model, fit) in kinds.items():
        start = time.perf_counter()
        fit(model, epoch)
        if epoch:
            took[kind].append(time.perf_counter() - start)
same = all(np.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(*(m.get_weights() for m, _ in kinds.values())))
ratios = [b / a for a, b in zip(took["arrays"], took["packed"])]
print(json.dumps({"arrays": statistics.median(took["arrays"]), "packed": statistics.median(took["packed"]),
                  "ratio": statistics.median(ratios), "same": same}))
"""

_RESIDENT = """
import json, resource, sys
import numpy as np, tailfit
from pathlib import Path
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
batches = tailfit.Batches(tailfit.data.Packed(sys.argv[1], memory="auto"), 64, seed=1)
room = int(sys.argv[2])
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + room, held + room))
batches = tailfit.Batches(tailfit.data.Packed(sys.argv[1], memory="auto"), 64, seed=1)
seen = []
for batch in batches.iterate(0):
    seen.append(resident())
start = seen[len(seen) // 10]
print(json.dumps({"in memory": bool(batches.source.in_memory), "growth": max(seen) - start, "batches": len(seen)}))
"""


def fit_compared_with_arrays(folder: Path | None, quick: bool) -> list[str]:
    """Compare `fit` from a packed folder with `fit` from arrays in the same order, on each backend."""
    samples, epochs = (2_000, 2) if quick else (40_000, 7)
    lines = ["", "fit from Packed beside fit from arrays in memory, the same order, 128x12, batches of 256"]
    with tempfile.TemporaryDirectory(dir=folder) as root:
        x = np.random.default_rng(0).normal(size=(samples, 128, 12)).astype("float32")
        y = np.arange(samples) % 10
        np.save(f"{root}/x.npy", x)
        np.save(f"{root}/y.npy", y)
        tailfit.data.pack(tailfit.data.Arrays(x, y), f"{root}/packed")
        for backend in ("jax", "tensorflow", "torch"):
            if importlib.util.find_spec(backend) is None:
                lines.append(f"{backend:12} not installed")
                continue
            got = _result_of(_FIT, root, str(epochs), KERAS_BACKEND=backend)
            lines.append(
                f"{backend:12} arrays {got['arrays']:7.3f} s, Packed {got['packed']:7.3f} s, median ratio "
                f"{got['ratio']:5.2f}, weights the same: {got['same']}"
            )
    return lines


def cost_of_a_batch(folder: Path | None, quick: bool) -> list[str]:
    """Compare a batch of 256 from a sparse memmap of few and of many samples of 64 bytes with its bare copy."""
    lines = ["", "a batch of 256 records of 64 B, Shuffle, from a sparse file; beside np.take of the same from another"]
    steps = 20 if quick else 400
    with tempfile.TemporaryDirectory(dir=folder) as root:
        for samples in (10**4, 10**6 if quick else 10**8):
            one, other = (_sparse(Path(root) / f"{samples}-{number}.raw", samples) for number in range(2))
            batches = tailfit.Batches(tailfit.data.Arrays(one, nan="keep"), 256, seed=1, prefetch=0)
            took: list[float] = []
            bare: list[float] = []
            for epoch in range(1 + steps * 256 // samples):
                start = time.perf_counter()
                for step, _ in enumerate(batches.iterate(epoch)):
                    took.append(time.perf_counter() - start)
                    indices = batches.indices(epoch, step)
                    start = time.perf_counter()
                    np.asarray(other).take(indices, axis=0)
                    bare.append(time.perf_counter() - start)
                    start = time.perf_counter()
                    if step >= steps:
                        break
            lines.append(
                f"{samples:14,} samples: first {took[0] * 1e3:8.2f} ms, median {_ms(took):8.3f} ms, "
                f"np.take: first {bare[0] * 1e3:8.2f} ms, median {_ms(bare):8.3f} ms"
            )
    return lines


def _sparse(path: Path, samples: int) -> np.ndarray:
    with path.open("wb") as file:
        file.truncate(samples * 64)
    return np.memmap(path, dtype=np.float32, mode="r", shape=(samples, 16))


def resident_memory(folder: Path | None, quick: bool) -> list[str]:
    """Measure memory over an epoch of a packed data set larger than the memory that its process may take."""
    size, room = (48 << 20, 64 << 20) if quick else (1 << 30, 600 << 20)
    record = 128 * 12 * 4
    with tempfile.TemporaryDirectory(dir=folder) as root:
        path = Path(root) / "x.npy"
        x = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(size // record, 128, 12))
        tailfit.data.pack(tailfit.data.Arrays(x), f"{root}/packed")
        got = _result_of(_RESIDENT, f"{root}/packed", str(room), KERAS_BACKEND="jax")
    return [
        "",
        f"an epoch of {size >> 20} MB, {room >> 20} MB beyond the start allowed (RLIMIT_AS): {got['batches']} batches, "
        f"resident memory grew by {got['growth'] / 2**20:.1f} MB; held in memory: {got['in memory']}",
    ]


def cold_reads(folder: Path | None, quick: bool) -> list[str]:
    """Compare batches from files dropped from the page cache with `fio`'s random reads of that size."""
    lines = ["", "cold: files dropped from the page cache, random order"]
    if not hasattr(os, "posix_fadvise"):
        return [*lines, "not measured: this system has no posix_fadvise"]
    with tempfile.TemporaryDirectory(dir=folder) as root:
        for shape, samples in (((128, 12), 2_000 if quick else 40_000), ((3200, 12), 100 if quick else 4_000)):
            x = np.random.default_rng(0).normal(size=(samples, *shape)).astype("float32")
            record, packed = x[0].nbytes, Path(root) / f"packed-{shape[0]}"
            tailfit.data.pack(tailfit.data.Arrays(x), packed, shard_bytes=1 << 40)
            source = tailfit.data.Packed(packed, memory=False, nan="keep")
            rates = []
            for epoch in range(1 if quick else 3):
                _forget(packed)
                start = time.perf_counter()
                for _ in tailfit.Batches(source, 256 if record < 10**5 else 32, seed=epoch).iterate(epoch):
                    pass
                rates.append(x.nbytes / (time.perf_counter() - start) / 1e6)
            lines.append(
                f"records of {record:,} B: Batches(Packed) {statistics.median(rates):8.0f} MB/s, {_fio(packed, record)}"
            )
    return lines


def _fio(packed: Path, record: int) -> str:
    if shutil.which("fio") is None:
        return "fio is not installed"
    file = next((packed / "data").glob("*.npy"))
    _forget(packed)
    # As Batches reads: through the page cache, from one thread, each record once.
    command = ["fio", "--name=r", f"--filename={file}", "--rw=randread", f"--bs={record}", "--readonly", "--size=100%"]
    command += ["--ioengine=psync", "--invalidate=1", "--output-format=json"]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        return f"fio failed: {ended.stderr.strip().splitlines()[-1:]}"
    measured = json.loads(ended.stdout[ended.stdout.index("{") :])
    return f"fio {measured['jobs'][0]['read']['bw_bytes'] / 1e6:8.0f} MB/s"


def _forget(folder: Path) -> None:
    for path in folder.rglob("*.npy"):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def _result_of(script: str, *arguments: str, **environment: str) -> dict[str, float]:
    """Run a script in a process of its own, and return the JSON that it prints last."""
    environ = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    ended = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, env=environ)
    if ended.returncode:
        raise RuntimeError(ended.stderr)
    return dict(json.loads(ended.stdout.splitlines()[-1]))


def _ms(seconds: list[float]) -> float:
    return statistics.median(seconds) * 1e3


CHECKS: dict[str, Callable[[Path | None, bool], list[str]]] = {
    "fit": fit_compared_with_arrays,
    "cost": cost_of_a_batch,
    "resident": resident_memory,
    "cold": cold_reads,
}
