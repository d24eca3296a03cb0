"""Schedules: values around each boundary, properties for random inputs, refused arguments; and scheduled samplers."""

import dataclasses
import inspect
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailfit import schedules
from tailfit.errors import ArgumentError
from tailfit.samplers import ClassBalanced, Progressive
from tailfit.schedules import Constant, Cosine, Custom, Deferred, Linear, Piecewise, Schedule, from_function, set_epoch

QUICK = settings(deadline=None, max_examples=50)

# Schedules with hand-computed values by epoch.
GOLDEN = [
    (Constant(2), {0: 2.0, 0.5: 2.0, 10**9: 2.0}),
    (Constant([1, 2]), {0: (1.0, 2.0), 7: (1.0, 2.0)}),
    (Linear(0.0, 1.0, epochs=4), {0: 0.0, 1: 0.25, 2.5: 0.625, 4: 1.0, 5: 1.0}),
    (Linear(3, 1, 2, begin=10), {0: 3.0, 10: 3.0, 11: 2.0, 12: 1.0, 10**6: 1.0}),
    (Linear([0, 4], [2, 0], epochs=2), {0: (0.0, 4.0), 1: (1.0, 2.0), 2: (2.0, 0.0)}),
    (Cosine(2.0, 0.0, epochs=4), {0: 2.0, 1: 1 + 0.5**0.5, 2: 1.0, 3: 1 - 0.5**0.5, 4: 0.0, 9: 0.0}),
    (Cosine(0.0, 1.0, epochs=2, begin=3), {3: 0.0, 4: 0.5, 5: 1.0}),
    (Piecewise([1.0, 0.5, 0.0], [10, 20]), {0: 1.0, 9.99: 1.0, 10: 0.5, 19: 0.5, 20: 0.0, 99: 0.0}),
    (Piecewise([[1, 1], [2, 0]], [1]), {0: (1.0, 1.0), 1: (2.0, 0.0)}),
    (Piecewise([5.0], []), {0: 5.0, 100: 5.0}),
    (Deferred(0.0, 1.0, at=3), {0: 0.0, 2: 0.0, 2.999: 0.0, 3: 1.0, 4: 1.0}),
    (Deferred(0.0, 1.0, at=0), {0: 1.0}),
    (Deferred([1, 1], {0: 0.5, 1: 3}, at=1), {0: (1.0, 1.0), 1: (0.5, 3.0)}),
    (Deferred(np.ones(2), np.array([2, 3]), at=np.int64(1)), {0: (1.0, 1.0), 1: (2.0, 3.0)}),
    (Custom(abs), {0: 0.0, 3: 3.0, 2.5: 2.5}),
]
every_schedule = pytest.mark.parametrize("schedule", [one for one, _ in GOLDEN], ids=repr)
bounded = st.floats(-1e6, 1e6)


@pytest.mark.parametrize(("schedule", "values"), GOLDEN, ids=lambda case: repr(case) if callable(case) else "")
def test_golden_values(schedule, values):
    for epoch, value in values.items():
        assert schedule(epoch) == pytest.approx(value, rel=1e-15)
        assert isinstance(schedule(epoch), tuple if isinstance(value, tuple) else float)
        assert schedule(np.float64(epoch)) == schedule(epoch)


def test_every_schedule_is_tested():
    kinds = {getattr(schedules, name) for name in schedules.__all__}
    kinds = {kind for kind in kinds if inspect.isclass(kind) and not inspect.isabstract(kind)}
    assert kinds == {type(schedule) for schedule, _ in GOLDEN}


@every_schedule
class TestSchedule:
    def test_frozen_equal_printable_picklable(self, schedule):
        assert isinstance(schedule, Schedule)
        assert eval(repr(schedule).replace("<built-in function abs>", "abs"), vars(schedules)) == schedule
        assert pickle.loads(pickle.dumps(schedule)) == schedule
        assert hash(dataclasses.replace(schedule)) == hash(schedule)
        field = dataclasses.fields(schedule)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(schedule, field, 3.0)
        assert getattr(type(schedule), "__final__", False)
        assert ">>>" in type(schedule).__doc__

    def test_config_round_trip(self, schedule):
        if not isinstance(schedule, Custom):
            assert type(schedule).from_config(schedule.get_config()) == schedule

    def test_knots_bound_all_values(self, schedule):
        if isinstance(schedule, Custom):
            return
        knots = np.array([schedule(knot) for knot in schedule.knots])
        values = np.array([schedule(epoch) for epoch in np.linspace(0, 30, 601)])
        assert (values >= knots.min(axis=0)).all()
        assert (values <= knots.max(axis=0)).all()

    def test_value_is_constant_until_the_reported_epoch(self, schedule):
        for epoch in range(25):
            until = schedule.until(epoch)
            assert until > epoch
            for later in range(epoch, min(30, int(np.ceil(min(until, 30))))):
                assert schedule(later) == schedule(epoch)

    @pytest.mark.parametrize("epoch", [-1, -0.5, float("nan"), float("inf"), None, "0", True, [0]])
    def test_epochs_out_of_range_are_refused(self, schedule, epoch):
        with pytest.raises(ArgumentError, match="epoch="):
            schedule(epoch)


