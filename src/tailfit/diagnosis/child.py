"""The process in which `tailfit doctor` runs a script: `python -m tailfit.diagnosis.child RESULT SCRIPT ARGUMENTS`.

RESULT is a file of JSON lines: {"backend": name}, {"called": method}, {"finding": ...}, {"failed": message of a check}
and, at the end, {"raised": ...} or {"ended": true}.
Keras is not imported before the script imports it, since the script may choose its backend.
"""

import json
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Any

from tailfit.registration import when_imported

__all__: list[str] = []


def _main(result: str, script: str, *arguments: str) -> None:
    with open(result, "a", encoding="utf-8") as out:

        def write(**entry: Any) -> None:
            out.write(json.dumps(entry) + "\n")
            out.flush()

        try:
            _run(script, list(arguments), write)
            write(ended=True)
        except SystemExit as error:
            if error.code:
                write(raised={"type": "SystemExit", "message": str(error.code), "line": None})
            else:
                write(ended=True)
        except BaseException as error:
            traceback.print_exc()
            lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == script]
            line = lines[-1] if lines else None
            write(raised={"type": type(error).__name__, "message": _one_line(str(error)), "line": line})
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads and processes that a script has left must not keep this process


def _one_line(message: str) -> str:
    """Return the beginning of a message without colours and line breaks, which Keras' messages have."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", message).split())[:300]


def _run(script: str, arguments: list[str], write: Any) -> None:
    """Run the script, with an `Examination` from the moment when it has imported Keras."""
    import runpy

    contexts: list[Any] = []

    def begin() -> None:
        import keras

        from tailfit.diagnosis.script import Examination

        examination = Examination(
            script,
            lambda finding: write(finding=finding.to_dict()),
            lambda name: write(called=name),
            lambda message: write(failed=message),
        )
        contexts.append(examination)
        examination.__enter__()
        write(backend=keras.backend.backend())

    when_imported("keras", begin)
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).parent))
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    _main(*sys.argv[1:])
