"""`tailfit predict`."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tailfit.cli.progress import count_bar, hint_when_stopped
from tailfit.recipes import predict
from tailfit.terminal import PlainConsole
from tailfit.text import visible

__all__ = ["run_predict"]


def run_predict(
    run: Path,
    data: str,
    out: str,
    *,
    format: Any,
    abstain: float,
    batch_size: int | None,
    modules: Sequence[str],
) -> None:
    """Write the predictions, and print their number and speed to standard error."""
    stream = out == "-"
    target: Any = out
    if stream:
        target = _Printable() if sys.stdout.isatty() else sys.stdout.buffer
    marks: list[tuple[int, float]] = []  # samples done and time, at the end of each part

    def note(done: int, total: int) -> None:
        marks.append((done, time.perf_counter()))
        show(done, total)

    with hint_when_stopped(), count_bar("predicting") as show:
        found = predict(
            run,
            data,
            target,
            format=format,
            abstain=abstain,
            batch_size=batch_size,
            modules=modules,
            progress=note,
        )
    left = f", {found.abstained:,} left to a person" if abstain > 0 else ""
    console = PlainConsole(stderr=stream)
    console.print(f"{found.samples:,} samples{left}{_speed(marks)}", soft_wrap=True)
    if not stream:
        console.print(f"Written: {out}", soft_wrap=True)


def _speed(marks: Sequence[tuple[int, float]]) -> str:
    """Return the speed after the first part, which includes compilation; empty if there are no further parts."""
    if len(marks) < 2:
        return ""
    (first, begun), (last, ended) = marks[0], marks[-1]
    return f"; {(last - first) / max(ended - begun, 1e-9):,.0f} samples/s"


class _Printable:
    """Standard output that is a terminal, which must not execute control characters in IDs and class names."""

    def write(self, content: bytes) -> None:
        for line in content.decode().splitlines():
            print(visible(line))
