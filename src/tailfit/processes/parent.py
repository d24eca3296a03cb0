"""The process that started this one: messages from it and to it, and the end of this process when it ends."""

import os
import queue
import signal
import sys
import threading
from typing import BinaryIO

from tailfit.processes.messages import Message, encoded, parsed

__all__ = ["Parent"]


class Parent:
    """The process that started this one as a `Child`.

    Messages come through standard input and go through standard output; what this process prints goes to standard
    error from now on. When the parent ends in whatever way, its end of the pipe is closed, and this process and those
    that it has started are killed. Files are written atomically, so that this is safe at any moment.
    """

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self._received: queue.Queue[Message | None] = queue.Queue()
        threading.Thread(target=self._read, args=(os.fdopen(os.dup(0), "rb"),), daemon=True).start()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)  # code that reads standard input must not take messages
        os.close(null)

    def send(self, message: Message) -> None:
        """Send a message, from any thread."""
        with self._lock:
            self._out.write(encoded(message))

    def receive(self) -> Message | None:
        """Wait for the next message; None if standard input ended without one: tailfit has not started this process."""
        return self._received.get()

    def _read(self, pipe: BinaryIO) -> None:
        begun = False
        for line in pipe:
            if (message := parsed(line)) is not None:
                begun = True
                self._received.put(message)
        if begun:
            _end_at_once()
        self._received.put(None)


def _end_at_once() -> None:
    """Kill this process and those that it has started."""
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
