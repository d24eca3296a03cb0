"""`Normalize` and `FillMissing`: streamed statistics, and the treatment of missing readings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailfit.data import Arrays, Batches, FillMissing, Mapped, Normalize, NpyFolder
from tailfit.errors import ArgumentError, DataError

NAN = np.nan


def readings(n=50, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal([3.0, -1e6, 0.0], [2.0, 0.5, 1e-3], size=(n, 7, 3))
    x[rng.random(x.shape) < 0.2] = NAN
    return x


@pytest.mark.parametrize("at_once", [1, 1000, 1 << 24])
def test_streamed_statistics_equal_those_of_the_whole(monkeypatch, at_once):
    monkeypatch.setattr("tailfit.data.changes.sensors._CHUNK_SIZE", at_once)
    x = readings()
    normalize = Normalize.fit(Arrays(x, nan="keep"))
    np.testing.assert_allclose(normalize.mean, np.nanmean(x, axis=(0, 1)), rtol=1e-12)
    np.testing.assert_allclose(normalize.std, np.nanstd(x, axis=(0, 1)), rtol=1e-9)
    done = normalize(x)
    np.testing.assert_allclose(np.nanmean(done, axis=(0, 1)), 0, atol=1e-9)
    np.testing.assert_allclose(np.nanstd(done, axis=(0, 1)), 1, rtol=1e-9)
    assert np.array_equal(np.isnan(done), np.isnan(x))


def test_only_the_fitted_part_counts():
    x = readings()
    train, _ = Arrays(x, nan="keep").split(0.5, 0.5)
    np.testing.assert_allclose(Normalize.fit(train).mean, np.nanmean(train.read(range(25)), axis=(0, 1)), rtol=1e-12)


def test_kinds_of_numbers():
    whole = Arrays(np.arange(12, dtype="int16").reshape(3, 4))
    normalize = Normalize.fit(whole)
    assert normalize(whole.read([0])).dtype == np.float32
    assert normalize(np.ones((2, 4), "float64")).dtype == np.float64
    assert normalize(np.ones((5, 6, 4), "float32")).shape == (5, 6, 4)


def test_a_constant_channel_is_centred():
    normalize = Normalize.fit(Arrays(np.full((3, 2), 7.0)))
    assert normalize.std.tolist() == [0.0, 0.0]
    assert normalize(np.array([[7.0, 8.0]])).tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Normalize.fit(Arrays(np.full((3, 2), [1.0, NAN]), nan="keep")), "channels without a reading.*: 1"),
        (lambda: Normalize.fit(Arrays(np.arange(3.0))), "last axis"),
        (lambda: Normalize.fit(Arrays({"a": np.zeros((3, 2))})), "Mapped"),
        (lambda: Normalize.fit(Arrays(np.array([["a", "b"]]))), "records of real numbers"),
        (lambda: Normalize.fit(Arrays(np.zeros((3, 2))))(np.zeros((3, 4))), "2 channels"),
        (lambda: FillMissing(method="backward"), "method='backward'"),
        (lambda: FillMissing(mean=np.zeros(3))(np.zeros((3, 4, 2))), "3 channels"),
        (lambda: FillMissing()(np.zeros((3, 4))), "steps in the axis before"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises((ArgumentError, DataError), match=message):
        make()


def slowly_filled(record, mean):
    """The definition, step by step."""
    out = record.copy()
    for channel in range(record.shape[1]):
        last = mean[channel]
        for step in range(len(record)):
            if np.isnan(record[step, channel]):
                out[step, channel] = last
            last = out[step, channel]
    return out


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_forward_fills_with_the_previous_reading(data):
    shape = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 3)))
    cells = st.one_of(st.just(NAN), st.floats(-10, 10, width=32))
    flat = data.draw(st.lists(cells, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    x, mean = np.array(flat, "float32").reshape(shape), np.arange(shape[2]) + 100.0
    expected = np.stack([slowly_filled(record, mean) for record in x])
    kept = x.copy()
    np.testing.assert_array_equal(FillMissing(mean=mean)(x), expected)
    np.testing.assert_array_equal(x, kept)
    masked = FillMissing(mean=mean, mask=True)(x)
    np.testing.assert_array_equal(masked[..., : shape[2]], expected)
    np.testing.assert_array_equal(masked[..., shape[2] :], ~np.isnan(x))
    assert masked.dtype == np.float32


def test_mean_and_zero():
    x = np.array([[1.0, NAN], [NAN, 4.0]])
    fill = FillMissing.fit(Arrays(x, nan="keep"), method="mean")
    assert fill(x).tolist() == [[1.0, 4.0], [1.0, 4.0]]
    assert FillMissing(method="zero")(x).tolist() == [[1.0, 0.0], [0.0, 4.0]]
    assert FillMissing(method="zero", mean=np.ones(2))(x).tolist() == [[1.0, 0.0], [0.0, 4.0]]


def test_in_mapped_and_in_batches(tmp_path):
    x = readings(8).astype("float32")
    for number, record in enumerate(x):
        np.save(tmp_path / f"{number}.npy", record)
    folder = NpyFolder(tmp_path, nan="keep")
    fill = FillMissing.fit(folder)
    filled = Mapped(folder, fill)
    normalize = Normalize.fit(filled)
    expected = normalize(fill(x))
    np.testing.assert_array_equal(Mapped(filled, normalize).read(range(8)), expected)
    batches = Batches(filled, 8, transform=normalize.transform)
    np.testing.assert_array_equal(batches.read(0, 0)[0], expected[batches.indices(0, 0)])
    assert np.isfinite(Batches(folder, 3, transform=fill.transform).read(0, 0)[0]).all()
