"""Tables by ID: labels, metadata, probabilities, partitions, class names."""

import functools
import io
import json
import re
from typing import Any

import numpy as np
import polars as pl

import tailfit
from fuzz.bounds import REFUSED, answer, scratch
from fuzz.of_records import IDS, LABELS, X, saved
from fuzz.targets import parser
from tailfit.cli.data import _probabilities
from tailfit.data import Arrays, NpyFolder
from tailfit.data.tables.reading import parse_json, read_rows

TABLE = pl.DataFrame({"id": IDS, "cause": LABELS, "snr": [1.0, None, 3.5, 4.0]})


@functools.cache
def source() -> Arrays:
    # Not made as this is imported: polars does not survive a fork after its first query.
    return Arrays(X, LABELS, IDS, TABLE.drop("cause"))


def folder(name: str) -> Any:
    root = scratch(name)
    if not (root / "data").exists():
        (root / "data").mkdir()
        for name, record in zip(IDS, X, strict=True):
            np.save(root / "data" / f"{name}.npy", record)
    return root


def as_tables(data: bytes, suffix: str) -> Any:
    """Read as labels, as metadata, as probabilities, and by itself; the source with these labels."""
    root = folder(f"table{suffix}")
    path = root / f"table{suffix}"
    path.write_bytes(data)
    if answer(lambda: parse_json(path) if suffix == ".json" else read_rows(path)) is REFUSED:
        return REFUSED
    found = answer(lambda: NpyFolder(root / "data", path))
    if found is not REFUSED:
        assert sorted(found.ids) == IDS
        assert len(set(found.class_names)) == len(found.class_names)
        total = found.class_counts.sum()
        assert abs(total - 4) < 1e-6 or found.label_kind == "multi-label"
        assert np.isfinite(total)
    labelled = answer(lambda: NpyFolder(root / "data", path, label="cause"))
    assert labelled is REFUSED or sorted(labelled.ids) == IDS
    described = answer(lambda: NpyFolder(root / "data", metadata=path).metadata)
    assert described is REFUSED or described["id"].to_list() == IDS
    answer(lambda: _probabilities(path, source()))
    return found


def csv_seeds() -> list[bytes]:
    text = TABLE.write_csv()
    others = ["sep=;\nid;cause\na;ok\nb;leak\nc;ok\nd;leak", '"id","cause"\n"a","o""k"\n"b","x\ny"\n"c",1\n"d",2\n']
    numbers = "id\tn\na\t001\nb\t99999999999999999999\nc\t1e5\nd\t-1\n"
    return [each.encode() for each in (text, *others, numbers)] + [
        text.encode("utf-16"),
        b"\xef\xbb\xbf" + text.encode(),
    ]


@parser(
    csv_seeds, words=("sep=;\n", '"', '""', ";", "\t", "|", "\r\n", "\xef\xbb\xbf", "\xff\xfe", "id", "cause", "NaN")
)
def csv(data: bytes) -> None:
    as_tables(data, ".csv")
    path = folder("table.csv") / "table.csv"
    rows = answer(lambda: read_rows(path))
    # Where nothing is quoted and all rows are equally wide, splitting at commas is all there is to a table.
    if rows is not REFUSED and re.fullmatch(rb"[\w,.\n-]+", data) and not data.startswith(b"sep="):
        lines = [line.split(",") for line in data.decode().removesuffix("\n").split("\n")]
        if all(map(all, lines)) and len({len(line) for line in lines}) == 1 and len(set(lines[0])) == len(lines[0]):
            assert rows.written.columns == lines[0]
            assert [list(row) for row in rows.written.rows()] == lines[1:], "other text than in the file"
    answer(lambda: tailfit.data.open(path, nan="keep").read([0]))


def labels_by_id() -> list[bytes]:
    values = [LABELS, [0, 1, 0, 1], [[1, 0], [0, 1], [1, 1], [0, 0]], [[0.5, 0.5], [1.0, 0.0], [0.2, 0.8], [0, 1]]]
    dicts = [dict(zip(IDS, each, strict=True)) for each in values]
    return [json.dumps(each).encode() for each in [*dicts, TABLE.to_dicts()]]


@parser(labels_by_id, json=True)
def labels_json(data: bytes) -> None:
    found = as_tables(data, ".json")
    if found is REFUSED:
        return
    try:
        table = json.loads(data)
    except ValueError:
        return  # another encoding than json takes
    if isinstance(table, dict) and sorted(table) == IDS and all(isinstance(label, str) for label in table.values()):
        names = [found.class_names[code] for code in found.labels]
        assert dict(zip(found.ids, names, strict=True)) == table, "other labels than in the file"


@parser(lambda: ["\n".join(map(json.dumps, TABLE.to_dicts())).encode()], words=('{"', '":', "},", "null", "\n"))
def ndjson(data: bytes) -> None:
    as_tables(data, ".ndjson")
    path = scratch("ndjson") / "table.ndjson"
    path.write_bytes(data)
    answer(lambda: tailfit.data.open(path, nan="keep").read([0]))


def parquet_tables() -> list[bytes]:
    files = []
    for table in (TABLE, TABLE.with_columns(pl.col("cause").cast(pl.Categorical))):
        table.write_parquet(file := io.BytesIO(), compression="uncompressed", statistics=False)
        files.append(file.getvalue())
    return files


@parser(parquet_tables, longest=1 << 14, native=True)
def parquet_table(data: bytes) -> None:
    as_tables(data, ".parquet")


@parser(lambda: [saved(np.full((4, 2), 0.5)), saved(np.eye(2))])
def probabilities(data: bytes) -> None:
    path = scratch("probabilities") / "p.npy"
    path.write_bytes(data)
    rows = answer(lambda: _probabilities(path, source()))
    if rows is not REFUSED:
        answer(lambda: tailfit.weights.label_quality(source(), rows))


@parser(lambda: [b'{"train": ["a", "b"], "test": ["c", "d"]}', b'{"all": ["a.npy", "data/b"]}', b"{}"], json=True)
def partition(data: bytes) -> None:
    path = scratch("partition") / "partition.json"
    path.write_bytes(data)
    parts = answer(lambda: source().split(path))
    if parts is REFUSED:
        return
    taken = [name for part in parts.values() for name in part.ids]
    assert len(set(taken)) == len(taken)
    assert set(taken) <= set(IDS)
    for part in parts.values():
        assert part.read(np.arange(len(part))).tolist() == [X[IDS.index(name)].tolist() for name in part.ids]


@parser(lambda: [b'["leak", "ok"]', b'["a", "b", "c"]', b"[]"], json=True)
def class_names(data: bytes) -> None:
    root = folder("class-names")
    for labels in (dict.fromkeys(IDS, 1), dict(zip(IDS, LABELS, strict=True))):
        (root / "labels.json").write_text(json.dumps(labels))
        (root / "class_names.json").write_bytes(data)
        found = answer(lambda: tailfit.data.open(root))
        assert found is REFUSED or list(found.class_names) == json.loads(data.decode("utf-8-sig"))
