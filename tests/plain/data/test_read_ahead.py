"""Reading ahead in a thread, and the ends of it that `Batches` can't show."""

import itertools
import sys
import threading
import time

from tailfit.data.feeding import read_ahead as module
from tailfit.data.feeding.read_ahead import read_ahead


def test_an_open_generator_at_interpreter_exit(monkeypatch):
    """Module names are cleared before open generators are closed: it must neither print a traceback nor wait."""
    woken, ending = threading.Event(), []
    monkeypatch.setattr(sys, "is_finalizing", lambda: bool(ending))

    def stuck():
        yield 0
        woken.wait(10)
        yield 1

    items = read_ahead(stuck(), 2)
    assert next(items) == 0
    (reader,) = (thread for thread in threading.enumerate() if thread.name == "tailfit-reader")
    with monkeypatch.context() as away:
        away.setattr(module, "threading", None)
        away.setattr(module, "WAIT_TIMEOUT", None)
        ending.append(True)
        began = time.monotonic()
        items.close()
        took = time.monotonic() - began
    woken.set()
    reader.join()
    assert took < 5


def test_items_in_order_and_no_more_than_requested():
    read = []

    def items():
        for number in itertools.count():
            read.append(number)
            yield number

    ahead = read_ahead(items(), 2)
    assert list(itertools.islice(ahead, 5)) == [0, 1, 2, 3, 4]
    ahead.close()
    assert len(read) <= 5 + 3
