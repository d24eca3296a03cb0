"""The meeting of workers at the address of rank 0: all come, or each is told who is missing or wrong."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tailfit.distributed.environment import Environment
from tailfit.distributed.meeting import meet
from tailfit.distributed.ports import free_port
from tailfit.errors import ArgumentError, TailfitError, WorkerError


def outcome(rank: int, world: int, port: int, seconds: float) -> TailfitError | None:
    try:
        meet(Environment(rank, world, "127.0.0.1", port, 0, "a test"), seconds)
    except TailfitError as error:
        return error
    return None


def outcomes(*workers: tuple[int, int], seconds: float = 10) -> list[TailfitError | None]:
    """Let workers (rank, world) meet, and return the errors of each."""
    port = free_port()
    with ThreadPoolExecutor(len(workers)) as pool:
        started = [pool.submit(outcome, rank, world, port, seconds) for rank, world in workers]
        return [each.result(30) for each in started]


def test_all_meet_in_any_order_and_the_port_is_free_afterwards() -> None:
    port = free_port()
    for _ in range(3):  # again on the same port, as after a restart
        with ThreadPoolExecutor(5) as pool:
            others = [pool.submit(outcome, rank, 5, port, 10) for rank in (4, 2, 3, 1)]
            time.sleep(0.1)
            assert outcome(0, 5, port, 10) is None
            assert [each.result(30) for each in others] == [None] * 4


def test_nothing_listens_any_more_when_a_worker_is_told_that_all_are_here() -> None:
    port = free_port()

    def then_connect() -> None:
        assert outcome(1, 2, port, 10) is None
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))

    with ThreadPoolExecutor(2) as pool:
        started = [pool.submit(then_connect), pool.submit(outcome, 0, 2, port, 10)]
        assert [each.result(30) for each in started] == [None, None]


def test_what_is_no_worker_is_ignored() -> None:
    port = free_port()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(outcome, 0, 2, port, 10)
        for sent in (b"GET / HTTP/1.1\r\n\r\n", b"tailfit one two\n", b"\xff" * 1000, b""):
            while True:
                try:
                    with socket.create_connection(("127.0.0.1", port)) as stranger:
                        stranger.sendall(sent)
                    break
                except ConnectionRefusedError:  # rank 0 does not listen yet
                    time.sleep(0.01)
        assert outcome(1, 2, port, 10) is None
        assert first.result(30) is None


def test_rank_0_names_those_who_are_missing() -> None:
    first, second = outcomes((0, 4), (2, 4), seconds=0.5)
    assert isinstance(first, WorkerError)
    assert "2 of 4 workers" in str(first)
    assert "missing: 1, 3" in str(first)
    assert isinstance(second, WorkerError)
    assert "no meeting with worker 0 at 127.0.0.1" in str(second)


def test_a_worker_without_rank_0() -> None:
    (error,) = outcomes((1, 2), seconds=0.5)
    assert isinstance(error, WorkerError)
    assert "Connection refused" in str(error)


def test_a_worker_at_the_port_of_another_program() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            while True:
                try:
                    caller, _ = server.accept()
                except OSError:
                    return
                with caller:
                    caller.sendall(b"220 mail.example ESMTP\r\n")

        threading.Thread(target=answer, daemon=True).start()
        error = outcome(1, 2, port, 0.5)
        assert "no worker answers there" in str(error)


@pytest.mark.parametrize("workers", [[(0, 2), (1, 3)], [(0, 3), (1, 2)]])
def test_different_numbers_of_workers(workers: list[tuple[int, int]]) -> None:
    for error in outcomes(*workers):
        assert isinstance(error, ArgumentError)
        assert f"worker 1, which expects {workers[1][1]} workers, and worker 0, which expects {workers[0][1]}" in str(
            error
        )


def test_two_workers_with_one_rank() -> None:
    for error in outcomes((0, 3), (1, 3), (1, 3)):
        assert isinstance(error, ArgumentError)
        assert "two workers with rank 1" in str(error)
