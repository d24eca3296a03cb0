"""What each metric adds to a training step, as a share of the step without metrics.

    python benchmarks/metrics [--backends jax tensorflow torch] [--rounds 7] [--steps 300] [--out results.txt]

`tailfit.Model.fit` of two small MLPs in batches of 64 with Adam, on one thread. All metrics take turns in each round;
shown are the medians over the rounds of the extra time of a step divided by the time without metrics, and as a
reference Keras' accuracy. The goal is at most 0.1. What is computed once, at the end of an epoch, is left out.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
LIMIT = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", default=["jax", "tensorflow", "torch"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found = {}
    for backend in given.backends:
        environment = {**os.environ, "KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, str(HERE / "child.py"), str(given.rounds), str(given.steps)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        for network, rows in json.loads(done.stdout.splitlines()[-1]).items():
            found[f"{backend}, {network}"] = rows
    lines = [
        f"$ python benchmarks/metrics {' '.join(sys.argv[1:])}".rstrip(),
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {platform.system()}",
        f"Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("keras", "jax", "tensorflow", "torch", "tailfit")),
        f"a step in microseconds; what a metric adds, as a share of it (! above {LIMIT:g})",
        "",
        f"{'':24}" + "".join(f"{head:>26}" for head in found),
    ]
    for name in next(iter(found.values())):
        cells = []
        for rows in found.values():
            value = rows[name]
            text = f"{value:.0f}" if name == "no metric" else f"{value:.2f}{'!' if value > LIMIT else ' '}"
            cells.append(f"{text:>26}")
        lines.append(f"{name:24}" + "".join(cells))
    print("\n".join(lines))
    if given.out:
        given.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
