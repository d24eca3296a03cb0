"""The proof of `Resume`: seeded SIGKILLs at any instant, and every run must end as one that was never killed.

    python tests/chaos/chaos.py --kills 1000 --minutes 40 --seed 0 --out chaos.txt

Runs of `tests/support/resumable.py` on each backend, some killed several times: by the clock (from the first
import of data to the last step), by step, and by call to the disk (so while a checkpoint is written). Counted are
runs whose end differs in any bit of weights, optimizer, metrics, callbacks, history or log, and lives that could not
begin from what was there. Beside it Keras' BackupAndRestore under the same killer.
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
MOST_LIVES = 6  # of one run that are ended by a kill
MOST_SECONDS = 300  # of a life that nobody kills


class Server:
    """A fork server of one backend; see `server.py`."""

    def __init__(self, backend, **variables):
        environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
        # Lives that compile the same programs share them, and none starts threads that the others have to wait for.
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
        """Start a life; `answer` waits for its end."""
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()

    def life(self, folder, run, save_freq, kill, library="tailfit"):
        self.begin({"folder": str(folder), "run": run, "save_freq": save_freq, "kill": kill, "with": library})
        return self.answer()

    def close(self):
        self.process.communicate()  # closes its input, at which it ends
        self.programs.cleanup()


@dataclass
class Tally:
    """What is counted for one backend and library."""

    kills: int = 0
    runs: int = 0
    different: int = 0
    unloadable: int = 0
    by: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)


class Whole:
    """The end and the duration of runs that nobody kills, made once each."""

    def __init__(self, server, folder):
        self.server, self.folder, self.ends = server, folder, {}

    def __call__(self, run, library):
        if (run, library) not in self.ends:
            folder = self.folder / f"whole-{library}-{run}"
            folder.mkdir()
            told = self.server.life(folder, run, 2, {}, library)
            if told["error"] or told["killed"]:
                raise SystemExit(f"{run} does not run at all: {told}")
            self.ends[run, library] = loaded(folder), told["seconds"]
        return self.ends[run, library]


def chosen_kill(draw, seconds):
    """Where the next kill comes: half by the clock, the rest by step and by disk."""
    kind = draw.choice(["after", "after", "disk", "step"])
    if kind == "after":
        return {"after": draw.uniform(0, 1.05 * seconds)}
    return {kind: draw.randrange(1, 60) if kind == "disk" else draw.randrange(0, 18)}


def one_run(server, whole, draw, folder, tally, library):
    """A run from its first life to its end."""
    run = draw.choice(RUNS)
    end, seconds = whole(run, library)
    folder.mkdir()
    for life in range(MOST_LIVES + 1):
        kill = {} if life == MOST_LIVES or (life and draw.random() < 0.25) else chosen_kill(draw, seconds)
        # The frequency may change from life to life: it is no part of what the run is.
        told = server.life(
            folder, run, draw.choice([1, 2, 3, "epoch"] if library == "tailfit" else [1, 2, 3]), kill, library
        )
        if told["error"]:
            tally.unloadable += 1
            tally.notes.append(f"{run}, life {life}: {told['error'].strip().splitlines()[-1][:200]}")
            break
        if not told["killed"]:
            tally.different += differs(end, loaded(folder), tally, run)
            break
        tally.kills += 1
        kind = next(iter(kill), "end")
        tally.by[kind] = tally.by.get(kind, 0) + 1
    tally.runs += 1
    shutil.rmtree(folder)


def loaded(folder):
    """What a life that came to its end left."""
    return pickle.loads((folder / "end").read_bytes())


def differs(one, other, tally, run):
    """Whether two ends differ; what does is noted."""
    names = differing(one, other)
    if names:
        tally.notes.append(f"{run}: {len(names)} differ, {', '.join(names[:3])} ...")
    return bool(names)


def campaign(backend, library, kills, deadline, seed):
    """Runs until so many kills are done, or the time is up."""
    tally, draw = Tally(), random.Random(f"{seed} {backend} {library}")
    server = Server(backend)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            whole = Whole(server, Path(scratch))
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
    parser.add_argument("--kills", type=int, default=1000, help="of tailfit, over the backends")
    parser.add_argument("--minutes", type=float, default=60, help="at most so long, over all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backends", nargs="+", default=["torch", "tensorflow", "jax"])
    parser.add_argument("--keras-kills", type=int, default=80, help="of Keras' BackupAndRestore, on the first backend")
    parser.add_argument("--jobs", type=int, default=2, help="backends at a time")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    wanted = {("tailfit", backend): -(-options.kills // len(options.backends)) for backend in options.backends}
    if options.keras_kills:
        wanted["keras", options.backends[0]] = options.keras_kills
    began, rounds = time.monotonic(), -(-len(wanted) // options.jobs)

    def one(numbered):
        number, ((library, backend), kills) = numbered
        # What a round leaves of its time is the next one's.
        deadline = began + options.minutes * 60 * (number // options.jobs + 1) / rounds
        tally = campaign(backend, library, kills, deadline, options.seed)
        print(table({(library, backend): tally}), flush=True)
        return tally

    with ThreadPoolExecutor(options.jobs) as pool:  # the work is done by the fork servers
        rows = dict(zip(wanted, pool.map(one, enumerate(wanted.items())), strict=True))
    text = f"python tests/chaos/chaos.py {' '.join(sys.argv[1:])}\n\n{table(rows)}\n"
    if options.out:
        options.out.write_text(text)
    print(text)
    ours = [tally for (library, _), tally in rows.items() if library == "tailfit"]
    sys.exit(any(tally.unloadable or tally.different or not tally.kills for tally in ours))


if __name__ == "__main__":
    main()
