"""Keyed permutations are bijections of every size, have an inverse, and are as random as a shuffle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailfit.hashing import hash_array, hash_words
from tailfit.samplers import Shuffle
from tailfit.samplers.permutation import Permutation, Permutations, Purpose

GOLDEN_KEY = 7115484839290078575
GOLDEN = {
    5: [4, 2, 3, 0, 1],
    64: [30, 43, 35, 63, 17],
    65: [22, 24, 16, 62, 21],
    1000: [80, 831, 947, 450, 119],
    1048576: [718607, 868916, 423693, 957837, 859827],
    1000000000: [281937180, 537906419, 48493409, 38000801, 793322584],
    4294967296: [3307079082, 3800903772, 3244436024, 2274787539, 800707554],
    1000000000000: [996974743566, 471703320959, 473433960722, 663822750682, 98898268647],
}


def is_bijection(size, key):
    items = np.arange(size)
    placed = Permutation(size, key)(items)
    return np.array_equal(np.sort(placed), items) and np.array_equal(Permutation(size, key).inverse(placed), items)


def excess(observed, expected):
    """Return how far chi-square is from its expectation, in standard deviations."""
    free = observed.size - 1
    return (np.sum((observed - expected) ** 2 / expected) - free) / np.sqrt(2 * free)


def many_keys(number, purpose=0):
    return hash_array(hash_words(purpose), np.arange(number))


def orders(size, number):
    """Return `number` permutations of `size` items with unrelated keys."""
    rows, items = np.divmod(np.arange(number * size), size)
    permutations = Permutations(np.full(number, size), many_keys(number))
    return permutations(rows, items).reshape(number, size)


def test_bijective_for_small_sizes_and_around_powers_of_two():
    around = {2**k + d for k in range(1, 17) for d in (-1, 0, 1)}
    for size in sorted({*range(1, 300), *around, 1000, 65_537, 70_000}):
        assert is_bijection(size, hash_words(size)), size


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_bijective_for_every_size_to_70_000():
    for size in range(1, 70_001):
        assert is_bijection(size, hash_words(size)), size


@pytest.mark.parametrize("bits", [*range(17, 41), 50, 62])
def test_inverse_around_large_powers_of_two(bits):
    for size in (2**bits - 1, 2**bits, 2**bits + 1):
        permutation = Permutation(size, hash_words(size))
        items = np.concatenate([np.arange(200), size - 1 - np.arange(200), size // 2 + np.arange(200)])
        placed = permutation(items)
        assert placed.min() >= 0
        assert placed.max() < size
        assert len(np.unique(placed)) == len(items)
        assert np.array_equal(permutation.inverse(placed), items)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(1, 300) | st.integers(2**31, 2**40), min_size=1, max_size=6), st.data())
def test_rows_equal_single_permutations(sizes, data):
    keys = many_keys(len(sizes), purpose=9)
    rows = np.array(data.draw(st.lists(st.integers(0, len(sizes) - 1), max_size=20)), dtype=np.int64)
    items = np.array([data.draw(st.integers(0, sizes[row] - 1)) for row in rows], dtype=np.int64)
    several = Permutations(np.array(sizes), keys)
    placed = several(rows, items)
    for row, item, place in zip(rows, items, placed, strict=True):
        assert Permutation(sizes[row], int(keys[row]))(np.array([item])) == place
    assert np.array_equal(several.inverse(rows, placed), items)


def test_keys_are_hashed_and_not_added():
    pairs = {hash_words(seed, epoch) for seed in range(300) for epoch in range(300)}
    assert len(pairs) == 90_000
    assert hash_words(1) != hash_words(0, 1) != hash_words(1, 0)
    bits = np.unpackbits(many_keys(4096).view(np.uint8)).mean()
    assert abs(bits - 0.5) < 4 * 0.5 / np.sqrt(4096 * 64)


def test_golden_values():
    assert hash_words(0, 1) == GOLDEN_KEY
    for size, expected in GOLDEN.items():
        assert Permutation(size, hash_words(7, size))(np.arange(5)).tolist() == expected


@pytest.mark.parametrize("size", [*range(2, 20), 33, 50, 64, 65, 100, 128])
def test_every_item_is_moved_to_every_place_equally_often(size):
    number = 40_000
    placed = orders(size, number)
    cells = np.array([np.bincount(column, minlength=size) for column in placed.T])
    # Rows and columns of the table have fixed sums: (size - 1)**2 free cells, less than `excess` counts.
    chi, free = np.sum((cells - number / size) ** 2) / (number / size), (size - 1) ** 2
    assert abs(chi - free) < 4 * np.sqrt(2 * free) + 4


@pytest.mark.parametrize(("size", "factorial"), [(3, 6), (4, 24), (5, 120), (6, 720)])
def test_all_orders_of_few_items_are_equally_likely(size, factorial):
    number = 120_000
    codes = orders(size, number) @ (size ** np.arange(size))
    _, times = np.unique(codes, return_counts=True)
    assert len(times) == factorial
    assert abs(excess(times, number / factorial)) < 4


@pytest.mark.parametrize("size", [65, 100, 128, 256, 257])
@pytest.mark.parametrize("pair", [(0, 1), (0, 0.5), (0.25, 0.75), (0, 1.0)])
def test_pairs_of_items_are_distributed_as_in_a_shuffle(size, pair):
    first, second = (min(int(part * size), size - 1) if isinstance(part, float) else part for part in pair)
    number = 200_000
    permutations, rows = Permutations(np.full(number, size), many_keys(number, size)), np.arange(number)
    one, two = (permutations(rows, np.full(number, item)) for item in (first, second))
    expected = number / (size - 1)
    assert abs(excess(np.bincount((two - one) % size, minlength=size)[1:], expected)) < 4
    if size & (size - 1) == 0:
        assert abs(excess(np.bincount(one ^ two, minlength=size)[1:], expected)) < 4


@pytest.mark.parametrize("bits", [16, 20, 33, 40])
def test_strict_avalanche(bits):
    """Flipping a bit of the item flips each bit of the place half of the time."""
    number = 1 << 15
    size = 1 << bits
    items = np.random.default_rng(bits).choice(min(size, 1 << 40), number).astype(np.int64)
    rows = np.arange(number)
    permutations = Permutations(np.full(number, size), many_keys(number, bits))
    placed, worst = permutations(rows, items), 0.0
    for bit in range(bits):
        changed = permutations(rows, items ^ (1 << bit)) ^ placed
        share = np.array([np.count_nonzero(changed >> out & 1) for out in range(bits)])
        worst = max(worst, np.abs(share - number / 2).max() / np.sqrt(number / 4))
    assert worst < 5


def test_gaps_between_neighbours_are_distributed_as_in_a_shuffle():
    size, scores = 5000, []
    for key in many_keys(60):
        placed = Permutation(size, int(key))(np.arange(size))
        gaps = np.bincount(np.diff(placed) % size * 50 // size, minlength=50)
        scores.append(excess(gaps, (size - 1) / 50))
    assert abs(np.mean(scores)) * np.sqrt(len(scores)) < 4
    assert 0.5 < np.std(scores) < 1.6


def test_adjacent_seeds_and_epochs_are_unrelated():
    size = 2000
    base = Shuffle().plan(size, seed=5).indices(3, 0, size)
    for seed, epoch in ((5, 4), (6, 3), (3, 5), (4, 4), (6, 2)):
        other = Shuffle().plan(size, seed).indices(epoch, 0, size)
        assert np.count_nonzero(base == other) < 8  # one is expected by chance
        assert abs(np.corrcoef(base, other)[0, 1]) * np.sqrt(size) < 4


@pytest.mark.parametrize("each", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_no_two_of_a_million_seeds_and_epochs_share_an_order(each):
    """Also compares the places of six of a thousand items, which collide by chance once in a million test runs."""
    size, items = 1000, 6
    keys = np.concatenate([hash_array(hash_words(seed, Purpose.SHUFFLE), np.arange(each)) for seed in range(each)])
    assert len(np.unique(keys)) == each**2
    orders, rows = Permutations(np.full(len(keys), size), keys), np.arange(len(keys))
    places = np.stack([orders(rows, np.full(len(keys), item)) for item in range(items)], axis=1)
    for seed, epoch in ((0, 0), (1, 0), (0, 1), (each - 1, each - 1)):  # check that plans have these orders
        assert Shuffle().plan(size, seed).indices(epoch, 0, items).tolist() == places[seed * each + epoch].tolist()
    assert len(np.unique(places @ size ** np.arange(items))) == each**2


def test_batches_of_sorted_data_mix_classes_as_a_shuffle_does():
    size, batch, number = 6400, 64, 60
    labels = np.arange(size) * 10 // size
    rng = np.random.default_rng(0)

    def variance(order):
        return np.var([np.bincount(part, minlength=10) for part in labels[order].reshape(-1, batch)], axis=0).mean()

    ours = np.mean([variance(Shuffle().plan(labels, seed).indices(0, 0, size)) for seed in range(number)])
    theirs = np.mean([variance(rng.permutation(size)) for _ in range(number)])
    assert abs(ours / theirs - 1) < 0.05
