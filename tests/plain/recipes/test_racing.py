"""Races: plans and their time, which remedies go on, and `race.json`."""

import itertools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailfit.errors import ArgumentError, CheckpointError, DataError
from tailfit.recipes.racing import Pace, Race, Round, plans, race, seconds_of

FIGURES = {"plain": 0.1, "one": 0.5, "two": 0.6, "three": 0.4, "late": 0.2, "six": 0.3}


@given(st.integers(2, 40), st.integers(2, 12), st.integers(1, 200), st.integers(1, 5))
def test_plans_are_ever_shorter_and_end_with_all_seeds(remedies, seeds, epochs, jobs):
    paces, of_each = [Pace(2.0, 0.1)] * remedies, [epochs] * remedies
    found = plans(remedies, seeds, epochs)
    assert found[0] == (Round(remedies, 1.0, seeds),)
    times = [seconds_of(plan, paces, of_each, jobs) for plan in found]
    assert min(times) <= times[0]
    for plan in found:
        assert plan[0].remedies == remedies
        assert plan[-1].share == 1
        assert plan[-1].seeds == seeds
        for before, after in itertools.pairwise(plan):
            assert before.remedies >= after.remedies >= 2
            assert (before.share, before.seeds) <= (after.share, after.seeds)
            assert before.epochs(epochs) >= 1


def test_the_time_of_a_plan_is_that_of_average_remedies():
    paces = [Pace(1.0, 1.0), Pace(1.0, 3.0), Pace(1.0, 2.0)]
    plan = [Round(3, 0.5, 1), Round(2, 1.0, 2)]
    # All three for 5 epochs; then two of them for 5 more, and both with a second seed.
    assert seconds_of(plan, paces, [10] * 3, 1) == 3 * (1 + 10) + 2 * (1 + 10) + 2 * (1 + 20)
    # In the second round, two workers are no faster than the longest run.
    assert seconds_of(plan, paces, [10] * 3, 2) == max(33 / 2, 16) + max(64 / 2, 31)
    assert seconds_of(plan, paces, [10] * 3, 9) == 16 + 31


def measured(calls):
    def measure(names, now):
        calls.append((list(names), now))
        return {name: FIGURES[name] for name in names}

    return measure


def test_the_best_go_on_with_the_baseline():
    calls = []
    rounds = [Round(6, 1.0, 1), Round(3, 1.0, 2), Round(2, 1.0, 5)]
    left, stopped = race(rounds, dict.fromkeys(FIGURES, 8), measured(calls))
    assert calls == [(list(FIGURES), rounds[0]), (["plain", "one", "two"], rounds[1])]
    assert left == ["plain", "two"]
    assert [(each.name, each.rank, each.remedies, each.seeds, each.epochs) for each in stopped] == [
        ("late", 5, 6, 1, 8),
        ("six", 4, 6, 1, 8),
        ("three", 3, 6, 1, 8),
        ("one", 2, 3, 2, 8),
    ]


def test_a_remedy_that_changes_late_is_not_stopped_before_its_last_epoch():
    rounds = [Round(6, 0.5, 1), Round(3, 1.0, 1), Round(2, 1.0, 5)]
    calls = []
    left, stopped = race(rounds, dict.fromkeys(FIGURES, 8), measured(calls), late=["late"])
    assert calls[1][0] == ["plain", "two", "late"]
    assert left == ["plain", "two"]
    assert (stopped[0].epochs, stopped[-1].name, stopped[-1].epochs) == (4, "late", 8)


def test_low_costs_win_and_ties_go_to_the_first():
    rounds = [Round(3, 1.0, 1), Round(2, 1.0, 2)]
    costs = {"plain": 9.0, "one": 1.0, "two": 1.0}
    left, _ = race(rounds, dict.fromkeys(costs, 2), lambda names, now: costs, lower_is_better=True)
    assert left == ["plain", "one"]
    assert race(rounds[-1:], dict.fromkeys(costs, 2), lambda names, now: {})[0] == list(costs)


def test_the_most_generous_plan_within_the_budget_is_taken(tmp_path):
    paces, epochs = dict.fromkeys("abcd", Pace(0.0, 6.0)), dict.fromkeys("abcd", 10)
    everything = 4 * 5 * 10 * 6 / 60
    assert len(Race.planned(everything, 1, paces, epochs, 5).rounds) == 1
    less = Race.planned(everything * 0.7, 1, paces, epochs, 5)
    assert len(less.rounds) > 1
    less.write(tmp_path)
    assert Race.read(tmp_path, "abcd") == less
    assert Race.read(tmp_path / "elsewhere", "abcd") is None
    with pytest.raises(CheckpointError, match=r"a race of the remedies 'a', 'b', 'c', 'd'.*new directory"):
        Race.read(tmp_path, "abc")
    with pytest.raises(ArgumentError, match=r"budget=0.1 .*at least .* minutes: one epoch of each of 4") as caught:
        Race.planned(0.1, 1, paces, epochs, 5)
    least = float(str(caught.value.expected).split()[2])
    assert Race.planned(least, 1, paces, epochs, 5).rounds[-1].remedies == 2


@pytest.mark.parametrize(
    "change",
    [
        {"rounds": []},
        {"rounds": [{"remedies": 4, "share": 0, "seeds": 1}]},
        {"rounds": [{"remedies": 4}]},
        {"rounds": 1},
        {"paces": [1]},
        {"paces": {"a": {"start": "x", "epoch": 1}}},
        {"paces": {"a": {"start": -1, "epoch": 1}, "b": {"start": 1, "epoch": 1}}},
        {"paces": {"a": {"start": 10**400, "epoch": 1}, "b": {"start": 1, "epoch": 1}}},
        {"paces": {"a": {"start": 1, "epoch": math.inf}, "b": {"start": 1, "epoch": math.nan}}},
        {"budget": math.nan},
        {"jobs": 0},
        {"version": 2},
        {"budget": None},
        {"jobs": math.pi * 1j},
    ],
)
def test_a_damaged_race_is_refused(change, tmp_path):
    paces, epochs = dict.fromkeys("ab", Pace(0.0, 1.0)), dict.fromkeys("ab", 3)
    Race.planned(10, 1, paces, epochs, 2).write(tmp_path)
    path = tmp_path / "race.json"
    text = json.dumps({**json.loads(path.read_text()), **change}, default=lambda each: None)
    path.write_text(text)
    with pytest.raises(DataError, match=r"race\.json.*remove the file"):
        Race.read(tmp_path, "ab")
