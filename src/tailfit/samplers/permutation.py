"""Keyed permutations of [0, n): the i-th item of a shuffle, without the shuffle.

Concepts:
- *key*: 64 bits, hashed from everything that tells one permutation from another (seed, epoch, purpose,
  class, ...). Hashed, never added: seed 0 epoch 1 has nothing to do with seed 1 epoch 0.
- *rounds*: beyond 64 items, a bijection of k-bit words, 2**k the first power of two that holds n: multiply by
  an odd number, add, xor the upper half into the lower. Each step can be undone, so the whole can.
- *cycle-walking*: a word that lands in [n, 2**k) goes through the rounds again until it lands below n. It is
  still a bijection of [0, n), and fewer than two passes on average.
- *tables*: up to 64 items, the order of n hashed values. Rounds on so few bits have too few keys to reach
  every order equally often; sorting reaches all n! orders.

Only unsigned integers that wrap around are used: the same numbers on every platform and NumPy version.
"""

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Permutation", "Permutations", "Purpose", "hash_array", "hash_words"]

_WORD = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15  # 2**64 / golden ratio: consecutive words land far apart
_ROUNDS = 7
_TABLE_BITS = 6
_TABLE_ITEMS = 1 << _TABLE_BITS

Words = NDArray[np.uint64]
Indices = NDArray[np.int64]


class Purpose(IntEnum):
    """What a key is for, so that no two uses of one (seed, epoch) share an order."""

    SHUFFLE = 1
    RING = 2
    SLOTS = 3
    BATCH = 4
    CIRCLE = 5
    SEATS = 6
    DRAWS = 7
    OFFSET = 8


def _mix(word: int) -> int:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014): a bijection of 64-bit words."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _WORD
    return word ^ (word >> 31)


def _mix_array(words: Words) -> Words:
    words = words ^ (words >> np.uint64(30))
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(27)
    words *= np.uint64(0x94D049BB133111EB)
    words ^= words >> np.uint64(31)
    return words


def hash_words(*words: int) -> int:
    """A 64-bit key from whole numbers below 2**64; their order counts.

    >>> hash_words(0, 1) == hash_words(1, 0)
    False
    """
    key = 0
    for word in words:
        key = _mix(key ^ _mix((word + _GOLDEN) & _WORD))
    return key


def hash_array(key: int, words: NDArray[Any]) -> Words:
    """For each word, the key that `hash_words` gives when the word follows those `key` was made of.

    >>> int(hash_array(hash_words(5), np.array([7]))[0]) == hash_words(5, 7)
    True
    """
    return _mix_array(np.uint64(key) ^ _mix_array(words.astype(np.uint64) + np.uint64(_GOLDEN)))


def _stream(keys: Words, length: int) -> Words:
    """`length` words a key, `[len(keys), length]`."""
    return _mix_array(keys[:, None] + np.arange(1, length + 1, dtype=np.uint64) * np.uint64(_GOLDEN))


def _tables(sizes: Indices, keys: Words) -> Indices:
    """The permutations of up to 64 items, one a row; what lies beyond a row's size is not used."""
    item = np.arange(int(sizes.max()), dtype=np.uint64)
    # The item's number replaces the lowest bits: no ties, so any sorting algorithm gives the same order.
    low = np.uint64(_TABLE_ITEMS - 1)
    ranks = _stream(keys, len(item))
    ranks &= ~low
    ranks |= item
    ranks[item >= sizes[:, None].astype(np.uint64)] |= ~low  # last
    ranks.sort(axis=1)
    return (ranks & low).astype(np.int64)


class Permutations:
    """One permutation for each row: row r permutes [0, sizes[r]) by keys[r].

    Args:
        sizes: `int64[rows]`, each >= 1.
        keys: `uint64[rows]`, from `hash_array`.

    >>> several = Permutations(np.array([3, 100]), np.array([1, 2], dtype=np.uint64))
    >>> sorted(several(np.zeros(3, dtype=np.int64), np.arange(3)).tolist())
    [0, 1, 2]
    """

    def __init__(self, sizes: Indices, keys: Words) -> None:
        self._sizes, self._keys = sizes, keys

    def __call__(self, rows: Indices, items: Indices) -> Indices:
        """Where each item of its row goes, `int64[n]`."""
        return self._apply(rows, items, inverse=False)

    def inverse(self, rows: Indices, items: Indices) -> Indices:
        """Which item of its row came to each place, `int64[n]`."""
        return self._apply(rows, items, inverse=True)

    def _apply(self, rows: Indices, items: Indices, *, inverse: bool) -> Indices:
        if not len(rows):
            return np.empty(0, dtype=np.int64)
        sizes, keys = self._sizes, self._keys
        if len(rows) < 8 * len(sizes):
            # The rows asked for are compacted first: the work depends on the items, not on all there is.
            touched = np.zeros(len(sizes), dtype=np.bool_)
            touched[rows] = True
            used = np.flatnonzero(touched)
            place = np.empty(len(touched), dtype=np.int64)
            place[used] = np.arange(len(used))
            rows, sizes, keys = place[rows], sizes[used], keys[used]
        few = sizes <= _TABLE_ITEMS
        if few.all():
            return _by_table(sizes, keys, rows, items, inverse)
        if not few.any():
            return _by_rounds(sizes, keys, rows, items, inverse)
        out = np.empty(len(rows), dtype=np.int64)
        rank = np.where(few, np.cumsum(few), np.cumsum(~few)) - 1
        for group, method in ((few, _by_table), (~few, _by_rounds)):
            chosen = np.flatnonzero(group[rows])
            out[chosen] = method(sizes[group], keys[group], rank[rows[chosen]], items[chosen], inverse)
        return out


