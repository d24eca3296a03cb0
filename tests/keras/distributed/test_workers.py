"""Several worker processes on this machine: the same bits, loopback sockets, and errors instead of waiting."""

import os
import signal
import time

import keras
import pytest
from support.distributed_runs import difference, log_of, run, workers

from tailfit.errors import ArgumentError, StepError
from tailfit.training.workers import exchange, joined

BACKEND = keras.backend.backend()


@pytest.mark.only_on("jax", "torch")
def test_two_workers_end_with_the_same_bits_as_one(tmp_path):
    cases = ["weighted", "short"]
    assert run(BACKEND, 1, tmp_path / "one", cases) == [0]
    assert run(BACKEND, 2, tmp_path / "two", cases, sockets=1) == [0, 0]
    for case in cases:
        for rank in range(2):
            assert difference(tmp_path / "one" / f"{case}.0.npz", tmp_path / "two" / f"{case}.{rank}.npz") == ""
    for rank in range(2):
        addresses = (tmp_path / "two" / f"sockets.{rank}").read_text().split()
        assert addresses
        assert all(address.split(":")[0].endswith("0100007F") for address in addresses)


@pytest.mark.only_on("jax", "torch")
def test_a_lost_worker_is_an_error(tmp_path):
    """The first training is refused, since the workers have different data; the second loses rank 0."""
    options = {"break": "data", "resume": tmp_path / "runs", "pause": 0.5}
    with workers(BACKEND, 2, tmp_path, ["weighted", "short"], **options) as (first, _second):
        deadline = time.monotonic() + 300
        while "step" not in log_of(tmp_path, 1) and time.monotonic() < deadline:
            time.sleep(0.1)
        os.kill(first.pid, signal.SIGKILL)
        killed = time.monotonic()
        while "short WorkerError" not in log_of(tmp_path, 1) and time.monotonic() < killed + 30:
            time.sleep(0.1)
    log = log_of(tmp_path, 1)
    assert "weighted WorkerError" in log
    assert "data of rank 1" in log
    assert "short WorkerError: Received no answer from another worker, at rank 1 of 2" in log


def test_a_worker_alone_and_bad_arguments():
    with joined(0, 1, "127.0.0.1", 29500) as alone:
        assert exchange() is alone
        assert alone.documents([1]) == [[1]]
    with pytest.raises(ArgumentError, match="rank=2"), joined(2, 2, "127.0.0.1", 29500):
        pass
    with pytest.raises(ArgumentError, match="port"), joined(0, 2, "127.0.0.1", 70000):
        pass
    with pytest.raises(ArgumentError, match="timeout"), joined(0, 2, "127.0.0.1", 29500, timeout=0):
        pass


@pytest.mark.only_on("tensorflow")
def test_tensorflow_has_no_transport():
    with pytest.raises(StepError, match="2 workers on TensorFlow"), joined(0, 2, "127.0.0.1", 29500):
        pass
