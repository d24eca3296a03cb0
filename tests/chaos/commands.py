"""The proof for whole commands: `train`, `compare` and `pack` killed at every file event, and begun again.

    python tests/chaos/commands.py --minutes 30 --seed 0 --out commands.txt

A command is first run whole and its file events are traced: what it opens for writing, renames, removes, makes and
syncs in its folder. Then it is killed at each of them, in a folder made anew, and at random instants, and the same
command is run until it ends. It must end with the same files, of the same bytes: nothing lost, no draft left. At
some events it is held instead, while a second process tries the same command, or one with other settings, which must be
refused without a byte changed. Only locks, which name their process, are compared by name.
"""

import argparse
import hashlib
import json
import os
import random
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
  seeds: 1
  vary: {plain: {loss: CrossEntropy}, adjusted: {loss: LogitAdjusted}}
"""
COMMANDS = {
    "train": ["train", "faults.yaml", "--out", "out"],
    "compare": ["compare", "faults.yaml", "--out", "out"],
    "pack": ["pack", "faults", "out"],
}
OTHER = {"train": [["-s", "batch_size=8"], ["-s", "epochs=3"]], "compare": [["-s", "epochs=3"]], "pack": []}
MOST_LIVES = 6
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


# -- in the process that is killed ---------------------------------------------------------------------


class Events:
    """Count the file events of this process in a folder; end or hold it at one.

    Args:
        folder: Events elsewhere do not count.
        kill: The event before which the process is killed, from 0; None: it is not.
        hold: The event before which it waits until `resume` is there.
    """

    def __init__(self, folder, kill, hold):
        self.folder, self.kill, self.hold, self.seen = f"{folder}{os.sep}", kill, hold, []
        sys.addaudithook(self.hook)
        sync = os.fsync
        # A sync has no audit event. Before it a file is written and not safe, after it safe and not yet renamed.
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
    """A command of tailfit in this process, with its events traced."""
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
    """What is counted of one command on one backend."""

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
    """The files of a folder, by path: their digests. Of the checkpoints of a run, the newest one.

    Which older ones are kept depends on the steps at which its lives began.
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
        made(root)
        began = time.monotonic()
        told = self.server.life(root, self.command, trace=True)
        self.seconds = time.monotonic() - began
        if told["error"] or told["killed"]:
            raise SystemExit(f"{name} on {backend} does not run at all: {told['error']}")
        self.events = json.loads((root / "trace.json").read_text())
        tally.events = len(self.events)
        self.end = files(self.out)
        shutil.rmtree(self.out)
        self.server.life(root, self.command)
        again = files(self.out)
        # The lock names its process. Nothing else may differ from run to run.
        self.locks = {name for name in self.end if Path(name).name == "lock"}
        differs = [name for name in {*self.end, *again} - self.locks if again.get(name) != self.end.get(name)]
        tally.different += bool(differs)
        tally.notes += [f"differs by itself: {name}" for name in sorted(differs)]

    def trial(self, **kill):
        """A life that is killed, then the same command until it ends; what is there must be what it would have been."""
        shutil.rmtree(self.out, ignore_errors=True)
        where = kill.get("kill_at")
        shown = f"event {where} {self.events[where]}" if where is not None else f"after {kill.get('after', 0):.2f} s"
        for life in range(MOST_LIVES):
            told = self.server.life(self.root, self.command, **(kill if not life else {}))
            if told["killed"]:
                self.tally.kills += 1
                self.tally.random += "after" in kill
            elif told["error"] and not self.is_packed(told["error"]):
                self.tally.refused += 1
                self.tally.notes.append(f"{shown}: {told['error'].strip().splitlines()[-1][:300]}")
                return
            else:
                break
        self.check(shown)

    def is_packed(self, error):
        """Whether `pack` was killed after its last step: a set that is whole is not packed again."""
        return self.name == "pack" and "existing path" in error

    def check(self, shown):
        now = files(self.out)
        left, lost = sorted(now.keys() - self.end.keys()), sorted(self.end.keys() - now.keys())
        other = [name for name in self.end if name not in self.locks and now.get(name, "") != self.end[name]]
        self.tally.left += bool(left)
        self.tally.different += bool(lost or other)
        if left or lost or other:
            self.tally.notes.append(f"{shown}: left {left[:3]}, lost {lost[:3]}, different {other[:3]}")

    def beside(self, hold, settings):
        """Hold the command at an event; a second process must be refused and change nothing."""
        shutil.rmtree(self.out, ignore_errors=True)
        for name in ("held", "go"):
            (self.root / name).unlink(missing_ok=True)
        self.server.begin_command(self.root, self.command, hold_at=hold)
        process = self.held_process()
        stop(process)
        before = files(self.out)
        told = self.second.life(self.root, [*self.command, *settings], log="stderr-second")
        after = files(self.out)
        (self.root / "go").touch()
        os.kill(process, signal.SIGCONT)
        first = self.server.answer()
        self.tally.beside += 1
        shown = f"held at event {hold} {self.events[hold]}, beside it {settings}"
        if told["error"] is None or before != after:
            self.tally.written += 1
            changed = [name for name in {*before, *after} if before.get(name) != after.get(name)]
            self.tally.notes.append(
                f"{shown}: the second {'ended well' if not told['error'] else 'wrote'} {changed[:3]}"
            )
        if first["error"]:
            self.tally.refused += 1
            self.tally.notes.append(f"{shown}: the first {first['error'].strip().splitlines()[-1][:200]}")
        else:
            self.check(shown)

    def held_process(self):
        """The process that is held, once it is."""
        held = self.root / "held"
        for _ in range(100 * chaos.MOST_SECONDS):
            if held.exists() and (said := held.read_text()):
                return int(said)
            time.sleep(0.01)
        raise SystemExit(f"{self.name} on {self.backend} does not get to the event at which it is to be held")


