"""Tables of invalid arguments by room, for functions that read no files: labels, weights, samplers, evaluation."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import polars as pl

import tailfit
from tailfit import samplers, schedules, weights
from tailfit.data import FillMissing, Normalize, Pad, Ragged, Windows
from tailfit.errors import ArgumentError, DataError, TailfitError
from tailfit.evaluation import Evaluation, compare_table, report
from tailfit.samplers.runs import Runs

__all__ = ["ARGUMENTS", "Bad", "argument", "data"]


class Bad(NamedTuple):
    """A call that must be refused, its error, and a pattern of the first part of the message."""

    call: Callable[..., Any]
    error: type[TailfitError]
    received: str


def argument(received: str, call: Callable[..., Any]) -> Bad:
    return Bad(call, ArgumentError, received)


def data(received: str, call: Callable[..., Any]) -> Bad:
    return Bad(call, DataError, received)


class Unprintable:
    """An object that is neither a label nor a number nor a name."""

    def __repr__(self) -> str:
        return "<odd>"


ODD = Unprintable()
NAN, INF = math.nan, math.inf
CODES = np.array([0, 0, 1, 2])
TABLE = pl.DataFrame({"id": list("abcd"), "site": ["A", "B", "A", None], "snr": [1.0, 2.0, 3.0, 4.0]})
SOURCE = tailfit.data.Arrays(np.zeros((4, 2)), CODES, list("abcd"), TABLE)

LABELS = {
    "nothing": data("labels", lambda: weights.class_weights([])),
    "none": data("NoneType", lambda: weights.class_weights(None)),
    "a number": data("type int", lambda: weights.class_weights(3)),
    "an object": data("Unprintable", lambda: weights.class_weights(ODD)),
    "objects": data("row 0", lambda: weights.class_weights([ODD, ODD])),
    "a dict of nothing": data("labels", lambda: weights.class_weights({"a": []})),
    "a set": data("type set", lambda: weights.class_weights({0, 1})),
    "NaN": data("row 1 is nan", lambda: weights.class_weights([0.0, NAN])),
    "infinity": data("row 1 is inf", lambda: weights.class_weights([0.0, INF])),
    "fractions": data("row 0 is 0.5", lambda: weights.class_weights([0.5, 1.0])),
    "negative": data("row 2 is -1", lambda: weights.class_weights([0, 1, -1])),
    "a stray code": data("row 1 is 1000000000", lambda: weights.class_weights([0, 10**9])),
    "beyond 64 bits": data("labels", lambda: weights.class_weights([0, 10**30])),
    "beyond 63 bits": data(r"2\*\*63", lambda: weights.class_weights(np.array([2**63], np.uint64))),
    "complex": data("row 0 is 1j", lambda: weights.class_weights(np.array([1j, 0j]))),
    "dates": data("row 0 is 2026", lambda: weights.class_weights(np.array(["2026-01-01"], "datetime64[D]"))),
    "bytes": data("labels", lambda: weights.class_weights(np.array([b"a", b"b"]))),
    "records": data("labels", lambda: weights.class_weights(np.zeros(3, [("a", "i4")]))),
    "missing among names": data("row 1 is None", lambda: weights.class_weights(["a", None])),
    "numbers among names": data("row 1 is 3", lambda: weights.class_weights(["a", 3])),
    "ragged rows": data("unequal length", lambda: weights.class_weights([[1, 0], [1]])),
    "three axes": data(r"\(2, 2, 2\)", lambda: weights.class_weights(np.ones((2, 2, 2)))),
    "a row of no class": data("row 1", lambda: weights.class_weights([[1, 0], [0, 0]])),
    "a row of two and a half": data("row 0", lambda: weights.class_weights([[2.5, 0.0], [0.0, 1.0]])),
    "a NaN row": data("row 1", lambda: weights.class_weights([[1.0, 0.0], [NAN, 1.0]])),
    "no classes": data(r"labels", lambda: weights.class_weights(np.zeros((3, 0)))),
    "masked": data("row 1 is masked", lambda: weights.class_weights(np.ma.array([0, 1], mask=[0, 1]))),
    "names in a matrix": data("labels", lambda: weights.class_weights([["a", "b"], ["c", "d"]])),
    "too few classes": data("row 3 is 2", lambda: weights.class_weights(CODES, num_classes=2)),
    "no number of classes": argument("num_classes='3'", lambda: weights.class_weights(CODES, num_classes="3")),
    "half a class": argument("num_classes=3.5", lambda: weights.class_weights(CODES, num_classes=3.5)),
    "a negative number of classes": argument("num_classes=-1", lambda: weights.class_weights(CODES, num_classes=-1)),
    "a terabyte of classes": argument(
        "num_classes=1000000000000", lambda: weights.class_weights(CODES, num_classes=10**12)
    ),
    "an unlabelled source": data("without labels", lambda: weights.class_weights(tailfit.data.Arrays(np.zeros(3)))),
    "names twice": data("'a' twice", lambda: weights.sample_weights([0, 1], {}, class_names=["a", "a"])),
    "names as one string": data("class_names='ab'", lambda: weights.sample_weights([0, 1], {}, class_names="ab")),
    "names that are a number": data("class_names=3", lambda: weights.sample_weights([0, 1], {}, class_names=3)),
    "more codes than names": data("row 1 is 2", lambda: weights.sample_weights([0, 2], {}, class_names=["a", "b"])),
    "an unknown name": data("'leek'", lambda: weights.sample_weights(["leek"], {}, class_names=["leak"])),
}

SCHEMES = {
    "unknown": argument("scheme='balance'", lambda: weights.class_weights(CODES, "balance")),
    "none": argument("scheme=None", lambda: weights.class_weights(CODES, None)),
    "unhashable": argument(r"scheme=\[\]", lambda: weights.class_weights(CODES, [])),
    "beta of one": argument("beta=1", lambda: weights.class_weights(CODES, "effective_number", beta=1)),
    "beta below zero": argument("beta=-0.1", lambda: weights.class_weights(CODES, "effective_number", beta=-0.1)),
    "beta NaN": argument("beta=nan", lambda: weights.class_weights(CODES, "effective_number", beta=NAN)),
    "beta a string": argument("beta='0.9'", lambda: weights.class_weights(CODES, "effective_number", beta="0.9")),
    "normalize unknown": argument("normalize='max'", lambda: weights.class_weights(CODES, normalize="max")),
    "normalize unhashable": argument(r"normalize=\[\]", lambda: weights.class_weights(CODES, normalize=[])),
    "labels by output": argument("num_classes of type int", lambda: weights.class_weights({"a": CODES}, num_classes=3)),
}

CONDITIONS = {
    name: argument(received, lambda condition=condition: weights.sample_weights(SOURCE, {condition: 0.5}))
    for name, (condition, received) in {
        "empty": ("", "''"),
        "blank": ("  ", "'  '"),
        "half": ("snr <", "snr <"),
        "an unknown column": ("snrr < 3", "'snrr'"),
        "a number": ("snr", "snr"),
        "a constant": ("1 = 1", "1 = 1"),
        "a total": ("SUM(snr) > 3", "SUM"),
        "text against a number": ("snr = 'x'", "snr = 'x'"),
        "a subquery": ("snr IN (SELECT 1)", "SELECT"),
        "a comment": ("snr < 3 -- x", "--"),
        "two statements": ("snr < 3; DROP TABLE x", "; DROP"),
        "an unknown function": ("read_csv('/etc/passwd') = 1", "read_csv"),
        "an open quote": ("site = 'B", "site"),
        "brackets without end": ("(" * 5000, r"\(\("),
        "operators without end": ("NOT " * 5000 + "snr < 3", "NOT"),
        "NUL": ("snr\0 < 3", "snr"),
        "a lone surrogate": ("site = '\ud800'", "site"),
        "a bad pattern": ("site ~ '('", "site"),
    }.items()
}

WEIGHTS = {
    "no dict": argument("weights", lambda: weights.sample_weights(SOURCE, [1.0, 2.0])),
    "none": argument("weights", lambda: weights.sample_weights(SOURCE, None)),
    "an unknown class": argument("unknown class 7", lambda: weights.sample_weights(SOURCE, {7: 2.0})),
    "no key": argument("<odd>", lambda: weights.sample_weights(SOURCE, {ODD: 2.0})),
    "half a code": argument(r"the key 0\.5", lambda: weights.sample_weights(SOURCE, {0.5: 2.0})),
    "a NaN key": argument("the key nan", lambda: weights.sample_weights(SOURCE, {NAN: 2.0})),
    "a truth value as key": argument("the key True", lambda: weights.sample_weights(SOURCE, {True: 2.0})),
    "NumPy's truth value as key": argument("the key", lambda: weights.sample_weights(SOURCE, {np.True_: 2.0})),
    "by name and by code": argument("'1' twice", lambda: weights.sample_weights(CODES, {"1": 2.0, 1.0: 2.0})),
    "a code and another's name": argument(
        "the index of '2' and the name of another", lambda: weights.sample_weights(["1", "2"], {1: 2.0})
    ),
    "negative": argument("-1", lambda: weights.sample_weights(SOURCE, {0: -1.0})),
    "NaN": argument("nan", lambda: weights.sample_weights(SOURCE, {0: NAN})),
    "infinity": argument("inf", lambda: weights.sample_weights(SOURCE, {0: INF})),
    "text": argument("'2'", lambda: weights.sample_weights(SOURCE, {0: "2"})),
    "none for a class": argument("None", lambda: weights.sample_weights(SOURCE, {0: None})),
    "a list for a class": argument(r"\[1\]", lambda: weights.sample_weights(SOURCE, {0: [1]})),
    "true": argument("True", lambda: weights.sample_weights(SOURCE, {0: True})),
    "beyond a float": argument("1000", lambda: weights.sample_weights(SOURCE, {0: 10**400})),
    "a condition without a table": argument("snr < 3", lambda: weights.sample_weights(CODES, {"snr < 3": 2.0})),
    "other class names": argument("class_names", lambda: weights.sample_weights(SOURCE, {0: 2.0}, class_names=["x"])),
}

GOOD = [[0.8, 0.1, 0.1]] * 4
QUALITY = {
    "no matrix": data("probabilities", lambda: weights.label_quality(CODES, [0.1, 0.2, 0.3, 0.4])),
    "an object": data("probabilities", lambda: weights.label_quality(CODES, ODD)),
    "logits": data("row 0", lambda: weights.label_quality(CODES, [[3.0, -2.0, 1.0]] * 4)),
    "NaN": data("row 0", lambda: weights.label_quality(CODES, [[NAN, 0.5, 0.5]] * 4)),
    "other rows": data("and 3 rows", lambda: weights.label_quality(CODES, GOOD[:3])),
    "other columns": data("row 3 is 2", lambda: weights.label_quality(CODES, [[0.5, 0.5]] * 4)),
    "text": data("probabilities", lambda: weights.label_quality(CODES, [["a", "b", "c"]] * 4)),
    "method unknown": argument("method='best'", lambda: weights.label_quality(CODES, GOOD, "best")),
    "method unhashable": argument(r"method=\[\]", lambda: weights.label_quality(CODES, GOOD, [])),
    "soft labels": data("soft", lambda: weights.label_quality([[0.5, 0.5, 0.0]] * 4, GOOD)),
}

LONG = samplers.Shuffle().plan(5)
SAMPLERS = {
    "power below zero": argument("power=-1", lambda: samplers.ClassBalanced(power=-1)),
    "power NaN": argument("power=nan", lambda: samplers.ClassBalanced(power=NAN)),
    "power infinite": argument("power=inf", lambda: samplers.ClassBalanced(power=INF)),
    "power text": argument("power='1'", lambda: samplers.ClassBalanced(power="1")),
    "power true": argument("power=True", lambda: samplers.ClassBalanced(power=True)),
    "power that a schedule makes negative": argument(
        "power=-1", lambda: samplers.ClassBalanced(power=schedules.Linear(1, -1, 5))
    ),
    "power that a schedule makes a list": argument(
        "power", lambda: samplers.ClassBalanced(power=schedules.Constant([1, 2]))
    ),
    "no epochs": argument("epochs=0", lambda: samplers.Progressive(0)),
    "half an epoch": argument("epochs=1.5", lambda: samplers.Progressive(1.5)),
    "epochs true": argument("epochs=True", lambda: samplers.Progressive(True)),
    "no members": argument("m=0", lambda: samplers.PerClass(0)),
    "members text": argument("m='2'", lambda: samplers.PerClass("2")),
    "cover text": argument("cover='yes'", lambda: samplers.Bootstrap(cover="yes")),
    "threshold zero": argument("threshold=0", lambda: samplers.RepeatFactor(0.0)),
    "threshold above one": argument("threshold=2", lambda: samplers.RepeatFactor(2.0)),
    "threshold NaN": argument("threshold=nan", lambda: samplers.RepeatFactor(NAN)),
    "threshold text": argument("threshold='x'", lambda: samplers.RepeatFactor("x")),
    "weights negative": argument("row 1 is -1", lambda: samplers.Weighted([1.0, -1.0])),
    "weights NaN": argument("row 0 is nan", lambda: samplers.Weighted([NAN, 1.0])),
    "weights of zero": argument("weights", lambda: samplers.Weighted([0.0, 0.0])),
    "weights of none": argument("weights", lambda: samplers.Weighted([])),
    "weights text": argument("weights", lambda: samplers.Weighted(["a", "b"])),
    "weights an object": argument("weights", lambda: samplers.Weighted(ODD)),
    "weights ragged": argument("weights", lambda: samplers.Weighted([[1.0], [1.0, 2.0]])),
    "weights for others": argument("weights", lambda: samplers.Weighted([1.0, 2.0]).plan([0, 1, 0])),
    "lengths negative": argument("lengths", lambda: samplers.ByLength([3, -1])),
    "lengths fractions": argument("lengths", lambda: samplers.ByLength([1.5, 2.5])),
    "lengths text": argument("lengths", lambda: samplers.ByLength(["a"])),
    "lengths an object": argument("lengths", lambda: samplers.ByLength(ODD)),
    "seed negative": argument("seed=-1", lambda: samplers.Shuffle().plan(5, seed=-1)),
    "seed too large": argument("seed=18446744073709551616", lambda: samplers.Shuffle().plan(5, seed=2**64)),
    "seed a fraction": argument("seed=0.5", lambda: samplers.Shuffle().plan(5, seed=0.5)),
    "seed none": argument("seed=None", lambda: samplers.Shuffle().plan(5, seed=None)),
    "batch size zero": argument("batch_size=0", lambda: samplers.Shuffle().plan(5, batch_size=0)),
    "batch size text": argument("batch_size='8'", lambda: samplers.Stratified().plan([0, 1], batch_size="8")),
    "no samples": data("no labels", lambda: samplers.ClassBalanced().plan([])),
    "no samples to shuffle": data("no labels", lambda: samplers.Shuffle().plan([])),
    "labels an object": argument("labels=<odd>", lambda: samplers.Shuffle().plan(ODD)),
    "labels a negative number": argument("labels=-5", lambda: samplers.Shuffle().plan(-5)),
    "labels half a number": argument("labels=2.5", lambda: samplers.Shuffle().plan(2.5)),
    "soft labels by class": data("row 0", lambda: samplers.ClassBalanced().plan([[0.5, 0.5]])),
    "an epoch before the first": argument("epoch=-1", lambda: LONG.indices(-1, 0, 1)),
    "half an epoch of a plan": argument("epoch=0.5", lambda: LONG.size(0.5)),
    "a start before the first": argument("start=-1", lambda: LONG.indices(0, -1, 1)),
    "a stop beyond the last": argument("stop=6", lambda: LONG.indices(0, 0, 6)),
    "a stop before the start": argument("stop=1", lambda: LONG.indices(0, 3, 1)),
    "sums of too few classes": argument(
        "num_classes=1", lambda: samplers.ClassBalanced().plan(CODES).class_sums(None, 0, 1)
    ),
    "sums of weights of others": argument("weights", lambda: samplers.ClassBalanced().plan(CODES).class_sums([1.0])),
    "runs of unequal length": argument("2 codes and 1 lengths", lambda: Runs([0, 1], [5])),
    "runs negative": argument("lengths", lambda: Runs([0, 1], [5, -1])),
    "runs an object": argument("codes", lambda: Runs(ODD, [1])),
}

SCHEDULES = {
    "NaN": argument("nan", lambda: schedules.Constant(NAN)),
    "text": argument("'x'", lambda: schedules.Constant("x")),
    "none": argument("None", lambda: schedules.Constant(None)),
    "an empty list": argument(r"\[\]|\(\)", lambda: schedules.Constant([])),
    "an object": argument("<odd>", lambda: schedules.Constant(ODD)),
    "no epochs": argument("epochs=0", lambda: schedules.Linear(0, 1, 0)),
    "epochs NaN": argument("epochs=nan", lambda: schedules.Cosine(0, 1, NAN)),
    "epochs text": argument("epochs='5'", lambda: schedules.Linear(0, 1, "5")),
    "a begin before the first": argument("begin=-1", lambda: schedules.Linear(0, 1, 5, begin=-1)),
    "ends of unequal length": argument("start 2 numbers", lambda: schedules.Linear([0, 1], [1, 2, 3], 5)),
    "a number to a list": argument("before one number", lambda: schedules.Deferred(0, [1, 2], at=3)),
    "at before the first": argument("at=-1", lambda: schedules.Deferred(0, 1, at=-1)),
    "at text": argument("at='3'", lambda: schedules.Deferred(0, 1, at="3")),
    "boundaries too few": argument("1 boundaries", lambda: schedules.Piecewise([1, 2, 3], [5])),
    "descending boundaries": argument(r"boundaries=\[5, 4\]", lambda: schedules.Piecewise([1, 2, 3], [5, 4])),
    "no values": argument("0 values", lambda: schedules.Piecewise([], [])),
    "values an object": argument("<odd>", lambda: schedules.Piecewise(ODD, [])),
    "no function": argument("fn=3", lambda: schedules.from_function(3)),
    "a function of text": argument("'x'", lambda: schedules.from_function(lambda epoch: "x")(0.0)),
    "an epoch before the first": argument("epoch=-1", lambda: schedules.Linear(0, 1, 5)(-1)),
    "an epoch text": argument("epoch='0'", lambda: schedules.Linear(0, 1, 5)("0")),
    "epoch NaN for objects": argument("epoch=nan", lambda: schedules.set_epoch(NAN, SimpleNamespace())),
}

TRUE, SCORES = [0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]]
EVALUATION = {
    "no sample": data("no sample|no label", lambda: tailfit.evaluate([], np.zeros((0, 2)))),
    "one class": data("1 class", lambda: tailfit.evaluate([0, 0], [0, 0])),
    "other rows": data("3 labels and 2", lambda: tailfit.evaluate(TRUE, SCORES[:2])),
    "NaN": data("row 1 has NaN", lambda: tailfit.evaluate(TRUE, [[0.9, 0.1], [NAN, 0.8], [0.4, 0.6]])),
    "text scores": data("y_score", lambda: tailfit.evaluate(TRUE, [["a", "b"]] * 3)),
    "an object": data("y_score", lambda: tailfit.evaluate(TRUE, ODD)),
    "ragged": data("y_score", lambda: tailfit.evaluate(TRUE, [[0.1], [0.2, 0.3], [0.1]])),
    "none": data("y_score", lambda: tailfit.evaluate(TRUE, None)),
    "a sigmoid": data("fractions", lambda: tailfit.evaluate(TRUE, [0.2, 0.7, 0.9])),
    "three axes": data(r"\(3, 2, 2\)", lambda: tailfit.evaluate(TRUE, np.zeros((3, 2, 2)))),
    "a class beyond the columns": data("row 2 is 5", lambda: tailfit.evaluate([0, 1, 5], SCORES)),
    "several labels": data("y_true", lambda: tailfit.evaluate([[1, 1], [0, 1], [1, 0]], SCORES)),
    "codes against names": data("names", lambda: tailfit.evaluate([0, 1], ["a", "b"])),
    "names of other classes": data("3 class_names", lambda: tailfit.evaluate(TRUE, SCORES, ["a", "b", "c"])),
    "confidence one": argument("confidence=1", lambda: tailfit.evaluate(TRUE, SCORES, confidence=1)),
    "confidence percent": argument("confidence=95", lambda: tailfit.evaluate(TRUE, SCORES, confidence=95)),
    "confidence text": argument("confidence='0.9'", lambda: tailfit.evaluate(TRUE, SCORES, confidence="0.9")),
    "resamples few": argument("resamples=3", lambda: tailfit.evaluate(TRUE, SCORES, resamples=3)),
    "resamples text": argument("resamples='x'", lambda: tailfit.evaluate(TRUE, SCORES, resamples="x")),
    "seed negative": argument("seed=-1", lambda: tailfit.evaluate(TRUE, SCORES, seed=-1)),
    "counts too few": argument("train_counts", lambda: tailfit.evaluate(TRUE, SCORES, train_counts=[1])),
    "counts negative": argument("entry 0 is -1", lambda: tailfit.evaluate(TRUE, SCORES, train_counts=[-1, 2])),
    "counts beyond a float": argument(
        "train_counts", lambda: tailfit.evaluate(TRUE, SCORES, train_counts=[10**400, 1])
    ),
    "counts text": argument("train_counts", lambda: tailfit.evaluate(TRUE, SCORES, train_counts=["a", "b"])),
    "name no text": argument("name=3", lambda: tailfit.evaluate(TRUE, SCORES, name=3)),
    "groups too few": data("2 groups for 3", lambda: tailfit.evaluate(TRUE, SCORES, groups=[1, 2])),
    "groups NaN": data("row 1 is missing", lambda: tailfit.evaluate(TRUE, SCORES, groups=[1, NAN, 2])),
    "groups null": data("row 2 is missing", lambda: tailfit.evaluate(TRUE, SCORES, groups=["a", "b", None])),
    "groups fractions": data("groups with fractions", lambda: tailfit.evaluate(TRUE, SCORES, groups=[0.5, 1, 2])),
    "groups an object": data("groups", lambda: tailfit.evaluate(TRUE, SCORES, groups=ODD)),
    "groups objects": data("<odd>", lambda: tailfit.evaluate(TRUE, SCORES, groups=["a", "b", ODD])),
    "groups one-hot": data(r"shape \(3, 2\)", lambda: tailfit.evaluate(TRUE, SCORES, groups=np.eye(3)[:, :2])),
    "ids too few": data("2 ids for 3", lambda: tailfit.evaluate(TRUE, SCORES, ids=["a", "b"])),
    "ids repeated": data("'a' twice", lambda: tailfit.evaluate(TRUE, SCORES, ids=["a", "b", "a"])),
    "metadata a list": data("type list", lambda: tailfit.evaluate(TRUE, SCORES, metadata=[1, 2, 3])),
    "metadata too short": data(
        "2 rows for 3", lambda: tailfit.evaluate(TRUE, SCORES, metadata=pl.DataFrame({"source": ["a", "b"]}))
    ),
    "JSON cut off": data("not JSON", lambda: Evaluation.from_json('{"format"')),
    "JSON of a different format": data("a different format", lambda: Evaluation.from_json("[]")),
    "JSON without end": data("not JSON", lambda: Evaluation.from_json("[" * 100_000)),
    "no evaluation": argument("no evaluations", lambda: report({})),
    "no evaluations in a report": argument("'a': 3", lambda: report({"a": 3})),
    "no table of evaluations": argument(r"\[\]", lambda: compare_table([])),
}

CHANGES = {
    "windows of nothing": argument("length=0", lambda: Windows(np.zeros((9, 2)), 0)),
    "windows longer than the data": data("9 steps", lambda: Windows(np.zeros((9, 2)), 10)),
    "windows of half a step": argument("2.5", lambda: Windows(np.zeros((9, 2)), 2.5)),
    "windows by an unknown rule": argument("label='middle'", lambda: Windows(np.zeros(9), 2, label="middle")),
    "windows by a rule of another type": argument("label=3", lambda: Windows(np.zeros(9), 2, label=3)),
    "windows with any unknown class": argument(
        "label='any:leak'", lambda: Windows(np.zeros(9), 2, y=[0] * 8 + [1], label="any:leak")
    ),
    "onset windows without steps": argument("onset=None", lambda: Windows(np.zeros(9), 2, label="onset")),
    "onset of no steps": argument("onset=0", lambda: Windows(np.zeros(9), 2, label="onset", onset=0)),
    "steps of an onset for another rule": argument("onset=3", lambda: Windows(np.zeros(9), 2, onset=3)),
    "windows of an object": data("object", lambda: Windows(ODD, 2)),
    "padding below zero": argument("to=-1", lambda: Pad(to=-1)),
    "padding to text": argument("to='9'", lambda: Pad(to="9")),
    "a mask of another kind": argument("mask='row'", lambda: Pad(mask="row")),
    "filling of another kind": argument("method='last'", lambda: FillMissing(method="last")),
    "a spread of NaN": argument("std", lambda: Normalize(mean=np.zeros(2), std=np.array([1.0, NAN]))),
    "a mean beyond a float": argument("mean", lambda: Normalize(mean=[10**400, 1], std=np.ones(2))),
    "a spread below zero": argument("std", lambda: Normalize(mean=np.zeros(2), std=np.array([1.0, -1.0]))),
    "a spread of others": argument("mean of 2 channels", lambda: Normalize(mean=np.zeros(2), std=np.ones(3))),
    "lengths that do not add up": argument("4 for 5 steps", lambda: Ragged(np.zeros(5), [2, 2])),
    "lengths below zero": argument("lengths", lambda: Ragged(np.zeros(5), [6, -1])),
}

ARGUMENTS: dict[str, dict[str, Bad]] = {
    "labels": LABELS,
    "schemes": SCHEMES,
    "conditions": CONDITIONS,
    "weights": WEIGHTS,
    "label quality": QUALITY,
    "samplers": SAMPLERS,
    "schedules": SCHEDULES,
    "evaluation": EVALUATION,
    "changes of data": CHANGES,
}
