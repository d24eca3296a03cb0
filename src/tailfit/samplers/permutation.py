"""Keyed permutations of [0, n): compute the i-th item of a shuffle without storing the shuffle.

Concepts:
- *key*: 64 bits, hashed from everything that distinguishes one permutation from another (seed, epoch, purpose,
  class, ...). Key parts are hashed, never added: seed 0, epoch 1 is unrelated to seed 1, epoch 0.
- *rounds*: for more than 64 items, a bijection of k-bit words, where 2**k is the smallest power of two >= n. A round
  multiplies by an odd number, adds a number, and xors the upper half into the lower. Each step is invertible, so the
  whole is.
- *cycle-walking*: a word that lands in [n, 2**k) goes through the rounds again until it lands below n. The result is
  still a bijection of [0, n), and takes fewer than two passes on average.
- *tables*: for up to 64 items, the sorted order of n hashed values. Rounds on so few bits have too few keys to reach
  every order equally often; sorting reaches all n! orders.

All arithmetic is on unsigned integers that wrap around, so the numbers are the same on every platform and with every
NumPy version.
"""

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailfit.hashing import GOLDEN, mix_words

__all__ = ["Permutation", "Permutations", "Purpose"]

_ROUNDS = 7
_TABLE_BITS = 6
_TABLE_ITEMS = 1 << _TABLE_BITS

Words = NDArray[np.uint64]
Indices = NDArray[np.int64]


class Purpose(IntEnum):
    """The use of a key. It is part of the key, so different uses of one (seed, epoch) get unrelated orders."""

    SHUFFLE = 1
    RING = 2
    SLOTS = 3
    BATCH = 4
    CIRCLE = 5
    SEATS = 6
    DRAWS = 7
    OFFSET = 8


def _stream(keys: Words, length: int) -> Words:
    """Return `length` random words for each key, `[len(keys), length]`."""
    return mix_words(keys[:, None] + np.arange(1, length + 1, dtype=np.uint64) * np.uint64(GOLDEN))


def _tables(sizes: Indices, keys: Words) -> Indices:
    """Return permutations of up to 64 items, one per row; entries beyond a row's size are unused."""
    item = np.arange(int(sizes.max()), dtype=np.uint64)
    # The item's index replaces the lowest bits: no ties, so every sorting algorithm gives the same order.
    low = np.uint64(_TABLE_ITEMS - 1)
    ranks = _stream(keys, len(item))
    ranks &= ~low
    ranks |= item
    ranks[item >= sizes[:, None].astype(np.uint64)] |= ~low  # last
    ranks.sort(axis=1)
    return (ranks & low).astype(np.int64)


