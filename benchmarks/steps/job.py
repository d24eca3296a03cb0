"""A whole job: 3 epochs of a small 1-D convnet, from the first call to the last batch, beside other ways to train it.

    python benchmarks/steps/job.py [--rounds 3] [--backends jax tensorflow torch] [--python lightning=PATH ...]
        [--quick] [--out benchmarks/steps/job.txt]

40,000 records of 128x12, batches of 256 in random order, Adam, with the loss and the accuracy of each epoch. A run of a
row is a process of its own that loads the records, builds the network from the same weights and trains it. Timed are
the epochs after the first, and everything from building the network on, compiling included and imports aside. On a
machine that is busy otherwise, look at processor time. The rows of a backend take turns in random order; ratios are
medians of those of each round. After its first run each row trains again on some records in the order of the arrays:
the losses of all rows must agree. The limit repeats one batch, which is already where the step reads it, and counts no
accuracy. A peer that is not installed is named with the reason; `--python` gives the interpreter of an environment that
has it.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from job_rows import CHECKED, DATASET, LIMIT, NETWORK, OURS, OURS_K, OURS_KEPT, ROWS

sys.path.append(str(Path(__file__).resolve().parents[1]))
from command_line import command_line

BACKENDS = ("jax", "tensorflow", "torch")
ALIKE = 1e-3  # how far the losses of the same steps may differ, relatively
PEERS = {"lightning": "Lightning", "skorch": "skorch"}  # package: row

Measured = dict[str, Any]


def run(backend: str, row: str, data: Path, python: str, check: bool) -> Measured:
    """Train in a process of its own; return what it measured, or `{"refused": reason}`."""
    script = Path(__file__).with_name("job_rows.py")
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [python, str(script), row, str(data), *(["--check"] if check else [])]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    if ended.returncode:
        return {"refused": (ended.stderr.strip().splitlines() or [f"exit {ended.returncode}"])[-1]}
    return dict(json.loads(ended.stdout.splitlines()[-1]))


def table(backend: str, rounds: list[dict[str, Measured]]) -> list[str]:
    """Return the table of a backend: its rows, and how tailfit compares with each peer."""
    lines = [
        "",
        f"{backend:42}{'s/epoch':>9}{'x':>7}{'whole, s':>10}{'x':>7}{'processor, s':>14}{'x':>7}"
        f"{'peak, MiB':>11}{'loss':>10}",
    ]
    done = [row for row in ROWS[backend] if all("refused" not in turn[row] for turn in rounds)]

    def ratio(key: str, row: str, other: str) -> float:
        return statistics.median(turn[row][key] / turn[other][key] for turn in rounds)

    for row in ROWS[backend]:
        if row not in done or DATASET not in done:
            reasons = [turn[row]["refused"] for turn in rounds if "refused" in turn[row]]
            refused = reasons[0] if reasons else "nothing to compare with"
            lines.append(f"  {row:40} not measured: {refused[:150]}")
            continue
        cells = ""
        for key, width in (("epoch", 9), ("whole", 10), ("used", 14)):
            cells += f"{statistics.median(turn[row][key] for turn in rounds):{width}.2f}{ratio(key, row, DATASET):7.2f}"
        peak = statistics.median(turn[row]["peak"] for turn in rounds)
        loss = f"{rounds[0][row]['loss']:10.5f}" if "loss" in rounds[0][row] else ""
        lines.append(f"  {row:40}{cells}{peak:11.0f}{loss}")
    losses = [rounds[0][row]["loss"] for row in done if "loss" in rounds[0][row]]
    if losses:
        apart = (max(losses) - min(losses)) / min(losses)
        same = "" if apart <= ALIKE else "NOT THE SAME WORK: "
        lines.append(f"  {same}losses of {CHECKED:,} records in order differ by {apart:.0e}; allowed {ALIKE:.0e}")
    for ours in (OURS, OURS_KEPT):
        for peer in done:
            if ours in done and peer not in (OURS, OURS_KEPT, OURS_K, LIMIT):
                epoch, whole, used = (ratio(key, ours, peer) for key in ("epoch", "whole", "used"))
                verdict = "ahead" if max(epoch, whole) < 1 else "BEHIND"
                shown = f"{epoch:6.2f} an epoch,{whole:6.2f} in all,{used:6.2f} of processor time"
                lines.append(f"  {f'{ours} / {peer}':74}{shown}: {verdict}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, help="3, quick 1")
    parser.add_argument("--backends", nargs="+", default=list(BACKENDS), choices=BACKENDS)
    parser.add_argument("--rows", nargs="+", help="only these, and the one that all are compared with")
    parser.add_argument("--quick", action="store_true", help="few records: shows that it runs, not how fast")
    parser.add_argument("--python", action="append", default=[], metavar="PEER=PATH")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    samples, count = (4_000 if given.quick else 40_000), given.rounds or (1 if given.quick else 3)
    pythons = {PEERS[peer]: path for peer, path in (part.split("=", 1) for part in given.python)}
    installed = ", ".join(f"{name} {version(name)}" for name in ("numpy", "keras", *given.backends, "tailfit"))
    lines = [
        f"$ {command_line('steps/job.py')}",
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {platform.system()}",
        f"Python {platform.python_version()}, {installed}",
        "",
        f"{samples:,} records of 128x12, {NETWORK.name}, batches of 256, 3 epochs: medians of {count} rounds",
        f"x: of '{DATASET}'",
    ]
    print("\n".join(lines), flush=True)
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        x, y = NETWORK.data(samples)
        np.save(f"{folder}/x.npy", x)
        np.save(f"{folder}/y.npy", y)
        del x, y
        for backend in given.backends:
            rows = [row for row in ROWS[backend] if given.rows is None or row in (*given.rows, DATASET)]
            rounds: list[dict[str, Measured]] = []
            for number in range(count):
                rounds.append({row: {"refused": "left out"} for row in ROWS[backend]})
                for row in random.sample(rows, len(rows)):
                    python = pythons.get(row, sys.executable)
                    rounds[-1][row] = run(backend, row, Path(folder), python, check=number == 0)
            shown = table(backend, rounds)
            peers = [turn[row]["package"] for turn in rounds[:1] for row in rows if "package" in turn[row]]
            shown += [f"  with {', '.join(peers)}"] if peers else []
            failed |= any("NOT THE SAME WORK" in line for line in shown)
            print("\n".join(shown), flush=True)
            lines += shown
            if given.out:
                given.out.write_text("\n".join(lines) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
