"""Deferral of SIGTERM and Ctrl-C to the end of a step; a second signal acts at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

__all__ = ["Signals", "exit_on_sigterm"]

_WATCHED: Final = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Handler that records the first signal and then restores the previous handlers.

    If `at_once` is set, it is called when the signal arrives, between any two instructions of the main thread.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.at_once: Callable[[], None] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def watch(self) -> None:
        """Install the handler. Python allows this only in the main thread; in others nothing is changed."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _WATCHED:
            before = signal.getsignal(number)
            # None means that the handler was not installed from Python. Ignored signals (nohup, background jobs of a
            # shell) stay ignored.
            if before not in (None, signal.SIG_IGN):
                self._before[number] = before
                signal.signal(number, self._record)

    def restore(self) -> None:
        """Restore the previous handlers."""
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before = {}

    def _record(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self.restore()
        if self.at_once is not None:
            self.at_once()

    def leave(self) -> None:
        """Exit if a signal was received, with its usual status: 130 for Ctrl-C, 143 for SIGTERM.

        Raises:
            KeyboardInterrupt: If Ctrl-C was received.
            SystemExit: If SIGTERM was received.
        """
        if self.received is signal.SIGINT:
            raise KeyboardInterrupt
        if self.received is not None:
            raise SystemExit(128 + self.received)


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into `SystemExit(143)` in the context, so that half-written files are removed.

    A handler that the caller has installed is kept, and an ignored signal stays ignored.
    """
    number = signal.SIGTERM
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(number) is not signal.SIG_DFL:
        yield
        return
    signal.signal(number, _exit)
    try:
        yield
    finally:
        signal.signal(number, signal.SIG_DFL)


def _exit(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once
    raise SystemExit(128 + number)
