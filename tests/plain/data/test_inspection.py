"""`inspect` in Python and on the command line, and `tailfit pack`."""

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from tailfit.cli.data import _probabilities, reader_options
from tailfit.data import Arrays, NpyFolder, Packed, Parquet, Subset, inspect, save_npy_folder
from tailfit.errors import ArgumentError, DataError

X = np.arange(24, dtype="float32").reshape(8, 3)
Y = ["ok"] * 6 + ["leak", "worn"]
IDS = [f"p{n}" for n in range(8)]


CODE = """
import atexit, sys
atexit.register(lambda: print("keras" in sys.modules))
from tailfit.cli import main
main()
"""


def command(*arguments):
    given = [sys.executable, "-c", CODE, *map(str, arguments)]
    return subprocess.run(given, capture_output=True, text=True, timeout=120)


def test_classes_and_sizes():
    found = inspect(Arrays(X, Y, class_names=["leak", "ok", "worn"]))
    assert (found.samples, found.nbytes, found.arrays) == (8, X.nbytes, {"": "(3,) float32"})
    assert found.classes.rows() == [("ok", 6, 0.75), ("leak", 1, 0.125), ("worn", 1, 0.125)]
    assert found.imbalance_ratio == 6.0
    assert found.rare.is_empty()
    assert found.sound


def test_rare_empty_and_soft_classes():
    many = inspect(Arrays(np.zeros((300, 1)), [0] * 298 + [1, 1], class_names=["a", "b", "c"]))
    assert many.imbalance_ratio == float("inf")
    assert many.rare["class"].to_list() == ["b", "c"]
    soft = inspect(Arrays(X[:2], [[0.25, 0.75], [0.5, 0.5]]))
    assert soft.classes["count"].to_list() == [1.25, 0.75]
    assert inspect(Arrays(X)).imbalance_ratio == 1.0


def test_missing_values_unreadable_records_and_duplicates(tmp_path):
    x = X.copy()
    x[1, 2], x[4, 0] = np.nan, np.inf
    x[7] = x[2]
    for name, record in zip(IDS, x, strict=True):
        np.save(tmp_path / f"{name}.npy", record)
    source = NpyFolder(tmp_path, nan="keep")
    (tmp_path / "p5.npy").write_bytes(b"")
    parts = source.split({"train": ["p0", "p1", "p2"], "test": ["p6", "p7"]})
    seen = []
    found = inspect(source, parts, progress=lambda done, of: seen.append((done, of)))
    assert found.missing == ("p1", "p4")
    assert list(found.unreadable) == ["p5"]
    assert "p5.npy: an empty file" in found.unreadable["p5"]
    assert found.duplicates == (("p2", "p7"),)
    assert found.across == (("p2", "p7"),)
    assert not found.sound
    assert seen == [(8, 8)]
    assert inspect(source, source.split({"train": ["p2", "p7"]})).across == ()


def test_records_of_different_length_are_not_unreadable(tmp_path):
    for number in range(300):
        np.save(tmp_path / f"r{number:03}.npy", np.full((4 + number % 3, 2), float(number)))
    source = NpyFolder(tmp_path)
    found = inspect(source)
    assert (found.unreadable, found.steps, found.sound) == ({}, (4, 5.0, 6), True)
    assert found.arrays == {"": "(None, 2) float64"}
    assert not source.ragged
    part = Subset(source, np.arange(1, 299))
    assert inspect(part).steps == (4, 5.0, 6)
    assert inspect(NpyFolder(tmp_path, ragged=True)).nbytes == found.nbytes
    (tmp_path / "r000.npy").write_bytes(b"")  # the file that the others are compared with
    (tmp_path / "r007.npy").write_bytes(b"")
    assert list(inspect(NpyFolder(tmp_path)).unreadable) == ["r000", "r007"]

    done = command("inspect", tmp_path)
    assert done.returncode == 1
    assert done.stdout.count("records differ in length: 4 to 6 steps, median 5") == 1
    assert done.stdout.count("Expected") == 1  # stated once for both files
    assert "r000.npy: an empty file; " in done.stdout


