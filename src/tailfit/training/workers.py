"""Workers: several processes that train one model together, connected by the backend's own transport.

Concepts:
- *worker*: a process with a rank; all run the same script on the same data.
- *joined*: within `joined(rank, world, ...)` the workers exchange arrays. Nothing is pickled, and there is no other
  connection than those of torch.distributed (gloo) and of JAX's runtime (gloo, NCCL).
- *exact*: whether sums over workers are added in a fixed order; see `tailfit.training.parts`.
"""

import ipaddress
import json
import math
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import keras
import numpy as np

from tailfit.arguments import whole_number
from tailfit.errors import ArgumentError, TailfitError, WorkerError
from tailfit.storage.json_text import parsed
from tailfit.training.backends import engine
from tailfit.workers import Place, placed

__all__ = ["Exchange", "exchange", "joined"]


class _Transport(Protocol):
    def gather(self, array: Any) -> list[Any]: ...
    def total(self, array: Any) -> Any: ...
    def close(self) -> None: ...


class Exchange:
    """The exchange of arrays between the workers; a worker alone exchanges with nobody.

    Every worker must make the same calls in the same order, with arrays of the same shapes and dtypes.

    Args:
        place: The place of this worker.
        transport: The backend's transport; None for a worker alone.
        exact: Whether sums are added in a fixed order.
    Attributes:
        messages, bytes: Number of collectives so far, and of bytes that this worker has received from others.

    >>> Exchange().documents({"rows": 3})
    [{'rows': 3}]
    """

    def __init__(self, place: Place | None = None, transport: _Transport | None = None, *, exact: bool = True) -> None:
        self.place, self.exact, self._transport = place or Place(), exact, transport
        self.messages = self.bytes = 0

    def gather(self, array: Any) -> list[Any]:
        """Return the arrays of all workers, by rank.

        Raises:
            WorkerError: If a worker was lost.
        """
        if self._transport is None:
            return [array]
        self._count(array, self.place.world - 1)
        with self._lost_workers_explained():
            return self._transport.gather(array)

    def gather_all(self, arrays: Sequence[Any]) -> list[list[Any]]:
        """Return several arrays of all workers, by rank, with one message for each dtype."""
        dtypes = [keras.backend.standardize_dtype(array.dtype) for array in arrays]
        parts: list[list[Any]] = [[None] * len(arrays) for _ in range(self.place.world)]
        for dtype in sorted(set(dtypes)):
            chosen = [index for index, own in enumerate(dtypes) if own == dtype]
            flat = [keras.ops.reshape(arrays[index], (-1,)) for index in chosen]
            for rank, received in enumerate(self.gather(keras.ops.concatenate(flat))):
                start = 0
                for index in chosen:
                    shape = tuple(arrays[index].shape)
                    end = start + math.prod(shape)
                    parts[rank][index] = keras.ops.reshape(received[start:end], shape)
                    start = end
        return parts

    def total(self, array: Any) -> Any:
        """Return the sum over all workers, added in any order.

        Raises:
            WorkerError: If a worker was lost.
        """
        if self._transport is None:
            return array
        self._count(array, 2 * (self.place.world - 1) / self.place.world)
        with self._lost_workers_explained():
            return self._transport.total(array)

    def documents(self, document: Any) -> list[Any]:
        """Return the JSON documents of all workers, by rank."""
        if self._transport is None:
            return [parsed(json.dumps(document))]
        text = np.frombuffer(json.dumps(document).encode(), np.uint8)
        sizes = [int(_numpy(size)[0]) for size in self.gather(np.array([len(text)], np.int32))]
        padded = np.zeros(max(sizes), np.uint8)
        padded[: len(text)] = text
        texts = [_numpy(part)[:size].tobytes() for part, size in zip(self.gather(padded), sizes, strict=True)]
        return [parsed(part) for part in texts]

    def close(self) -> None:
        """End the connections."""
        if self._transport is not None:
            self._transport.close()

    def _count(self, array: Any, times: float) -> None:
        size = np.dtype("uint8" if array.dtype == bool else keras.backend.standardize_dtype(array.dtype)).itemsize
        self.messages += 1
        self.bytes += int(times * size * int(np.prod(array.shape)))

    @contextmanager
    def _lost_workers_explained(self) -> Iterator[None]:
        try:
            yield
        except TailfitError:
            raise
        except Exception as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise WorkerError(
                f"no answer from another worker, at rank {self.place.rank} of {self.place.world} ({first[:200]})",
                expected=f"{self.place.world} workers that run until the training ends",
                fix="look for the first error in the logs of the other workers; then start all workers again, with "
                "tailfit.callbacks.Resume from the last checkpoint",
            ) from error


def _numpy(array: Any) -> Any:
    return np.asarray(keras.ops.convert_to_numpy(array))


_exchange = Exchange()


def exchange() -> Exchange:
    """Return the exchange with the workers that this process has joined; that of a worker alone otherwise."""
    return _exchange


@contextmanager
def joined(
    rank: int, world: int, address: str, port: int, timeout: float = 30.0, *, exact: bool = True
) -> Iterator[Exchange]:
    """Join the other workers of a training: within this context, `fit` trains one model together with them.

    Enter it at the beginning of the script: on JAX before any array or layer is created, and once per process.

    Args:
        rank: Index of this worker, 0 <= rank < world. Rank 0 listens at the address.
        world: Number of workers. With 1 nothing is connected.
        address: Address or name of the machine of rank 0. With a loopback address, such as 127.0.0.1, all sockets are
            loopback sockets.
        port: Free port on that machine, 1 to 65535.
        timeout: Seconds within which all workers must join, and later answer each other.
        exact: Whether gradients are added in a fixed order, so that they have the same bits with any number of
            workers. False is faster, with differences of about 1e-5.
    Raises:
        ArgumentError: If an argument is out of range.
        StepError: If the backend cannot connect workers, or JAX has been used before.
        WorkerError: If not all workers join in time.

    >>> with joined(0, 1, "127.0.0.1", 29500) as alone:
    ...     alone.place
    Place(rank=0, world=1)
    """
    global _exchange
    place = Place(rank, world)
    _check(address, port, timeout)
    if world == 1:
        made = Exchange(place, exact=exact)
    else:
        connecting = Exchange(place)
        with connecting._lost_workers_explained():
            transport = engine.connect(rank, world, address, port, timeout, loopback=_is_loopback(address))
        made = Exchange(place, transport, exact=exact)
    before, _exchange = _exchange, made
    try:
        with placed(rank, world):
            yield made
            with suppress(WorkerError):  # one may go on alone, such as rank 0 that evaluates, longer than others wait
                made.documents({})  # no worker leaves while others may still need it
    finally:
        _exchange = before
        made.close()


def _check(address: Any, port: Any, timeout: Any) -> None:
    whole_number("port", port, least=1)
    if not isinstance(address, str) or not address or port > 65535:
        raise ArgumentError(
            f"address={address!r} with port={port}",
            expected="the address of the machine of rank 0, and a port from 1 to 65535",
            fix="pass '127.0.0.1' and 29500, for example, for workers on one machine",
        )
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
        raise ArgumentError(f"timeout={timeout!r}", expected="seconds > 0", fix="pass timeout=30, for example")


def _is_loopback(address: str) -> bool:
    try:
        found = socket.getaddrinfo(address, None)
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(entry[4][0]).is_loopback for entry in found)
