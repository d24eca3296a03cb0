"""Batches: a pure function of (seed, epoch, step), in new arrays, with weights that multiply."""

import gc
import pickle
import threading
from pathlib import Path
from typing import Any

import keras
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tailfit
from tailfit.data import Arrays, NpyFolder
from tailfit.errors import ArgumentError, DataError, RecordError
from tailfit.samplers import Bootstrap, ClassBalanced, Sequential, Shuffle

SIZE = 23
X = np.arange(SIZE, dtype="float32")[:, None] * [1.0, 10.0]
CODES = np.minimum(np.arange(SIZE) % 5, 2)
NAMES = ["leak", "ok", "worn"]


def source(y: Any = CODES, **keywords: Any) -> Arrays:
    return Arrays(X, y, class_names=NAMES if y is CODES else None, **keywords)


def drawn(batches: tailfit.Batches, epoch: int = 0) -> list[int]:
    return np.concatenate([batches.indices(epoch, step) for step in range(len(batches))]).tolist()


@settings(deadline=None, max_examples=60)
@given(
    batch_size=st.integers(1, SIZE + 3),
    epoch=st.integers(0, 1000),
    seed=st.integers(0, 2**60),
    sampler=st.sampled_from([Sequential(), Shuffle(), ClassBalanced(), Bootstrap()]),
)
def test_steps_are_the_plans_positions_in_order(batch_size: int, epoch: int, seed: int, sampler: Any) -> None:
    batches = tailfit.Batches(source(), batch_size, sampler, seed)
    plan = sampler.plan(CODES, seed=seed, batch_size=batch_size)
    size = plan.size(epoch)
    assert drawn(batches, epoch) == plan.indices(epoch, 0, size).tolist()
    assert len(batches) == -(-size // batch_size)
    for step in range(len(batches)):
        x, y = batches.read(epoch, step)
        np.testing.assert_array_equal(x, X[batches.indices(epoch, step)])
        np.testing.assert_array_equal(y, CODES[batches.indices(epoch, step)])
        assert (y.dtype, len(x)) == (np.int32, min(batch_size, size - step * batch_size))
    # Not in order, from a block of steps that were planned together; a part of the batches has its own places in it.
    part = batches._replace(given_shard=(1, 2)) if batch_size > 1 else batches
    for other, step in ((epoch + 1, 0), (epoch + 1, len(batches) - 1), (epoch, 0)):
        for reader in (batches, part):
            np.testing.assert_array_equal(reader.read(other, step)[1], CODES[reader.indices(other, step)])


def test_the_default_order_is_reshuffled_each_epoch() -> None:
    batches = tailfit.Batches(source(), 4, seed=1)
    assert isinstance(batches.sampler, Shuffle)
    assert sorted(drawn(batches, 0)) == sorted(drawn(batches, 1)) == list(range(SIZE))
    assert drawn(batches, 0) != drawn(batches, 1) != drawn(tailfit.Batches(source(), 4, seed=2), 1)


def test_the_last_batch_is_short_or_dropped() -> None:
    assert [len(x) for x, _ in tailfit.Batches(source(), 8, Sequential())] == [8, 8, 7]
    assert [len(x) for x, _ in tailfit.Batches(source(), 8, Sequential(), drop_remainder=True)] == [8, 8]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 12), st.integers(1, 12), st.booleans())
def test_shards_divide_each_global_batch(batch_size: int, count: int, drop: bool) -> None:
    def build(index: int) -> tailfit.Batches:
        return tailfit.Batches(source(), batch_size, seed=3, drop_remainder=drop, shard=(index, count))

    if count > batch_size or (SIZE % batch_size and not drop and SIZE % batch_size < count):
        with pytest.raises(ArgumentError, match="shard"):
            build(0)
        return
    whole = tailfit.Batches(source(), batch_size, seed=3, drop_remainder=drop)
    shards = [build(index) for index in range(count)]
    assert {len(shard) for shard in shards} == {len(whole)}
    for step in range(len(whole)):
        parts = [shard.indices(7, step) for shard in shards]
        np.testing.assert_array_equal(np.concatenate(parts), whole.indices(7, step))
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= 1


