"""Groups of worker processes for tests; see `distributed_worker`."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

PARTS = 4
TESTS = Path(__file__).resolve().parents[1]


@contextmanager
def workers(
    backend: str, world: int, out: Path, cases: Sequence[str], **options: object
) -> Iterator[list[subprocess.Popen]]:
    """Start a group of workers, whose output is in `out/log.RANK`; those that still run at the end are killed."""
    out.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = [str(TESTS.parent / "src"), str(TESTS), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    given = [f"{key}={value}" for key, value in options.items()]
    running = []
    for rank in range(world):
        arguments = [backend, rank, world, port, PARTS, out, ",".join(cases), *given]
        command = [sys.executable, "-u", "-m", "support.distributed_worker", *map(str, arguments)]
        with open(out / f"log.{rank}", "w") as log:
            running.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))
    try:
        yield running
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
            process.wait()


def log_of(out: Path, rank: int) -> str:
    return (out / f"log.{rank}").read_text()


def run(
    backend: str, world: int, out: Path, cases: Sequence[str], timeout: float = 600, **options: object
) -> list[int]:
    """Run a group of workers to its end, and return their exit statuses."""
    with workers(backend, world, out, cases, **options) as running:
        return [process.wait(timeout) for process in running]


def difference(one: Path, other: Path) -> str:
    """Describe the first difference between the results of two trainings, bit by bit; "" if they are equal."""
    if not one.exists() or not other.exists():
        return f"no {one.name if not one.exists() else other.name}"
    first, second = np.load(one), np.load(other)
    for name in sorted({*first, *second}):
        if name not in first or name not in second:
            return f"{name} is missing"
        if first[name].tobytes() != second[name].tobytes():
            far = np.abs(first[name].astype("float64") - second[name].astype("float64")).max()
            return f"{name} by {far:.1e}"
    return ""