def test_a_damaged_first_file_leaves_the_others_readable(tmp_path):
    for number in range(3):
        np.save(tmp_path / f"r{number}.npy", X)
    (tmp_path / "r0.npy").write_bytes(b"")
    found = inspect(NpyFolder(tmp_path))
    assert list(found.unreadable) == ["r0"]
    assert found.duplicates == (("r1", "r2"),)
    np.testing.assert_array_equal(NpyFolder(tmp_path).read([1, 2]), [X, X])


def test_lists_of_different_length(tmp_path):
    pl.DataFrame({"x": [[1.0], [1.0, 2.0], [3.0]]}).write_parquet(tmp_path / "set.parquet")
    found = inspect(Parquet(tmp_path / "set.parquet"))
    assert (found.steps, found.sound) == ((1, 1.0, 2), True)


def test_suspicious_class_names_are_findings(tmp_path):
    names = ["ok", "ok ", "Leak", "leak", "NA", "worn"]
    found = inspect(Arrays(X[:6], names))
    assert {frozenset(group) for group in found.lookalikes} == {frozenset({"ok", "ok "}), frozenset({"Leak", "leak"})}
    assert (found.missing_names, found.sound) == (("NA",), False)
    assert inspect(Arrays(X[:3], ["ok", "ok ", "leak"], strip=True)).sound
    save_npy_folder(tmp_path / "set", X[:6], names)
    done = command("inspect", tmp_path / "set")
    assert done.returncode == 1
    for part in ("'ok '", "'Leak' and 'leak'", "'NA'", "strip=True"):
        assert part in done.stdout
    assert "'worn'" not in done.stdout
    done = command("inspect", tmp_path / "set", "-o", "strip=true")
    assert done.returncode == 1
    assert "'ok'" not in done.stdout
    assert "'Leak' and 'leak'" in done.stdout


def test_row_numbers_are_a_notice(tmp_path):
    table = pl.DataFrame({"index": range(8), "flow": X[:, 0], "label": Y})
    table.write_csv(tmp_path / "set.csv")
    done = command("inspect", tmp_path / "set.csv")
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert "ignored columns, which only number the rows (1): 'index'" in done.stdout
    assert "record (1,) float64" in done.stdout


def test_nests_are_duplicates_only_if_all_arrays_are_equal():
    same = np.zeros((2, 1))
    assert inspect(Arrays({"a": same, "b": same})).duplicates == (("0", "1"),)
    assert inspect(Arrays({"a": same, "b": np.array([[0.0], [1.0]])})).duplicates == ()


def test_parts_of_a_different_source_are_refused():
    with pytest.raises(ArgumentError, match="part 'train'"):
        inspect(Arrays(X, ids=IDS), {"train": Arrays(X)})


PROBABILITIES = np.array([[0.1, 0.8, 0.1]] * 5 + [[0.9, 0.05, 0.05], [0.75, 0.25, 0.0], [0.0, 0.5, 0.5]])


def test_label_quality():
    found = inspect(Arrays(X, Y, IDS, class_names=["leak", "ok", "worn"]), probabilities=PROBABILITIES)
    assert found.quality.columns == ["id", "label", "quality", "doubtful"]
    assert found.quality.row(0) == ("p5", "ok", pytest.approx(0.05), True)
    assert found.quality.filter("doubtful")["id"].to_list() == ["p5"]
    means = dict(found.classes.select("class", "quality").iter_rows())
    assert means == pytest.approx({"ok": (5 * 0.8 + 0.05) / 6, "leak": 0.75, "worn": 0.5})
    assert inspect(Arrays(X, Y)).quality is None
    with pytest.raises(DataError, match="no labels"):
        inspect(Arrays(X), probabilities=PROBABILITIES)
    with pytest.raises(DataError):
        inspect(Arrays(X, Y), probabilities=PROBABILITIES[:3])