def test_y_of_each_form() -> None:
    assert tailfit.Batches(Arrays(X), 4)[0][0].shape == (4, 2)
    assert len(tailfit.Batches(Arrays(X), 4)[0]) == 1
    y = tailfit.Batches(source(), SIZE, Sequential(), one_hot=True)[0][1]
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, np.eye(3)[CODES])
    soft = np.eye(3)[CODES] * 0.7 + 0.1
    for one_hot in (False, True):
        y = tailfit.Batches(source(soft), SIZE, Sequential(), one_hot=one_hot)[0][1]
        np.testing.assert_array_equal(y, soft.astype("float32"))
    several = (np.arange(SIZE)[:, None] % [2, 3, 5] == 0).astype(int)
    np.testing.assert_array_equal(tailfit.Batches(source(several), SIZE, Sequential())[0][1], several)


def test_nested_records() -> None:
    nest = Arrays({"sensor": X, "context": (X[:, 0],)}, CODES)
    x, _ = tailfit.Batches(nest, 4, Sequential())[1]
    np.testing.assert_array_equal(x["context"][0], X[4:8, 0])


@pytest.mark.parametrize("by", ["name", "code"])
def test_class_weights_by_name_or_index(by: str) -> None:
    table = dict(zip(NAMES if by == "name" else range(3), [2.0, 1.0, 0.5], strict=True))
    _, y, w = tailfit.Batches(source(), SIZE, Sequential(), class_weight=table)[0]
    np.testing.assert_array_equal(w, np.array([2.0, 1.0, 0.5], "float32")[y])
    assert w.dtype == np.float32


def test_schemes_give_each_class_the_same_sum() -> None:
    batches = tailfit.Batches(source(), 4, class_weight="balanced")
    np.testing.assert_allclose(batches.class_counts, SIZE / 3)


def test_weights_multiply() -> None:
    own = np.linspace(0, 1, SIZE)
    table = {"leak": 2.0, "ok": 1.0, "worn": 0.5}
    batches = tailfit.Batches(source(), 5, seed=9, class_weight=table, sample_weight=own)
    expected = np.array(list(table.values()))[CODES] * own
    for step, (_, _, w) in enumerate(batches):
        np.testing.assert_allclose(w, expected[batches.indices(0, step)], rtol=1e-6)
    np.testing.assert_allclose(batches.class_counts, np.bincount(CODES, expected))


def test_soft_labels_weigh_as_expected() -> None:
    soft = np.array([[1.0, 0.0], [0.5, 0.5], [0.25, 0.75]])
    w = tailfit.Batches(Arrays(X[:3], soft), 3, Sequential(), class_weight={0: 1.0, 1: 3.0})[0][2]
    np.testing.assert_allclose(w, [1.0, 2.0, 2.5])


def test_sample_weights_by_condition() -> None:
    with_metadata = source(metadata=pl.DataFrame({"site": ["A", "B"] * 11 + ["B"]}))
    w = tailfit.Batches(with_metadata, SIZE, Sequential(), sample_weight={"site = 'B'": 0.5})[0][2]
    np.testing.assert_array_equal(w, [1.0, 0.5] * 11 + [0.5])


