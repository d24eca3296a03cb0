"""Stress test of whole commands, such as `train`, `compare` and `pack`: killed at every file event, and run again.

    python tests/chaos/commands.py --minutes 30 --seed 0 --out commands.txt

A command is first run without interruption, and its file events are traced: files that it opens for writing, renames,
removes, creates and syncs in its folder. Then it is killed at each event, in a new folder, and at random times, and the
same command is run until it succeeds. The files must then have the same names and bytes: nothing lost, no drafts left.
At some events the command is paused instead, while a second process runs the same command, or one with different
settings. The second process must fail without changing a byte. Lock files contain the ID of their process, so only
their names are compared.

The command `jobs` is `compare` with two worker processes, which are killed with it. Every second time it is continued
without workers, in one process. Its events are those of the main process. `race` is `compare` with a budget and a given
plan, whose first round trains half of the epochs. `quality` is `train` with weights from the runs of folds. `predict`,
`export` and `report` use a finished run. The process that writes the file of `export` is not killed; it ends by itself.
"""

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import chaos

RECIPE = """
data: {path: faults, split: {train: 0.5, validation: 0.25, test: 0.25}}
network: {name: mlp, units: [4]}
epochs: 2
batch_size: 16
compare:
  seeds: 2
  vary: {plain: {loss: CrossEntropy}, adjusted: {loss: LogitAdjusted}}
"""
COMMANDS = {
    "train": ["train", "faults.yaml", "--out", "out"],
    "compare": ["compare", "faults.yaml", "--out", "out"],
    "jobs": ["compare", "faults.yaml", "--out", "out", "--jobs", "2"],
    "race": ["compare", "faults.yaml", "--out", "out", "--budget", "60"],
    "quality": ["train", "faults.yaml", "--out", "out", "-s", "weights={scheme: label_quality, folds: 2}"],
    "suspects": ["suspects", "faults.yaml", "--out", "out", "--folds", "2"],
    "predict": ["predict", "run", "faults", "--out", "out/predictions.parquet", "--batch-size", "2"],
    "export": ["export", "run", "--format", "keras", "--out", "out/model.keras"],
    "report": ["report", "run", "--out", "out/report.html"],
    "init": ["init", "faults", "--out", "out/faults.yaml"],
    "pack": ["pack", "faults", "out"],
}
CONTINUED = {"jobs": ["compare", "faults.yaml", "--out", "out"]}  # every second time
OTHER = {
    "train": [["-s", "batch_size=8"], ["-s", "epochs=3"]],
    "compare": [["-s", "epochs=3"]],
    "jobs": [["-s", "epochs=3"], ["--jobs", "1"]],
    "race": [["-s", "epochs=3"]],
    "quality": [["-s", "epochs=3"]],
    "suspects": [["-s", "epochs=3"]],
    "predict": [["--abstain", "0.9"]],
}
WITH_RUN = ("predict", "export", "report")  # commands that use a finished run
# Commands that, killed after their last step, refuse to replace what they wrote.
REFUSES = {"pack": "existing path", "export": "which exists", "init": "which exists"}
RACE = """
{"format": "tailfit.race", "version": 1, "budget": 60, "jobs": 1,
 "paces": {"plain": {"start": 1, "epoch": 1}, "adjusted": {"start": 1, "epoch": 1}},
 "rounds": [{"remedies": 2, "share": 0.5, "seeds": 2}, {"remedies": 2, "share": 1, "seeds": 2}]}
"""
MOST_LIVES = 6
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


# -- in the process that is killed ---------------------------------------------------------------------


class Events:
    """Counter of the file events of this process in a folder, which can kill or pause the process at one of them.

    Args:
        folder: Folder whose events are counted.
        kill: Index of the event before which the process is killed; None for none.
        hold: Index of the event before which it waits until the file `go` exists; None for none.
    """

    def __init__(self, folder, kill, hold):
        self.folder, self.kill, self.hold, self.seen = f"{folder}{os.sep}", kill, hold, []
        sys.addaudithook(self.hook)
        sync = os.fsync
        # A sync has no audit event. Before it, a file is written but may be lost; after it, it is not yet renamed.
        os.fsync = lambda file: (self.event("sync", self.folder), sync(file))[1]

    def hook(self, name, args):
        if name == "open" and isinstance(args[2], int) and args[2] & WRITES:
            self.event("open", args[0])
        elif name in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"):
            self.event(name, args[0])

    def event(self, name, path):
        if not isinstance(path, str | bytes | os.PathLike):
            return
        path = os.path.abspath(os.fsdecode(path)) + (os.sep if name == "sync" else "")
        if not path.startswith(self.folder) and path != self.folder.rstrip(os.sep):
            return
        number = len(self.seen)
        self.seen.append([name, path.removeprefix(self.folder)])
        if number == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == self.hold:
            self.hold = None
            Path(self.folder).parent.joinpath("held").write_text(str(os.getpid()))
            while not Path(self.folder).parent.joinpath("go").exists():
                time.sleep(0.01)


