"""The contract between tailfit and launchers: the place of a process, from its environment variables.

Every launcher (`tailfit train --workers`, torchrun, a Kubernetes PyTorchJob, Slurm's srun, Ray) starts the same program
several times, and passes each process its place in environment variables:

- `RANK`: number of this process, from 0; rank 0 writes the run's directory.
- `WORLD_SIZE`: number of processes.
- `MASTER_ADDR`: name or address of the machine of rank 0, on which the processes meet.
- `MASTER_PORT`: port on that machine, free for rank 0 to listen on. torchrun itself listens there, and sets
  `TORCHELASTIC_USE_AGENT_STORE`: the processes then meet on the next port.
- `LOCAL_RANK`: number of this process on its machine, by which it chooses its GPU; 0 if it is not set.
- `TAILFIT_JOIN_SECONDS`: how long to wait for the other workers to start; 30 if it is not set.

Under Slurm, SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID and the node list have the same meaning. A process without any of
them is alone: rank 0 of 1.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tailfit.errors import ArgumentError

__all__ = ["Environment", "first_host", "read_environment"]

_MOST_WORKERS: Final = 1 << 20
_SLURM_PORTS: Final = (20_000, 10_000)  # first port, and how many: below the range that systems use for clients
_HOST: Final = re.compile(r"[\w.:%-]{1,255}")
_NODES: Final = re.compile(r"(?P<before>[\w.-]*)(?:\[(?P<first>\d+)[\d,-]*\](?P<after>[\w.-]*))?")


@dataclass(frozen=True)
class Environment:
    """The place of this process among the processes of a run, and where they meet.

    Attributes:
        rank: Number of this process, from 0.
        world: Number of processes.
        address: Name or address of the machine of rank 0; empty if the process is alone.
        port: Port on that machine; 0 if the process is alone.
        local_rank: Number of this process on its machine.
        launcher: What set the variables, for messages.
        seconds: How long to wait for the other workers to start.

    >>> read_environment({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "node1", "MASTER_PORT": "29500"})
    Environment(rank=1, world=2, address='node1', port=29500, local_rank=0, ...)
    """

    rank: int
    world: int
    address: str
    port: int
    local_rank: int
    launcher: str
    seconds: float = 30.0


def read_environment(variables: Mapping[str, str]) -> Environment | None:
    """Read the place of this process from environment variables; None if no launcher has set them.

    Args:
        variables: The variables, usually `os.environ`. Empty values count as not set.
    Raises:
        ArgumentError: If some variables are missing, or contradict each other.

    >>> slurm = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_PROCID": "3", "SLURM_NTASKS": "4"}
    >>> read_environment({**slurm, "SLURM_JOB_NODELIST": "gpu[07-08,11]"}).address
    'gpu07'
    >>> read_environment({"HOME": "/home/me"}) is None
    True
    """
    given = {name: value.strip() for name, value in variables.items() if value.strip()}
    if "RANK" in given or "WORLD_SIZE" in given:
        return _from_ranks(given)
    if "SLURM_PROCID" in given:
        return _from_slurm(given)
    meeting = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name in given]
    if meeting and "SLURM_JOB_ID" not in given:  # in a batch script of Slurm they are set for the later srun
        raise ArgumentError(
            f"the environment variable {meeting[0]} without RANK and WORLD_SIZE",
            expected="RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, or none of them",
            fix=f"start the processes with torchrun or srun; or for a single process: unset {' '.join(meeting)}",
        )
    return None


def first_host(nodes: str) -> str:
    """Return the first host of a node list of Slurm.

    Raises:
        ArgumentError: If it is not a node list.

    >>> first_host("rack[1-2]n[3,5]"), first_host("gpu[007-010],login"), first_host("alpha,beta")
    ('rack1n3', 'gpu007', 'alpha')
    """
    host, place = "", 0
    while place < len(nodes) and nodes[place] != ",":
        found = _NODES.match(nodes, place)
        if found is None or found.end() == place:
            raise ArgumentError(
                f"the node list {nodes!r}",
                expected="host names as Slurm writes them, such as gpu[07-08,11]",
                fix="set MASTER_ADDR to the name of the first node",
            )
        host += found["before"] + (found["first"] or "") + (found["after"] or "")
        place = found.end()
    return host


def _from_ranks(given: Mapping[str, str]) -> Environment:
    launcher = "RANK and WORLD_SIZE"
    missing = [name for name in ("RANK", "WORLD_SIZE") if name not in given]
    if not missing and given["WORLD_SIZE"] != "1":
        missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in given]
    if missing:
        present = [name for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT") if name in given]
        raise ArgumentError(
            f"the environment variable{'s' * (len(present) > 1)} {' and '.join(present)} without {missing[0]}",
            expected="RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, or none of them",
            fix=f"set {' and '.join(missing)}; or for a single process: unset {' '.join(present)}",
        )
    rank, world = _rank_and_world(given, "RANK", "WORLD_SIZE")
    local = _number(given, "LOCAL_RANK", 0, world - 1) if "LOCAL_RANK" in given else 0
    if world == 1:
        return Environment(0, 1, "", 0, local, launcher)
    port = _port(given)
    if given.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        port += 1 if port < 65_535 else -1
    return Environment(rank, world, _host(given["MASTER_ADDR"]), port, local, launcher, _seconds(given))


def _from_slurm(given: Mapping[str, str]) -> Environment | None:
    tasks = next((name for name in ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS") if name in given), None)
    if tasks is None and given["SLURM_PROCID"] == "0":
        return None  # a batch script without a number of tasks
    if tasks is None:
        raise ArgumentError(
            "the environment variable SLURM_PROCID without SLURM_NTASKS",
            expected="both, as srun sets them",
            fix="start the processes with srun, and pass --ntasks to it",
        )
    if "SLURM_JOB_ID" in given and not {"SLURM_STEP_ID", "SLURM_STEPID", "SLURM_STEP_NUM_TASKS"} & given.keys():
        if given[tasks] == "1":
            return None
        raise ArgumentError(
            f"a batch script of Slurm with {given[tasks]} tasks, outside srun",
            expected="one process for each task, which srun starts",
            fix="write srun before the command; or for a single process: ask Slurm for --ntasks=1",
        )
    rank, world = _rank_and_world(given, "SLURM_PROCID", tasks)
    local = _number(given, "SLURM_LOCALID", 0, world - 1) if "SLURM_LOCALID" in given else 0
    if world == 1:
        return Environment(0, 1, "", 0, local, "Slurm")
    nodes = next(
        (name for name in ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST") if name in given), None
    )
    if nodes is None and "MASTER_ADDR" not in given:
        raise ArgumentError(
            "the environment variables of Slurm without SLURM_JOB_NODELIST",
            expected="the list of nodes, or MASTER_ADDR",
            fix="set MASTER_ADDR to the name of the first node",
        )
    address = given["MASTER_ADDR"] if "MASTER_ADDR" in given else first_host(given[nodes or ""])
    if "MASTER_PORT" in given:
        port = _port(given)
    else:  # jobs on one node must not meet on one port
        first, count = _SLURM_PORTS
        job, step = (_digits(given.get(name, "0")) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
        port = first + (job * 31 + step) % count
    return Environment(rank, world, _host(address), port, local, "Slurm", _seconds(given))


def _rank_and_world(given: Mapping[str, str], rank_name: str, world_name: str) -> tuple[int, int]:
    world = _number(given, world_name, 1, _MOST_WORKERS)
    rank = _number(given, rank_name, 0, _MOST_WORKERS)
    if rank >= world:
        raise ArgumentError(
            f"{rank_name}={rank} with {world_name}={world}",
            expected=f"{rank_name} from 0 to {world - 1}",
            fix=f"number the processes from 0, or correct {world_name}",
        )
    return rank, world


def _number(given: Mapping[str, str], name: str, least: int, most: int) -> int:
    value = given[name]
    if not (value.isascii() and value.isdigit() and len(value) <= 9 and least <= int(value) <= most):
        raise ArgumentError(
            f"the environment variable {name}={value!r}",
            expected=f"a whole number from {least} to {most}",
            fix=f"correct {name}, or unset it and start the processes with torchrun or srun",
        )
    return int(value)


def _seconds(given: Mapping[str, str]) -> float:
    return _number(given, "TAILFIT_JOIN_SECONDS", 1, 1 << 20) if "TAILFIT_JOIN_SECONDS" in given else 30


def _port(given: Mapping[str, str]) -> int:
    return _number(given, "MASTER_PORT", 1, 65_535)


def _host(name: str) -> str:
    if _HOST.fullmatch(name) is None:
        raise ArgumentError(
            f"MASTER_ADDR={name!r}",
            expected="a host name or an IP address",
            fix="set it to the name of the machine on which rank 0 runs",
        )
    return name


def _digits(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