@pytest.mark.parametrize("sampler", [Sequential(), Shuffle(), ClassBalanced(power=0.5), Bootstrap()], ids=repr)
def test_class_counts_match_the_batches(sampler: Any) -> None:
    own = np.linspace(1, 2, SIZE)
    batches = tailfit.Batches(source(), 6, sampler, class_weight="balanced", sample_weight=own)
    epochs, total = 60, np.zeros(3)
    for epoch in range(epochs):
        for step in range(len(batches)):
            _, y, w = batches.read(epoch, step)
            total += np.bincount(y, w, minlength=3)
    np.testing.assert_allclose(total / epochs, batches.class_counts_at(3), rtol=0.02)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "batch of none": ({"batch_size": 0}, "batch_size=0"),
    "batch of True": ({"batch_size": True}, "batch_size=True"),
    "batch of a half": ({"batch_size": 2.5}, "batch_size=2.5"),
    "negative seed": ({"seed": -1}, "seed=-1"),
    "negative prefetch": ({"prefetch": -1}, "prefetch=-1"),
    "shard of none": ({"shard": (0, 0)}, "shard"),
    "shard past the last": ({"shard": (2, 2)}, "shard"),
    "no shard": ({"shard": 1}, "shard=1"),
    "all dropped": ({"batch_size": 50, "drop_remainder": True}, "drop_remainder"),
    "workers": ({"workers": 4}, "workers=4"),
    "processes": ({"use_multiprocessing": True}, "use_multiprocessing=True"),
    "unknown class": ({"class_weight": {"leak": 1, "ok": 1, "worn": 1, "burst": 2}}, "'burst'"),
    "unknown code": ({"class_weight": {0: 1, 1: 1, 2: 1, 3: 1}}, "class 3"),
    "missing class": ({"class_weight": {"leak": 1.0, "ok": 1.0}}, "without the class 'worn'"),
    "twice": ({"class_weight": {"leak": 1.0, 0: 1.0}}, "'leak' twice"),
    "NaN for a class": ({"class_weight": {0: 1.0, 1: 1.0, 2: float("nan")}}, "nan"),
    "negative for a class": ({"class_weight": {0: 1.0, 1: 1.0, 2: -1}}, "-1"),
    "weights in a list": ({"class_weight": [1.0, 1.0, 1.0]}, "type list"),
    "too few weights": ({"sample_weight": np.ones(3)}, r"\(3,\)"),
    "NaN for a sample": ({"sample_weight": np.where(np.arange(SIZE) == 4, np.nan, 1.0)}, "nan for ID '4'"),
    "infinite": ({"sample_weight": np.where(np.arange(SIZE) == 4, np.inf, 1.0)}, "inf for ID '4'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(name: str) -> None:
    arguments, words = BAD[name]
    with pytest.raises((ArgumentError, DataError), match=words):
        tailfit.Batches(source(), **arguments)


def test_bad_sources() -> None:
    with pytest.raises(ArgumentError, match=r"tailfit\.data\.Arrays"):
        tailfit.Batches(X)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="unlabelled"):
        tailfit.Batches(Arrays(X), one_hot=True)
    for keywords in ({"class_weight": "balanced"}, {"sample_weight": np.ones(SIZE)}):
        with pytest.raises(ArgumentError, match="unlabelled"):
            tailfit.Batches(Arrays(X), **keywords)
    with pytest.raises(ArgumentError, match="multi-label"):
        tailfit.Batches(Arrays(X[:2], [[1, 1], [1, 0]]), class_weight={0: 1.0, 1: 1.0})
    with pytest.raises(ArgumentError, match="a source without samples"):
        tailfit.Batches(Arrays(X[:0]))


@pytest.mark.parametrize(("epoch", "step"), [(0, -1), (0, 6), (-1, 0)])
def test_no_such_batch(epoch: int, step: int) -> None:
    batches = tailfit.Batches(source(), 4)
    with pytest.raises(ArgumentError):
        batches.read(epoch, step)
    with pytest.raises(ArgumentError):
        batches.iterate(-1)
    with pytest.raises(ArgumentError):
        batches.iterate(0, start=7)


def test_later_settings_of_keras_readers_are_refused() -> None:
    batches = tailfit.Batches(source())
    batches.workers, batches.use_multiprocessing = 1, False
    with pytest.raises(ArgumentError, match="prefetch"):
        batches.workers = 2
    with pytest.raises(ArgumentError, match="prefetch"):
        batches.use_multiprocessing = True


def test_transform_is_seeded_by_epoch_and_step() -> None:
    def jitter(batch: Any, rng: np.random.Generator) -> Any:
        x, y = batch
        return x + rng.normal(size=x.shape), y

    def noise(seed: int, epoch: int, step: int, **keywords: Any) -> Any:
        batches = tailfit.Batches(Arrays(np.zeros((40, 2)), np.arange(40) % 2), 4, seed=seed, **keywords)
        return batches.read(epoch, step)[0].ravel()[0]

    values = [
        noise(seed, epoch, step, transform=jitter) for seed in range(4) for epoch in range(4) for step in range(10)
    ]
    assert len(set(values)) == len(values)
    assert values[:10] == [noise(0, 0, step, transform=jitter) for step in range(10)]


