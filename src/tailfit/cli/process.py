"""The process of the command line: standard files, output of errors and warnings, exit codes."""

import errno
import os
import sys
import traceback
import warnings
from typing import Any

from typer.completion import completion_init  # type: ignore[attr-defined]

from tailfit.cli.app import app
from tailfit.errors import TailfitError
from tailfit.memory import keep_memory
from tailfit.processes.messages import exit_code
from tailfit.resume.signals import exit_on_sigterm
from tailfit.text import visible

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ["main"]

# What is expected, and the fix, by the number of an error of the operating system.
_DISK_FULL = ("enough free space", "free some space, and run the same command again")
_NO_PERMISSION = ("a file or folder that this user may write to", "change its permissions, or choose a different path")
_OTHER_FIX = ("files that can be read and written", "check the path and the disk")
_FIXES = {
    errno.ENOSPC: _DISK_FULL,
    errno.EDQUOT: _DISK_FULL,
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EROFS: _NO_PERMISSION,
    errno.ENOTDIR: ("a folder", "choose a different path"),
}
_OPEN_FILES = 64  # a backend and its libraries take about half


def _open_standard_files() -> None:
    """Open standard input, output and error on the null device if the caller has closed them.

    The next opened file would get their number otherwise: the chart engine fails on a file that is its standard input.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number


def _check_open_files() -> None:
    """Refuse to start under a low limit on open files, with which imports would fail with unclear errors."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if resource is not None else _OPEN_FILES
    if 0 <= most < _OPEN_FILES:  # negative: without limit
        raise TailfitError(
            f"a limit of {most} open files", expected=f"{_OPEN_FILES} or more", fix="raise it, e.g. ulimit -n 1024"
        )


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """Print a warning for users as one line, as errors are; print other warnings with file and line."""
    if issubclass(category, UserWarning):
        print(f"tailfit: warning: {visible(str(message))}", file=sys.stderr)
    else:
        text = warnings.formatwarning(message, category, filename, lineno)
        print("\n".join(visible(line) for line in text.split("\n")), end="", file=sys.stderr)


def main() -> None:
    """Run the command line `tailfit`."""
    _open_standard_files()
    keep_memory()
    debug = _take_debug_option()
    if "_TAILFIT_COMPLETE" in os.environ:  # a shell asks for completions; see `tailfit shell-completion`
        completion_init()
    try:
        _check_open_files()
        with warnings.catch_warnings(), exit_on_sigterm():
            warnings.showwarning = _show_warning
            app()
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python would fail again when it flushes standard output
        sys.exit(0)
    except Exception as error:
        if debug:
            traceback.print_exception(error)
        for note in getattr(error, "__notes__", []):  # the traceback, or the last output, of a worker process
            print("\n".join(visible(line) for line in note.splitlines()), file=sys.stderr)
        print(f"tailfit: {_in_lines(error)}", file=sys.stderr)
        sys.exit(exit_code(error))


def _take_debug_option() -> bool:
    """Remove `--debug` from the arguments, so that it may also follow the name of the command."""
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    given = "--debug" in sys.argv[1:end]
    if given:
        sys.argv.remove("--debug")
    return given


def _in_lines(error: Exception) -> str:
    """Return an error as lines: what was received, what is expected, how to fix it."""
    if isinstance(error, TailfitError):
        return "\n".join((f"Received {error.received}.", f"Expected {error.expected}.", f"Fix: {error.fix}."))
    if isinstance(error, OSError) and error.errno is not None:
        received = ": ".join(str(part) for part in (error.filename, error.strerror) if part is not None)
        expected, fix = _FIXES.get(error.errno, _OTHER_FIX)
        return visible(f"Received {received}.") + f"\nExpected {expected}.\nFix: {fix}."
    # A fault of tailfit, or of a function of the user.
    what = visible(f"{type(error).__name__}: {error}")
    return f"{what}\nFix: run the command again with --debug, which shows where it happened."