@pytest.mark.parametrize("ramp", [Linear, Cosine])
@QUICK
@given(start=bounded, stop=bounded, epochs=st.floats(0.1, 1e4), begin=st.floats(0, 100), data=st.data())
def test_ramps_are_monotonic_and_end_exactly(ramp, start, stop, epochs, begin, data):
    schedule = ramp(start, stop, epochs=epochs, begin=begin)
    times = sorted(data.draw(st.lists(st.floats(0, 2e4), min_size=2, max_size=20)))
    values = [schedule(time) for time in times]
    tiny = 1e-9 * (abs(start) + abs(stop))
    for earlier, later in pairwise(values):
        assert earlier <= later + tiny if start <= stop else earlier >= later - tiny
    assert all(min(start, stop) <= value <= max(start, stop) for value in values)
    assert (schedule(0), schedule(begin), schedule(begin + epochs * 1.001)) == (start, start, stop)


@QUICK
@given(before=bounded, after=bounded, at=st.floats(0, 1e4), epoch=st.floats(0, 2e4))
def test_deferred_is_piecewise_with_one_boundary(before, after, at, epoch):
    if at > 0:
        assert Deferred(before, after, at=at)(epoch) == Piecewise([before, after], [at])(epoch)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Constant(None),
        lambda: Constant("0.5"),
        lambda: Constant(float("nan")),
        lambda: Constant(True),
        lambda: Constant([]),
        lambda: Constant([[1.0]]),
        lambda: Constant([1.0, None]),
        lambda: Constant({1: 1.0, 2: 2.0}),
        lambda: Constant({"ok": 1.0}),
        lambda: Constant(np.array(["a"])),
        lambda: Linear(0.0, [1.0, 1.0], epochs=2),
        lambda: Linear([1.0], [1.0, 1.0], epochs=2),
        lambda: Linear(0.0, float("inf"), epochs=2),
        lambda: Linear(0.0, 1.0, epochs=0),
        lambda: Linear(0.0, 1.0, epochs=-1),
        lambda: Linear(0.0, 1.0, epochs=None),
        lambda: Cosine(0.0, 1.0, epochs=2, begin=-1),
        lambda: Piecewise([1.0], [1]),
        lambda: Piecewise([1.0, 2.0], [0]),
        lambda: Piecewise([1.0, 2.0, 3.0], [2, 2]),
        lambda: Piecewise([1.0, 2.0, 3.0], [3, 2]),
        lambda: Piecewise([1.0, [2.0]], [3]),
        lambda: Piecewise(1.0, 3),
        lambda: Piecewise("12", [3]),
        lambda: Deferred(None, 1.0, at=3),
        lambda: Deferred(0.0, [1.0], at=3),
        lambda: Deferred(0.0, 1.0, at=-1),
        lambda: Deferred(0.0, 1.0, at="3"),
        lambda: Custom(3.0),
        lambda: Custom(lambda epoch: None)(0),
        lambda: Custom(lambda epoch: "a")(0),
        lambda: Custom(lambda epoch: float("nan"))(0),
    ],
)
def test_bad_arguments_are_refused(make):
    with pytest.raises(ArgumentError, match="Fix: "):
        make()


def test_a_function_gets_integer_epochs_as_int():
    by_list = from_function([3.0, 2.0, 1.0].__getitem__)
    assert [by_list(epoch) for epoch in (0, 1, np.int64(2))] == [3.0, 2.0, 1.0]


# -- set_epoch -----------------------------------------------------------------------------------------


class Follower:
    epoch = None

    def set_epoch(self, epoch):
        self.epoch = epoch


