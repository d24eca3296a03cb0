"""The meeting of all workers at the address of rank 0, before the backend connects them.

If a worker is missing, the backends print stack traces of C++, and JAX aborts the process. So each worker first sends
rank 0 its rank and the number of workers that it expects, as one line of text; rank 0 answers when all are connected.
Nothing else is sent, and the port is closed afterwards, free for the backend.
"""

import contextlib
import socket
import time
from collections.abc import Iterable
from typing import Final

from tailfit.distributed.environment import Environment
from tailfit.distributed.ports import listener_at
from tailfit.errors import ArgumentError, WorkerError

__all__ = ["meet"]

_MOST_BYTES: Final = 64  # of a line
_READ_SECONDS: Final = 2.0  # for a line, of a program that may not be a worker
_RETRY_SECONDS: Final = 0.1
_ALL_HERE: Final = "all here"


def meet(environment: Environment, seconds: float) -> None:
    """Wait until all workers have connected to the address of rank 0.

    Args:
        environment: The place of this worker.
        seconds: How long to wait.
    Raises:
        ArgumentError: If rank 0 can't listen at the address, two workers have the same rank, or they expect different
            numbers of workers.
        WorkerError: If rank 0 is not reached in time, or not all workers connect.
    """
    if environment.rank == 0:
        _receive(environment, seconds)
    else:
        _announce(environment, seconds)


def _receive(environment: Environment, seconds: float) -> None:
    end = time.monotonic() + seconds
    here: dict[int, socket.socket] = {}
    with contextlib.ExitStack() as opened, listener_at(environment.address, environment.port) as listener:
        while len(here) < environment.world - 1:
            listener.settimeout(max(end - time.monotonic(), 0.01))
            try:
                caller, _ = listener.accept()
            except TimeoutError:
                raise _missing(environment, here, seconds) from None
            opened.enter_context(caller)
            hello = _line(caller).split()
            if len(hello) != 3 or hello[0] != "tailfit" or not (hello[1] + hello[2]).isdecimal():
                continue  # not a worker: a port scanner, a health check
            rank, world = int(hello[1]), int(hello[2])
            if world != environment.world:
                _send([*here.values(), caller], f"world {environment.world}")
                raise _worlds_differ(environment.world, world, rank)
            if rank in here or not 0 < rank < world:
                _send([*here.values(), caller], f"rank {rank}")
                raise _rank_twice(rank)
            here[rank] = caller
        listener.close()  # before the others connect to this port again, by the backend
        _send(here.values(), _ALL_HERE)
        for caller in here.values():  # the callers close first, so that the port is free at once
            with contextlib.suppress(OSError):
                caller.settimeout(_READ_SECONDS)
                caller.recv(1)


def _announce(environment: Environment, seconds: float) -> None:
    end = time.monotonic() + seconds
    where = (environment.address, environment.port)
    reason: object = "no answer"
    while (left := end - time.monotonic()) > 0:
        try:
            with socket.create_connection(where, timeout=left) as connection:
                connection.sendall(f"tailfit {environment.rank} {environment.world}\n".encode())
                answer = _line(connection, max(end - time.monotonic(), 0.01))
        except OSError as error:
            reason = error.strerror or error
            time.sleep(_RETRY_SECONDS)
            continue
        if answer == _ALL_HERE:
            return
        what, _, number = answer.partition(" ")
        if what == "world" and number.isdecimal() and int(number) != environment.world:
            raise _worlds_differ(int(number), environment.world, environment.rank)
        if what == "rank" and number.isdecimal():
            raise _rank_twice(int(number))
        reason = "rank 0 has ended" if answer == "" else "no worker answers there"
        time.sleep(_RETRY_SECONDS)
    raise WorkerError(
        f"no meeting with worker 0 at {environment.address}, port {environment.port}, within {seconds:g} s ({reason})",
        expected=f"all {environment.world} workers to start, and an address that they reach",
        fix="check that rank 0 runs, and that no firewall is between; set TAILFIT_JOIN_SECONDS to wait longer",
    )


def _line(connection: socket.socket, seconds: float = _READ_SECONDS) -> str:
    """Return the line that the other side sends, or as much of it as has arrived."""
    connection.settimeout(seconds)
    received = b""
    with contextlib.suppress(OSError):
        while not received.endswith(b"\n") and len(received) < _MOST_BYTES and (more := connection.recv(_MOST_BYTES)):
            received += more
    return received.decode("ascii", errors="replace").strip()


def _send(connections: Iterable[socket.socket], text: str) -> None:
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.sendall(f"{text}\n".encode())


def _missing(environment: Environment, here: dict[int, socket.socket], seconds: float) -> WorkerError:
    ranks = [rank for rank in range(1, environment.world) if rank not in here]
    shown = ", ".join(map(str, ranks[:8])) + ", ..." * (len(ranks) > 8)
    return WorkerError(
        f"{len(here) + 1} of {environment.world} workers at {environment.address}, port {environment.port}, within "
        f"{seconds:g} s; missing: {shown}",
        expected="all workers to start, and to reach this address",
        fix="check the output of the missing workers; set TAILFIT_JOIN_SECONDS to wait longer",
    )


def _worlds_differ(first: int, other: int, rank: int) -> ArgumentError:
    return ArgumentError(
        f"worker {rank}, which expects {other} workers, and worker 0, which expects {first}",
        expected="the same number of workers (WORLD_SIZE) everywhere",
        fix="start all workers with the same command; or use a different port, if they belong to two trainings",
    )


def _rank_twice(rank: int) -> ArgumentError:
    return ArgumentError(
        f"two workers with rank {rank}",
        expected="ranks 0, 1, 2, ..., each once",
        fix="give each process its own RANK; or use a different port, if they belong to two trainings",
    )