def test_keras_random_numbers_in_a_transform_are_seeded() -> None:
    def keras_jitter(batch: Any, rng: Any) -> Any:
        drawn = keras.ops.convert_to_numpy(keras.random.normal((len(batch[0]),)))
        return (batch[0] + drawn.reshape(-1, *[1] * (batch[0].ndim - 1)), *batch[1:])

    def value(epoch: int, step: int) -> float:
        return float(tailfit.Batches(source(), 4, transform=keras_jitter).read(epoch, step)[0].sum())

    outside = keras.random.normal(())
    values = [value(epoch, step) for epoch in range(2) for step in range(3)]
    assert values == [value(epoch, step) for epoch in range(2) for step in range(3)]
    assert len(set(values)) == 6
    assert float(keras.random.normal(())) != float(outside)  # its own sequence continues


def test_transform_does_not_depend_on_read_ahead() -> None:
    def jitter(batch: Any, rng: np.random.Generator) -> Any:
        return batch[0] * rng.random(), batch[1]

    ahead, direct = (tailfit.Batches(source(), 4, transform=jitter, prefetch=prefetch) for prefetch in (3, 0))
    for one, other in zip(ahead.iterate(2), direct.iterate(2), strict=True):
        np.testing.assert_array_equal(one[0], other[0])


@pytest.mark.parametrize(
    "change",
    [lambda batch: batch[0], lambda batch: (batch[0][1:], batch[1]), lambda batch: (*batch, 1.0), lambda b: None],
)
def test_a_transform_keeps_the_structure(change: Any) -> None:
    with pytest.raises(DataError, match="from transform"):
        tailfit.Batches(source(), 4, transform=lambda batch, rng: change(batch))[0]


def test_the_current_epoch_by_hand() -> None:
    batches = tailfit.Batches(source(), 4)
    for epoch in range(3):
        batches.on_epoch_begin()
        assert batches.epoch == epoch
        for step in (3, 0, 5):
            np.testing.assert_array_equal(batches[step][0], X[batches.indices(epoch, step)])
        batches.on_epoch_end()
    batches.set_epoch(7)
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), X[drawn(batches, 7)])


def test_a_pickled_batches_is_the_same() -> None:
    batches = tailfit.Batches(source(), 4, Bootstrap(), seed=5, class_weight="balanced")
    batches.set_epoch(2)
    again = pickle.loads(pickle.dumps(batches))
    assert again.epoch == 2
    for one, other in zip(batches, again, strict=True):
        for left, right in zip(one, other, strict=True):
            np.testing.assert_array_equal(left, right)


def test_repr() -> None:
    shown = repr(tailfit.Batches(source(), 4, class_weight="balanced", shard=(1, 2)))
    for part in ("6 of 4", "Arrays", "3 classes", "Shuffle", "weighted", "shard 1 of 2"):
        assert part in shown