def stop(process):
    """Stop all threads of a process: only the one that met the event waits, and others may have work left."""
    os.kill(process, signal.SIGSTOP)
    state = Path(f"/proc/{process}/stat")
    while state.read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.01)


def made(root):
    """The data and the recipe, the same for every command."""
    import numpy as np

    from tailfit.data import save_npy_folder

    rng = np.random.default_rng(0)
    y = np.arange(60) % 3 % 2
    x = rng.normal(2.0 * y[:, None], size=(60, 3)).astype("float32")
    save_npy_folder(root / "faults", x, np.array(["ok", "leak"])[y])
    (root / "faults.yaml").write_text(RECIPE)


def campaign(backend, name, deadline, draw, every):
    """All events of one command, then random instants until the time is up."""
    tally, server, second = Tally(), Server(backend), Server(backend)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            this = Campaign(backend, name, Path(scratch), server, second, tally)
            held = [number for number, (_, path) in enumerate(this.events) if path.endswith("lock")]
            within = range(held[0] + 1, len(this.events)) if held else ()
            for settings in ([], *OTHER[name]) if within else ():
                for hold in draw.sample(within, min(3, len(within))):
                    this.beside(hold, settings)
            numbers = list(range(0, len(this.events), every))
            draw.shuffle(numbers)
            for number in numbers:
                if time.monotonic() > deadline and tally.kills:
                    tally.notes.append(f"the time was up: {len(numbers)} events were to be tried")
                    break
                this.trial(kill_at=number)
            while time.monotonic() < deadline and tally.random < tally.events // 2:
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
    parser.add_argument("--minutes", type=float, default=30, help="at most so long, over all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backends", nargs="+", default=["torch", "jax", "tensorflow"])
    parser.add_argument("--commands", nargs="+", default=list(COMMANDS))
    parser.add_argument("--every", type=int, default=1, help="try every n-th event only")
    parser.add_argument("--jobs", type=int, default=2, help="campaigns at a time")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    wanted = [(name, backend) for backend in options.backends for name in options.commands]
    began, rounds = time.monotonic(), -(-len(wanted) // options.jobs)

    def one(numbered):
        number, (name, backend) = numbered
        deadline = began + options.minutes * 60 * (number // options.jobs + 1) / rounds
        tally = campaign(backend, name, deadline, random.Random(f"{options.seed} {name} {backend}"), options.every)
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
