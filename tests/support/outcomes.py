"""Comparison of the results of two runs to the bit, without Keras, for tests that run trainings in other processes.

An outcome is `(numbers, logged)`: arrays by name, and the history and logs as text.
"""

__all__ = ["differing"]


def differing(one, other):
    """Return the names of the arrays that differ."""
    names = [name for name in one[0].keys() | other[0].keys() if not _equal(one[0].get(name), other[0].get(name))]
    return sorted(names) + ([] if one[1] == other[1] else ["history or log"])


def _equal(a, b):
    return a is not None and b is not None and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
