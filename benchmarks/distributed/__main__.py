"""Cost of workers: the exchange of 2 and 4 processes on this machine, the tree, and the order of a host's batch.

    python benchmarks/distributed [--repeats 5] [--write]

`--write` renews results.json, and the table in docs/several-machines.md, which a test compares with `costs.table`.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import costs
import numpy as np

import tailfit
from tailfit.samplers.runs import Runs

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "docs" / "several-machines.md"
BEGIN, END = "<!-- costs: begin; made by benchmarks/distributed -->", "<!-- costs: end -->"
SIZES = (4_000, 4_000_000, 40_000_000)
NETWORK = costs.Network(50e-6, 1.25e9)  # of the table: 10 Gbit/s Ethernet

WORKER = """
import json, os, statistics, sys, time
import numpy as np
from tailfit.distributed import worker
from tailfit.training.workers import exchange
sizes, repeats = json.loads(sys.argv[1]), int(sys.argv[2])
with worker() as me:
    found = {}
    for size in sizes:
        array = np.ones(size // 4, "float32")
        for name, call in (("gather", exchange().gather), ("total", exchange().total)):
            seconds = []
            for _ in range(repeats + 1):
                exchange().gather(np.zeros(1, "float32"))
                start = time.perf_counter()
                call(array)
                seconds.append(time.perf_counter() - start)
            found[f"{name} of {size} bytes"] = statistics.median(seconds[1:])
    if me.rank == 0:
        print(json.dumps(found))
"""


def exchanges(workers: int, repeats: int) -> dict[str, float]:
    """Return the seconds of collectives between processes on the loopback interface."""
    from tailfit.distributed.ports import free_port

    port = str(free_port())
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, json.dumps(SIZES), str(repeats)],
            env={
                **os.environ, "RANK": str(rank), "WORLD_SIZE": str(workers), "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port, "KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "torch"), "OMP_NUM_THREADS": "1",
            },
            stdout=subprocess.PIPE,
        )
        for rank in range(workers)
    ]  # fmt: skip
    outputs = [each.communicate()[0] for each in started]
    found: dict[str, float] = json.loads(outputs[0].splitlines()[-1])
    return {f"{name}, {workers} workers": seconds for name, seconds in found.items()}


def seconds_per_added_byte(repeats: int) -> float:
    one, other = np.ones(10_000_000, "float32"), np.ones(10_000_000, "float32")
    return median_of(repeats, lambda: np.add(one, other, out=one)) / one.nbytes


def order_of_a_batch(hosts: int, repeats: int) -> float:
    """Return the seconds to compute a host's part of a late batch, of 10**9 samples under ClassBalanced."""
    plan = tailfit.samplers.ClassBalanced(power=0.5).plan(Runs([0, 1, 2], [9 * 10**8, 9 * 10**7, 10**7]), seed=1)
    batch = 64 * hosts
    step, index = plan.size(0) // batch - 1, hosts - 1
    start = step * batch + batch * index // hosts
    return median_of(repeats * 20, lambda: plan.indices(1000, start, start + 64))


def median_of(repeats: int, run: Any) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    measured: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "network latency": NETWORK.latency,
        "network bandwidth": NETWORK.bandwidth,
        "seconds per added byte": seconds_per_added_byte(given.repeats),
        **exchanges(2, given.repeats),
        **exchanges(4, given.repeats),
        **{f"order of a batch, host of {hosts}": order_of_a_batch(hosts, given.repeats) for hosts in costs.WORKERS},
    }
    print(json.dumps(measured, indent=1))
    print(costs.table(measured))
    if given.write:
        (HERE / "results.json").write_text(json.dumps(measured, indent=1) + "\n")
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{costs.table(measured)}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
