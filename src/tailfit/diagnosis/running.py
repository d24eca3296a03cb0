"""Examination of a script in a separate process, with a time limit."""

import ast
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tailfit.diagnosis.finding import Finding
from tailfit.errors import ArgumentError, DataError
from tailfit.processes.messages import parsed
from tailfit.storage.reading import open_regular, read_text, read_whole

__all__ = ["Outcome", "examine_script"]

_MOST = 2**24  # bytes of a script


@dataclass
class Outcome:
    """Findings of the examination of a script.

    Attributes:
        findings: The findings, in the order of the calls.
        called: Number of calls by method, such as "fit".
        backend: Keras' backend; None if the script did not import Keras.
        failed: Messages of checks that could not be made.
        raised: What ended the script early; None if nothing did.
        ended: Whether it ran to its end.
    """

    findings: list[Finding] = field(default_factory=list)
    called: dict[str, int] = field(default_factory=dict)
    backend: str | None = None
    failed: list[str] = field(default_factory=list)
    raised: str | None = None
    ended: bool = False


def examine_script(script: Path, arguments: Sequence[str] = (), *, timeout: float = 300.0) -> Outcome:
    """Run a script under examination.

    Args:
        script: Python file. It runs with all rights of the user.
        arguments: Its command line.
        timeout: Seconds after which it is ended.
    Raises:
        ArgumentError: If the file is not a Python script, raises an error before anything is found, runs longer than
            `timeout` without a finding, or calls no Keras model.
        OSError: If the file can't be read.
    """
    _check_syntax(script)
    with tempfile.TemporaryDirectory() as folder:
        result, output, path = Path(folder, "result.jsonl"), Path(folder, "output.txt"), str(script.absolute())
        result.touch()
        ended = _run([str(result), path, *arguments], output, timeout)
        outcome = _outcome(result, {path: str(script)})
        printed = _last_line(output)
    if not ended:
        outcome.raised = f"ran for more than {timeout:g} seconds and was ended"
    elif outcome.raised is None and not outcome.ended:
        outcome.raised = "ended its process" + (f" ({printed})" if printed else "")
    if outcome.findings:
        return outcome
    if outcome.raised is not None:
        fix = (
            "run a smaller part of the script, or pass a larger --timeout" if not ended else "run it with python first"
        )
        raise ArgumentError(f"{script}, which {outcome.raised}", expected="a script that runs to its end", fix=fix)
    if not outcome.called:
        raise ArgumentError(
            f"{script}, which calls no fit, evaluate or train_on_batch of a Keras model"
            + ("" if outcome.backend else ", and does not import Keras"),
            expected="a script that trains a Keras model when it is run",
            fix="pass the script that calls fit, with its arguments after --",
        )
    return outcome


def _check_syntax(script: Path) -> None:
    if script.suffix == ".ipynb":
        raise DataError(
            f"{script}, a notebook",
            expected="a Python script",
            fix="convert it with: jupyter nbconvert --to script",
        )
    text = read_text(script, _MOST)
    try:
        ast.parse(text)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise DataError(
            f"{script}{f':{line}' if line else ''}, which is not Python: {getattr(error, 'msg', error)}",
            expected="a Python script",
            fix="correct it, or pass the script that trains the model",
        ) from None


def _run(arguments: list[str], output: Path, timeout: float) -> bool:
    """Run the child, and return whether it ended in time."""
    # -P: a file in the current folder must not replace a module that the child imports before the script runs.
    command = [sys.executable, "-P", "-m", "tailfit.diagnosis.child", *arguments]
    environment = {"MPLBACKEND": "agg", **os.environ}  # a window with a plot would wait for the user
    with open(output, "wb") as out:
        child = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        finally:
            _end(child)
    return True


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End the child and every process that the script has started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)  # its session is its own; some may outlive the child
    else:
        child.kill()
    child.wait()


def _last_line(output: Path) -> str:
    with open_regular(output) as file:
        file.seek(max(0, os.path.getsize(output) - 4096))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def _outcome(result: Path, shown: Mapping[str, str]) -> Outcome:
    outcome = Outcome()
    for line in read_whole(result, _MOST).splitlines():
        entry = parsed(line)
        if entry is None:  # the child was ended while it wrote
            continue
        if "finding" in entry:
            finding = Finding(**entry["finding"])
            file = shown.get(str(finding.file), finding.file)
            outcome.findings.append(dataclasses.replace(finding, file=file))
        elif "called" in entry:
            outcome.called[entry["called"]] = outcome.called.get(entry["called"], 0) + 1
        elif "backend" in entry:
            outcome.backend = entry["backend"]
        elif "failed" in entry:
            outcome.failed.append(entry["failed"])
        elif "ended" in entry:
            outcome.ended = True
        elif "raised" in entry:
            raised = entry["raised"]
            at = f" in line {raised['line']}" if raised["line"] else ""
            outcome.raised = f"raised {raised['type']}{at}: {raised['message']}"
    return outcome
