"""Imports of commands without garbage collection, which takes up to a quarter of their time.

Keras and its backend make hundreds of thousands of objects that stay. Meanwhile Python's collector looks for garbage
among them again and again.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["imports_uncollected"]


@contextmanager
def imports_uncollected() -> Iterator[None]:
    """Import without garbage collection. If Keras was imported, later collections leave out all objects made so far.

    >>> with imports_uncollected():
    ...     import statistics
    """
    enabled, before = gc.isenabled(), "keras" in sys.modules
    gc.disable()
    try:
        yield
    finally:
        if not before and "keras" in sys.modules:
            gc.freeze()
        if enabled:
            gc.enable()
