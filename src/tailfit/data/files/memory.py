"""Available memory, and checks that data fit into it."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tailfit.errors import ArgumentError

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ["DEFLATE_RATIO", "available_memory", "fits_in_memory", "holdable"]

DEFLATE_RATIO = 1032  # largest ratio of decompressed to compressed bytes, also of gzip and zip
_DEFAULT = 1 << 32  # bytes, if the system doesn't report its memory
_MAX_AXES = 64
_SHARE = 0.5  # of the free memory that `memory="auto"` may use


def available_memory() -> int:
    """Return the bytes that this process may still allocate: the free memory within its limits (ulimit, cgroup).

    >>> available_memory() > 0
    True
    """
    limits = [_free()]
    if resource is not None:
        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft != resource.RLIM_INFINITY:
            limits.append(soft - _number(Path("/proc/self/statm"), scale=os.sysconf("SC_PAGE_SIZE")))
    # Files of cgroup v2, then v1; in a container they are at the root.
    for maximum, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        group = Path("/sys/fs/cgroup")
        limit = _number(group / maximum)
        if limit > 0:
            limits.append(limit - _number(group / used))
    return max(0, min(limits))


def fits_in_memory(nbytes: int, memory: bool | Literal["auto"]) -> bool:
    """Return whether to load records of a given size into memory, by the argument `memory=` of a source.

    Raises:
        ArgumentError: If `memory` is not True, False or "auto".

    >>> fits_in_memory(1, "auto"), fits_in_memory(1 << 80, "auto"), fits_in_memory(1 << 80, True)
    (True, False, True)
    """
    if memory not in (True, False, "auto"):
        raise ArgumentError(
            f"memory={memory!r}", expected="True, False or 'auto'", fix="drop memory=, or pass one of these"
        )
    return nbytes <= _SHARE * available_memory() if memory == "auto" else bool(memory)


def holdable(shape: Sequence[int], itemsize: int) -> bool:
    """Return whether NumPy supports an array of a shape claimed by a file, also when sizes of 0 are ignored.

    >>> holdable((0, 3), 8), holdable((0, 1 << 61, 1 << 61), 8), holdable((1,) * 70, 8)
    (True, False, False)
    """
    if len(shape) > _MAX_AXES or any(size >> 63 for size in shape):
        return False
    return math.prod(size for size in shape if size) * max(itemsize, 1) < 1 << 63


def _free() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else _DEFAULT


def _number(path: Path, scale: int = 1) -> int:
    """Return the first number in a file; 0 if there is none."""
    try:
        return int(path.read_text().split()[0]) * scale
    except (OSError, ValueError, IndexError):
        return 0
