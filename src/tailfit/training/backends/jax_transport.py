"""JAX: arrays are exchanged between workers by JAX's own runtime: gloo on CPUs, NCCL on GPUs."""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import jax
import jax._src.distributed
import jax._src.xla_bridge
import jaxlib._jax  # type: ignore[import-not-found]
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from tailfit.errors import StepError

__all__ = ["Transport", "connect"]


class Transport:
    """Collectives over one device of each process.

    They run in a thread: unlike this one, it may wait for a lost worker for ever.

    Args:
        world: Number of workers.
        timeout: Seconds that a collective may take.
    """

    def __init__(self, world: int, timeout: float) -> None:
        self._world, self._timeout = world, timeout
        devices = [next(device for device in jax.devices() if device.process_index == rank) for rank in range(world)]
        mesh = Mesh(np.array(devices), ("worker",))
        self._split = NamedSharding(mesh, PartitionSpec("worker"))  # type: ignore[no-untyped-call]
        whole = NamedSharding(mesh, PartitionSpec())  # type: ignore[no-untyped-call]
        self._gather = jax.jit(lambda parts: parts, out_shardings=whole)
        self._total = jax.jit(lambda parts: parts.sum(0), out_shardings=whole)
        self._calls: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self._results: SimpleQueue[Any] = SimpleQueue()
        threading.Thread(target=self._work, name="tailfit-transport", daemon=True).start()

    def gather(self, array: Any) -> list[Any]:
        """Return the arrays of all workers, by rank; all have one shape and dtype."""
        every = self._run(self._gather, array)
        return [every[rank] for rank in range(self._world)]

    def total(self, array: Any) -> Any:
        """Return the sum over the workers, in an order that the transport chooses."""
        return self._run(self._total, array)

    def close(self) -> None:
        """End the thread; JAX keeps the connections as long as the process runs."""
        self._calls.put(None)

    def _run(self, program: Callable[[Any], Any], array: Any) -> Any:
        self._calls.put(partial(self._collect, program, jax.numpy.asarray(array)))
        try:
            result = self._results.get(timeout=self._timeout)
        except Empty:
            raise TimeoutError(f"no answer within {self._timeout:g} s") from None
        if isinstance(result, BaseException):
            raise result
        return result

    def _collect(self, program: Callable[[Any], Any], array: Any) -> Any:
        shape = (self._world, *array.shape)
        own = jax.device_put(array[None], self._split.mesh.devices[jax.process_index()])
        parts = jax.make_array_from_single_device_arrays(shape, self._split, [own])
        return program(parts).addressable_data(0).block_until_ready()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                self._results.put(call())
            except BaseException as error:
                self._results.put(error)


def connect(rank: int, world: int, address: str, port: int, timeout: float, *, loopback: bool) -> Transport:
    """Connect this worker with the others; rank 0 listens at the address until all are connected.

    Raises:
        StepError: If JAX has been used before, or is connected already.
    """
    state = jax._src.distributed.global_state
    if jax._src.xla_bridge.backends_are_initialized() or state.client is not None:
        raise StepError(
            "a process that has used JAX before it joined the other workers",
            expected="workers that join first, once per process: JAX connects processes when it starts",
            fix="join at the beginning of the script, before layers and arrays are created",
        )
    host = f"[{address}]" if ":" in address else address
    seconds = max(int(timeout), 1)
    # The preemption service would catch SIGTERM.
    jax.config.update("jax_enable_preemption_service", False)  # type: ignore[no-untyped-call]
    with _gloo_at(address if loopback else None):
        jax.distributed.initialize(
            f"{host}:{port}",
            world,
            rank,
            cluster_detection_method="deactivate",
            initialization_timeout=seconds,
            heartbeat_timeout_seconds=seconds,
            shutdown_timeout_seconds=seconds,
            coordinator_bind_address=f"{host}:{port}",
        )
        jax.devices()
    transport = Transport(world, timeout)
    if jax.default_backend() == "cpu":
        with _standard_output_kept_clean():
            _leave_coordinator(transport, state)
    return transport


def _leave_coordinator(transport: Transport, state: Any) -> None:
    """End JAX's coordination service, which aborts all processes if it misses one.

    Gloo needs it only to connect the workers, which the first collective does. Without it, a lost worker is an error
    that can be caught and explained. `test_a_lost_worker_is_an_error` guards it.
    """
    transport.gather(np.zeros(1, np.float32))
    transport.total(np.zeros(1, np.float32))
    state.client.shutdown()
    transport.gather(np.zeros(1, np.float32))
    if state.service is not None:
        state.service.shutdown()
    state.client = state.service = None


@contextlib.contextmanager
def _standard_output_kept_clean() -> Iterator[None]:
    """Print on standard error instead of standard output: gloo, which is C++, reports its connections there."""
    sys.stdout.flush()
    output = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(output, 1)
        os.close(output)


@contextlib.contextmanager
def _gloo_at(address: str | None) -> Iterator[None]:
    """Let JAX's gloo listen at an address; by itself, it takes the first address of this machine's name."""
    make = jaxlib._jax.make_gloo_tcp_collectives
    if address is not None:
        jaxlib._jax.make_gloo_tcp_collectives = partial(make, hostname=address)
    try:
        yield
    finally:
        jaxlib._jax.make_gloo_tcp_collectives = make
