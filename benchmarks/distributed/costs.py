"""A model of the time of a step on several workers, and the table in docs/several-machines.md.

A step with W workers, V parts and M bytes of gradients (float32: four per weight) takes

    pieces      V / W x p              p: one piece alone, forward and backward
    tree        (V / W - 1 + W - 1) x M x s     s: adding one byte to another
    exchange    (W - 1) x (a + M / b)  exact: each worker receives the sum of every other worker
                2 (W - 1) x a + 2 (W - 1) / W x M / b    exact=False: a ring all-reduce

with the latency a and the bandwidth b of the network. A worker reads B / W records of a batch of B samples; their order
costs the same on each host, whatever W is.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Network", "exchange_seconds", "received_bytes", "table", "tree_seconds"]

WORKERS = (1, 2, 4, 16, 64, 1_000, 10_000)
MODELS = {"1 M weights": 4e6, "25 M (ResNet-50)": 1e8, "250 M": 1e9}


@dataclass(frozen=True)
class Network:
    """Latency in seconds, and bytes per second."""

    latency: float
    bandwidth: float


def received_bytes(workers: int, size: float, *, exact: bool) -> float:
    """Return the bytes that a worker receives in a step."""
    return (workers - 1) * size if exact else 2 * (workers - 1) / workers * size


def exchange_seconds(workers: int, size: float, network: Network, *, exact: bool) -> float:
    """Return the seconds of the exchange of a step."""
    messages = (workers - 1) * (1 if exact else 2)
    return messages * network.latency + received_bytes(workers, size, exact=exact) / network.bandwidth


def tree_seconds(workers: int, parts: int, size: float, seconds_per_byte: float) -> float:
    """Return the seconds of the additions of a worker: of its own parts, then of the sums of all workers."""
    return (max(parts / workers, 1) - 1 + workers - 1) * size * seconds_per_byte


def table(measured: Mapping[str, float]) -> str:
    """Return the table for the documentation, in Markdown.

    Args:
        measured: The constants of results.json.
    """
    network = Network(measured["network latency"], measured["network bandwidth"])
    add = measured["seconds per added byte"]
    lines = [
        "| workers | order of a host's batch | " + " | ".join(f"{name}: exact | all-reduce" for name in MODELS) + " |",
        "|---" * (2 + 2 * len(MODELS)) + "|",
    ]
    for workers in WORKERS:
        cells = [f"{measured[f'order of a batch, host of {workers}'] * 1e6:.0f} µs"]
        for size in MODELS.values():
            exact = exchange_seconds(workers, size, network, exact=True) + tree_seconds(workers, workers, size, add)
            cells += [_seconds(exact), _seconds(exchange_seconds(workers, size, network, exact=False))]
        lines.append(f"| {workers:,} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Measured between processes on one machine with two cores (gloo on the loopback interface):",
        "",
        "| processes | 4 MB: exact | all-reduce | 40 MB: exact | all-reduce |",
        "|---|---|---|---|---|",
    ]
    for workers in (2, 4):
        cells = [
            _seconds(measured[f"{name} of {size} bytes, {workers} workers"])
            for size in (4_000_000, 40_000_000)
            for name in ("gather", "total")
        ]
        lines.append(f"| {workers} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _seconds(seconds: float) -> str:
    if seconds < 1e-4:
        return "-" if seconds == 0 else "< 0.1 ms"
    if seconds < 0.995:
        return f"{seconds * 1e3:.2g} ms" if seconds < 0.0995 else f"{seconds * 1e3:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 99.5 else f"{seconds:,.0f} s"