def test_unreadable_records_are_skipped_on_request(tmp_path: Path) -> None:
    x = np.arange(24, dtype="float32").reshape(12, 2)
    for number, record in enumerate(x):
        np.save(tmp_path / f"{number:02d}.npy", record)
    folder = NpyFolder(tmp_path, {f"{number:02d}": number % 3 for number in range(12)})
    (tmp_path / "04.npy").write_bytes(b"")
    np.save(tmp_path / "07.npy", np.array([np.nan, 1.0], "float32"))
    (tmp_path / "11.npy").unlink()

    def epoch(**given: Any) -> list[Any]:
        batches = tailfit.Batches(folder, 4, Sequential(), sample_weight=np.arange(12.0), on_error="skip", **given)
        return [*batches.iterate(0), batches.skipped]

    for prefetch in (2, 0):
        *steps, skipped = epoch(prefetch=prefetch)
        read = [(batch[0][:, 0] / 2).astype(int).tolist() for batch in steps]
        assert read == [[0, 1, 2, 3], [5, 5, 6, 5], [8, 9, 10, 8]]  # 4, 7 and 11 are unreadable
        for rows, (_, y, w) in zip(read, steps, strict=True):
            assert y.tolist() == [row % 3 for row in rows]
            assert w.tolist() == rows
        assert sorted(skipped) == ["04", "07", "11"]
        assert "empty" in skipped["04"]
        assert "NaN" in skipped["07"]
    # A batch does not depend on earlier reads.
    alone = tailfit.Batches(folder, 4, Sequential(), on_error="skip").read(0, 2)[0]
    np.testing.assert_array_equal(alone, steps[2][0])
    with pytest.raises(RecordError, match="04"):
        list(tailfit.Batches(folder, 4, Sequential()).iterate(0))
    with pytest.raises(ArgumentError, match="on_error"):
        tailfit.Batches(folder, on_error="ignore")
    with pytest.raises(DataError, match="none of which can be read"):
        tailfit.Batches(folder, 1, Sequential(), on_error="skip").read(0, 4)


def test_ten_thousand_hosts_read_each_batch_once() -> None:
    hosts, size = 10_000, 25_000
    labels = np.random.default_rng(0).choice(3, 60_000, p=[0.9, 0.09, 0.01])
    whole = tailfit.data.Arrays(np.zeros(60_000, "int8"), labels)
    for sampler in (tailfit.samplers.Shuffle(), tailfit.samplers.Bootstrap()):
        batches = tailfit.Batches(whole, size, sampler)
        for step in range(len(batches)):
            start, stop = step * size, min((step + 1) * size, 60_000)
            cuts = []
            for index in range(hosts):
                batches.given_shard = (index, hosts)  # type: ignore[misc]  # 10,000 plans would take a minute
                cuts.append(batches._positions(step))
            assert [begin for begin, _ in cuts[1:]] == [end for _, end in cuts[:-1]]
            assert (cuts[0][0], cuts[-1][1]) == (start, stop)
            assert {end - begin for begin, end in cuts} <= {(stop - start) // hosts, (stop - start) // hosts + 1}
    shards = [tailfit.Batches(whole, size, sampler, shard=(index, 50)).indices(3, 1) for index in range(50)]
    np.testing.assert_array_equal(np.concatenate(shards), tailfit.Batches(whole, size, sampler).indices(3, 1))


@pytest.mark.parametrize("sampler", [Shuffle(), Bootstrap(), ClassBalanced(power=0.5), tailfit.samplers.Stratified()])
def test_shards_have_the_same_class_mix(sampler: Any) -> None:
    labels = np.random.default_rng(0).choice(3, 6000, p=[0.8, 0.15, 0.05])
    whole = Arrays(np.zeros(6000, "int8"), labels)
    mix = tailfit.Batches(whole, 120, sampler).class_counts / 6000
    for index in range(4):
        shard = tailfit.Batches(whole, 120, sampler, shard=(index, 4))
        drawn = np.concatenate([labels[shard.indices(epoch, step)] for epoch in range(4) for step in range(len(shard))])
        share = np.bincount(drawn, minlength=3) / len(drawn)
        assert (abs(share - mix) < 4 * np.sqrt(mix * (1 - mix) / len(drawn))).all()


@pytest.mark.parametrize("index", [0, 1])
def test_trap_24_shards_are_of_equal_length_and_step(index: int) -> None:
    """A short last batch is divided, too, so that no shard waits for a step of another."""
    shard = tailfit.Batches(source(), 6, shard=(index, 2))
    assert len(shard) == 4
    assert [len(x) for x, _ in shard.iterate(0)] == [3, 3, 3, 2 if index == 0 else 3]
    dropped = tailfit.Batches(source(), 6, shard=(index, 2), drop_remainder=True)
    assert [len(x) for x, _ in dropped.iterate(0)] == [3, 3, 3]


def test_trap_23_a_short_batch_has_no_row_beyond_its_samples() -> None:
    for x, y in tailfit.Batches(source(), 8, seed=4).iterate(0):
        assert len(x) == len(y)
        np.testing.assert_array_equal(CODES[x[:, 0].astype(int)], y)


def test_trap_28_any_class_aware_order_is_a_function_of_seed_and_epoch() -> None:
    for sampler in (ClassBalanced(), Bootstrap(), tailfit.samplers.Stratified(), tailfit.samplers.RepeatFactor(0.3)):
        orders = {
            tuple(drawn(tailfit.Batches(source(), 4, sampler, seed), epoch)) for seed in (0, 1) for epoch in (0, 1)
        }
        assert len(orders) == 4
        np.random.seed(0)  # noqa: NPY002  # which must change nothing
        assert drawn(tailfit.Batches(source(), 4, sampler, 1), 1) in [list(order) for order in orders]


def readers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("tailfit")]


