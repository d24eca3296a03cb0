"""`tailfit doctor`."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tailfit.diagnosis.running import Outcome, examine_script
from tailfit.terminal import PlainConsole
from tailfit.text import visible

__all__ = ["run_doctor"]


def run_doctor(script: Path, arguments: Sequence[str], timeout: float, as_json: bool) -> bool:
    """Examine a script, print the findings, and return whether there are none."""
    outcome = examine_script(script, arguments, timeout=timeout)
    for message in dict.fromkeys(outcome.failed):
        print(f"tailfit: warning: {visible(message)}", file=sys.stderr)
    console = PlainConsole()
    if as_json:
        content = {
            "script": str(script),
            "backend": outcome.backend,
            "calls": outcome.called,
            "raised": outcome.raised,
            "failed": outcome.failed,
            "findings": [finding.to_dict() for finding in outcome.findings],
        }
        console.print(json.dumps(content, indent=2), soft_wrap=True)
    else:
        for finding in outcome.findings:
            console.print(f"{finding}\n", soft_wrap=True)
        console.print(_summary(script, outcome), soft_wrap=True)
    return not outcome.findings


def _summary(script: Path, outcome: Outcome) -> str:
    times = {1: "once", 2: "twice"}
    calls = ", ".join(f"{name} called {times.get(n, f'{n} times')}" for name, n in outcome.called.items())
    count = len(outcome.findings)
    found = "no findings" if not count else f"{count} finding{'s' * (count > 1)}"
    ended = f"; the script {outcome.raised}" if outcome.raised else ""
    return f"{script}: {found} ({calls}, on {outcome.backend}){ended}"
