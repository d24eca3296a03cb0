"""Shared by both halves of the suite: `plain/` (NumPy only, run once) and `keras/` (run once a backend)."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import polars  # noqa: F401  # sets a variable of its allocator when it is first imported: not in a test
import pytest

pytest.register_assert_rewrite("fuzz", "support")

from support.selection import BACKENDS, LEVELS, Case, chosen, in_share  # noqa: E402  # its asserts are rewritten when it is imported

TESTS = Path(__file__).parent
KERAS = TESTS / "keras"
NOT_RUN = pytest.StashKey[int]()
_SET_BY_OTHERS = {"PYTEST_CURRENT_TEST", "TORCHINDUCTOR_CACHE_DIR"}  # by pytest, and by torch before 2.9


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cases", choices=LEVELS, help="which cases to run, see tests/support/selection.py")
    parser.addoption("--share", help="run the test files of one share of them only, such as 1of2")
    parser.addoption("--seconds", type=float, help="begin no test after so much processor time")


def pytest_configure(config: pytest.Config) -> None:
    # A shell without job control starts background commands with SIGINT ignored, and their children inherit that.
    # Tests of Ctrl-C would then wait for processes that never end.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    share = config.getoption("share")
    if share is None or collection_path.suffix != ".py" or TESTS not in collection_path.parents:
        return None
    return None if in_share(collection_path.relative_to(TESTS).as_posix(), share) else True


def case_of(item: pytest.Item) -> Case:
    """What the choice of cases needs to know of one, from its place and its markers."""

    def named(marker: str) -> set[str]:
        mark = item.get_closest_marker(marker)
        return set(BACKENDS if mark is None else mark.args)

    test = f"{item.parent.nodeid if item.parent else ''}::{getattr(item, 'originalname', item.name)}"
    possible = named("only_on") if KERAS in item.path.parents else set()
    usual = possible & named("mostly_on")
    return Case(
        item.nodeid,
        test,
        tuple(name for name in BACKENDS if name in usual),
        tuple(name for name in BACKENDS if name in possible - usual),
        slow=item.get_closest_marker("slow") is not None,
        shared=bool(item.get_closest_marker("above_training")) and not item.get_closest_marker("on_each"),
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    explicit = any("::" in argument for argument in config.args)
    level = config.getoption("cases") or ("every" if explicit else "here")
    cases = [case_of(item) for item in items]
    runs = chosen(cases, level, os.environ.get("KERAS_BACKEND"))
    config.hook.pytest_deselected(items=[item for item, run in zip(items, runs, strict=True) if not run])
    items[:] = [item for item, run in zip(items, runs, strict=True) if run]
    if level == "quick":  # time may not suffice for all: the cheap ones first, in an order in which no room is last
        dear = ("above_training", "mostly_on")
        items.sort(key=lambda item: (any(map(item.get_closest_marker, dear)), crc32(item.path.name.encode())))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    seconds = item.config.getoption("seconds")
    if seconds is not None and sum(os.times()[:4]) > seconds:  # of this process and its children
        item.config.stash[NOT_RUN] = item.config.stash.get(NOT_RUN, 0) + 1
        pytest.skip("no time left")


# In quotes, because the oldest pytest that pyproject.toml allows does not export the name.
def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter", config: pytest.Config) -> None:
    if left := config.stash.get(NOT_RUN, 0):
        terminalreporter.write_line(f"NOT RUN: {left} tests, for which no time was left")


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """No test leaves a tailfit thread running or the environment changed."""
    environment, tensorflow = dict(os.environ), "tensorflow" in sys.modules
    yield
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("tailfit")]
    assert not left, f"threads left running: {left}"
    if not tensorflow and "tensorflow" in sys.modules:
        return  # Keras imports TensorFlow on its own (its data adapters do), and TensorFlow sets variables
    changed = {
        key
        for key in environment.keys() | os.environ.keys()
        if environment.get(key) != os.environ.get(key) and key not in _SET_BY_OTHERS
    }
    assert not changed, f"environment changed: {sorted(changed)}"
