"""Ports: a free one for processes on this machine, and whether rank 0 can listen on the one that a launcher gave."""

import errno
import socket
from typing import Final

from tailfit.errors import ArgumentError

__all__ = ["LOOPBACK", "free_port", "listener_at"]

LOOPBACK: Final = "127.0.0.1"


def free_port() -> int:
    """Return a port of the loopback interface on which nothing listens.

    Another program may take it before it is used: rank 0 then fails, and the launcher tries another one.

    >>> 0 < free_port() < 65_536
    True
    """
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return int(listener.getsockname()[1])


def listener_at(address: str, port: int) -> socket.socket:
    """Return a socket that listens at an address of this machine, and there alone.

    Raises:
        ArgumentError: If the name is unknown, belongs to a different machine, or another program uses the port.
    """
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ArgumentError(
            f"MASTER_ADDR={address!r}, which was not found ({error.strerror or error})",
            expected="the name of the machine on which rank 0 runs",
            fix="correct MASTER_ADDR, or set it to the machine's IP address",
        ) from error
    listener = socket.socket(found[0])
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of an ended run may linger
        listener.bind(found[4])
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise ArgumentError(
                f"MASTER_ADDR={address!r}, which is not an address of this machine",
                expected="rank 0 to run on the machine MASTER_ADDR",
                fix="set MASTER_ADDR to the machine of rank 0, or start rank 0 there",
            ) from error
        raise ArgumentError(
            f"port {port} of {address}: {error.strerror or error}",
            expected="a port on which rank 0 can listen",
            fix="set MASTER_PORT to a free port from 1024 on; or stop the program that uses it",
        ) from error
    return listener
