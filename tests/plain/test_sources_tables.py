"""Tables: which columns are what, and what is refused. The battery of formats has the damaged files."""

from pathlib import Path

import datasets
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sources_of_libraries import frame

from tailfit.data import HuggingFace, Parquet, Table
from tailfit.errors import ArgumentError, DataError, PackageError, RecordError

FLOW = pl.DataFrame({"pump": ["p1", "p2", "p3"], "flow": [0.5, 1.5, 2.5], "heat": [3, 4, 5], "cause": [1, 0, 1]})

STREAM = datasets.IterableDataset.__new__(datasets.IterableDataset)  # to make one in earnest imports torch


class TestRoles:
    def test_named_columns(self) -> None:
        source = Table(FLOW, label="cause", id="pump", class_names=["leak", "ok"])
        assert source.read([2, 0]).tolist() == [[2.5, 5.0], [0.5, 3.0]]
        assert (list(source.ids), source.class_names) == (["p1", "p2", "p3"], ("leak", "ok"))
        assert source.metadata is None

    def test_what_is_left_is_metadata(self) -> None:
        source = Table(FLOW, columns=["heat"])
        assert source.read([1]).tolist() == [[4]]
        assert source.metadata.columns == ["id", "pump", "flow", "cause"]
        assert (list(source.ids), source.labels) == (["0", "1", "2"], None)

    def test_bytes_are_not_read(self) -> None:
        table = pa.table({"x": [1.0], "photo": [b"..."], "file": [{"bytes": b"...", "path": "a.png"}], "site": ["A"]})
        assert Table(table).metadata.columns == ["id", "site"]

    @pytest.mark.parametrize("value", [[[0.25, 0.75], [1.0, 0.0], [0.5, 0.5]], ["b", "a", "b"], [2, 0, 2]], ids=str)
    def test_labels_of_each_form(self, value: object) -> None:
        from tailfit.labels import encode

        table = FLOW.drop("cause").with_columns(label=pl.Series(value))
        np.testing.assert_array_equal(Table(table, columns=["flow"]).labels, encode(value).values)

    def test_labels_of_categories(self) -> None:
        table = FLOW.drop("cause").with_columns(label=pl.Series(["b", "a", "b"], dtype=pl.Categorical))
        source = Table(table)
        assert (source.labels.tolist(), source.class_names) == ([1, 0, 1], ("a", "b"))

    def test_nothing_is_nan_in_floats_only(self) -> None:
        table = pl.DataFrame({"flow": [0.5, None], "heat": [3, 4]})
        assert np.isnan(Table(table, nan="keep").read([1])[0, 0])
        with pytest.raises(RecordError, match="ID '1': NaN"):
            Table(table).read([1])
        with pytest.raises(RecordError, match=r"null.*row 1 of column 'heat'"):
            Table(pl.DataFrame({"heat": [3, None]}))
        with pytest.raises(RecordError, match=r"null.*row 1 of column 'x'"):
            Table(pa.table({"x": pa.array([[1.0], None], pa.list_(pa.float64(), 1))}))

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"label": "kause"}, "no column 'kause', but .*'pump', 'flow', 'heat', 'cause'"),
            ({"id": "nr"}, "no column 'nr'"),
            ({"columns": ["flow", "pump"]}, "column 'pump' of type .*string"),
            ({"columns": ["speed"]}, "no column 'speed'"),
            ({"columns": []}, "no column of numbers"),
            ({"id": "flow"}, "column 'flow' of type double for the IDs"),
            ({"id": "cause"}, "ID '1' twice"),
            ({"label": "pump", "class_names": ["p1", "p2"]}, "'p3'"),
        ],
        ids=str,
    )
    def test_bad_roles(self, arguments: dict[str, object], words: str) -> None:
        with pytest.raises(DataError, match=words):
            Table(FLOW, **arguments)

    def test_bad_arguments(self) -> None:
        with pytest.raises(ArgumentError, match="pass \\['flow'\\]"):
            Table(FLOW, columns="flow")
        with pytest.raises(ArgumentError, match="class_names without label"):
            Table(FLOW, class_names=["a"])
        with pytest.raises(ArgumentError, match="of type dict"):
            Table({"x": [1]})

    def test_missing_labels_name_the_id(self) -> None:
        with pytest.raises(DataError, match="ID 'p2'"):
            Table(FLOW.with_columns(cause=pl.Series([1, None, 0])), label="cause", id="pump")


