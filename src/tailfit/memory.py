"""Let the process keep memory that it frees, which training uses again at once.

The allocator of the GNU C library takes large arrays from the kernel and returns them when they are freed. A training
step frees and allocates the same sizes again and again, and the kernel clears each page anew, which can take longer
than the arithmetic of a small step. `keep_memory` makes the allocator reuse freed memory instead. The peak of a process
stays about the same; its resident memory no longer falls after the peak.
"""

import ctypes
import os
from typing import Final

__all__ = ["keep_memory"]

# Numbers of malloc.h. The allocator takes everything from its heap, which grows by 64 MiB and does not shrink.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_SETTINGS: Final = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 << 20))
# With these variables the user has set up the allocator.
_VARIABLES: Final = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")


def keep_memory() -> bool:
    """Make the allocator keep freed memory, for the rest of the process. The command line does so by itself.

    Call it at the beginning of a script, before data are loaded. It changes the GNU C library's allocator on Linux, and
    nothing elsewhere, nor where the environment has settings for the allocator (`MALLOC_TRIM_THRESHOLD_`, for example,
    or `glibc.malloc` in `GLIBC_TUNABLES`).

    Returns:
        Whether it was changed.

    >>> import tailfit
    >>> kept = tailfit.keep_memory()
    """
    if any(name in os.environ for name in _VARIABLES) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        if not (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"):
            return False
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, ValueError):  # another system or C library
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    done = [mallopt(name, value) == 1 for name, value in _SETTINGS]
    return all(done)
