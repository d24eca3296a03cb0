"""Helpers of the fuzz tests: damaged files, and a check of the functions that read them."""

import tracemalloc

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tailfit.errors import TailfitError

__all__ = ["NAMES", "damaged", "fuzzed", "json_values", "refused"]

NAMES = ["a", "b", "c", "d"]  # IDs of the records in damaged files
fuzzed = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(NAMES),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner),
    max_leaves=8,
)


@st.composite
def damaged(draw, whole):
    """Draw the bytes with some replaced, removed or inserted; or random bytes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(whole)))
        stop = draw(st.integers(start, min(start + 12, len(whole))))
        whole = whole[:start] + draw(st.binary(max_size=12)) + whole[stop:]
    return whole


def refused(call, most=1 << 24):
    """Return whether a call raises a `TailfitError`; check that it allocates little memory in either case.

    Args:
        call: Function that reads a file of some hundred bytes.
        most: Largest number of bytes that it may allocate.
    """
    tracemalloc.start()
    try:
        call()
    except TailfitError:
        return True
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < most
    return False
