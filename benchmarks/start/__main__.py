"""How long commands and scripts take to start, beside the import of Keras, which each needs.

    python benchmarks/start [--rounds 3] [--backends jax tensorflow torch] [--out benchmarks/start/results.txt]

Each run is a fresh process; the rows take turns. `tailfit train` trains a small MLP for two epochs on 600 records and
writes everything that a run writes. Its imports are those of the row "its imports", which do nothing else. On a machine
that is busy otherwise, look at processor time.
"""

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

import tailfit

BACKENDS = ("jax", "tensorflow", "torch")
MAIN = "from tailfit.cli import main; main()"
RECIPE = """
data: {path: set, split: {train: 0.7, validation: 0.15, test: 0.15}}
network: {name: mlp}
epochs: 2
batch_size: 32
"""
UNCOLLECTED = "from tailfit.cli.importing import imports_uncollected\nwith imports_uncollected():"
TRAIN, IMPORTS, KERAS = "tailfit train", "  its imports", "import keras (floor)"
ROWS: dict[str, list[str]] = {
    "python": ["-c", "pass"],
    KERAS: ["-c", "import keras"],
    "import tailfit": ["-c", "import tailfit"],
    "import keras, tailfit; Model, Batches": ["-c", "import keras, tailfit; tailfit.Model, tailfit.Batches"],
    "tailfit --help": ["-c", MAIN, "--help"],
    IMPORTS: ["-c", f"{UNCOLLECTED}\n import keras, tailfit.cli.training"],
    TRAIN: ["-c", MAIN, "train", "recipe.yaml", "--out", "OUT"],
}


def measured(arguments: list[str], backend: str, folder: Path) -> tuple[float, float]:
    """Run Python; return the seconds on the wall and of the processor."""
    out = tempfile.mkdtemp(dir=folder)
    arguments = [f"{out}/run" if part == "OUT" else part for part in arguments]
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backends", nargs="+", default=list(BACKENDS), choices=BACKENDS)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    installed = ", ".join(f"{name} {version(name)}" for name in ("keras", *given.backends, "tailfit"))
    lines = [
        f"$ python benchmarks/start {' '.join(sys.argv[1:])}".rstrip(),
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {platform.system()}",
        f"Python {platform.python_version()}, {installed}",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rng = np.random.default_rng(0)
        y = np.arange(600) % 5
        tailfit.data.pack(tailfit.data.Arrays(rng.normal(size=(600, 32, 4)).astype("float32"), y), folder / "set")
        (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
        lines += [
            "",
            f"{f'medians of {given.rounds} processes':50}{'wall, s':>9}{'x keras':>9}{'processor, s':>14}{'x':>9}",
        ]
        for backend in given.backends:
            took: dict[str, list[tuple[float, float]]] = {row: [] for row in ROWS}
            for number in range(given.rounds + 1):  # the first compiles modules and fills the page cache
                for row, arguments in ROWS.items():
                    one = measured(arguments, backend, folder)
                    took[row] += [one] if number else []
            medians = {
                row: [statistics.median(column) for column in zip(*each, strict=True)] for row, each in took.items()
            }
            floor = medians[KERAS]
            for row, (wall, used) in medians.items():
                lines.append(f"{backend:12}{row:38}{wall:9.2f}{wall / floor[0]:9.2f}{used:14.2f}{used / floor[1]:9.2f}")
            wall, used = (100 * medians[IMPORTS][at] / medians[TRAIN][at] for at in (0, 1))
            lines.append(
                f"{backend:12}{TRAIN}: imports are {wall:.0f} % of the wall time, {used:.0f} % of the processor's"
            )
    print("\n".join(lines))
    if given.out:
        given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
