"""Throughput of batches: tailfit, other libraries and the limits of memory; and further requirements of a feed.

    python benchmarks/feed [--quick] [--repeats 5] [--only PART ...] [--python PEER=PATH ...] [--out FILE]

Every library runs in a process of its own, on the same records, in random order, with a warm page cache; the processes
take turns, so that a busy machine slows all of them. Shown are samples per second, the median and the best of the
repeats, and the ratio of the median to that of `np.take(out=)`. Libraries that are not installed are listed with the
reason; `--python` gives the interpreter of an environment that has one. Then: `fit` from a packed folder compared with
`fit` from arrays on each backend, the cost of a batch of 10**4 and of 10**8 samples, resident memory over an epoch of a
data set larger than a limit, and cold reads compared with `fio`, if it is installed.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from checks import CHECKS
from rows import GROUPS

import tailfit

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))
from command_line import command_line  # noqa: E402

SETS = {  # shape of a record, and how many: as they are, and quickly
    "128x12 float32": ((128, 12), 40_000, 2_000),
    "1 KB": ((256,), 40_000, 2_000),
    "256 B": ((64,), 40_000, 2_000),
    "150 KB": ((3200, 12), 2_000, 200),
}
CLASSES = np.array([0.3, 0.2, 0.15, 0.1, 0.08, 0.06, 0.05, 0.03, 0.02, 0.01])


class Child:
    """A process of `rows.py`, which times the rows that it is asked for."""

    def __init__(self, group: str, root: Path, batch: int, python: str) -> None:
        command = [python, str(HERE / "rows.py"), group, str(root), str(batch)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        began = self.answer()
        self.rows: list[str] = began.get("rows", [])
        self.absent: str | None = began.get("absent")

    def answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline() if self.process.stdout else ""
        return dict(json.loads(line)) if line else {"absent": "the process ended without output"}

    def time(self, row: str) -> dict[str, Any]:
        if self.process.stdin is None:
            raise RuntimeError("no pipe to the process")
        print(json.dumps(row), file=self.process.stdin, flush=True)
        return self.answer()

    def end(self) -> None:
        self.process.communicate()


def compared(name: str, folder: Path | None, batch: int, given: argparse.Namespace) -> list[str]:
    """Return the table of one set of records."""
    shape, many, few = SETS[name]
    samples = few if given.quick else many
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, *shape)).astype("float32")
    y = np.concatenate([np.arange(10), rng.choice(10, samples - 10, p=CLASSES / CLASSES.sum())])
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        root = Path(temporary)
        np.save(root / "x.npy", x)
        np.save(root / "y.npy", y)
        np.save(root / "indices.npy", tailfit.samplers.Shuffle().plan(samples, 1).indices(0, 0, samples))
        tailfit.data.save_npy_folder(root / "set", x, y, ids=[f"{number:08d}" for number in range(samples)])
        tailfit.data.pack(tailfit.data.Arrays(x, y), root / "packed")
        del x
        pythons = dict(part.split("=", 1) for part in given.python)
        children = {group: Child(group, root, batch, pythons.get(group, sys.executable)) for group in GROUPS}
        rates: dict[str, list[float]] = {}
        wrong: dict[str, str] = {}
        for repeat in range(given.repeats + 1):  # the first warms the cache
            for child in children.values():
                for row in child.rows:
                    measured = {"absent": wrong[row]} if row in wrong else child.time(row)
                    if "absent" in measured:
                        wrong[row] = measured["absent"]
                    elif repeat:
                        rates.setdefault(row, []).append(measured["samples"] / measured["seconds"])
        for child in children.values():
            child.end()
    limit = statistics.median(rates["np.take(out=) (limit)"])
    lines = [
        "",
        f"{samples:,} records of {name}, batches of {batch}{'':12}{'median/s':>12}{'best/s':>12}{'of take':>9}",
    ]
    for row, measured in rates.items():
        median = statistics.median(measured)
        lines.append(f"{row:52}{median:12,.0f}{max(measured):12,.0f}{median / limit:9.2f}")
    lines += [f"{row:52} failed: {reason}" for row, reason in wrong.items()]
    lines += [f"{group:52} not measured: {child.absent}" for group, child in children.items() if child.absent]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few records: shows that it runs, not how fast")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--folder", type=Path, help="where to put the files; a temporary folder without it")
    parser.add_argument("--python", action="append", default=[], metavar="PEER=PATH")
    parser.add_argument("--only", action="append", metavar="PART", help=f"of {[*SETS, *CHECKS]}")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    given.repeats = given.repeats or (1 if given.quick else 5)
    lines = [
        f"$ {command_line('feed')}",
        f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        f"Python {platform.python_version()}, NumPy {np.__version__}, tailfit {tailfit.__version__}",
    ]
    print("\n".join(lines))
    parts = {
        name: lambda name=name: compared(name, given.folder, 16 if name == "150 KB" else 256, given) for name in SETS
    }
    parts |= {name: lambda check=check: check(given.folder, given.quick) for name, check in CHECKS.items()}
    for name, part in parts.items():
        if given.only and name not in given.only:
            continue
        table = part()
        print("\n".join(table), flush=True)
        lines += table
    if given.out:
        given.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
