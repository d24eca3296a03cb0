"""Events and alarms in recordings, against a slow count window by window; their intervals, JSON, table and page."""

import json
from itertools import groupby, pairwise

import numpy as np
import polars as pl
import pytest
from scipy.stats import gamma
from support.pages import HOSTILE, Page

import tailfit
from tailfit.errors import ArgumentError, DataError
from tailfit.evaluation import Evaluation, report
from tailfit.evaluation.event_intervals import rate_figure
from tailfit.evaluation.event_tables import duration_text
from tailfit.evaluation.intervals import jeffreys

NAMES = ("normal", "leak", "wear")


def windows(*recordings, stride=6, starts=None):
    """The metadata, labels and predictions of recordings given as pairs of texts, "0112" and "0012"."""
    rows = [
        (f"run {r}", (starts or {}).get(r, range(0, stride * len(true), stride))[i], int(true[i]), int(predicted[i]))
        for r, (true, predicted) in enumerate(recordings)
        for i in range(len(true))
    ]
    record, start, y_true, y_pred = zip(*rows, strict=True)
    return pl.DataFrame({"record": record, "start": start}), np.array(y_true), np.array(y_pred)


def measured(*recordings, starts=None, names=NAMES, **options):
    table, y_true, y_pred = windows(*recordings, starts=starts)
    return tailfit.evaluate(y_true, y_pred, names, metadata=table, **options)


def test_definitions():
    events = measured(("00111100", "01001120"), ("00022000", "00000000"), ("0000", "0010"), step_seconds=10).events
    # run 0: a leak from window 2 to 5, found in window 4, i.e. after 2 windows of 6 steps of 10 s.
    assert events.events.rows() == [("run 0", "run 0", "leak", 12, 30, 24), ("run 1", "run 1", "wear", 18, 24, None)]
    assert [row[2:] for row in events.alarms.rows()] == [
        ("leak", 6, 6, "false"),
        ("leak", 24, 30, "right"),
        ("wear", 36, 36, "false"),
        ("leak", 12, 12, "false"),
    ]
    assert (float(events.recall), float(events.precision), float(events.delay)) == (0.5, 0.25, 120.0)
    days = (4 + 6 + 4) * 6 * 10 / 86_400
    assert float(events.false_alarms) == pytest.approx(3 / days)
    assert events.normal_time == pytest.approx(days)
    leak, wear = events.classes
    assert (leak.events, leak.found, leak.alarms, leak.right, leak.wrong_class, leak.false) == (1, 1, 3, 1, 0, 2)
    assert (wear.events, wear.found, wear.recall, wear.delay != wear.delay) == (1, 0, 0.0, True)


def test_alarms_need_windows_in_a_row_and_gaps_end_them():
    events = measured(("0011110", "0101111"), alarm_after=2).events
    assert events.events["found"].to_list() == [24]  # the second window of the alarm
    assert events.alarms.rows() == [("run 0", "run 0", "leak", 24, 36, "right")]
    # The windows from step 12 to 24 are left out.
    gap = measured(("00111", "01111"), starts={0: [0, 6, 30, 36, 42]}).events
    assert [row[3:] for row in gap.alarms.rows()] == [(6, 6, "false"), (30, 42, "right")]
    same_event = measured(("01100", "01000"), starts={0: [0, 6, 60, 66, 72]}).events
    assert len(same_event.events) == 1


def test_alarms_of_other_classes_find_no_event():
    events = measured(("0011", "0022"), ("0022", "0222")).events
    assert [of_class.found for of_class in events.classes] == [0, 1]
    assert events.alarms["outcome"].to_list() == ["wrong class", "right"]  # raised before the onset, and still on
    assert events.events["found"].to_list() == [None, 12]


def slowly(table, y_true, y_pred, k, stride):
    """Events and alarms by a loop over windows."""
    events, alarms = [], []
    order = sorted(range(len(y_true)), key=lambda i: (table["record"][i], table["start"][i]))
    for record, members in groupby(order, key=lambda i: table["record"][i]):
        rows = list(members)
        start = table["start"].to_list()
        on, length = set(), 0
        for place, i in enumerate(rows):
            before = rows[place - 1] if place else None
            follows = before is not None and start[i] - start[before] <= stride and y_pred[i] == y_pred[before]
            length = length + 1 if follows else 1
            if y_pred[i] != 0 and length >= k:
                on.add(i)
                if length == k:
                    alarms.append([record, int(y_pred[i]), []])
                alarms[-1][2].append(i)
        for label, run in groupby(rows, key=lambda i: y_true[i]):
            inside = list(run)
            if label:
                hits = [start[i] for i in inside if i in on and y_pred[i] == label]
                events.append((record, int(label), start[inside[0]], start[inside[-1]], min(hits, default=None)))
    outcomes = []
    for record, label, inside in alarms:
        truths = {int(y_true[i]) for i in inside}
        outcome = "right" if label in truths else "wrong class" if truths != {0} else "false"
        outcomes.append((record, label, start[inside[0]], start[inside[-1]], outcome))
    return events, outcomes


