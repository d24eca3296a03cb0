"""What the fuzz tests of both halves of the suite share: spoilt files, and what is asked of who reads them."""

import tracemalloc

from hypothesis import strategies as st

from tailfit.errors import TailfitError

__all__ = ["damaged", "refused"]


@st.composite
def damaged(draw, whole):
    """These bytes with some replaced, cut out or put in; or bytes of no kind."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(whole)))
        stop = draw(st.integers(start, min(start + 12, len(whole))))
        whole = whole[:start] + draw(st.binary(max_size=12)) + whole[stop:]
    return whole


def refused(call, most=1 << 24):
    """Whether the call is refused as it should be; what it takes of memory is bounded either way.

    Args:
        most: Bytes, where the files have some hundred.
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
