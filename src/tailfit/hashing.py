"""64-bit keys for random numbers that are pure functions of their place: splitmix64 over integers.

Source: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators", OOPSLA (splitmix64).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["GOLDEN", "hash_array", "hash_words", "mix_words"]

GOLDEN = 0x9E3779B97F4A7C15
"""2**64 / golden ratio: multiples of it by consecutive integers are far apart."""

_WORD = (1 << 64) - 1
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB

Words = NDArray[np.uint64]


def hash_words(*words: int) -> int:
    """Return a 64-bit key hashed from integers below 2**64; their order matters.

    >>> hash_words(0, 1) == hash_words(1, 0)
    False
    """
    key = 0
    for word in words:
        key = _mix(key ^ _mix((word + GOLDEN) & _WORD))
    return key


def hash_array(key: int, words: NDArray[Any]) -> Words:
    """Return, for each word, the key that `hash_words` returns for the integers behind `key` and then the word.

    >>> int(hash_array(hash_words(5), np.array([7]))[0]) == hash_words(5, 7)
    True
    """
    return mix_words(np.uint64(key) ^ mix_words(words.astype(np.uint64) + np.uint64(GOLDEN)))


def mix_words(words: Words) -> Words:
    """Apply splitmix64's finaliser, a bijection of 64-bit words, to each word.

    >>> mix_words(np.array([GOLDEN], np.uint64)) == np.uint64(0xE220A8397B1DCDAF)  # first output for seed 0
    array([ True])
    """
    words = words ^ (words >> np.uint64(30))
    words *= np.uint64(_FIRST)
    words ^= words >> np.uint64(27)
    words *= np.uint64(_SECOND)
    words ^= words >> np.uint64(31)
    return words


def _mix(word: int) -> int:
    """Apply splitmix64's finaliser to one word."""
    word = ((word ^ (word >> 30)) * _FIRST) & _WORD
    word = ((word ^ (word >> 27)) * _SECOND) & _WORD
    return word ^ (word >> 31)