class Holder:
    def __init__(self, *parts):
        self.parts = parts

    def scheduled(self):
        return iter(self.parts)


def test_set_epoch_finds_scheduled_objects():
    one, two, three, four = (Follower() for _ in range(4))
    set_epoch(5, one, [Holder(two), "mse", None], {"a": {"b": (Holder(Holder(three)), four, four)}}, Holder())
    assert [follower.epoch for follower in (one, two, three, four)] == [5] * 4


def test_set_epoch_handles_circular_lists():
    circle = [Follower()]
    circle.append(circle)
    set_epoch(1, circle)
    assert circle[0].epoch == 1


@pytest.mark.parametrize("wrong", [None, "mse", 3.0, object(), Follower])
def test_set_epoch_refuses_objects_without_schedules(wrong):
    with pytest.raises(ArgumentError, match="cannot follow a schedule"):
        set_epoch(1, wrong)


def test_set_epoch_refuses_bad_epochs():
    with pytest.raises(ArgumentError, match="epoch=-1"):
        set_epoch(-1, Follower())


# -- samplers with scheduled parameters (their properties are in plain/samplers/test_battery.py) -----------------------


@pytest.mark.parametrize("power", [Constant(-1.0), Linear(1.0, -0.1, epochs=9), Deferred(0.0, -2.0, at=80)])
def test_powers_out_of_range_are_refused_in_the_constructor(power):
    with pytest.raises(ArgumentError, match="power=-"):
        ClassBalanced(power=power)


@pytest.mark.parametrize("power", [Constant([1.0, 1.0]), Custom(lambda epoch: [0.0])])
def test_one_power_per_class_is_refused(power):
    with pytest.raises(ArgumentError, match="at epoch 0"):
        ClassBalanced(power=power)


def test_a_power_out_of_range_is_refused_at_that_epoch():
    plan = ClassBalanced(power=Custom(lambda epoch: 1.0 - epoch)).plan([0, 0, 0, 1])
    assert len(plan.indices(1, 0, 4)) == 4
    with pytest.raises(ArgumentError, match=r"power=-1\.0 at epoch 2"):
        plan.indices(2, 0, 4)


@pytest.mark.parametrize("epochs", [0, -1, 2.0, None, True])
def test_progressive_requires_whole_epochs(epochs):
    with pytest.raises(ArgumentError, match="epochs"):
        Progressive(epochs=epochs)


@QUICK
@given(
    powers=st.lists(st.sampled_from([0.0, 0.3, 1.0, 2.0]), min_size=6, max_size=6),
    seed=st.integers(0, 99),
    order=st.permutations(range(6)),
)
def test_a_function_as_power_keeps_the_rings_exact(powers, seed, order):
    labels = np.repeat([0, 1, 2], [13, 4, 2])
    plan = ClassBalanced(power=Custom(powers.__getitem__)).plan(labels, seed)
    fresh = [ClassBalanced(power=Custom(powers.__getitem__)).plan(labels, seed).indices(e, 0, 19) for e in range(6)]
    # The indices of an epoch do not depend on which epochs were read before.
    assert all(np.array_equal(plan.indices(epoch, 0, 19), fresh[epoch]) for epoch in order)
    times = np.zeros(19, dtype=int)
    for epoch in range(6):
        times += np.bincount(fresh[epoch], minlength=19)
        assert max(np.ptp(times[labels == code]) for code in range(3)) <= 1


def test_class_shares_after_the_last_change_are_those_of_the_fixed_power():
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    plan = ClassBalanced(power=Linear(1.0, 0.0, epochs=7)).plan(labels)
    fixed = ClassBalanced(power=0.0).plan(labels)
    assert plan.class_sums(epoch=7).tolist() == fixed.class_sums().tolist()
    assert plan.class_sums(epoch=0).tolist() == [60, 30, 10]
    ascending = [plan.class_sums(epoch=epoch)[2] for epoch in range(8)]
    assert ascending == sorted(ascending)


def test_epochs_after_the_last_change_are_not_evaluated():
    calls = []

    class Counting(Schedule):
        def _at(self, epoch):
            calls.append(epoch)
            return 1.0 if epoch < 10**9 else 0.0

        def until(self, epoch):
            return 10**9 if epoch < 10**9 else float("inf")

    plan = ClassBalanced(power=Counting()).plan([0, 0, 0, 1])
    plan.indices(10**12, 0, 4)
    plan.indices(10**6, 0, 4)
    assert len(calls) <= 4
