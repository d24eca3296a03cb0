"""What every parser owes: a value or an error of tailfit's own, in bounded time and memory, whatever the bytes."""

import atexit
import contextlib
import functools
import pickle
import resource
import shutil
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tailfit
from tailfit.errors import TailfitError
from tailfit.text import TailfitWarning

__all__ = ["REFUSED", "answer", "limited_memory", "scratch", "tally"]

REFUSED = object()  # in the place of a value
tally: Counter[str] = Counter()  # of values and refusals
LONGEST_SECONDS = 10.0  # of processors; what waits for ever is ended by pytest, or libFuzzer
LONGEST_MESSAGE = 50_000  # characters: a few times the longest input, written as escapes
MEMORY = 2 << 30  # bytes on top of what the process has
_OURS = str(Path(tailfit.__file__).parent)


def answer(call: Callable[[], Any]) -> Any:
    """The value of a call, or `REFUSED` after one of tailfit's own errors; anything else is an error here.

    Raises:
        AssertionError: for an unsound error or warning, or a call that takes too long.
        BaseException: what the parser let through.
    """
    began = time.process_time()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            value = call()
        except TailfitError as error:
            value = REFUSED
            _check_message(error)
    tally["refused" if value is REFUSED else "values"] += 1
    for each in told:
        if issubclass(each.category, TailfitWarning):
            assert str(each.message).isprintable(), f"a warning that is not printable: {each.message!r}"
        else:
            assert not each.filename.startswith(_OURS), (
                f"{each.filename}:{each.lineno}: {each.category}: {each.message}"
            )
    assert (took := time.process_time() - began) < LONGEST_SECONDS, f"{took:.1f} seconds"
    return value


def _check_message(error: TailfitError) -> None:
    for part in (error.received, error.expected, error.fix):
        assert part.strip(), f"an error with an empty part: {error}"
    text = str(error)
    text.encode()
    # Emoji of several parts are joined by an invisible character, which is shown as it is.
    assert text.replace("\u200d", "").isprintable(), f"an error that is not printable: {error!r}"
    assert len(text) < LONGEST_MESSAGE, f"an error of {len(text)} characters"
    assert str(pickle.loads(pickle.dumps(error))) == text


@contextlib.contextmanager
def limited_memory(more: int = MEMORY) -> Iterator[None]:
    """Let the process take no more than so many bytes of address space on top of what it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    held = Path("/proc/self/statm")
    if held.exists():
        now = int(held.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@functools.cache
def scratch(name: str) -> Path:
    """A folder of this process, for one parser; removed at its end."""
    folder = Path(tempfile.mkdtemp(prefix=f"tailfit-fuzz-{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
