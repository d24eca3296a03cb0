"""`tailfit export`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tailfit.exporting import export
from tailfit.terminal import PlainConsole

__all__ = ["run_export"]


def run_export(
    run: Path,
    out: Path,
    *,
    format: Any,
    data: str | None,
    backend: str | None,
    modules: Sequence[str],
    fetch: bool,
    as_json: bool,
) -> None:
    """Write the file, and print how it was checked."""
    console = PlainConsole(stderr=True)
    with console.status("exporting and checking"):
        done = export(run, out, format=format, backend=backend, data=data, modules=modules, fetch=fetch)
    if as_json:
        fields = {name: getattr(done, name) for name in ("format", "backend", "samples", "difference")}
        print(json.dumps({"path": str(out), **fields, "recorded_difference": done.recorded_difference}, indent=1))
        return
    against = "the network of the run" if done.recorded_difference is None else "the network and predictions of the run"
    difference = max(done.difference, done.recorded_difference or 0.0)
    shown = PlainConsole()
    shown.print(
        f"{done.samples} samples compared with {against}: scores differ by {difference:.1g} at most", soft_wrap=True
    )
    shown.print(f"Written: {out} ({done.format}, by {done.backend}; input records, output scores)", soft_wrap=True)
