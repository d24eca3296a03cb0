"""Augmentations: what they keep, independent computations of what they change, and only what is repeated."""

import numpy as np
import pytest

import tailfit
from tailfit import augment
from tailfit.augment.times import resampled
from tailfit.errors import ArgumentError, DataError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 30, 4)).astype("float32")
Y = np.arange(12) % 3
EACH = [
    augment.ChannelDropout(rate=0.5),
    augment.Jitter(sigma=0.3),
    augment.MagnitudeWarp(),
    augment.MixWithinClass(),
    augment.Permutation(),
    augment.Scaling(),
    augment.TimeWarp(),
    augment.WindowSlice(size=0.5),
    augment.WindowWarp(size=0.3),
]


def applied(augmentation, x=X, y=Y, seed=1):
    return augmentation((x, y), np.random.default_rng(seed))[0]


def test_all_are_here():
    public = {getattr(augment, name) for name in augment.__all__} - {augment.Augmentation, augment.Chain}
    assert public == {type(each) for each in EACH}


@pytest.mark.parametrize("each", EACH, ids=lambda each: type(each).__name__)
def test_it_changes_records_and_nothing_else(each):
    before = X.copy()
    x, y = each((X, Y), np.random.default_rng(1))
    assert x.dtype == X.dtype
    assert x.shape == X.shape
    assert y is Y
    assert np.isfinite(x).all()
    assert not np.array_equal(x, X)
    np.testing.assert_array_equal(X, before)
    np.testing.assert_array_equal(applied(each), x)  # the same random numbers
    assert not np.array_equal(applied(each, seed=2), x)
    np.testing.assert_allclose(
        applied(each, X[..., 0])[..., None], applied(each, X[..., :1])
    )  # records without channels


@pytest.mark.parametrize("each", EACH, ids=lambda each: type(each).__name__)
def test_a_share_of_0_changes_nothing_and_of_a_half_about_half(each):
    x = np.repeat(X, 30, axis=0)
    none, half = (applied(type(each)(share=share), x, np.repeat(Y, 30)) for share in (0.0, 0.5))
    np.testing.assert_array_equal(none, x)
    assert (half != x).any(axis=(1, 2)).mean() <= 0.6


