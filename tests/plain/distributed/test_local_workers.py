"""Worker processes on this machine: watched, ended together, started again when one is lost, never left behind.

The workers here are small programs that speak the protocol without training anything.
"""

import contextlib
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tailfit.distributed.local import LocalWorkers
from tailfit.errors import DataError, WorkerError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and sessions")

PROGRAM = """
import json, os, signal, sys, threading, time
rank = int(os.environ["RANK"])
job = json.loads(sys.stdin.readline())["folder"]
def send(**report): print(json.dumps(report), flush=True)
def first_time(name):
    path = os.path.join(job, name)
    try: os.close(os.open(path, os.O_CREAT | os.O_EXCL)); return True
    except FileExistsError: return False
"""


def program(body: str) -> tuple[str, ...]:
    return (sys.executable, "-c", PROGRAM + textwrap.dedent(body))


def alive(pid: int) -> bool:
    """Whether the process runs; an ended one that its new parent has not yet collected does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def ended(pids: list[int], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(alive, pids))


def test_workers_know_their_place_and_only_rank_0_is_heard(tmp_path: Path) -> None:
    body = """
        print("rank", rank, "of", os.environ["WORLD_SIZE"], "at", os.environ["MASTER_ADDR"], file=sys.stderr)
        send(epoch=1, figures={"loss": rank + 0.1, "nan": float("nan")})
    """
    heard: list[dict[str, object]] = []
    workers = LocalWorkers(
        {"folder": str(tmp_path)}, 3, tmp_path / "logs", on_message=heard.append, command=program(body)
    )
    assert workers.run() == []
    assert [report["figures"]["loss"] for report in heard] == [0.1]  # type: ignore[index]
    for rank in range(3):
        assert f"rank {rank} of 3 at 127.0.0.1" in (tmp_path / "logs" / f"{rank}.log").read_text()


def test_all_start_again_when_one_is_killed(tmp_path: Path) -> None:
    body = """
        if rank == 1 and first_time("killed"): os.kill(os.getpid(), signal.SIGKILL)
        if first_time(f"{rank}.waits"): time.sleep(600)  # for a worker that does not come
        send(epoch=1, figures={})
    """
    told: list[str] = []
    workers = LocalWorkers(
        {"folder": str(tmp_path)}, 2, tmp_path / "logs", grace=0.3, on_restart=told.append, command=program(body)
    )
    # The second attempt of rank 1 waits for its file; then it is ended by nobody: so create the file first.
    (tmp_path / "1.waits").touch()
    assert workers.run() == told == ["worker 1, ended by SIGKILL"]
    assert (tmp_path / "logs" / "1.log").read_text().count("== ") == 2


def test_restarts_are_limited(tmp_path: Path) -> None:
    workers = LocalWorkers({"folder": str(tmp_path)}, 2, tmp_path / "logs", 1, command=program("sys.exit(rank * 7)"))
    with pytest.raises(WorkerError, match=r"worker 1, ended with exit code 7, after 1 restart.*1\.log"):
        workers.run()


@pytest.mark.parametrize("loser", ["reports the loss", "does not report"])
def test_an_error_is_raised_once_and_not_retried(tmp_path: Path, loser: str) -> None:
    body = f"""
        error = {{"class": "DataError", "received": "rank 1", "expected": "b", "fix": "c"}}
        if rank == 1: send(error=error); sys.exit(2)
        if {loser == "reports the loss"}:
            send(error={{**error, "class": "WorkerError"}}); sys.exit(1)
        time.sleep(600)  # it waits for rank 1, and is ended after the grace
    """
    workers = LocalWorkers({"folder": str(tmp_path)}, 2, tmp_path / "logs", grace=2, command=program(body))
    with pytest.raises(DataError, match=r"Received rank 1\. Expected b\. Fix: c\."):
        workers.run()


def test_an_exception_of_another_library_names_the_log(tmp_path: Path) -> None:
    body = 'send(error={"class": "ValueError", "text": "no such layer"}); sys.exit(1)'
    workers = LocalWorkers({"folder": str(tmp_path)}, 1, tmp_path / "logs", command=program(body))
    with pytest.raises(WorkerError, match=r"worker 0: ValueError: no such layer.*logs/0\.log"):
        workers.run()


LAUNCHER = """
import sys
from pathlib import Path
from tailfit.distributed.local import LocalWorkers
from tailfit.resume.signals import exit_on_sigterm
root, body = sys.argv[1:]
with exit_on_sigterm():
    LocalWorkers({"folder": root}, 2, Path(root), command=(sys.executable, "-c", body)).run()
"""
WAITING = """
    from tailfit.processes.parent import Parent
    parent = Parent()
    job = parent.receive()["folder"]
    child = os.fork() if rank == 1 else None
    name = f"{rank}.child.pid" if child == 0 else f"{rank}.pid"
    with open(os.path.join(job, "." + name), "w") as file: file.write(str(os.getpid()))
    os.rename(os.path.join(job, "." + name), os.path.join(job, name))
    def stop(*_):
        open(os.path.join(job, "saved"), "w").close()
        sys.exit(143)
    if rank == 0: signal.signal(signal.SIGTERM, stop)
    while True: time.sleep(0.1)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, None)])
def test_no_worker_outlives_its_launcher(tmp_path: Path, number: int, code: int | None) -> None:
    body = "import os, signal, sys, time\nrank = int(os.environ['RANK'])\n" + textwrap.dedent(WAITING)
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, str(tmp_path), body], stderr=subprocess.DEVNULL)
    names = ("0.pid", "1.pid", "1.child.pid")
    end = time.monotonic() + 60
    while not all((tmp_path / name).exists() for name in names) and time.monotonic() < end:
        time.sleep(0.05)
    pids = [int((tmp_path / name).read_text()) for name in names]
    assert all(map(alive, pids))
    launcher.send_signal(number)
    status = launcher.wait(30)
    assert status == code if code is not None else status in (130, -signal.SIGINT)
    assert ended(pids)
    assert (tmp_path / "saved").exists() == (number != signal.SIGKILL)  # rank 0 was asked, and had the time
