"""Metadata of the 3W recordings, and partitions of their wells into folds.

    python benchmarks/wells/prepare.py DATA WORK

DATA is a folder of recordings `WELL_TIME.parquet`, `DRAWN_NUMBER.parquet` and `SIMULATED_NUMBER.parquet`, with a column
`class`. Its `runs.csv` is not used: numbers of simulated recordings are unique only within an event, and files of the
same name have overwritten each other. Well and source follow from the name of a file, and the event from its labels.
"""

import json
import sys
from pathlib import Path

import polars as pl

from tailfit.data import Recordings, Windows, folds

FOLDS = 5
CLASSES = {
    "normal": [0],
    "water increase": [1, 101],
    "valve closure": [2, 102],
    "slugging": [3],
    "instability": [4],
    "restriction": [6, 106],
}


def metadata(data: Path) -> pl.DataFrame:
    """Return well, source and event of each recording; the event is 0 where no step has a fault."""
    rows = []
    for path in sorted(data.glob("*.parquet")):
        well = path.stem.split("_")[0]
        labels = set(pl.read_parquet(path, columns=["class"])["class"].drop_nulls().to_list())
        (event,) = {label % 100 for label in labels} - {0} or {0}
        source = {"DRAWN": "drawn", "SIMULATED": "simulated"}.get(well, "real")
        rows.append({"run": path.stem, "well": well, "source": source, "event": event})
    return pl.DataFrame(rows)


def partitions(data: Path, table: pl.DataFrame) -> list[dict[str, list[str]]]:
    """Return a partition for each fold of the real wells: test on it, validate on the next, train on all others."""
    real = table.filter(pl.col("source") == "real")["run"].to_list()
    others = table.filter(pl.col("source") != "real")["run"].to_list()
    part = Recordings(data, metadata=table, classes=CLASSES, group="well").split({"real": real})["real"]
    windows = Windows(part, length=18, stride=6)
    names = [list(dict.fromkeys(test.metadata["record"])) for _, test in folds(windows, FOLDS, seed=0)]
    return [
        {
            "train": others + [name for step in range(2, FOLDS) for name in names[(fold + step) % FOLDS]],
            "validation": names[(fold + 1) % FOLDS],
            "test": names[fold],
        }
        for fold in range(FOLDS)
    ]


def prepare(data: Path, work: Path) -> None:
    """Write `wells.csv` and `fold-0.json`, `fold-1.json`, ... to a folder."""
    work.mkdir(parents=True, exist_ok=True)
    table = metadata(data)
    table.write_csv(work / "wells.csv")
    for number, partition in enumerate(partitions(data, table)):
        (work / f"fold-{number}.json").write_text(json.dumps(partition, indent=1), encoding="utf-8")
        wells = table.filter(pl.col("run").is_in(partition["test"]))
        print(f"fold {number}:", ", ".join(f"{well} ({n})" for well, n in wells["well"].value_counts(sort=True).rows()))


if __name__ == "__main__":
    prepare(*map(Path, sys.argv[1:]))
