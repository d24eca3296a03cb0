"""A fork server: a process that has imported Keras and its backend, and forks one child per run.

It reads one JSON object per line: `{"folder", "run", "save_freq", "with": "tailfit" | "keras", "kill": {...}}`, forks a
child for the run, and answers with a line `{"killed": bool, "seconds", "error"}` when the child has ended. `kill`
specifies how the child is killed: `{"after": seconds}` by the server after this time; `{"disk": n}` by itself after its
n-th system call that writes to disk; `{"step": n}` by itself in its n-th step; `{}` not at all. A job with `command`
runs a command of tailfit instead, see `commands.py`.
"""

import json
import os
import pickle
import select
import signal
import sys
import time
import traceback
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

if os.environ["KERAS_BACKEND"] != "tensorflow":
    sys.path.insert(0, str(Path(__file__).with_name("without_tensorflow")))  # also for worker processes

import commands
import keras
from chaos import MOST_SECONDS
from support import resumable

import tailfit.recipes.training  # noqa: F401  # once in the server, not in every child
from tailfit.storage.disk import Disk


class Stop(keras.callbacks.Callback):
    """Callback that kills its own process in its n-th step."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def get_state(self):
        return {}

    def set_state(self, state):
        pass

    def on_train_batch_begin(self, batch, logs=None):
        if self.step is not None:
            self.step -= 1
            if self.step < 0:
                os.kill(os.getpid(), signal.SIGKILL)


def die_at_the_disk(calls):
    """Make the process kill itself after a number of system calls that write to disk."""
    left = [calls]

    def counted(method):
        def call(self, *args):
            result = method(self, *args)
            left[0] -= 1
            if left[0] <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for name in ("make_folder", "create", "write", "sync", "close", "sync_folder", "rename"):
        setattr(Disk, name, counted(getattr(Disk, name)))


def work(job):
    """Run the job in the child, and return its exit status."""
    if "command" in job:
        return commands.run(job)
    folder, kill = Path(job["folder"]), job["kill"]
    if "disk" in kill:
        die_at_the_disk(kill["disk"])
    stop = Stop(kill.get("step"))
    if job["with"] == "tailfit":
        end = resumable.run(job["run"], folder, stop, save_freq=job["save_freq"])
    else:
        end = resumable.run_with_backup(job["run"], folder, stop, save_freq=job["save_freq"])
    fresh = folder / "end.tmp"
    fresh.write_bytes(pickle.dumps(end))
    fresh.rename(folder / "end")
    return 0


def serve(job):
    """Fork a child for the job, wait for it or kill it, and return the answer."""
    log = Path(job["folder"]) / job.get("log", "stderr")
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        if "command" in job:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 1
        try:
            status = work(job)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    handle = os.pidfd_open(child)
    after = job["kill"].get("after")
    hung = False
    try:
        if not select.select([handle], [], [], MOST_SECONDS if after is None else after)[0]:
            hung = after is None
            os.kill(child, signal.SIGKILL)
    finally:
        os.close(handle)
    status = os.waitpid(child, 0)[1]
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL and not hung
    error = None if status == 0 or killed else f"{log.read_text()[-2000:]}\nended with status {status}"
    if hung:
        error = f"no end after {MOST_SECONDS} s"
    return {"killed": killed, "seconds": time.monotonic() - began, "error": error}


def main():
    # Nothing is computed before the fork: a backend that has computed has threads, which a fork does not copy.
    print(json.dumps({"ready": keras.backend.backend()}), flush=True)
    for line in sys.stdin:
        print(json.dumps(serve(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