def run(job):
    """Run a command of tailfit in this process, and trace its events."""
    root = Path(job["folder"])
    os.chdir(root)
    events = Events(root / "out", job.get("kill_at"), job.get("hold_at"))
    sys.argv = ["tailfit", *job["command"]]
    from tailfit.cli import main

    try:
        main()
        status = 0
    except SystemExit as end:
        status = 0 if end.code is None else int(end.code)
    if job.get("trace"):
        (root / "trace.json").write_text(json.dumps(events.seen))
    return status


# -- in the process that kills -------------------------------------------------------------------------


class Server(chaos.Server):
    """A fork server that runs commands."""

    def __init__(self, backend):
        super().__init__(backend, COLUMNS="200")

    def begin_command(self, folder, command, log="stderr", **job):
        """Start a command; `answer` waits for its end."""
        kill = {"after": job.pop("after")} if "after" in job else {}
        self.begin({"folder": str(folder), "command": command, "log": log, "kill": kill, **job})

    def life(self, folder, command, **job):
        self.begin_command(folder, command, **job)
        return self.answer()


@dataclass
class Tally:
    """Counts for one command on one backend."""

    events: int = 0
    kills: int = 0
    random: int = 0
    beside: int = 0
    refused: int = 0
    different: int = 0
    left: int = 0
    written: int = 0
    notes: list = field(default_factory=list)

    @property
    def bad(self):
        return self.refused + self.different + self.left + self.written


def files(folder):
    """Return the digests of the files in a folder, by path. Of the checkpoints of a run, only the newest is included.

    Which older checkpoints are kept depends on the steps at which the run was continued.
    """
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    saved = {path.parent for path in found if path.parent.parent.name == "checkpoints" and path.parent.name[0] != "."}
    older = {place for place in saved if any(place.parent == other.parent and place < other for other in saved)}
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in found
        if path.parent not in older
    }


class Campaign:
    """One command on one backend, in a folder of its own."""

    def __init__(self, backend, name, root, server, second, tally):
        self.backend, self.name, self.root, self.tally = backend, name, root, tally
        self.server, self.second = server, second
        self.out, self.command = root / "out", COMMANDS[name]
        write_data(root)
        if name in WITH_RUN:
            self.whole(["train", "faults.yaml", "--out", "run"])
        self.prepare()
        began = time.monotonic()
        self.whole(self.command, trace=True)
        self.seconds = time.monotonic() - began
        self.events = json.loads((root / "trace.json").read_text())
        tally.events = len(self.events)
        self.end = files(self.out)
        self.prepare()
        self.whole(self.continued(1))
        again = files(self.out)
        # Lock files contain their process. Nothing else may differ between runs.
        self.locks = {name for name in self.end if Path(name).name == "lock"}
        differs = [name for name in {*self.end, *again} - self.locks if again.get(name) != self.end.get(name)]
        tally.different += bool(differs)
        tally.notes += [f"differs by itself: {name}" for name in sorted(differs)]

    def whole(self, command, **job):
        """Run a command without killing it."""
        answer = self.server.life(self.root, command, **job)
        if answer["error"] or answer["killed"]:
            raise SystemExit(f"{self.name} on {self.backend} fails without being killed: {answer['error']}")

    def prepare(self):
        """Remove the files of the command before."""
        shutil.rmtree(self.out, ignore_errors=True)
        if self.name == "race":
            self.out.mkdir()
            (self.out / "race.json").write_text(RACE)

    def continued(self, number):
        """Return the command with which the n-th trial continues."""
        return CONTINUED.get(self.name, self.command) if number % 2 else self.command

    def trial(self, **kill):
        """Kill the command, run it until it succeeds, and compare its files with those of an uninterrupted run."""
        self.prepare()
        where = kill.get("kill_at")
        shown = f"event {where} {self.events[where]}" if where is not None else f"after {kill.get('after', 0):.2f} s"
        for life in range(MOST_LIVES):
            command = self.continued(self.tally.kills) if life else self.command
            answer = self.server.life(self.root, command, **(kill if not life else {}))
            if answer["killed"]:
                self.tally.kills += 1
                self.tally.random += "after" in kill
            elif answer["error"] and not self.is_complete(answer["error"]):
                self.tally.refused += 1
                self.tally.notes.append(f"{shown}: {answer['error'].strip().splitlines()[-1][:300]}")
                return
            else:
                break
        self.check(shown)

    def is_complete(self, error):
        """Return whether the command was killed after its last step, and refuses to replace what it wrote."""
        return self.name in REFUSES and REFUSES[self.name] in error

    def check(self, shown):
        now = files(self.out)
        left, lost = sorted(now.keys() - self.end.keys()), sorted(self.end.keys() - now.keys())
        other = [name for name in self.end if name not in self.locks and now.get(name, "") != self.end[name]]
        self.tally.left += bool(left)
        self.tally.different += bool(lost or other)
        if left or lost or other:
            self.tally.notes.append(f"{shown}: left {left[:3]}, lost {lost[:3]}, different {other[:3]}")

    def beside(self, hold, settings):
        """Pause the command at an event; a second process must fail, and change nothing."""
        self.prepare()
        for name in ("held", "go"):
            (self.root / name).unlink(missing_ok=True)
        self.server.begin_command(self.root, self.command, hold_at=hold)
        process = self.held_process()
        processes = [*children_of(process), process]
        for each in processes:
            stop(each)
        before = files(self.out)
        answer = self.second.life(self.root, [*self.command, *settings], log="stderr-second")
        after = files(self.out)
        (self.root / "go").touch()
        for each in processes:
            os.kill(each, signal.SIGCONT)
        first = self.server.answer()
        self.tally.beside += 1
        shown = f"held at event {hold} {self.events[hold]}, beside it {settings}"
        if answer["error"] is None or before != after:
            self.tally.written += 1
            changed = [name for name in {*before, *after} if before.get(name) != after.get(name)]
            self.tally.notes.append(
                f"{shown}: the second {'ended well' if not answer['error'] else 'wrote'} {changed[:3]}"
            )
        if first["error"]:
            self.tally.refused += 1
            self.tally.notes.append(f"{shown}: the first {first['error'].strip().splitlines()[-1][:200]}")
        else:
            self.check(shown)

    def held_process(self):
        """Wait until the process is paused, and return its ID."""
        held = self.root / "held"
        for _ in range(int(100 * chaos.MOST_SECONDS)):
            if held.exists() and (number := held.read_text()):
                return int(number)
            time.sleep(0.01)
        raise SystemExit(f"{self.name} on {self.backend} does not reach the event at which it should be paused")