@pytest.mark.parametrize("each", EACH, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("shape", [(2, 1, 1), (2, 2, 3)])
def test_short_records(each, shape):
    x = applied(each, np.ones(shape, "float32"), np.zeros(2, int))
    assert np.isfinite(x).all()


@pytest.mark.parametrize("each", EACH, ids=lambda each: type(each).__name__)
def test_missing_readings_do_not_spread_to_other_channels(each):
    x = X.copy()
    x[:, 5:9, 0] = np.nan
    x[:, :, 1] = np.nan  # a sensor that is absent
    changed = applied(each, x)
    assert np.isfinite(changed[:, :, 2:]).all()


def test_jitter_and_scaling_have_the_spread_that_was_asked_for():
    x = np.zeros((200, 50, 2)) + np.array([0.0, 5.0])
    x += np.where(np.arange(50) % 2, 1, -1)[:, None] * np.array([1.0, 10.0])
    noise = applied(augment.Jitter(sigma=0.1), x, None) - x
    np.testing.assert_allclose(noise.std(axis=(0, 1)), [0.1, 1.0], rtol=0.05)
    factors = applied(augment.Scaling(sigma=0.2), x, None) / x
    assert np.ptp(factors, axis=1).max() < 1e-9  # one factor for all steps
    np.testing.assert_allclose(factors[:, 0].std(), 0.2, rtol=0.1)


def test_magnitude_warp_is_a_spline_through_its_knots():
    from scipy.interpolate import CubicSpline

    rng = np.random.default_rng(1)
    rng.random(len(X))  # which records are changed
    values = rng.normal(1, 0.2, (len(X), 6, 4))
    curves = CubicSpline(np.linspace(0, 29, 6), values, axis=1)(np.arange(30))
    np.testing.assert_allclose(applied(augment.MagnitudeWarp()), X * curves, rtol=1e-5, atol=1e-6)


def test_resampled_is_linear_interpolation():
    positions = np.sort(RNG.uniform(0, 29, (12, 30)), axis=1)
    expected = np.stack(
        [
            np.stack([np.interp(at, np.arange(30), record[:, channel]) for channel in range(4)], axis=1)
            for record, at in zip(X, positions, strict=True)
        ]
    )
    np.testing.assert_allclose(resampled(X, positions), expected, atol=1e-6)


def test_time_warp_keeps_the_ends_and_the_order_of_time():
    steps = np.tile(np.arange(30.0)[:, None], (50, 1, 1))
    warped = applied(augment.TimeWarp(sigma=0.6), steps, None)[..., 0]
    np.testing.assert_allclose(warped[:, [0, -1]], [[0, 29]] * 50)
    assert (np.diff(warped, axis=1) > 0).all()
    assert np.abs(warped - np.arange(30)).max() > 2


def test_window_slice_and_warp_move_time_as_they_should():
    steps = np.tile(np.arange(31.0)[:, None], (50, 1, 1))
    sliced = applied(augment.WindowSlice(size=0.5), steps, None)[..., 0]
    np.testing.assert_allclose(np.diff(sliced, axis=1), 15 / 30)  # 16 of 31 readings, at half the speed
    assert sliced.min() >= 0
    assert sliced.max() <= 30
    warped = applied(augment.WindowWarp(size=0.5, scales=(2.0,)), steps, None)[..., 0]
    np.testing.assert_allclose(warped[:, [0, -1]], [[0, 30]] * 50)
    # The whole lasts 45 steps and is shown in 30: outside of the window 1.5 steps per step, inside the half of that.
    speeds = np.diff(warped, axis=1)
    assert (np.isclose(speeds, 1.5) | np.isclose(speeds, 0.75)).mean() > 0.9
    np.testing.assert_allclose(np.isclose(speeds, 0.75).sum(axis=1), 20, atol=1)


def test_permutation_moves_whole_segments_of_all_channels_together():
    steps = np.tile(np.arange(30.0)[:, None] + np.array([0.0, 100.0]), (80, 1, 1))
    permuted = applied(augment.Permutation(segments=4), steps, None)
    np.testing.assert_array_equal(np.sort(permuted, axis=1), steps)
    np.testing.assert_array_equal(permuted[..., 1] - permuted[..., 0], np.full((80, 30), 100.0))
    breaks = (np.diff(permuted[..., 0], axis=1) != 1).sum(axis=1)
    assert breaks.max() == 3
    assert len(set(breaks)) == 4  # 1 to 4 segments, some of which stay in order


def test_channel_dropout_keeps_a_channel():
    x = np.ones((400, 3, 3), "float32")
    changed = applied(augment.ChannelDropout(rate=0.9, value=0.0), x, None)
    assert ((changed == 1).all(axis=1) | (changed == 0).all(axis=1)).all()
    kept = (changed[:, 0] == 1).sum(axis=1)
    assert kept.min() == 1
    assert applied(augment.ChannelDropout(rate=0.9), X)[..., 0] == pytest.approx(
        np.where(applied(augment.ChannelDropout(rate=0.9, value=0.0), X)[..., 0] == 0, X[..., 0].mean(), X[..., 0]),
        abs=1e-5,
    )


@pytest.mark.parametrize("one_hot", [False, True])
def test_mixing_stays_within_the_class(one_hot):
    labels = np.array([0, 1, 0, 1, 2, 0])
    x = np.array([0.0, 100, 8, 108, 50, 4]).reshape(6, 1, 1)
    y = np.eye(3)[labels] if one_hot else labels
    mixed = np.concatenate([applied(augment.MixWithinClass(most=1.0), x, y, seed) for seed in range(200)], axis=1)[
        ..., 0
    ]
    for c, (low, high) in {0: (0, 8), 1: (100, 108), 2: (50, 50)}.items():
        assert mixed[labels == c].min() >= low
        assert mixed[labels == c].max() <= high
    assert np.ptp(mixed[0]) > 7


def test_only_repeats_leaves_each_sample_once_per_epoch_as_it_is():
    """With balanced batches, a class of 36 is not repeated, and each of 4 samples is drawn nine times."""
    x = np.arange(40, dtype="float32").repeat(3).reshape(40, 3, 1)
    source = tailfit.data.Arrays(x, [0] * 36 + [1] * 4)
    batches = tailfit.Batches(
        source, 8, tailfit.samplers.ClassBalanced(), seed=3, transform=augment.Jitter(sigma=0.5, only_repeats=True)
    )
    drawn, changed = np.zeros(2), np.zeros(2)
    for epoch in range(60):
        for records, y in batches.iterate(epoch):
            altered = (records != np.round(records)).any(axis=(1, 2))
            drawn += np.bincount(y, minlength=2)
            changed += np.bincount(y, altered, 2)
    assert drawn[0] == drawn[1]
    repeats = drawn / 60 / [36, 4]
    assert changed[0] == 0
    assert changed[1] / drawn[1] == pytest.approx(1 - 1 / repeats[1], abs=0.03)


def test_a_chain_applies_all_with_functions_of_the_user():
    chain = augment.Chain([augment.Scaling(sigma=0.0), lambda batch, rng: (batch[0] + 1, *batch[1:])])
    np.testing.assert_array_equal(applied(chain), X + 1)
    source = tailfit.data.Arrays(X, Y)
    repeated = augment.Chain([augment.Jitter(only_repeats=True)])
    np.testing.assert_array_equal(
        np.sort(tailfit.Batches(source, 12, transform=repeated)[0][0], axis=0), np.sort(X, axis=0)
    )


def test_processes_give_the_same_batches():
    source = tailfit.data.Arrays(X, Y)
    made = [
        [x for x, _ in tailfit.Batches(source, 4, transform=augment.TimeWarp(), processes=n).iterate(0)] for n in (0, 1)
    ]
    np.testing.assert_array_equal(made[0], made[1])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: augment.Jitter(sigma=-1), "sigma=-1"),
        (lambda: augment.Jitter(share=1.5), "share=1.5"),
        (lambda: augment.ChannelDropout(rate=2), "rate=2"),
        (lambda: augment.WindowSlice(size=0), "size=0"),
        (lambda: augment.WindowWarp(scales=()), r"scales=\(\)"),
        (lambda: augment.WindowWarp(scales=(0.0,)), "scales=0.0"),
        (lambda: augment.TimeWarp(knots=-1), "knots=-1"),
        (lambda: augment.Permutation(segments=0), "segments=0"),
        (lambda: augment.MixWithinClass(most=2), "most=2"),
        (lambda: applied(augment.MixWithinClass(), y=None), "without labels for MixWithinClass"),
        (lambda: applied(augment.Jitter(only_repeats=True)), "only_repeats=True without the batches"),
    ],
)
def test_bad_options_are_named(build, message):
    with pytest.raises(ArgumentError, match=message):
        build()


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.ones((4, 3, 2), int), None, "int64"),
        (np.ones((4, 3)).tolist(), None, "a list"),
        (np.ones((4, 8, 8, 1)), None, r"shape \(4, 8, 8, 1\)"),
        ({"a": X}, None, "a dict"),
    ],
)
def test_other_records_are_refused(x, y, message):
    with pytest.raises(DataError, match=message):
        applied(augment.Jitter(), x, y)


def test_several_classes_are_refused():
    with pytest.raises(DataError, match="several classes"):
        applied(augment.MixWithinClass(), X, np.ones((12, 3)))
