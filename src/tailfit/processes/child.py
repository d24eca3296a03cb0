"""A process of this interpreter that was started by this one, and exchanges messages with it."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import IO, Any, TypeAlias

from tailfit.processes.messages import Message, encoded, parsed

__all__ = ["Child", "Events", "child_environment", "python_command"]

Events: TypeAlias = "queue.Queue[tuple[Child, Message | None]]"


class Child:
    """A started process, which communicates through its standard input and output; see `Parent` for its side.

    It is in a session of its own, so that Ctrl-C in a terminal reaches this process alone, and so that the processes
    which it starts itself can be ended with it.

    Args:
        command: The program and its arguments.
        environment: All environment variables.
        output: File for its standard error, and for what it prints.
        events: Queue that gets each of its messages as it arrives, and None when it has ended.
        inherited: Further file descriptors that it inherits; not on Windows.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        output: IO[Any],
        events: Events,
        inherited: Sequence[int] = (),
    ) -> None:
        self.status: int | None = None  # once it has ended: its exit code, or minus the number of a signal
        self.killed = False  # by `kill`, while it was running
        self._process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            start_new_session=True,
            pass_fds=() if sys.platform == "win32" else inherited,
        )
        threading.Thread(target=self._read, args=(events,), daemon=True).start()

    def send(self, message: Any) -> None:
        """Send a message; nothing happens if the process has ended, which `events` reports."""
        pipe: Any = self._process.stdin
        with contextlib.suppress(OSError):
            pipe.write(encoded(message))
            pipe.flush()

    def terminate(self) -> None:
        """Send SIGTERM, upon which a training saves a checkpoint at the end of its step."""
        self._process.terminate()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for its end, and return whether it has ended."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End the process, and those that it has started, at once; nothing happens if it has ended."""
        if self._process.poll() is None:  # otherwise its number may belong to a different process by now
            self.killed = True
            if sys.platform == "win32":
                self._process.kill()
            else:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        pipe: Any = self._process.stdin
        with contextlib.suppress(OSError):
            pipe.close()

    @property
    def end(self) -> str:
        """Description of how it ended."""
        status = self._process.poll()
        if status is None:
            return "still running"
        if status >= 0:
            return f"ended with exit code {status}"
        return f"ended by {signal.Signals(-status).name}"

    def _read(self, events: Events) -> None:
        lines: Any = self._process.stdout
        with lines:
            for line in lines:
                if (message := parsed(line)) is not None:
                    events.put((self, message))
        self.status = self._process.wait()
        events.put((self, None))


def python_command(module: str) -> list[str]:
    """Return the command that runs a module as a program of this interpreter."""
    return [sys.executable, "-P", "-m", module]


def child_environment(further: Mapping[str, str]) -> dict[str, str]:
    """Return this process' environment for a process that can import the same modules.

    Args:
        further: Variables that are added or replaced.
    """
    path = os.pathsep.join(os.path.abspath(each) for each in sys.path)
    return {**os.environ, **further, "PYTHONPATH": path}