def test_the_commands_on_a_table(tmp_path):
    table = {"pump": IDS, "cause": Y, **{f"c{column}": X[:, column] for column in range(3)}}
    pl.DataFrame(table).write_parquet(tmp_path / "set.parquet")
    named = pl.DataFrame({"id": IDS, **dict(zip(["leak", "ok", "worn"], PROBABILITIES.T, strict=True))})
    named.sample(fraction=1.0, shuffle=True, seed=1).write_csv(tmp_path / "rows.csv")
    options = ("-o", "label=cause", "-o", "id=pump", "-o", 'columns=["c2", "c0"]')
    done = command("inspect", tmp_path / "set.parquet", *options, "--probabilities", tmp_path / "rows.csv")
    assert done.returncode == 0, done.stderr
    assert "doubtful labels (1): p5 (ok: 0.05)" in done.stdout
    assert "record (2,) float32" in done.stdout
    done = command("pack", tmp_path / "set.parquet", tmp_path / "packed", *options)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(Packed(tmp_path / "packed").read(range(8)), X[:, [2, 0]])


def test_arguments_of_the_commands(tmp_path):
    assert reader_options(["label=cause", "size=[64, 64]", "x="]) == {"label": "cause", "size": [64, 64], "x": ""}
    for wrong in ("label", "=cause", "a b=c"):
        with pytest.raises(ArgumentError, match="NAME=VALUE"):
            reader_options([wrong])
    np.save(tmp_path / "rows.npy", PROBABILITIES)
    source = Arrays(X, Y, IDS)
    np.testing.assert_array_equal(_probabilities(tmp_path / "rows.npy", source), PROBABILITIES)
    pl.DataFrame({"id": IDS, "ok": 1.0}).write_csv(tmp_path / "rows.csv")
    with pytest.raises(DataError, match=r"rows.csv without a column 'leak'"):
        _probabilities(tmp_path / "rows.csv", source)


def test_the_commands(tmp_path):
    root = tmp_path / "set"
    x = X.copy()
    x[7] = x[0]
    save_npy_folder(root, x, Y, IDS, partition={"train": IDS[:4], "test": IDS[4:]})
    done = command("inspect", root)
    assert done.returncode == 0, done.stderr
    assert "8 samples" in done.stdout
    assert "75.00%" in done.stdout
    assert "imbalance ratio 6.0" in done.stdout
    assert "p0 = p7" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"  # Keras was not imported

    done = command("inspect", root, "--partition", root / "partition.json")
    assert done.returncode == 1
    assert "different parts (1): p0 = p7" in done.stdout

    done = command("pack", root, tmp_path / "packed")
    assert done.returncode == 0, done.stderr
    packed = Packed(tmp_path / "packed")
    np.testing.assert_array_equal(packed.read(range(8)), x[[list(IDS).index(name) for name in packed.ids]])
    done = command("pack", root, tmp_path / "packed")
    assert done.returncode == 2
    assert "existing path" in done.stderr
    done = command("inspect", tmp_path / "nothing")
    assert done.returncode == 2
    assert "no such file or folder" in done.stderr


def test_a_notebook_shows_an_inspection():
    x = np.array([[1.0], [2.0], [1.0], [np.nan], [3.0]])
    names = ["ok", "<script>alert(1)</script>", "ok", "ok", "OK"]
    shown = inspect(Arrays(x, names, ids=[*"abcd", "<b>"], nan="keep"))._repr_html_()
    for text in (
        "5 samples",
        "Problems found",
        "NaN or infinity: d.",
        "Identical records: a = c.",
        "&#39;OK&#39; / &#39;ok&#39;",
    ):
        assert text in shown
    assert "<td>&lt;script&gt;alert(1)&lt;/script&gt;</td><td>1</td><td>0.200</td>" in shown
    many = inspect(Arrays(np.full((9, 1), np.nan), ["a", "b", "b"] * 3, nan="keep"))._repr_html_()
    assert "0, 1, 2, 3, 4, and 4 more." in many
