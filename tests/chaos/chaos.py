"""Stress test of `Resume`: runs are killed at random moments, and must end like runs that were never killed.

    python tests/chaos/chaos.py --kills 1000 --minutes 40 --seed 0 --out chaos.txt

Runs of `tests/support/resumable.py` on each backend are killed with SIGKILL, some of them several times: at random
times (from the first import of data to the last step), in a given step, or after a given system call that writes to
disk (so while a checkpoint is written). The test counts runs whose result differs in any bit of weights, optimizer,
metrics, callbacks, history or log, and processes that could not continue. For comparison Keras' BackupAndRestore is
tested, too.

A *life* is one process of a run, which is killed or reaches the end of the run.
"""

import argparse
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from support.outcomes import differing

HERE = Path(__file__).parent
RUNS = ("everything", "fused", "accumulated", "float16", "transformed", "own_step")
MOST_LIVES = 6  # killed processes per run
MOST_SECONDS = float(os.environ.get("CHAOS_SECONDS", 300))  # duration of a process that is not killed


class Server:
    """A fork server of one backend; see `server.py`."""

    def __init__(self, backend, **variables):
        environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
        # Processes share compiled programs, and use one thread each, so that they do not slow each other down.
        self.programs = tempfile.TemporaryDirectory(prefix="chaos-programs-")
        environment |= {
            "OMP_NUM_THREADS": "1",
            "JAX_COMPILATION_CACHE_DIR": self.programs.name,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            **variables,
        }
        command = [sys.executable, str(HERE / "server.py")]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the fork server ended with status {self.process.wait()}")
        return json.loads(line)

    def begin(self, job):
        """Start a process of a run; `answer` waits for its end."""
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()

    def life(self, folder, run, save_freq, kill, library="tailfit"):
        self.begin({"folder": str(folder), "run": run, "save_freq": save_freq, "kill": kill, "with": library})
        return self.answer()

    def close(self):
        self.process.communicate()  # closes its input, which ends it
        self.programs.cleanup()


@dataclass
class Tally:
    """Counts for one backend and library."""

    kills: int = 0
    runs: int = 0
    different: int = 0
    unloadable: int = 0
    by: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)


class UninterruptedRuns:
    """Result and duration of each uninterrupted run, computed once."""

    def __init__(self, server, folder):
        self.server, self.folder, self.ends = server, folder, {}

    def __call__(self, run, library):
        if (run, library) not in self.ends:
            folder = self.folder / f"whole-{library}-{run}"
            folder.mkdir()
            answer = self.server.life(folder, run, 2, {}, library)
            if answer["error"] or answer["killed"]:
                raise SystemExit(f"{run} fails without being killed: {answer}")
            self.ends[run, library] = loaded(folder), answer["seconds"]
        return self.ends[run, library]


def chosen_kill(draw, seconds):
    """Choose when to kill: at a random time in half of the cases, otherwise by step or system call."""
    kind = draw.choice(["after", "after", "disk", "step"])
    if kind == "after":
        return {"after": draw.uniform(0, 1.05 * seconds)}
    return {kind: draw.randrange(1, 60) if kind == "disk" else draw.randrange(0, 18)}


def one_run(server, whole, draw, folder, tally, library):
    """Start a run, kill and continue it several times, and compare its result with that of the uninterrupted run."""
    run = draw.choice(RUNS)
    end, seconds = whole(run, library)
    folder.mkdir()
    for life in range(MOST_LIVES + 1):
        kill = {} if life == MOST_LIVES or (life and draw.random() < 0.25) else chosen_kill(draw, seconds)
        # save_freq may change between processes, because it is not part of the run's identity.
        answer = server.life(
            folder, run, draw.choice([1, 2, 3, "epoch"] if library == "tailfit" else [1, 2, 3]), kill, library
        )
        if answer["error"]:
            tally.unloadable += 1
            tally.notes.append(f"{run}, life {life}: {answer['error'].strip().splitlines()[-1][:200]}")
            break
        if not answer["killed"]:
            tally.different += differs(end, loaded(folder), tally, run)
            break
        tally.kills += 1
        kind = next(iter(kill), "end")
        tally.by[kind] = tally.by.get(kind, 0) + 1
    tally.runs += 1
    shutil.rmtree(folder)


def loaded(folder):
    """Return the result that a finished run has written."""
    return pickle.loads((folder / "end").read_bytes())


def differs(one, other, tally, run):
    """Return whether two results differ, and note the differences."""
    names = differing(one, other)
    if names:
        tally.notes.append(f"{run}: {len(names)} differ, {', '.join(names[:3])} ...")
    return bool(names)


def campaign(backend, library, kills, deadline, seed):
    """Start runs until a number of kills or the deadline is reached."""
    tally, draw = Tally(), random.Random(f"{seed} {backend} {library}")
    server = Server(backend)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            whole = UninterruptedRuns(server, Path(scratch))
            while tally.kills < kills and (time.monotonic() < deadline or not tally.kills):
                one_run(server, whole, draw, Path(scratch) / f"run-{tally.runs}", tally, library)
    finally:
        server.close()
    return tally


def table(rows):
    lines = ["library  backend      kills  (clock/step/disk)   runs  unloadable  ended different"]
    for (library, backend), tally in rows.items():
        by = "/".join(str(tally.by.get(kind, 0)) for kind in ("after", "step", "disk"))
        counts = f"{tally.kills:7}  {by:>17} {tally.runs:6} {tally.unloadable:11} {tally.different:16}"
        lines.append(f"{library:8} {backend:10} {counts}")
        lines += [f"    {note}" for note in tally.notes[:3]]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000, help="number of kills of tailfit, over all backends")
    parser.add_argument("--minutes", type=float, default=60, help="time limit over all backends")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backends", nargs="+", default=["torch", "tensorflow", "jax"])
    parser.add_argument(
        "--keras-kills", type=int, default=80, help="number of kills of Keras' BackupAndRestore, on the first backend"
    )
    parser.add_argument("--jobs", type=int, default=2, help="number of backends at a time")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    wanted = {("tailfit", backend): -(-options.kills // len(options.backends)) for backend in options.backends}
    if options.keras_kills:
        wanted["keras", options.backends[0]] = options.keras_kills
    began, rounds = time.monotonic(), -(-len(wanted) // options.jobs)

    def one(numbered):
        number, ((library, backend), kills) = numbered
        # A round that ends early leaves its remaining time to the next one.
        deadline = began + options.minutes * 60 * (number // options.jobs + 1) / rounds
        tally = campaign(backend, library, kills, deadline, options.seed)
        print(table({(library, backend): tally}), flush=True)
        return tally

    with ThreadPoolExecutor(options.jobs) as pool:  # threads, because the fork servers do the work
        rows = dict(zip(wanted, pool.map(one, enumerate(wanted.items())), strict=True))
    text = f"python tests/chaos/chaos.py {' '.join(sys.argv[1:])}\n\n{table(rows)}\n"
    if options.out:
        options.out.write_text(text)
    print(text)
    ours = [tally for (library, _), tally in rows.items() if library == "tailfit"]
    sys.exit(any(tally.unloadable or tally.different or not tally.kills for tally in ours))


if __name__ == "__main__":
    main()