class Permutations:
    """A permutation for each row: row r permutes [0, sizes[r]) by keys[r].

    Args:
        sizes: `int64[rows]`, each >= 1.
        keys: `uint64[rows]`, from `tailfit.hashing.hash_array`.

    >>> several = Permutations(np.array([3, 100]), np.array([1, 2], dtype=np.uint64))
    >>> sorted(several(np.zeros(3, dtype=np.int64), np.arange(3)).tolist())
    [0, 1, 2]
    """

    def __init__(self, sizes: Indices, keys: Words) -> None:
        self._sizes, self._keys = sizes, keys

    def __call__(self, rows: Indices, items: Indices) -> Indices:
        """Return the place to which each item of its row is moved, `int64[n]`."""
        return self._apply(rows, items, inverse=False)

    def inverse(self, rows: Indices, items: Indices) -> Indices:
        """Return the item of its row that is moved to each place, `int64[n]`."""
        return self._apply(rows, items, inverse=True)

    def _apply(self, rows: Indices, items: Indices, *, inverse: bool) -> Indices:
        if not len(rows):
            return np.empty(0, dtype=np.int64)
        sizes, keys = self._sizes, self._keys
        if len(rows) < 8 * len(sizes):
            # Few items: keep only the rows they use, so that the work depends on the items and not on all rows.
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
    """A permutation of [0, size).

    Args:
        size: Number of items, >= 1.
        key: 64-bit integer, from `tailfit.hashing.hash_words`.

    >>> one = Permutation(1000, key=3)
    >>> one.inverse(one(np.arange(5))).tolist()
    [0, 1, 2, 3, 4]
    """

    def __init__(self, size: int, key: int) -> None:
        self._sizes = np.array([size], dtype=np.int64)
        self._keys = np.array([key], dtype=np.uint64)

    def __call__(self, items: Indices) -> Indices:
        """Return the place to which each item is moved, `int64[n]`."""
        return self._apply(items, inverse=False)

    def inverse(self, items: Indices) -> Indices:
        """Return the item that is moved to each place, `int64[n]`."""
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
    """Permute by rounds and cycle-walking; `rows=None` means that there is one row only."""
    rounds = _Rounds(sizes, keys, inverse)
    words = items.astype(rounds.kind)
    rounds(words, rows)
    outside = np.flatnonzero(words > rounds.last.of(rows))
    # Words outside the range are gathered before each pass, which brings more than half of them inside.
    walking, walked = words[outside], None if rows is None else rows[outside]
    while outside.size:
        rounds(walking, walked)
        words[outside] = walking
        still = np.flatnonzero(walking > rounds.last.of(walked))
        outside, walking = outside[still], walking[still]
        walked = None if walked is None else walked[still]
    return words.astype(np.int64)


class _PerRow:
    """A word for each row."""

    def __init__(self, words: NDArray[Any]) -> None:
        self._words = words

    def of(self, rows: Indices | None, out: NDArray[Any] | None = None) -> Any:
        """Return the word of each item's row; without `rows`, the word of the only row."""
        # The rows are in range, and mode "raise" would make NumPy fill a copy of `out` first.
        return self._words[0] if rows is None else self._words.take(rows, mode="clip", out=out)


class _Rounds:
    """The rounds of each row, or their inverses, applied in place."""

    def __init__(self, sizes: Indices, keys: Words, inverse: bool) -> None:
        bits = _bit_lengths(sizes - 1)
        # k-bit arithmetic needs only the lowest k bits: 32-bit words give the same numbers, twice as fast.
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
        # One scratch array, refilled for each step: the numbers of all steps at once would not fit in the CPU cache.
        spare, gathered = np.empty_like(words), np.empty_like(words)
        mask, half = self._mask.of(rows), self._half.of(rows)
        # A multiplication carries only upwards: two words that differ in the top bit only still do so afterwards.
        # Hence the xor before the first multiplication, too. half >= k / 2 makes the xor its own inverse.
        np.right_shift(words, half, out=spare)
        words ^= spare
        for odd, even in zip(self._odds, self._evens, strict=True):
            if self._inverse:
                words -= even.of(rows, gathered)
                words *= odd.of(rows, gathered)
            else:
                words *= odd.of(rows, gathered)
                words += even.of(rows, gathered)
            words &= mask
            np.right_shift(words, half, out=spare)
            words ^= spare


def _inverse_odd(odd: Words) -> Words:
    """Return inverses modulo 2**64 by Newton's iteration: 5 correct bits in the first guess, doubled by each pass."""
    inverse: Words = (odd * np.uint64(3)) ^ np.uint64(2)
    for _ in range(4):
        inverse *= np.uint64(2) - odd * inverse
    return inverse


def _bit_lengths(values: Indices) -> Words:
    """Return `int.bit_length` of each value, without floats, which are off by one near powers of two."""
    bits = np.zeros(len(values), dtype=np.uint64)
    for step in (32, 16, 8, 4, 2, 1):
        bits += np.where(values >> bits.astype(np.int64) >= 1 << step, np.uint64(step), np.uint64(0))
    return bits + (values > 0)
