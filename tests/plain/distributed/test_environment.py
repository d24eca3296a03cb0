"""The place of a process, as launchers tell it by environment variables; and the ports of local runs."""

import socket

import pytest

from tailfit.distributed.environment import first_host, read_environment
from tailfit.distributed.ports import free_port, listener_at
from tailfit.errors import ArgumentError

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "MASTER_ADDR": "node1", "MASTER_PORT": "29500", "LOCAL_RANK": "1"}
SRUN = {
    "SLURM_JOB_ID": "71", "SLURM_STEP_ID": "0", "SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_LOCALID": "1",
    "SLURM_JOB_NODELIST": "node[1-2]",
}  # fmt: skip


def without(variables: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name not in names}


@pytest.mark.parametrize(
    ("variables", "place"),
    {
        "torchrun": (TORCHRUN, (3, 4, "node1", 29500, 1)),
        "a Kubernetes PyTorchJob": (without(TORCHRUN, "LOCAL_RANK"), (3, 4, "node1", 29500, 0)),
        "torchrun under srun": ({**SRUN, **TORCHRUN, "RANK": "2"}, (2, 4, "node1", 29500, 1)),
        "torchrun on one machine, which listens on the port": (
            {**TORCHRUN, "TORCHELASTIC_USE_AGENT_STORE": "True"}, (3, 4, "node1", 29501, 1),
        ),
        "srun": (SRUN, (3, 4, "node1", 22201, 1)),
        "another step of the same job": ({**SRUN, "SLURM_STEP_ID": "5"}, (3, 4, "node1", 22206, 1)),
        "an address in the batch script": (
            {**SRUN, "MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "5000"}, (3, 4, "10.0.0.7", 5000, 1),
        ),
        "an IPv6 address": ({**TORCHRUN, "MASTER_ADDR": "fe80::1%eth0"}, (3, 4, "fe80::1%eth0", 29500, 1)),
        "one process of torchrun": ({"RANK": "0", "WORLD_SIZE": "1"}, (0, 1, "", 0, 0)),
        "one task of srun": ({**SRUN, "SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_LOCALID": ""}, (0, 1, "", 0, 0)),
    }.values(),
)  # fmt: skip
def test_a_launcher_tells_the_place(variables: dict[str, str], place: tuple[int, int, str, int, int]) -> None:
    found = read_environment({"HOME": "/", **variables})
    assert found is not None
    assert (found.rank, found.world, found.address, found.port, found.local_rank) == place


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"RANK": "", "WORLD_SIZE": ""},
        {"LOCAL_RANK": "0"},
        {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"},  # a shell of salloc
        {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_JOB_NODELIST": "a"},  # a batch script
        {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_JOB_NODELIST": "a"},
        {"SLURM_JOB_ID": "7", "MASTER_ADDR": "a", "MASTER_PORT": "1"},
    ],
)
def test_a_process_without_a_launcher_is_alone(variables: dict[str, str]) -> None:
    assert read_environment(variables) is None


@pytest.mark.parametrize(
    ("variables", "message"),
    {
        "no rank": (without(TORCHRUN, "RANK"), "WORLD_SIZE.*without RANK"),
        "no world": (without(TORCHRUN, "WORLD_SIZE"), "RANK.*without WORLD_SIZE"),
        "no address": (without(TORCHRUN, "MASTER_ADDR"), "without MASTER_ADDR.*unset RANK WORLD_SIZE MASTER_PORT"),
        "no port": ({**TORCHRUN, "MASTER_PORT": " "}, "without MASTER_PORT"),
        "only an address": ({"MASTER_ADDR": "node1"}, "MASTER_ADDR without RANK and WORLD_SIZE.*unset MASTER_ADDR"),
        "rank = world": ({**TORCHRUN, "RANK": "4"}, "RANK=4 with WORLD_SIZE=4.*from 0 to 3"),
        "a rank in words": ({**TORCHRUN, "RANK": "first"}, "RANK='first'"),
        "a negative rank": ({**TORCHRUN, "RANK": "-1"}, "RANK='-1'"),
        "another script's digits": ({**TORCHRUN, "RANK": "\u0663"}, "RANK="),
        "no processes": ({**TORCHRUN, "WORLD_SIZE": "0"}, "WORLD_SIZE='0'"),
        "a local rank outside the world": ({**TORCHRUN, "LOCAL_RANK": "9"}, "LOCAL_RANK='9'"),
        "port 0": ({**TORCHRUN, "MASTER_PORT": "0"}, "MASTER_PORT='0'.*1 to 65535"),
        "port 70000": ({**TORCHRUN, "MASTER_PORT": "70000"}, "MASTER_PORT='70000'"),
        "an URL as address": ({**TORCHRUN, "MASTER_ADDR": "tcp://node1"}, "MASTER_ADDR='tcp://node1'"),
        "a batch script": (without(SRUN, "SLURM_STEP_ID"), "batch script of Slurm with 4 tasks.*srun"),
        "a task of how many": (without(SRUN, "SLURM_NTASKS"), "SLURM_PROCID without SLURM_NTASKS"),
        "task = tasks": ({**SRUN, "SLURM_PROCID": "4"}, "SLURM_PROCID=4 with SLURM_NTASKS=4"),
        "no nodes": (without(SRUN, "SLURM_JOB_NODELIST"), "without SLURM_JOB_NODELIST"),
        "no seconds": ({**TORCHRUN, "TAILFIT_JOIN_SECONDS": "long"}, "TAILFIT_JOIN_SECONDS='long'"),
        "odd nodes": ({**SRUN, "SLURM_JOB_NODELIST": "n[1-"}, r"the node list 'n\[1-'"),
    }.values(),
)  # fmt: skip
def test_half_of_a_launcher_is_refused(variables: dict[str, str], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        read_environment(variables)


@pytest.mark.parametrize(
    ("nodes", "host"),
    [("a", "a"), ("a,b", "a"), ("gpu[007-010],login", "gpu007"), ("r[1-2]n[3,5]", "r1n3"), ("a[1]-ib,b", "a1-ib")],
)
def test_first_host(nodes: str, host: str) -> None:
    assert first_host(nodes) == host


def test_a_free_port_is_free_on_loopback_alone() -> None:
    port = free_port()
    listener_at("127.0.0.1", port).close()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        with pytest.raises(ArgumentError, match=f"port {port} of 127.0.0.1.*MASTER_PORT"):
            listener_at("127.0.0.1", port)


def test_the_address_of_another_machine_is_refused_by_rank_0() -> None:
    with pytest.raises(ArgumentError, match=r"192\.0\.2\.1.*not an address of this machine"):
        listener_at("192.0.2.1", 5000)  # reserved for documentation
    with pytest.raises(ArgumentError, match=r"not-there\.invalid.*not found"):
        listener_at("not-there.invalid", 5000)
