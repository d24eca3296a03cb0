"""torch: arrays are exchanged between workers by gloo, or by NCCL if every worker has its own GPU."""

import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as distributed

from tailfit.errors import PackageError

__all__ = ["Transport", "connect"]


class Transport:
    """A process group of torch, which is not torch's default group.

    Args:
        group: The group.
        world: Number of workers.
    """

    def __init__(self, group: Any, world: int) -> None:
        self._group, self._world = group, world

    def gather(self, array: Any) -> list[Any]:
        """Return the arrays of all workers, by rank; all have one shape and dtype."""
        # Bytes: gloo cannot send all dtypes. A collective reads and writes memory that no one else uses.
        given = torch.as_tensor(array).detach()
        sent = given.to("cpu").contiguous().view(-1).view(torch.uint8)
        received = [torch.empty_like(sent) for _ in range(self._world)]
        self._group.allgather([received], [sent]).wait()
        return [part.view(given.dtype).view(given.shape).to(given.device) for part in received]

    def total(self, array: Any) -> Any:
        """Return the sum over the workers, in an order that the transport chooses."""
        given = torch.as_tensor(array).detach()
        total = given.to("cpu", copy=True).contiguous()
        self._group.allreduce([total]).wait()
        return total.to(given.device)

    def close(self) -> None:
        """End the connections."""
        abort: Callable[[], None] = getattr(self._group, "abort", lambda: None)
        abort()
        self._group = None


def connect(rank: int, world: int, address: str, port: int, timeout: float, *, loopback: bool) -> Transport:
    """Connect this worker with the others; rank 0 listens at the address."""
    if not distributed.is_available():
        raise PackageError(
            "a build of torch without torch.distributed",
            expected="torch with torch.distributed for more than one worker",
            fix="install torch from its official packages",
        )
    wait = timedelta(seconds=timeout)
    listener = _listener(address, port) if rank == 0 else None  # by itself, torch would listen on all interfaces
    store = distributed.TCPStore(  # type: ignore[attr-defined]
        address, port, world, rank == 0, timeout=wait, wait_for_workers=False, master_listen_fd=listener
    )
    options = distributed.ProcessGroupGloo._Options()  # type: ignore[attr-defined]
    options._timeout = wait
    options._devices = [_device(address if loopback else "")]
    prefixed = distributed.PrefixStore("tailfit", store)  # type: ignore[attr-defined]
    group = distributed.ProcessGroupGloo(prefixed, rank, world, options)
    return Transport(group, world)


def _device(hostname: str) -> Any:
    make = distributed.ProcessGroupGloo
    return make.create_device(hostname=hostname) if hostname else make.create_default_device()


def _listener(address: str, port: int) -> int:
    family, kind, _, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
        listening.listen(128)
        return listening.detach()
