"""Find out whether anything grows: hours of fit / evaluate / predict cycles with early stops, on each backend.

    python benchmarks/soak [--minutes 120] [--backends jax tensorflow torch] [--keep-memory] [--out FILE]

One process per backend, all at once. Every cycle trains the same networks again from fresh weights, on records from a
packed folder and from a folder of .npy files in turn, until EarlyStopping ends it; some cycles end in the middle of an
epoch, some by an error from a transform, some write and remove checkpoints. After each: resident memory, its peak,
threads and open files. `--keep-memory` calls `tailfit.keep_memory()` in each process. Growth is the slope of the
least-squares line through the second half of the cycles; the first half fills caches and arenas.
"""

import argparse
import contextlib
import gc
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

EVERY = 10  # cycles between two lines of a process


def resident() -> int:
    """Return the bytes of memory that the process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak() -> int:
    """Return the bytes of memory that the process held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resources() -> dict[str, int]:
    """Return the amounts that must not grow."""
    return {
        "memory": resident(),
        "peak": peak(),
        "threads": len(os.listdir("/proc/self/task")),
        "files": len(os.listdir("/proc/self/fd")),
    }


def sources_in(root: Path) -> list[Any]:
    """Write the records, and open them: from a packed folder, and from a folder of .npy files."""
    import tailfit

    rng = np.random.default_rng(0)
    x = rng.normal(size=(1_600, 32, 4)).astype("float32")
    y = rng.choice(5, len(x), p=[0.5, 0.3, 0.1, 0.06, 0.04])
    x += y[:, None, None] / 2
    tailfit.data.save_npy_folder(root / "npy", x, y, ids=[f"{number:05d}" for number in range(len(x))])
    tailfit.data.pack(tailfit.data.Arrays(x, y), root / "packed")
    return [tailfit.data.open(root / "packed"), tailfit.data.open(root / "npy")]


def compiled(steps_per_execution: int) -> Any:
    """Return a small network with a Dropout layer."""
    import keras

    import tailfit

    inputs = keras.Input((32, 4))
    hidden = keras.layers.Dense(32, activation="relu")(keras.layers.Flatten()(inputs))
    model = tailfit.Model(inputs, keras.layers.Dense(5)(keras.layers.Dropout(0.1)(hidden)))
    loss = tailfit.losses.CrossEntropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"], steps_per_execution=steps_per_execution)
    return model


class UserError(Exception):
    """An error in the user's transform."""


def failing(batch: Any, rng: Any) -> Any:
    if rng.random() < 0.2:
        raise UserError
    return batch


def train_once(model: Any, source: Any, cycle: int, directory: Path) -> None:
    """Fit, evaluate and predict; how the fit ends depends on the number of the cycle."""
    import keras

    import tailfit

    class StopAt(keras.callbacks.Callback):
        """Ends training in the middle of an epoch."""

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch >= 5:
                self.model.stop_training = True

    train, held_out = source.split(0.8, 0.2, seed=cycle)
    callbacks = [keras.callbacks.EarlyStopping(patience=0, restore_best_weights=True)]
    if cycle % 3 == 1:
        callbacks.append(StopAt())
    if cycle % 7 == 1:
        callbacks.insert(0, tailfit.callbacks.Resume(directory, save_freq=7))
    transform = failing if cycle % 5 == 1 else None
    batches = tailfit.Batches(train, 32, sampler=tailfit.samplers.Bootstrap(), seed=cycle, transform=transform)
    validation = tailfit.Batches(held_out, 64, sampler=tailfit.samplers.Sequential())
    with contextlib.suppress(UserError):
        model.fit(batches, epochs=4, validation_data=validation, callbacks=callbacks, verbose=0)
    model.evaluate(validation, verbose=0)
    model.predict(validation, verbose=0)
    shutil.rmtree(directory, ignore_errors=True)


def child(minutes: float, keep_memory: bool) -> None:
    """Train in cycles on one backend, and print a line of JSON after every `EVERY` of them."""
    import tailfit

    if keep_memory and not tailfit.keep_memory():
        raise SystemExit("keep_memory does nothing on this platform")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        sources = sources_in(root)
        models = [(model, model.get_weights()) for model in map(compiled, (1, 4))]
        deadline, cycle = time.monotonic() + 60 * minutes, 0
        while time.monotonic() < deadline:
            model, fresh = models[cycle % 2]
            model.set_weights(fresh)
            train_once(model, sources[cycle // 2 % 2], cycle, root / "run")
            cycle += 1
            if cycle % EVERY == 0:
                gc.collect()
                print(json.dumps({"cycle": cycle, "seconds": time.monotonic(), **resources()}), flush=True)


def table_of(backend: str, lines: list[dict[str, Any]]) -> list[str]:
    """Return a backend's part of the table."""
    began = lines[0]["seconds"]
    shown = [lines[round(part * (len(lines) - 1) / 6)] for part in range(7)]
    table = [
        f"{backend:12}{'minute':>8}{'cycles':>10}{'memory, MB':>14}{'peak, MB':>10}{'threads':>10}{'open files':>12}"
    ]
    for line in shown:
        minute = (line["seconds"] - began) / 60
        memory = line["memory"] / 1e6
        at_most = line["peak"] / 1e6
        counts = f"{line['threads']:10}{line['files']:12}"
        table.append(f"{'':12}{minute:8.0f}{line['cycle']:10,}{memory:14.1f}{at_most:10.1f}{counts}")
    half = lines[len(lines) // 2 :]
    cycles = np.array([line["cycle"] for line in half], dtype=float)
    growth = {name: np.polyfit(cycles, [line[name] for line in half], 1)[0] for name in ("memory", "threads", "files")}
    span = cycles[-1] - cycles[0]
    middle = statistics.median(line["memory"] for line in half)
    table.append(
        f"{'':12}second half, {span:,.0f} cycles: memory {growth['memory']:+,.0f} bytes a cycle "
        f"({100 * growth['memory'] * span / middle:+.2f} % in all), threads {growth['threads'] * span:+.1f}, "
        f"open files {growth['files'] * span:+.1f}"
    )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--backends", nargs="+", default=["jax", "tensorflow", "torch"])
    parser.add_argument("--keep-memory", action="store_true", help="call tailfit.keep_memory() in each process")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.minutes, given.keep_memory)
        return
    running = {}
    for backend in given.backends:
        log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - read when the process has ended
        environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, __file__, "--child", "--minutes", str(given.minutes)]
        command += ["--keep-memory"] if given.keep_memory else []
        running[backend] = subprocess.Popen(command, env=environment, stdout=log), log
    packages = ", ".join(f"{name} {version(name)}" for name in ("keras", *given.backends, "tailfit"))
    lines = [
        f"$ python benchmarks/soak {' '.join(sys.argv[1:])}".rstrip(),
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {platform.system()}",
        f"Python {platform.python_version()}, {packages}",
    ]
    print("\n".join(lines), flush=True)
    failed = False
    for backend, (process, log) in running.items():
        ended = process.wait()
        log.seek(0)
        measured = [json.loads(line) for line in log if line.startswith("{")]
        table = table_of(backend, measured) if len(measured) > 3 else [f"{backend:12}too few cycles for a slope"]
        if ended:
            failed = True
            table.append(f"{'':12}the process ended with {ended}")
        print("\n".join(table), flush=True)
        lines += ["", *table]
    if given.out:
        given.out.write_text("\n".join(lines) + "\n")
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
