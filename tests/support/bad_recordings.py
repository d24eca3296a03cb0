"""Table of invalid recordings: tables, labels, times and metadata."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from support.bad_arguments import ODD, argument, data
from support.bad_files import record, written

from tailfit.data import Recordings

__all__ = ["RECORDINGS"]

TIME = [f"2024-05-31 00:00:{second:02d}" for second in range(4)]
RECORDING = {"timestamp": TIME, "flow": [1.0, 2.0, 3.0, 4.0], "class": [0, 0, 1, 1]}


def recordings(changed: dict[str, Any] | None = None, runs: str = "", **options: Any) -> Callable[[Path], Any]:
    """Return a call that reads two recordings, of which the second has different columns, with a table of metadata."""

    def call(folder: Path) -> Any:
        columns = {**RECORDING, **(changed or {})}
        table = pl.DataFrame({name: values for name, values in columns.items() if values is not None})
        pl.DataFrame(RECORDING).write_parquet(folder / "a.parquet")
        table.write_parquet(folder / "b.parquet", row_group_size=3)
        if runs:
            (folder / "runs.csv").write_text("run,well\n" + runs)
        return Recordings(folder, **options)

    return call


def then(changed: dict[str, Any], call: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Return a call that reads these two recordings with another function."""

    def both(folder: Path) -> Any:
        recordings(changed)(folder)
        return call(folder)

    return both


def long(rows: str, **options: Any) -> Callable[[Path], Any]:
    return written("all.csv", "run,x,class\n" + rows, lambda path: Recordings(path, id="run", **options))


