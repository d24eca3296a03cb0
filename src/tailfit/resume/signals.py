"""SIGTERM and Ctrl-C as a wish that the loop grants at the end of a step; the second one is as it always was."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

__all__ = ["Signals", "exit_on_sigterm"]

_WATCHED: Final = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Notes the first signal; from then on they do again what they did before.

    Where `at_once` is set it is called when that signal comes, between any two instructions of the main thread.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.at_once: Callable[[], None] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def watch(self) -> None:
        """From now on. Only a main thread can: in another one signals stay as they are."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _WATCHED:
            before = signal.getsignal(number)
            # None: somebody else's, not made in Python. Ignored ones (nohup, a shell's background) stay so.
            if before not in (None, signal.SIG_IGN):
                self._before[number] = before
                signal.signal(number, self._note)

    def restore(self) -> None:
        """As it was before."""
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self.restore()
        if self.at_once is not None:
            self.at_once()

    def leave(self) -> None:
        """Do what the signal asks for, with the exit status that it is known by: 130 for Ctrl-C, 143 for SIGTERM.

        Raises:
            KeyboardInterrupt, SystemExit: if one came.
        """
        if self.received is signal.SIGINT:
            raise KeyboardInterrupt
        if self.received is not None:
            raise SystemExit(128 + self.received)


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Within it SIGTERM is `SystemExit(143)`, so that what is being written is cleaned up.

    A handler of the caller's own stays, and so does an ignored signal.
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
    signal.signal(number, signal.SIG_DFL)  # the second one acts at once
    raise SystemExit(128 + number)