@pytest.mark.parametrize("prefetch", [0, 1, 2, 50])
def test_read_ahead_keeps_order_and_makes_new_arrays(prefetch: int) -> None:
    batches = tailfit.Batches(source(), 4, prefetch=prefetch)
    for start in range(len(batches) + 1):
        stream = list(batches.iterate(3, start=start))
        assert len(stream) == len(batches) - start
        for step, (x, _) in enumerate(stream, start):
            np.testing.assert_array_equal(x, X[batches.indices(3, step)])
        buffers = {x.__array_interface__["data"][0] for x, _ in stream}
        assert len(buffers) == len(stream)  # all are alive at once, so none was returned twice
    assert not readers()


def test_read_ahead_is_bounded() -> None:
    read: list[int] = []

    def note(batch: Any, rng: Any) -> Any:
        read.append(1)
        return batch

    stream = tailfit.Batches(source(), 1, prefetch=3, transform=note).iterate(0)
    next(stream)
    threading.Event().wait(0.05)
    assert len(read) <= 4
    stream.close()


def test_no_thread_outlives_its_stream() -> None:
    batches = tailfit.Batches(source(), 2, prefetch=4)
    stream = batches.iterate(0)
    assert not readers()  # no thread before the first batch is requested
    next(stream)
    assert len(readers()) <= 1
    stream.close()
    assert not readers()

    stream = batches.iterate(0)
    next(stream)
    del stream
    gc.collect()
    assert not readers()

    def interrupted() -> None:
        for _ in batches.iterate(0):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    gc.collect()
    assert not readers()


def test_several_streams_at_once() -> None:
    batches = tailfit.Batches(source(), 4)
    for (x0, _), (x1, _) in zip(batches.iterate(0), batches.iterate(1), strict=True):
        assert len(x0) == len(x1)
    assert not readers()


@pytest.mark.parametrize("prefetch", [0, 3])
def test_an_error_arrives_at_its_own_batch(prefetch: int, tmp_path: Path) -> None:
    for number in range(6):
        np.save(tmp_path / f"{number}.npy", np.zeros(3))
    batches = tailfit.Batches(NpyFolder(tmp_path), 2, Sequential(), prefetch=prefetch)
    (tmp_path / "3.npy").write_bytes(b"")
    stream = batches.iterate(0)
    assert next(stream)[0].shape == (2, 3)
    with pytest.raises(RecordError, match=r"3\.npy: an empty file"):
        next(stream)
    assert not readers()


@pytest.mark.parametrize("sampler", [tailfit.samplers.Bootstrap(), tailfit.samplers.ClassBalanced()])
@pytest.mark.parametrize("codes", [[0, 0, 2], [0, 0, 1]], ids=["gap", "end"])
def test_a_sampler_by_class_refuses_a_class_without_a_sample(sampler, codes):
    source = tailfit.data.Arrays(np.zeros((3, 2)), codes, class_names=["ok", "leak", "wear"])
    with pytest.raises(DataError, match="'leak'" if codes[2] == 2 else "'wear'"):
        tailfit.Batches(source, sampler=sampler)
    assert len(tailfit.Batches(source)) == 1  # Shuffle accepts it
    with pytest.raises(ArgumentError, match="unlabelled"):
        tailfit.Batches(tailfit.data.Arrays(np.zeros((3, 2))), sampler=sampler)
