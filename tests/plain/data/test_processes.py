"""`Processes`: batches are equal to those made in the main process, errors are raised, and no process is left."""

import contextlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
from support import in_processes
from support.paths import ROOT

from tailfit.data import Arrays, NpyFolder
from tailfit.data.feeding.processes import Processes, Task
from tailfit.data.feeding.transforming import Transform
from tailfit.errors import ArgumentError, RecordError, StepError

X = np.arange(12.0)


def tasks(source=None, epoch=3):
    """Yield tasks for six batches of two samples, with their records if there is a source."""
    for step in range(6):
        indices = np.array([2 * step, 2 * step + 1])
        yield Task(epoch, step, (0, 1), indices, None if source is None else source.read(indices), (indices,), {})


@contextlib.contextmanager
def pool(function, number=2, source=None):
    made = Processes(number, source, None if function is None else Transform(function, seed=7))
    try:
        yield made
    finally:
        made.close()
        assert not multiprocessing.active_children()


def test_batches_do_not_depend_on_the_number_of_processes():
    source, transform = Arrays(X), Transform(in_processes.noise, seed=7)
    expected = [transform((task.records, *task.rest), 3, task.step)[0] for task in tasks(source)]
    for number in (1, 3):
        with pool(in_processes.noise, number) as processes:
            for ahead in (0, 2, 50):
                got = list(processes.make(tasks(source), ahead))
                np.testing.assert_array_equal([x for x, _ in got], expected)
                assert [y.tolist() for _, y in got] == [[2 * step, 2 * step + 1] for step in range(6)]


def test_workers_do_the_work_and_are_reused_in_the_next_epoch(tmp_path):
    with pool(in_processes.where) as processes:
        assert not multiprocessing.active_children()  # no worker before the first batch is requested
        epochs = [np.unique([x for x, _ in processes.make(tasks(Arrays(X)), 1)]) for _ in range(2)]
        assert os.getpid() not in epochs[0]
        assert len(set(epochs[0].tolist()) | set(epochs[1].tolist())) <= 2
        again = pickle.loads(pickle.dumps(processes))
        assert len(list(again.make(tasks(Arrays(X)), 0))) == 6
        again.close()


def test_errors_are_raised_in_order_with_file_name_and_traceback(tmp_path):
    for number, value in enumerate(X):
        np.save(tmp_path / f"{number:02d}.npy", value)
    folder = NpyFolder(tmp_path)
    (tmp_path / "05.npy").write_bytes(b"")
    with pool(None, source=folder) as processes:
        stream = processes.make(tasks(), 1)
        assert [next(stream)[0].tolist() for _ in range(2)] == [[0.0, 1.0], [2.0, 3.0]]
        with pytest.raises(RecordError, match=r"05\.npy: an empty file"):
            next(stream)
    with pool(in_processes.fail_at_five) as processes:
        with pytest.raises(LookupError, match="five is not in the table") as caught:
            list(processes.make(tasks(Arrays(X)), 1))
        shown = "".join(traceback.format_exception(caught.value))
        assert "in_processes.py" in shown
        assert "fail_at_five" in shown


def test_a_dead_worker_is_an_error_not_a_deadlock():
    with pool(in_processes.end_at_five) as processes:
        with pytest.raises(StepError, match="one of which died"):
            list(processes.make(tasks(Arrays(X)), 1))
        assert len(list(processes.make(tasks(Arrays(X + 100)), 1))) == 6  # by new workers


def test_closing_does_not_wait_for_a_batch():
    with pool(in_processes.sleep_long) as processes:
        stream = processes.make(tasks(Arrays(X)), 0)
        children = start_and_give_up(stream)
        assert children
        began = time.monotonic()
    assert time.monotonic() - began < 20


def start_and_give_up(stream):
    """Request a batch that never ends, and raise KeyboardInterrupt."""

    def interrupt(signum, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 3.0)
    try:
        with pytest.raises(KeyboardInterrupt):
            next(stream)
    finally:
        signal.signal(signal.SIGALRM, before)
    return True


@pytest.mark.parametrize("killed", [signal.SIGINT, signal.SIGKILL])
def test_workers_exit_with_the_main_process(killed):
    """Ctrl-C reaches the whole process group; a kill reaches only one process, and the workers must detect it."""
    script = """
import multiprocessing, threading, time
import numpy as np
from support import in_processes
from tailfit.data.feeding.processes import Processes, Task
from tailfit.data.feeding.transforming import Transform

if __name__ == "__main__":
    processes = Processes(2, None, Transform(in_processes.tell_and_sleep, 0))
    stream = processes.make((Task(0, n, (0, 1), np.zeros(1), np.zeros(1), (), {}) for n in range(9)), 0)
    def tell():
        while len(multiprocessing.active_children()) < 2:
            time.sleep(0.05)
        print(*[child.pid for child in multiprocessing.active_children()], flush=True)
    threading.Thread(target=tell).start()
    next(stream)
"""
    here = str(ROOT / "tests")
    reader = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": here},
    )
    children = [int(word) for word in reader.stdout.readline().split()]
    assert len(children) == 2
    assert reader.stdout.readline() == "begun\n"
    if killed == signal.SIGINT:
        os.killpg(reader.pid, killed)
    else:
        reader.kill()
    _, messages = reader.communicate(timeout=60)
    assert reader.returncode != 0
    assert messages.count("Traceback") == (1 if killed == signal.SIGINT else 0), messages
    deadline = time.monotonic() + 30
    while any(is_alive(child) for child in children):
        assert time.monotonic() < deadline, "a process is left"
        time.sleep(0.1)


def is_alive(pid):
    """Return whether a process is running and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_unpicklable_arguments_are_refused():
    with pytest.raises(ArgumentError, match="processes=2"):
        Processes(2, None, Transform(lambda batch, rng: batch, 0))


def test_ctrl_c_interrupts_the_wait_for_a_batch_and_for_the_thread():
    """polars' signal handler makes waits resume; see `tailfit.data.feeding.read_ahead`."""
    script = """
import time
import tailfit.data
from tailfit.data.feeding.read_ahead import read_ahead

def slow():
    yield 0
    print("begun", flush=True)
    time.sleep(600)

for _ in read_ahead(slow(), 1):
    pass
"""
    reader = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert reader.stdout.readline() == "begun\n"
    for _ in range(2):
        reader.send_signal(signal.SIGINT)
        time.sleep(1.0)
    _, messages = reader.communicate(timeout=60)
    assert messages.rstrip().endswith("KeyboardInterrupt")
