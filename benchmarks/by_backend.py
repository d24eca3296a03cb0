"""What benchmarks with one process a backend share: the processes, the heading of the results, and the output."""

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from command_line import command_line

__all__ = ["heading", "measured", "put_out"]


def measured(child: Path, backend: str, *arguments: object) -> Any:
    """Run `child` with a backend on one thread; return the JSON of the last line that it prints."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, str(child), *map(str, arguments)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def heading(name: str, units: str) -> list[str]:
    """Return the lines above a table: the command, the machine, the versions and the units."""
    names = ("keras", "jax", "tensorflow", "torch", "tailfit")
    return [
        f"$ {command_line(name)}",
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {platform.system()}",
        f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in names),
        units,
        "",
    ]


def put_out(lines: list[str], out: Path | None) -> None:
    """Print lines, and write them to a file if one is given."""
    print("\n".join(lines))
    if out:
        out.write_text("\n".join(lines) + "\n")
