"""Cost of `compare`: with the shared compilation cache, with worker processes, and with both.

    python benchmarks/compare --data DATA --seeds 5 --out benchmarks/compare/results.txt

Five remedies are compared on windows of the Tennessee Eastman process (`tep_windows.npz` in DATA), by the command
`tailfit compare` in a fresh process each. "as before" is one process without the cache, in which JAX compiles the same
programs again for each seed. The table shows wall-clock time, processor time, and both as shares of the first row;
every row must end with the same comparison.json. On a busy machine, look at processor time.
"""

import argparse
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np

import tailfit

sys.path.append(str(Path(__file__).resolve().parents[1]))
from command_line import command_line

RECIPE = """
data: {{path: tep, partition: partition.json}}
network: {{name: cnn}}
epochs: {epochs}
batch_size: 32
optimizer: {{learning_rate: 0.003}}
compare:
  seeds: {seeds}
  vary:
    plain: {{}}
    focal: {{loss: Focal}}
    adjusted: {{loss: LogitAdjusted}}
    balanced batches: {{sampler: {{name: ClassBalanced, power: 0.5}}}}
    mixup: {{loss: LogitAdjusted, steps: [Mixup]}}
"""
ROWS = {
    "as before": (1, False),
    "with the cache": (1, True),
    "--jobs 2": (2, False),
    "--jobs 2 with the cache": (2, True),
}
RATIO, GAP, WINDOW = 20, 20, 20


def write_data(data, folder):
    """Write records, and a partition whose training part has a long tail, as the yardstick "tep" does."""
    with np.load(data / "tep_windows.npz", allow_pickle=False) as file:
        x, y, names, is_train, run, start = (file[key] for key in ("X", "y", "y_names", "is_train", "run", "t0"))
    ids = np.array([f"w{number:05d}" for number in range(len(x))])
    tailfit.data.pack(tailfit.data.Arrays(x, names[y], ids=ids.tolist()), folder / "tep")
    length = {each: start[run == each].max() + WINDOW for each in np.unique(run)}
    border = np.array([0.8 * length[each] for each in run])
    train, validation = is_train & (start + WINDOW + GAP <= border), is_train & (start >= border)
    rng = np.random.default_rng(1993)
    normal = names.tolist().index("normal")
    ranked = [normal, *rng.permutation([code for code in range(len(names)) if code != normal])]
    most = np.bincount(y[train]).min()
    kept = np.concatenate(
        [
            rng.permutation(np.flatnonzero(train & (y == code)))[: round(most * RATIO ** (-rank / (len(names) - 1)))]
            for rank, code in enumerate(ranked)
        ]
    )
    parts = {"train": np.sort(kept), "validation": np.flatnonzero(validation), "test": np.flatnonzero(~is_train)}
    (folder / "partition.json").write_text(json.dumps({name: ids[rows].tolist() for name, rows in parts.items()}))


def measured(folder, backend, jobs, cache, out):
    """Run the command; return wall-clock time, processor time, and the digest of its result."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"}
    if not cache:
        environment["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    code = "from tailfit.cli import main; main()"
    command = [sys.executable, "-c", code, "compare", str(folder / "tep.yaml"), "--jobs", str(jobs), "--out", str(out)]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, used, hashlib.sha256((out / "comparison.json").read_bytes()).hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of tep_windows.npz")
    parser.add_argument("--backend", default="jax")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rows", nargs="+", default=list(ROWS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("keras", options.backend, "tailfit"))
    lines = [
        f"$ {command_line('compare')}",
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {platform.system()}",
        f"Python {platform.python_version()}, {versions}",
        "",
        f"5 remedies x {options.seeds} seeds x {options.epochs} epochs",
        f"{'':26} {'wall s':>8} {'share':>6} {'processor s':>12} {'share':>6}",
    ]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory(prefix="compare-") as scratch:
        folder = Path(scratch)
        write_data(options.data, folder)
        (folder / "tep.yaml").write_text(RECIPE.format(seeds=options.seeds, epochs=options.epochs))
        first, digests = None, set()
        for number, name in enumerate(options.rows):
            wall, used, digest = measured(folder, options.backend, *ROWS[name], folder / f"out-{number}")
            digests.add(digest)
            first = first or (wall, used)
            lines.append(f"{name:26} {wall:8.1f} {wall / first[0]:6.2f} {used:12.1f} {used / first[1]:6.2f}")
            print(lines[-1], flush=True)
    lines.append("the same comparison.json in all rows" if len(digests) == 1 else "DIFFERENT RESULTS")
    print(lines[-1])
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")
    sys.exit(len(digests) != 1)


if __name__ == "__main__":
    main()
