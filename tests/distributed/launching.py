"""`tailfit train` on several workers, as users start it: every way ends with the files of one process.

    python tests/distributed/launching.py [--backends torch jax] [--kills 3]

Workers are killed at random moments, the launcher is stopped and killed, torchrun and Slurm's variables start workers,
the number of workers changes in between, and what listens is listed. Part of `make distributed`.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

FILES = ("evaluation.json", "history.csv", "predictions.parquet", "weights.safetensors")
RECIPE = """
data: {path: pumps}
network: {name: cnn, filters: [8, 8], dropout: 0.3}
loss: LogitAdjusted
early_stopping: {patience: 30}
batch_size: 32
epochs: 12
parts: 4
"""
LOOPBACK = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")  # as /proc has them


def write_data(folder: Path) -> None:
    import tailfit

    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [300, 120, 60])
    x = rng.normal(0.5 * y[:, None, None], size=(480, 16, 3)).astype("float32")
    tailfit.data.save_npy_folder(folder / "pumps", x, np.array(["leak", "ok", "stuck"])[y])
    (folder / "pumps.yaml").write_text(RECIPE)


class Runs:
    """Runs of the recipe on one backend, compared with that of one process."""

    def __init__(self, folder: Path, backend: str) -> None:
        self.folder, self.backend = folder, backend
        self.environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"}
        self.number = 0
        self.reference = self.place()
        self.ended(self.start(self.reference))

    def place(self) -> Path:
        self.number += 1
        return self.folder / f"{self.backend}-{self.number}"

    def start(  # type: ignore[no-untyped-def]
        self, out: Path, *options: str, before: tuple[str, ...] = (sys.executable,),
        errors: int | None = subprocess.STDOUT, **variables: str,
    ):  # fmt: skip
        command = [*before, "-m", "tailfit", "train", "pumps.yaml", "--out", str(out), *options]
        return subprocess.Popen(
            command, cwd=self.folder, env={**self.environment, **variables}, stdout=subprocess.PIPE,
            stderr=errors, text=True, start_new_session=True,
        )  # fmt: skip

    def ended(self, process, code: int = 0) -> str:  # type: ignore[no-untyped-def]
        output, _ = process.communicate(timeout=600)
        if process.returncode != code:
            raise AssertionError(f"exit code {process.returncode}, not {code}:\n{output}")
        return str(output)

    def compare(self, out: Path) -> None:
        for name in FILES:
            if (out / name).read_bytes() != (self.reference / name).read_bytes():
                raise AssertionError(f"{out / name} differs from {self.reference / name}")
        shutil.rmtree(out)


def workers_of(launcher: int) -> list[int]:
    """Process numbers of the workers of a launcher."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == launcher and b"tailfit.distributed.process" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def wait_for(condition: Callable[[], bool], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("waited in vain")
        time.sleep(0.05)


def has_checkpoint(out: Path) -> bool:
    return any((out / "checkpoints").glob("[0-9]*"))


def alive(pids: list[int]) -> bool:
    def runs(pid: int) -> bool:
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        return False

    return any(map(runs, pids))


def listening(pids: list[int]) -> set[str]:
    """Addresses at which processes listen, as /proc has them."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for file in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    inodes.add(os.readlink(file).removeprefix("socket:[").rstrip("]"))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.add(fields[1].partition(":")[0])
    return found


# -- cases ---------------------------------------------------------------------------------------------


def two_and_four_workers(runs: Runs) -> None:
    for count in ("2", "4"):
        out = runs.place()
        process = runs.start(out, "--workers", count)
        seen: set[str] = set()

        def look(process=process, seen=seen) -> bool:  # type: ignore[no-untyped-def]
            seen |= listening(workers_of(process.pid))
            return process.poll() is not None

        wait_for(look, 600)
        runs.ended(process)
        if not seen or not seen <= set(LOOPBACK):
            raise AssertionError(f"workers listen at {seen}")
        runs.compare(out)


def kills(runs: Runs, count: int) -> None:
    random.seed(1)
    for _ in range(count):
        out = runs.place()
        process = runs.start(out, "--workers", "2")
        wait_for(lambda process=process: len(workers_of(process.pid)) == 2)  # type: ignore[misc]
        if random.random() < 0.7:
            wait_for(lambda out=out: has_checkpoint(out))  # type: ignore[misc]
        time.sleep(random.random())
        victims = workers_of(process.pid)
        if victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(random.choice(victims), signal.SIGKILL)
        print("  " + runs.ended(process).splitlines()[-1])
        runs.compare(out)


def stopped_and_continued_with_other_workers(runs: Runs) -> None:
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)):
        out = runs.place()
        process = runs.start(out, "--workers", "2")
        wait_for(lambda out=out: has_checkpoint(out))  # type: ignore[misc]
        workers = workers_of(process.pid)
        os.kill(process.pid, number)
        runs.ended(process, code)
        wait_for(lambda workers=workers: not alive(workers), 30)  # type: ignore[misc]
        runs.ended(runs.start(out, *(["--workers", "4"] if number == signal.SIGTERM else [])))
        runs.compare(out)


def torchrun(runs: Runs) -> None:
    out = runs.place()
    command = str(Path(sys.executable).with_name("torchrun"))
    runs.ended(runs.start(out, before=(command, "--nproc-per-node", "2", "--master-port", "29461")))
    runs.compare(out)


def slurm(runs: Runs) -> None:
    out = runs.place()
    started = [
        runs.start(
            out, errors=None, SLURM_JOB_ID="7", SLURM_STEP_ID="0", SLURM_PROCID=str(rank), SLURM_NTASKS="2",
            SLURM_LOCALID=str(rank), SLURM_JOB_NODELIST="localhost", TAILFIT_JOIN_SECONDS="120",
        )
        for rank in range(2)
    ]  # fmt: skip
    outputs = [runs.ended(process) for process in started]
    if "balanced accuracy" not in outputs[0] or outputs[1].strip():
        raise AssertionError(f"rank 0 alone prints: {outputs}")
    runs.compare(out)


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    print(f"{what}: passed in {time.monotonic() - start:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backends", nargs="+", default=["torch", "jax"])
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=None)
    given = parser.parse_args()
    cases: dict[str, Callable[[Runs], None]] = {
        "two and four workers": two_and_four_workers,
        "kills": lambda runs: kills(runs, given.kills),
        "stopped": stopped_and_continued_with_other_workers,
        "torchrun": torchrun,
        "slurm": slurm,
    }
    with tempfile.TemporaryDirectory() as folder:
        write_data(Path(folder))
        for backend in given.backends:
            with told(f"{backend}, one process"):
                runs = Runs(Path(folder), backend)
            for name, case in cases.items():
                if given.only is None or name in given.only:
                    with told(f"{backend}, {name}"):
                        case(runs)


if __name__ == "__main__":
    main()