class Permutation:
    """One permutation of [0, size).

    Args:
        size: Number of items, >= 1.
        key: 64 bits, from `hash_words`.

    >>> one = Permutation(1000, hash_words(3))
    >>> one.inverse(one(np.arange(5))).tolist()
    [0, 1, 2, 3, 4]
    """

    def __init__(self, size: int, key: int) -> None:
        self._sizes = np.array([size], dtype=np.int64)
        self._keys = np.array([key], dtype=np.uint64)

    def __call__(self, items: Indices) -> Indices:
        """Where each item goes, `int64[n]`."""
        return self._apply(items, inverse=False)

    def inverse(self, items: Indices) -> Indices:
        """Which item came to each place, `int64[n]`."""
        return self._apply(items, inverse=True)

    def _apply(self, items: Indices, *, inverse: bool) -> Indices:
        method = _by_table if self._sizes[0] <= _TABLE_ITEMS else _by_rounds
        return method(self._sizes, self._keys, None, items, inverse)


def _by_table(sizes: Indices, keys: Words, rows: Indices | None, items: Indices, inverse: bool) -> Indices:
    tables = _tables(sizes, keys)
    if inverse:
        tables = tables.argsort(axis=1)
    places = items if rows is None else rows * tables.shape[1] + items
    found: Indices = tables.ravel().take(places)
    return found


def _by_rounds(sizes: Indices, keys: Words, rows: Indices | None, items: Indices, inverse: bool) -> Indices:
    """Rounds and cycle-walking; `rows` None: all items are of the one row."""
    rounds = _Rounds(sizes, keys, inverse)
    words = items.astype(rounds.kind)
    rounds(words, rows)
    outside = np.flatnonzero(words > rounds.last.beside(rows))
    # Their words and rows are compacted again and again: each pass leaves less than half of them outside.
    walking, walked = words[outside], None if rows is None else rows[outside]
    while outside.size:
        rounds(walking, walked)
        words[outside] = walking
        still = np.flatnonzero(walking > rounds.last.beside(walked))
        outside, walking = outside[still], walking[still]
        walked = None if walked is None else walked[still]
    return words.astype(np.int64)


class _PerRow:
    """A word for each row."""

    def __init__(self, words: NDArray[Any]) -> None:
        self._words = words

    def beside(self, rows: Indices | None, out: NDArray[Any] | None = None) -> Any:
        """The word of each item's row; of the one row, if there are no `rows`."""
        # The rows are known to be in range, and with "raise" NumPy would fill a copy of `out` first.
        return self._words[0] if rows is None else self._words.take(rows, mode="clip", out=out)


class _Rounds:
    """The rounds of each row, or what undoes them, in place."""

    def __init__(self, sizes: Indices, keys: Words, inverse: bool) -> None:
        bits = _bit_lengths(sizes - 1)
        # k-bit arithmetic needs the lowest k bits only: the same numbers in words of 32 bits, twice as fast.
        self.kind = np.uint32 if bits.max() <= 32 else np.uint64
        odd, even = np.split(_stream(keys, 2 * _ROUNDS).T, 2)
        odd |= np.uint64(1)
        mask = (np.uint64(1) << bits) - np.uint64(1)
        self.last = _PerRow((sizes - 1).astype(self.kind))
        self._mask = _PerRow(mask.astype(self.kind))
        self._half = _PerRow(((bits + np.uint64(1)) // np.uint64(2)).astype(self.kind))
        self._inverse = inverse
        if inverse:
            odd, even = _inverse_odd(odd)[::-1], even[::-1]
        self._odds = [_PerRow(words.astype(self.kind)) for words in odd]
        self._evens = [_PerRow(words.astype(self.kind)) for words in even]

    def __call__(self, words: NDArray[Any], rows: Indices | None) -> None:
        # One array for the words of the rows, filled anew for each step: all of them at once would leave the cache.
        spare, beside = np.empty_like(words), np.empty_like(words)
        mask, half = self._mask.beside(rows), self._half.beside(rows)
        # A multiplication carries upwards only, and leaves a difference in the top bit where it is: hence the
        # upper half is xored into the lower before the first one too. half >= k / 2 makes it its own inverse.
        np.right_shift(words, half, out=spare)
        words ^= spare
        for odd, even in zip(self._odds, self._evens, strict=True):
            if self._inverse:
                words -= even.beside(rows, beside)
                words *= odd.beside(rows, beside)
            else:
                words *= odd.beside(rows, beside)
                words += even.beside(rows, beside)
            words &= mask
            np.right_shift(words, half, out=spare)
            words ^= spare


def _inverse_odd(odd: Words) -> Words:
    """Inverses modulo 2**64 by Newton's iteration: 5 right bits to begin with, doubled four times."""
    inverse: Words = (odd * np.uint64(3)) ^ np.uint64(2)
    for _ in range(4):
        inverse *= np.uint64(2) - odd * inverse
    return inverse


def _bit_lengths(values: Indices) -> Words:
    """`int.bit_length` of each, without floats, whose rounding is off by one near powers of two."""
    bits = np.zeros(len(values), dtype=np.uint64)
    for step in (32, 16, 8, 4, 2, 1):
        bits += np.where(values >> bits.astype(np.int64) >= 1 << step, np.uint64(step), np.uint64(0))
    return bits + (values > 0)