class TestParquet:
    def test_files_of_other_columns(self, tmp_path: Path) -> None:
        FLOW.write_parquet(tmp_path / "a.parquet")
        FLOW.drop("heat").write_parquet(tmp_path / "b.parquet")
        with pytest.raises(RecordError, match=r"b.parquet: the columns .*as in the first file, .*a.parquet"):
            Parquet(tmp_path)
        assert len(Parquet([tmp_path / "b.parquet", tmp_path / "b.parquet"])) == 6

    def test_lists_that_differ(self, tmp_path: Path) -> None:
        path = tmp_path / "lists.parquet"
        pq.write_table(pa.table({"x": [[1.0, 2.0], [3.0], [4.0]]}), path, row_group_size=3)
        with pytest.raises(RecordError, match=r"lists.parquet: a list of 1 in row 1 of column 'x'"):
            Parquet(path).read([0])
        pq.write_table(pa.table({"x": [[1.0, 2.0], [3.0], [4.0]]}), path, row_group_size=1)
        source = Parquet(path, memory=False)
        assert source.read([1, 2]).tolist() == [[3.0], [4.0]]
        with pytest.raises(RecordError, match=r"lists of shape \(1,\)"):
            source.read([0, 1])

    def test_only_the_row_groups_asked_for_are_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        frame().write_parquet(tmp_path / "set.parquet", row_group_size=5)
        source, read = Parquet(tmp_path / "set.parquet", memory=False), []
        original = pq.ParquetFile.read_row_group
        monkeypatch.setattr(
            pq.ParquetFile, "read_row_group", lambda *args, **keys: (read.append(args[1]), original(*args, **keys))[1]
        )
        source.read([22, 6, 7, 20])
        assert read == [1, 4]
        source.read([8, 21])  # kept
        assert read == [1, 4]
        source.read([0])
        assert read == [1, 4, 0]

    def test_memory_by_itself(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        frame().write_parquet(tmp_path / "set.parquet")
        assert Parquet(tmp_path / "set.parquet").in_memory
        monkeypatch.setattr("tailfit.data.memory.available_memory", lambda: 800)  # half of it: less than 23 x 3 x 8
        assert not Parquet(tmp_path / "set.parquet").in_memory
        assert Parquet(tmp_path / "set.parquet", memory=True).in_memory
        with pytest.raises(ArgumentError, match="memory='no'"):
            Parquet(tmp_path / "set.parquet", memory="no")

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no file to read"):
            Parquet(tmp_path)
        with pytest.raises(RecordError, match=r"nowhere: No such file"):
            Parquet(tmp_path / "nowhere")

    def test_without_pyarrow(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
        FLOW.write_parquet(tmp_path / "a.parquet")
        with pytest.raises(PackageError, match=r"needs pyarrow.*pip install 'tailfit\[parquet\]'"):
            Parquet(tmp_path / "a.parquet")


class TestHuggingFace:
    def test_whatever_format_is_set(self) -> None:
        dataset = datasets.Dataset.from_dict({"x": [[1.0, 2.0], [3.0, 4.0]], "site": ["A", "B"]}).with_format("numpy")
        source = HuggingFace(dataset)
        assert source.read([1, 1]).tolist() == [[3.0, 4.0]] * 2
        assert source.metadata["site"].to_list() == ["A", "B"]

    @pytest.mark.parametrize(
        "what", [STREAM, datasets.DatasetDict(), [1, 2], FLOW], ids=lambda what: type(what).__name__
    )
    def test_what_is_none(self, what: object) -> None:
        with pytest.raises(ArgumentError, match=type(what).__name__):
            HuggingFace(what)