EMPTY = {name: [] for name in RECORDING}
RECORDINGS = {
    "no folder": record("nowhere", lambda folder: Recordings(folder / "nowhere.parquet")),
    "a folder without tables": data("no tables", lambda folder: Recordings(folder)),
    "a number": argument("type int", lambda: Recordings(3)),
    "a list of numbers": argument("type list", lambda: Recordings([3])),
    "a file that is no table": record("a.npy: a file that is not", lambda folder: Recordings([folder / "a.npy"])),
    "text as Parquet": record("a.parquet", written("a.parquet", "no", lambda path: Recordings(path.parent))),
    "text as Feather": record("a.feather", written("a.feather", "no", lambda path: Recordings(path.parent))),
    "an empty CSV": record("a.csv: an empty file", written("a.csv", "", lambda path: Recordings(path.parent))),
    "a CSV without numbers": record(
        r"a.csv: no columns of numbers among \['t', 'class'\]",
        written("a.csv", "t,class\nx,0\ny,1\n", lambda path: Recordings(path.parent)),
    ),
    "a CSV of words": record(
        "a.csv: row 1: 'off' in the column 'x'",
        written("a.csv", "x,class\n1,0\noff,1\n", lambda path: Recordings(path.parent, columns=["x"])),
    ),
    "two formats": data(
        r"tables in the formats .csv, .parquet",
        written("c.csv", "x,class\n1,0\n2,1\n", lambda path: recordings()(path.parent)),
    ),
    "files of one name": data(
        "a.parquet and .*a.parquet",
        written("d/e", "", lambda path: (recordings()(path.parent), Recordings([path.with_name("a.parquet")] * 2))),
    ),
    "no rows": record("b.parquet: a table of 0 rows", recordings(EMPTY)),
    "one row": record("b.parquet: a table of 1 row", recordings({k: v[:1] for k, v in RECORDING.items()})),
    "no label in one": record(r"b.parquet: the columns .* without 'class'", recordings({"class": None})),
    "no label in any": record(r"a.parquet: the columns .* without the label 'cause'", recordings(label="cause")),
    "labels of another type": record(
        "b.parquet: the column 'class' of labels with type String", recordings({"class": list("aabb")})
    ),
    "labels of fractions": data("b.parquet: row 1: the label 0.5", recordings({"class": [0.0, 0.5, 1.0, 1.0]})),
    "labels of lists": record("b.parquet: the column 'class' with lists", recordings({"class": [[0]] * 4})),
    "labels of dates": data(
        "b.parquet: row 0: labels of type Date",
        then({"x": [date(2024, 5, 31)] * 4}, lambda folder: Recordings(folder / "b.parquet", label="x")),
    ),
    "labels in no class": data(
        r"labels in no class: 1 \(4 steps\); the first 1 is in .*a.parquet: row 2", recordings(classes={"ok": [0]})
    ),
    "a label in two classes": argument(
        "label 0 both in the class 'a' and in the class 'b'", recordings(classes={"a": [0], "b": [1, 0]})
    ),
    "a label twice in a class": argument("label 0 twice", recordings(classes={"a": [0, 0]})),
    "a label dropped and kept": argument("label 1 both in drop", recordings(classes={"a": [0, 1]}, drop=[1])),
    "classes of no lists": argument(r"classes\['a'\] of 0", recordings(classes={"a": 0})),
    "no classes": argument("classes={}", recordings(classes={})),
    "a list of classes": argument(r"classes=\['a'\]", recordings(classes=["a"])),
    "labels that are objects": argument("Unprintable", recordings(drop=[ODD])),
    "a drop of text": argument("drop of 'ab'", recordings(drop="ab")),
    "columns of text": argument("columns='flow'", recordings(columns="flow")),
    "an unknown column": data("columns with 'heat', which is in no table", recordings(columns=["heat"])),
    "the label as a column": data("columns with 'class', which is label", recordings(columns=["flow", "class"])),
    "a recording with other columns": record(
        r"b.parquet: the columns \['timestamp', 'class', 'heat'\] without 'flow'",
        recordings({"flow": None, "heat": [1, 2, 3, 4]}, columns=["flow"]),
    ),
    "a sensor of text": record(
        "b.parquet: row 3: 'off' in the column 'flow'", recordings({"flow": ["1", "2", "3", "off"]})
    ),
    "a sensor of lists": record("b.parquet: the column 'flow' of type other", recordings({"flow": [[1.0]] * 4})),
    "a number beyond float32": record(
        "b.parquet: 1e\\+300 in the column 'flow'",
        lambda folder: recordings({"flow": [1.0, 2.0, 1e300, 4.0]})(folder).read([1]),
    ),
    "a time twice": record(
        "b.parquet: row 2: the time 2024-05-31 00:00:01 twice",
        recordings({"timestamp": [TIME[0], TIME[1], TIME[1], TIME[3]]}),
    ),
    "times unsorted": record(
        "b.parquet: row 3: the time 2024-05-31 00:00:02 after 2024-05-31 00:00:03",
        recordings({"timestamp": [TIME[0], TIME[1], TIME[3], TIME[2]]}),
    ),
    "no time in a row": record(
        "b.parquet: row 1: no time", recordings({"timestamp": [TIME[0], None, TIME[2], TIME[3]]})
    ),
    "no time in a file": record("b.parquet: the columns .* without 'timestamp'", recordings({"timestamp": None})),
    "times of another kind": record(
        "b.parquet: the column 'timestamp' of times with type Int64", recordings({"timestamp": [1, 2, 3, 4]})
    ),
    "words as times": record(
        "b.parquet: row 1: 'noon' in the column 'timestamp'",
        recordings({"timestamp": [TIME[0], "noon", TIME[2], TIME[3]]}),
    ),
    "times that are booleans": record(
        "b.parquet: row 0: times of type Boolean",
        then({"b": [True] * 4}, lambda folder: Recordings(folder / "b.parquet", time="b")),
    ),
    "an unknown time": data("time='t'", recordings(time="t")),
    "a grid without times": data("which resample= and max_gap= require|time=None", recordings(time=None, resample=1)),
    "a grid of no time": argument("resample='ten'", recordings(resample="ten")),
    "a grid of zero": argument("resample=0", recordings(resample=0)),
    "a grid of another kind": argument("how='max'", recordings(resample={"every": 1, "how": "max"})),
    "a grid of other keys": argument(r"\['each'\]", recordings(resample={"each": 1})),
    "a gap below zero": argument("max_gap=-1", recordings(max_gap=-1)),
    "a grid without end": data("resample to steps of 1e-09 s", recordings(resample="1ns")),
    "metadata without a recording": data("runs.csv without a row for ID 'b'", recordings(runs="a,A\n")),
    "metadata with a recording twice": data(
        r"runs.csv with several rows for ID 'b' .*\(rows 1, 2;", recordings(runs="a,A\nb,B\nb,C\n")
    ),
    "metadata that are a number": argument("type int", recordings(metadata=3)),
    "metadata that are not there": record("sites.csv", recordings(metadata="sites.csv")),
    "a group without metadata": argument("by='well' with no metadata", recordings(group="well")),
    "an unknown group": argument("by='site' with metadata columns", recordings(runs="a,A\nb,B\n", group="site")),
    "a group without a value": data("ID 'b' without a value of 'well'", recordings(runs="a,A\nb,\n", group="well")),
    "another policy of NaN": argument("nan='drop'", recordings(nan="drop")),
    "an unknown ID column": data(
        "no column 'run'", written("all.csv", "x,class\n1,0\n2,0\n", lambda path: Recordings(path, id="run"))
    ),
    "an ID without a value": record("all.csv: row 1: no ID", long("a,1,0\n,2,0\n")),
    "an ID in two places": record("all.csv: row 4: ID 'a' again", long("a,1,0\na,2,0\nb,3,0\nb,3,0\na,4,0\n")),
    "an ID of one row": record("all.csv: row 2: a single row with the ID 'b'", long("a,1,0\na,2,0\nb,3,0\n")),
    "an ID of fractions": record(
        "a.parquet: row 0: IDs of type Float64", then({}, lambda folder: Recordings(folder / "a.parquet", id="flow"))
    ),
}
