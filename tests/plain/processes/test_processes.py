"""Processes that exchange messages: none outlives the one that started it, and a lock holds as long as any runs."""

import os
import queue
import signal
import subprocess
import sys
import time

import pytest

from tailfit.errors import CheckpointError, DataError, WorkerError
from tailfit.processes.child import Child, child_environment
from tailfit.processes.messages import describe_error, error_of, parsed
from tailfit.resume.lock import Lock

ECHO = """
import os, sys
from tailfit.processes.parent import Parent
parent = Parent()
print("printed", flush=True)
while (message := parent.receive()) is not None:
    parent.send({"got": message, "input": sys.stdin.read() if "read" in message else None})
    if "exit" in message:
        sys.exit(message["exit"])
"""
# Starts a child and tells its number, then waits. The child holds on for a moment after it lost its parent.
PARENT = """
import pathlib, queue, sys, tempfile, time
from tailfit.processes.child import Child, child_environment
from tailfit.resume.lock import Lock
lock = Lock(pathlib.Path(sys.argv[1]))
events = queue.Queue()
command, output = [sys.executable, "-c", sys.argv[2]], tempfile.TemporaryFile()
child = Child(command, child_environment({}), output, events, lock.descriptors)
child.send({"begin": True})
print(events.get()[1]["number"], flush=True)
time.sleep(600)
"""
OBEDIENT = """
import os, time
from tailfit.processes.parent import Parent
parent = Parent()
parent.receive()
parent.send({"number": os.getpid()})
time.sleep(600)
"""
SLOW = OBEDIENT.replace(
    "parent = Parent()",
    "import tailfit.processes.parent as module\nmodule._end_at_once = lambda: "
    "(time.sleep(1), os._exit(1))\nparent = Parent()",
)


def started(code, tmp_path):
    events = queue.Queue()
    with open(tmp_path / "output", "wb") as output:
        return Child([sys.executable, "-c", code], child_environment({}), output, events), events


def test_messages_pass_and_output_does_not_mix_with_them(tmp_path):
    child, events = started(ECHO, tmp_path)
    child.send({"a": [1, None, "ü\n"]})
    assert events.get(timeout=60) == (child, {"got": {"a": [1, None, "ü\n"]}, "input": None})
    child.send({"read": 1})  # the program's own standard input is empty
    assert events.get(timeout=60)[1]["input"] == ""
    child.send({"exit": 3})
    assert events.get(timeout=60)[1]["got"] == {"exit": 3}
    assert events.get(timeout=60) == (child, None)
    assert (child.status, child.end, child.killed) == (3, "ended with exit code 3", False)
    assert (tmp_path / "output").read_text() == "printed\n"
    child.send({"nobody": "reads this"})
    child.kill()
    assert not child.killed


def test_a_killed_child_is_reported(tmp_path):
    child, events = started(ECHO, tmp_path)
    child.send({"a": 1})
    assert events.get(timeout=60)[1]["got"] == {"a": 1}
    assert not child.wait(0)
    assert child.end == "still running"
    child.kill()
    assert events.get(timeout=60) == (child, None)
    assert (child.status, child.end, child.killed) == (-signal.SIGKILL, "ended by SIGKILL", True)


def exists(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(sys.platform == "win32", reason="locks and signals of POSIX")
@pytest.mark.parametrize("child", [OBEDIENT, SLOW], ids=["ends at once", "ends a second later"])
def test_a_child_ends_with_its_parent_and_holds_the_lock_until_then(child, tmp_path):
    command = [sys.executable, "-c", PARENT, str(tmp_path), child]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, env=child_environment({}))
    try:
        number = int(parent.stdout.readline())
        began = time.monotonic()
        with pytest.raises(CheckpointError, match="another run is at work"):
            Lock(tmp_path)
        assert time.monotonic() - began < 5  # no waiting for a process that is alive
        assert exists(number)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    Lock(tmp_path).release()  # waits for the child
    until = time.monotonic() + 10
    while exists(number) and time.monotonic() < until:  # a moment, until the system has reaped it
        time.sleep(0.01)
    assert not exists(number)


def test_a_program_without_a_parent_says_so():
    command = [sys.executable, "-m", "tailfit.recipes.worker"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "started by tailfit compare --jobs" in done.stderr


def test_errors_are_described_and_made_again():
    error = DataError("3 IDs", expected="4 IDs", fix="add one")
    again = error_of(describe_error(error), "worker 1")
    assert (type(again), str(again)) == (DataError, str(error))
    try:
        _ = 1 / 0
    except ZeroDivisionError as raised:
        described = describe_error(raised)
    again = error_of(described, "worker 1", "see its log")
    assert isinstance(again, WorkerError)
    assert "worker 1: ZeroDivisionError: division by zero" in str(again)
    assert "_ = 1 / 0" in again.__notes__[0]
    assert type(error_of({"class": "SystemError", "received": "x"}, "worker 1")) is WorkerError
    assert parsed(b'{"cut": ') is None
    assert parsed(b"[1]") is None
