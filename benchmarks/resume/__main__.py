"""Cost of `Resume`: a fit with and without it, in turns, on a model of 100 MB (300 MB with Adam's state).

    python benchmarks/resume --backends jax tensorflow torch --out benchmarks/resume/results.txt

Each round trains the same number of steps without `Resume` and with it, with a checkpoint every `--every` seconds. The
extra time is divided by the number of checkpoints, and shown as a share of a minute, for one checkpoint a minute. Two
limits are shown for comparison: copying the state once in memory, which every exact checkpoint must do, and writing and
syncing it. The table also has the longest step, by the host's clock. JAX queues about sixteen steps before they are
computed, and the step that copies the state waits for them; this does not add to the total time. The last line is the
time from a position to its samples in an order of 10^9 samples.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def model_of(megabytes, width):
    """Return a network whose weights take about `megabytes`."""
    import keras

    import tailfit

    units = megabytes * 250_000 // width
    inputs = keras.Input((width,))
    hidden = keras.layers.Dense(units, activation="relu")(inputs)
    model = tailfit.Model(inputs, keras.layers.Dense(10)(hidden))
    model.compile("adam", tailfit.losses.CrossEntropy(from_logits=True))
    return model


def fit(model, batches, epochs, folder, every):
    """Return the seconds of a fit, its longest step, the number of steps, and the seconds of each checkpoint."""
    import keras

    import tailfit

    class Watch(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.steps = []

        def get_state(self):
            return {}

        def set_state(self, state):
            pass

        def on_train_batch_begin(self, batch, logs=None):
            self.steps.append(time.perf_counter())

    watch = Watch()
    callbacks = [watch]
    saved = []
    if folder is not None:
        from tailfit.resume.store import Store

        write = Store.write

        def counted(self, position, *args):
            began = time.perf_counter()
            write(self, position, *args)
            saved.append(time.perf_counter() - began)

        Store.write = counted
        callbacks.insert(0, tailfit.callbacks.Resume(folder, save_freq=10**9, every_seconds=every))
    began = time.perf_counter()
    try:
        model.fit(batches, epochs=epochs, callbacks=callbacks, verbose=0)
    finally:
        if folder is not None:
            Store.write = write
    seconds = time.perf_counter() - began
    waits = [after - before for before, after in itertools.pairwise(watch.steps)]
    return {"seconds": seconds, "longest": max(waits), "steps": len(watch.steps), "writes": saved}


def child(options):
    """Measure one backend, and print a line of JSON."""
    import keras
    import numpy as np

    import tailfit

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(options.steps * 64, 256)).astype("float32")
    y = rng.integers(0, 10, len(x))
    batches = tailfit.Batches(tailfit.data.Arrays(x, y), 64, seed=0)
    model = model_of(options.megabytes, 256)
    fit(model, batches, 1, None, None)  # compiled
    rounds = []
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        for number in range(options.repeats):
            plain = fit(model, batches, 1, None, None)
            kept = fit(model, batches, 1, f"{scratch}/{number}", options.every)
            rounds.append((plain, kept))
        state = [np.array(keras.ops.convert_to_numpy(v.value)) for v in [*model.variables, *model.optimizer.variables]]
        began = time.perf_counter()
        copies = [array.copy() for array in state]
        copied = time.perf_counter() - began
        began = time.perf_counter()
        with open(f"{scratch}/limit", "wb") as file:
            for array in copies:
                file.write(array.tobytes())
            file.flush()
            os.fsync(file.fileno())
        written = time.perf_counter() - began
    print(json.dumps({"rounds": rounds, "bytes": sum(a.nbytes for a in state), "copy": copied, "write": written}))


def position_cost():
    """Return the seconds from a position to its first indices at 10^9 samples, and the bytes saved of the order."""
    import numpy as np

    import tailfit

    plan = tailfit.samplers.Shuffle().plan(10**9, seed=1)
    plan.indices(0, 0, 64)
    times = []
    for epoch, start in enumerate(np.random.default_rng(0).integers(10**9 - 64, size=100).tolist()):
        began = time.perf_counter()
        plan.indices(epoch, start, start + 64)
        times.append(time.perf_counter() - began)
    return max(times), len(json.dumps({"position": [999_999, 999_999_999], "sampler": "Shuffle()", "seed": 1}))


def row(backend, measured):
    """Return a line of the table."""
    extra, shares, longest, writes = [], [], [], []
    for plain, kept in measured["rounds"]:
        count = max(len(kept["writes"]), 1)
        extra.append((kept["seconds"] - plain["seconds"]) / count)
        shares.append(extra[-1] / 60)
        longest.append(kept["longest"])
        writes += kept["writes"]
    spread = f"({100 * min(shares):5.2f} to {100 * max(shares):5.2f})"
    return (
        f"{backend:11}{measured['bytes'] / 1e6:5.0f} MB {len(writes):4} saves {statistics.median(extra):7.3f} s"
        f"{100 * statistics.median(shares):7.2f} % {spread:18}{measured['copy']:7.3f} s{measured['write']:7.3f} s"
        f"{statistics.median(writes):7.3f} s{max(longest):7.3f} s"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backends", nargs="+", default=["jax", "tensorflow", "torch"])
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between checkpoints")
    parser.add_argument("--steps", type=int, default=100, help="of one round")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", help="where checkpoints go: the disk that is measured")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options)
        return
    lines = [
        f"python benchmarks/resume --every {options.every:g} --steps {options.steps} --repeats {options.repeats}",
        "",
        f"{'':11}   state             extra a    at 1 a minute, and         copy    write,   a save    longest",
        f"{'':11}                        save       of all rounds           (limit)  synced   in all    step",
    ]
    for backend in options.backends:
        done = subprocess.run(
            [sys.executable, __file__, "--child", *sys.argv[1:]],
            env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        lines.append(row(backend, json.loads(done.stdout.splitlines()[-1])))
        print(lines[-1], flush=True)
    seconds, size = position_cost()
    lines += [
        "",
        f"order: {size} bytes saved; from a position to its samples at N = 10^9: {1e3 * seconds:.2f} ms at most",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
