"""Ray, as far as `compare` and `train` use it: the connection, a directory that its nodes share, and its settings.

Needs the extra `tailfit[ray]`. Ray pickles functions of tailfit by their names, and JSON texts as their arguments.
"""

import ipaddress
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tailfit.errors import ArgumentError, WorkerError
from tailfit.extras import needed
from tailfit.storage.reading import read_text
from tailfit.storage.writing import Draft

__all__ = ["check_address", "check_shared", "connected", "task_environment"]

_CONNECT_SECONDS: Final = 10.0
_SHARED_SECONDS: Final = 60.0
_ADDRESS: Final = re.compile(r"(?:ray://)?(?P<host>[\w.-]{1,255}|\[[0-9a-fA-F:.]+\]):(?P<port>\d{1,5})")


def check_address(address: Any) -> str:
    """Check the address of a Ray cluster.

    Args:
        address: "auto" for the cluster that this process finds by itself (RAY_ADDRESS, or one that was started on this
            machine); "local" for a new one, on this machine alone; "HOST:PORT" or "ray://HOST:PORT".
    Raises:
        ArgumentError: If it is none of these.

    >>> check_address("head:6379")
    'head:6379'
    """
    if isinstance(address, str) and (address in ("auto", "local") or _ADDRESS.fullmatch(address)):
        return address
    raise ArgumentError(
        f"ray={address!r}",
        expected="'auto', 'local', or an address such as 'head:6379'",
        fix="use 'auto' on a machine of the cluster, where `ray status` works",
    )


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connect to a Ray cluster, and yield the module `ray`. A connection that the caller has made is used and kept.

    Raises:
        PackageError: If Ray is not installed.
        WorkerError: If there is no cluster at the address.
    """
    if address == "local":  # Ray reads it when it is imported: its processes then listen on 127.0.0.1, on Linux, too
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    ray = needed("ray", "ray", "training on a Ray cluster")
    if ray.is_initialized():
        yield ray
        return
    try:
        _check_reachable(address)
        # Without a dashboard, which would listen on a port of its own.
        options = {"include_dashboard": False} if address == "local" else {}
        ray.init(address=address, logging_level="ERROR", log_to_driver=False, **options)
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        raise WorkerError(
            f"ray={address!r}: {str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}",
            expected="a running Ray cluster",
            fix="start one with `ray start --head`, pass its address, or use ray='local' to try it on this machine",
        ) from error
    try:
        if address == "local":
            _check_loopback(ray)
        yield ray
    finally:
        ray.shutdown()


def _check_loopback(ray: Any) -> None:
    addresses = [node["NodeManagerAddress"] for node in ray.nodes()]
    if not all(ipaddress.ip_address(each).is_loopback for each in addresses):
        raise WorkerError(
            f"ray='local' at {addresses[0]}, because Ray was imported before",
            expected="a Ray cluster that only this machine can reach",
            fix="set RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 before Ray is imported, or use ray='auto'",
        )


def _check_reachable(address: str) -> None:
    """Connect to the address once: Ray itself would try for minutes."""
    given = os.environ.get("RAY_ADDRESS", "") if address == "auto" else address
    found = _ADDRESS.fullmatch(given)
    if found is not None:
        host = found["host"].strip("[]")
        socket.create_connection((host, int(found["port"])), timeout=_CONNECT_SECONDS).close()


def task_environment(further: Mapping[str, str]) -> dict[str, str]:
    """Return environment variables for tasks: set before anything is imported there, and the same on every node.

    One thread by default: results depend on the number of threads, and nodes have different numbers of cores.
    """
    passed = {name: os.environ[name] for name in ("PYTHONPATH", "XLA_FLAGS") if os.environ.get(name)}
    return {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"), "TF_CPP_MIN_LOG_LEVEL": "2", **passed, **further}


def check_shared(ray: Any, directory: Path) -> None:
    """Check that every node of the cluster sees what is written into a directory.

    Raises:
        ArgumentError: If a node does not.
        WorkerError: If a node does not answer.
    """
    with Draft(directory / "run.json") as draft:  # removed at the end
        draft.file.write(b"shared")
        draft.file.flush()
        asked = {
            ray.remote(num_cpus=0, max_retries=0)(_sees)
            .options(scheduling_strategy=_on_node(node["NodeID"]))
            .remote(str(draft.path)): node["NodeManagerAddress"]
            for node in ray.nodes()
            if node["Alive"]
        }
        ready, late = ray.wait(list(asked), num_returns=len(asked), timeout=_SHARED_SECONDS)
        if late:
            raise WorkerError(
                f"the Ray node {asked[late[0]]}, which has not answered within {_SHARED_SECONDS:.0f} seconds",
                expected="nodes that run tasks",
                fix="look at `ray status`, and whether tailfit is installed on this node",
            )
        for each in ready:
            if not ray.get(each):
                raise ArgumentError(
                    f"{directory}, which the Ray node {asked[each]} does not see",
                    expected="a directory on storage that all nodes mount at the same path",
                    fix="choose a directory on shared storage, such as NFS",
                )


def _on_node(node: str) -> Any:
    strategies = needed("ray.util.scheduling_strategies", "ray", "training on a Ray cluster")
    return strategies.NodeAffinitySchedulingStrategy(node_id=node, soft=False)


def _sees(path: str) -> bool:
    try:
        return read_text(path, 100) == "shared"
    except (OSError, ValueError):
        return False