def children_of(process):
    """Return the IDs of the processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[1]) == process and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def stop(process):
    """Stop all threads of a process; only the thread that reached the event waits by itself."""
    os.kill(process, signal.SIGSTOP)
    state = Path(f"/proc/{process}/stat")
    while state.read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.01)


def write_data(root):
    """Write the data and the recipe, which are the same for every command."""
    import numpy as np

    from tailfit.data import save_npy_folder

    rng = np.random.default_rng(0)
    y = np.arange(60) % 3 % 2
    x = rng.normal(2.0 * y[:, None], size=(60, 3)).astype("float32")
    save_npy_folder(root / "faults", x, np.array(["ok", "leak"])[y])
    (root / "faults.yaml").write_text(RECIPE)


def campaign(backend, name, deadline, draw, every, match):
    """Try all events of one command, then random times until the deadline."""
    tally, server, second = Tally(), Server(backend), Server(backend)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            this = Campaign(backend, name, Path(scratch), server, second, tally)
            held = [number for number, (_, path) in enumerate(this.events) if path.endswith("lock")]
            within = range(held[0] + 1, len(this.events)) if held else ()
            for settings in ([], *OTHER.get(name, ())) if within else ():
                for hold in draw.sample(within, min(3, len(within))):
                    this.beside(hold, settings)
            numbers = [k for k in range(0, len(this.events), every) if re.search(match, this.events[k][1])]
            draw.shuffle(numbers)
            for number in numbers:
                if time.monotonic() > deadline and tally.kills:
                    tally.notes.append(f"out of time before all {len(numbers)} events were tried")
                    break
                this.trial(kill_at=number)
            while not match and time.monotonic() < deadline and tally.random < tally.events // 2:
                this.trial(after=draw.uniform(0, this.seconds))
    finally:
        server.close()
        second.close()
    return tally


def table(rows):
    lines = ["command  backend     events  kills  (random)  beside  refused  different  files left  written beside"]
    for (name, backend), t in rows.items():
        counts = f"{t.events:6} {t.kills:6} {t.random:9} {t.beside:7} {t.refused:8} {t.different:10} {t.left:11}"
        lines.append(f"{name:8} {backend:10} {counts} {t.written:15}")
        lines += [f"    {note}" for note in dict.fromkeys(t.notes[:12])]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30, help="time limit over all campaigns")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backends", nargs="+", default=["torch", "jax", "tensorflow"])
    parser.add_argument("--commands", nargs="+", default=list(COMMANDS))
    parser.add_argument("--every", type=int, default=1, help="try every n-th event only")
    parser.add_argument("--match", default="", help="try only events of files whose path matches")
    parser.add_argument("--jobs", type=int, default=2, help="number of campaigns at a time")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    wanted = [(name, backend) for backend in options.backends for name in options.commands]
    began, rounds = time.monotonic(), -(-len(wanted) // options.jobs)

    def one(numbered):
        number, (name, backend) = numbered
        deadline = began + options.minutes * 60 * (number // options.jobs + 1) / rounds
        tally = campaign(
            backend, name, deadline, random.Random(f"{options.seed} {name} {backend}"), options.every, options.match
        )
        print(table({(name, backend): tally}), flush=True)
        return tally

    with ThreadPoolExecutor(options.jobs) as pool:
        rows = dict(zip(wanted, pool.map(one, enumerate(wanted)), strict=True))
    text = f"python tests/chaos/commands.py {' '.join(sys.argv[1:])}\n\n{table(rows)}\n"
    if options.out:
        options.out.write_text(text)
    print(text)
    sys.exit(any(tally.bad or not tally.kills for tally in rows.values()))


if __name__ == "__main__":
    main()