@pytest.mark.parametrize("seed", range(30))
def test_equal_to_a_slow_count(seed):
    rng = np.random.default_rng(seed)
    stride, k = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    frames = []
    for r in range(4):
        n = int(rng.integers(6, 40))
        start = np.arange(n) * stride
        y = np.repeat(rng.integers(0, 3, n), rng.integers(1, 6, n))[:n]
        p = np.where(rng.random(n) < 0.6, y, np.repeat(rng.integers(0, 3, n), 2)[:n])
        kept = np.sort(rng.choice(n, max(5, int(0.8 * n)), replace=False))
        frames.append(pl.DataFrame({"record": f"run {r}", "start": start[kept], "y": y[kept], "p": p[kept]}))
    table = pl.concat(frames).sample(fraction=1.0, shuffle=True, seed=seed)  # in any order
    y_true, y_pred = table["y"].to_numpy(), table["p"].to_numpy()
    found = tailfit.evaluate(y_true, y_pred, NAMES, metadata=table, alarm_after=k).events
    starts = table.sort("record", "start").group_by("record", maintain_order=True).agg("start")["start"]
    steps = [b - a for each in starts for a, b in pairwise(each.to_list())]
    events, alarms = slowly(table, y_true, y_pred, k, max(set(steps), key=lambda d: (steps.count(d), -d)))
    names = {name: code for code, name in enumerate(NAMES)}
    rows = [
        [(row[0], names[row[2]], *row[3:]) for row in frame.sort("record", "start", maintain_order=True).rows()]
        for frame in (found.events, found.alarms)
    ]
    assert sorted(rows[0]) == sorted(events)
    assert sorted(rows[1]) == sorted(alarms)


def test_intervals_of_independent_events_are_jeffreys():
    recordings = [("0011", "0011")] * 7 + [("0011", "0000")] * 3
    events = measured(*recordings).events
    low, high = jeffreys(np.array([7.0]), np.array([10.0]), 0.95)
    assert (events.recall.low, events.recall.high) == pytest.approx((low[0], high[0]), abs=1e-6)
    wells = np.repeat([0, 0, 0, 0, 0, 0, 0, 1, 1, 1], 4)
    by_well = measured(*recordings, groups=wells).events
    assert by_well.recall.high - by_well.recall.low > 1.5 * (high[0] - low[0])
    assert by_well.classes[0].groups == 2
    assert not by_well.classes[0].trusted


def test_delays_have_the_quantiles_of_the_interval_of_a_share():
    recordings = [("0" + "1" * 30, "0" * (1 + late) + "1" * (30 - late)) for late in range(21)]
    delay = measured(*recordings).events.delay
    low, high = jeffreys(np.array([10.5]), np.array([21.0]), 0.95)
    ends = np.quantile(6 * np.arange(21), [low[0], high[0]], method="inverted_cdf")
    assert (float(delay), delay.low, delay.high) == (60.0, *ends)
    assert measured(("0011", "0000")).events.delay != measured(("0011", "0000")).events.delay


def test_the_rate_of_one_group_is_that_of_a_poisson_process():
    rate = rate_figure(np.array([4.0]), np.array([2.0]), 0.95)
    assert (float(rate), rate.low, rate.high) == pytest.approx((2.0, *(gamma(4.5).ppf([0.025, 0.975]) / 2)))
    none = rate_figure(np.zeros(3), np.ones(3), 0.95)
    assert (float(none), none.low) == (0.0, 0.0)
    assert none.high > gamma(0.5).ppf(0.975) / 3


@pytest.mark.parametrize("spread", [0.0, 0.7])
@pytest.mark.parametrize("groups", [5, 24])
def test_coverage_of_the_rate(groups, spread):
    rng, covered = np.random.default_rng(1), 0
    for _ in range(400):
        rates = np.full(groups, 3.0) if spread == 0 else rng.gamma(spread**-2, 3.0 * spread**2, groups)
        time = rng.uniform(0.5, 1.5, groups)
        rate = rate_figure(rng.poisson(rates * time).astype(float), time, 0.95)
        covered += rate.low <= 3.0 <= rate.high
    assert covered / 400 >= 0.91


def test_the_normal_class_is_found_by_its_name_or_given():
    assert measured(("0011", "0011"), names=("a", " OK ", "b")).events.normal == " OK "
    assert measured(("0011", "0011"), names=("a", "b", "c")).events is None
    assert measured(("0011", "0011"), names=("ok", "none", "c")).events is None
    assert measured(("0011", "0011"), names=("a", "b", "c"), normal="a").events.normal == "a"
    with pytest.raises(ArgumentError, match="normal='x'"):
        measured(("0011", "0011"), normal="x")


def test_what_is_no_recording_has_no_events():
    table, y_true, y_pred = windows(("0011", "0011"))
    for metadata in (
        None,
        table.drop("start"),
        table.with_columns(start=pl.col("start").cast(pl.String)),
        table.with_columns(start=pl.lit(None, dtype=pl.Int64)),
        table.with_columns(record=pl.Series(list("abcd"))),
    ):
        evaluation = tailfit.evaluate(y_true, y_pred, NAMES, metadata=metadata)
        assert evaluation.events is None
    assert measured(("0000", "0101"), ("1111", "0101")).events is None  # one label each


def test_json_keeps_events_and_recomputes_their_figures():
    evaluation = measured(("00111100", "01001120"), ("00022000", "00000000"), step_seconds=10)
    text = evaluation.to_json()
    read = Evaluation.from_json(text)
    assert read == evaluation
    assert read.events.events.equals(evaluation.events.events)
    assert json.loads(text)["events"]["figures"]["delay"] == [120.0, 120.0, 120.0]


DAMAGE = {
    "an unknown class": lambda fields: fields["events"]["class"].__setitem__(0, "x"),
    "the normal class": lambda fields: fields["alarms"]["class"].__setitem__(0, "normal"),
    "another outcome": lambda fields: fields["alarms"]["outcome"].__setitem__(0, "late"),
    "a group without time": lambda fields: fields["normal_steps"].clear(),
    "a column less": lambda fields: fields["events"].pop("end"),
    "columns of other lengths": lambda fields: fields["events"]["end"].pop(),
    "a fraction": lambda fields: fields["events"]["start"].__setitem__(0, 0.5),
    "a null": lambda fields: fields["events"]["start"].__setitem__(0, None),
    "no step": lambda fields: fields.update(step_seconds=0),
    "a text for a step": lambda fields: fields.update(step_seconds="x"),
    "no window": lambda fields: fields.update(alarm_after=0),
    "negative time": lambda fields: fields.update(normal_steps={"run 0": -1}),
    "no dict": lambda fields: fields.update(normal_steps=3),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_json(name):
    fields = json.loads(measured(("00111100", "01001120"), step_seconds=10).to_json())
    DAMAGE[name](fields["events"])
    with pytest.raises(DataError, match="JSON of an evaluation with a fault"):
        Evaluation.from_json(json.dumps(fields))


def test_table_and_page_show_events():
    evaluation = measured(("00111100", "01001120"), ("00022000", "00000000"), step_seconds=10)
    text = str(evaluation)
    assert "Events in 2 recordings" in text
    assert "2 min" in text
    assert f"{evaluation.events.false_alarms:.2f}" in text
    assert "per day of normal operation (10 min)" in " ".join(text.split())
    assert "? fewer than 5 groups" in " ".join(text.split())
    many = str(measured(*[("0011", "0011")] * 5, step_seconds=10))
    assert "?" not in many.partition("Events in")[2]
    page = Page(evaluation.to_html())
    assert "false alarms" in page.text.lower()
    assert "0.500" in page.text
    plain = Page(measured(("0000", "0001"), ("0111", "0111"), names=("a", "b", "c")).to_html())
    assert "Events" not in plain.text


def test_hostile_names_of_events_stay_text():
    names = HOSTILE[:3]
    evaluation = measured(("00111100", "01001120"), names=names, normal=names[0])
    page = Page(report({names[1]: evaluation}))
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    for name in names[1:]:
        assert name in page.text


def test_durations():
    assert [duration_text(seconds, "s") for seconds in (0.5, 59, 3600, 200_000)] == ["0.5 s", "59 s", "1 h", "2.31 d"]
