"""Tables: roles of columns, and refused input. Damaged files are in the battery of formats."""

import io
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.sources_of_libraries import frame

import tailfit
from tailfit.data import DataWarning, HuggingFace, Parquet, Table
from tailfit.errors import ArgumentError, DataError, PackageError, RecordError

FLOW = pl.DataFrame({"pump": ["p1", "p2", "p3"], "flow": [0.5, 1.5, 2.5], "heat": [3, 4, 5], "cause": [1, 0, 1]})

STREAM = datasets.IterableDataset.__new__(datasets.IterableDataset)  # the constructor imports torch


class TestRoles:
    def test_named_columns(self) -> None:
        source = Table(FLOW, label="cause", id="pump", class_names=["leak", "ok"])
        assert source.read([2, 0]).tolist() == [[2.5, 5.0], [0.5, 3.0]]
        assert (list(source.ids), source.class_names) == (["p1", "p2", "p3"], ("leak", "ok"))
        assert source.metadata is None

    def test_remaining_columns_are_metadata(self) -> None:
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

    def test_null_is_nan_only_in_floats(self) -> None:
        table = pl.DataFrame({"flow": [0.5, None], "heat": [3, 4]})
        assert np.isnan(Table(table, nan="keep").read([1])[0, 0])
        with pytest.raises(RecordError, match="ID '1': NaN"):
            Table(table).read([1])
        with pytest.raises(RecordError, match=r"the table: row 1: null in column 'heat'"):
            Table(pl.DataFrame({"heat": [3, None]}))
        with pytest.raises(RecordError, match=r"row 1: null in column 'x'"):
            Table(pa.table({"x": pa.array([[1.0], None], pa.list_(pa.float64(), 1))}))

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"label": "kause"}, "no column 'kause' among .*'pump', 'flow', 'heat', 'cause'"),
            ({"id": "nr"}, "no column 'nr'"),
            ({"columns": ["flow", "pump"]}, "column 'pump' of type .*string"),
            ({"columns": ["speed"]}, "no column 'speed'"),
            ({"columns": []}, "no column for the records"),
            ({"id": "flow"}, "column 'flow' of type double as IDs"),
            ({"id": "cause"}, "ID '1' twice"),
            ({"label": "pump", "class_names": ["p1", "p2"]}, "'p3'"),
        ],
        ids=str,
    )
    def test_bad_roles(self, arguments: dict[str, object], words: str) -> None:
        with pytest.raises(DataError, match=words):
            Table(FLOW, **arguments)

    def test_bad_arguments(self) -> None:
        with pytest.raises(ArgumentError, match=r"pass columns=\['flow'\]"):
            Table(FLOW, columns="flow")
        with pytest.raises(ArgumentError, match="class_names= without label="):
            Table(FLOW, class_names=["a"])
        with pytest.raises(ArgumentError, match="of type dict"):
            Table({"x": [1]})

    def test_missing_labels_name_the_id(self) -> None:
        with pytest.raises(DataError, match="ID 'p2'"):
            Table(FLOW.with_columns(cause=pl.Series([1, None, 0])), label="cause", id="pump")


ROWS = np.arange(6)


class TestRowNumbers:
    @pytest.mark.parametrize(
        "name", ["", "Unnamed: 0", "Unnamed: 0.1", "index", "level_0", "__index_level_0__", "row_nr", "column_1"]
    )
    @pytest.mark.parametrize("values", [ROWS, ROWS + 1, ROWS[::-1], ROWS.astype(float)], ids=str)
    def test_are_no_measurements(self, name: str, values: Any) -> None:
        table = pl.DataFrame({name: values, "flow": ROWS / 4})
        with pytest.warns(DataWarning, match=f"row numbers in column '{name}'.*columns="):
            source = Table(table)
        assert (source.left_out, source.read([2]).tolist()) == ((name,), [[0.5]])
        assert Table(table, columns=[name, "flow"]).read([2]).tolist() == [[float(values[2]), 0.5]]
        assert source.metadata.width == 2

    @pytest.mark.parametrize(
        "values",
        [np.array([4, 9, 2, 30, 7, 8]), np.array([0, 1, 2, 0, 1, 2])],
        ids=["of a part of the table", "of several files"],
    )
    def test_that_were_given_elsewhere(self, values: Any) -> None:
        with pytest.warns(DataWarning):
            assert Table(pl.DataFrame({"index": values, "flow": ROWS / 4})).left_out == ("index",)

    @pytest.mark.parametrize(
        ("name", "values"),
        [
            ("rpm", ROWS),
            ("x", ROWS),
            ("index", ROWS / 4),
            ("index", ROWS - 1),
            ("index", ROWS // 2),
            ("index", np.where(ROWS, ROWS, np.nan)),
            ("column_1", ROWS * 2),
            ("column_1", ROWS + 5),
            ("row_nr", ROWS > 2),
        ],
        ids=str,
    )
    def test_what_is_none(self, name: str, values: Any) -> None:
        assert Table(pl.DataFrame({name: values, "flow": ROWS / 4})).left_out == ()

    def test_in_every_reader(self, tmp_path: Path) -> None:
        table = pl.DataFrame({"index": ROWS, "flow": ROWS / 4})
        table.write_parquet(tmp_path / "set.parquet")
        table.write_csv(tmp_path / "set.csv")
        table.write_ipc(tmp_path / "set.arrow")
        for name in ("set.parquet", "set.csv", "set.arrow"):
            with pytest.warns(DataWarning):
                assert tailfit.data.open(tmp_path / name).read([2]).tolist() == [[0.5]]
        with pytest.warns(DataWarning):
            assert HuggingFace(datasets.Dataset.from_polars(table)).read([2]).tolist() == [[0.5]]
        with pytest.raises(DataError, match=r"no column for the records among index: int64 \(row numbers\)"):
            Table(table.drop("flow"))

    def test_next_to_images(self) -> None:
        encoded = io.BytesIO()
        PIL.Image.new("L", (3, 2)).save(encoded, "png")
        with pytest.warns(DataWarning):
            source = Table(pl.DataFrame({"index": [0, 1], "photo": [encoded.getvalue()] * 2}))
        assert source.read([1]).shape == (1, 2, 3, 3)


class TestParquet:
    def test_files_of_other_columns(self, tmp_path: Path) -> None:
        FLOW.write_parquet(tmp_path / "a.parquet")
        FLOW.drop("heat").write_parquet(tmp_path / "b.parquet")
        with pytest.raises(RecordError, match=r"b.parquet: the columns .*as in the first file, .*a.parquet"):
            Parquet(tmp_path)
        assert len(Parquet([tmp_path / "b.parquet", tmp_path / "b.parquet"])) == 6

    def test_lists_of_different_length(self, tmp_path: Path) -> None:
        path = tmp_path / "lists.parquet"
        pq.write_table(pa.table({"x": [[1.0, 2.0], [3.0], [4.0]]}), path, row_group_size=3)
        with pytest.raises(RecordError, match=r"lists.parquet: row 1: a list of length 1 in column 'x'"):
            Parquet(path).read([0])
        pq.write_table(pa.table({"x": [[1.0, 2.0], [3.0], [4.0]]}), path, row_group_size=1)
        source = Parquet(path, memory=False)
        assert source.read([1, 2]).tolist() == [[3.0], [4.0]]
        with pytest.raises(RecordError, match=r"lists of shape \(1,\)"):
            source.read([0, 1])

    def test_rows_are_counted_in_the_file(self, tmp_path: Path) -> None:
        nested = [[[1, 2]], [[3, 4]], [[5, 6]], [[7, None]]]
        pq.write_table(pa.table({"x": nested}), tmp_path / "set.parquet", row_group_size=2)
        source = Parquet(tmp_path / "set.parquet", memory=False)
        assert source.read([1]).tolist() == [[[3, 4]]]
        with pytest.raises(RecordError, match=r"set.parquet: row 3: null in column 'x'"):
            source.read([2])
        dataset = datasets.Dataset.from_dict({"x": nested})
        with pytest.raises(RecordError, match=r"the data set: row 3: null"):
            HuggingFace(dataset).read([0, 3])

    def test_only_the_row_groups_asked_for_are_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pq.write_table(frame().to_arrow(), tmp_path / "set.parquet", row_group_size=5)
        source, read = Parquet(tmp_path / "set.parquet", memory=False), []
        original = pq.ParquetFile.read_row_group
        monkeypatch.setattr(
            pq.ParquetFile, "read_row_group", lambda *args, **keys: (read.append(args[1]), original(*args, **keys))[1]
        )
        source.read([22, 6, 7, 20])
        assert read == [1, 4]
        source.read([8, 21])  # cached
        assert read == [1, 4]
        source.read([0])
        assert read == [1, 4, 0]

    def test_memory_auto(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        frame().write_parquet(tmp_path / "set.parquet")
        assert Parquet(tmp_path / "set.parquet").in_memory
        monkeypatch.setattr("tailfit.data.files.memory.available_memory", lambda: 800)  # half is below 23 x 3 x 8
        assert not Parquet(tmp_path / "set.parquet").in_memory
        assert Parquet(tmp_path / "set.parquet", memory=True).in_memory
        with pytest.raises(ArgumentError, match="memory='no'"):
            Parquet(tmp_path / "set.parquet", memory="no")

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no such files"):
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


class TestImages:
    SMALL = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3)).astype("uint8")

    def encoded(self, images: Any = SMALL) -> list[bytes]:
        files = [io.BytesIO() for _ in images]
        for image, file in zip(images, files, strict=True):
            PIL.Image.fromarray(image).save(file, "PNG")
        return [file.getvalue() for file in files]

    def test_bytes_and_pairs(self) -> None:
        contents = self.encoded()
        pairs = [{"bytes": content, "path": "x.png"} for content in contents]
        for column in (contents, pairs):
            source = Table(pa.table({"photo": column, "label": [0, 1, 0], "site": ["A", "B", "A"]}))
            np.testing.assert_array_equal(source.read([2, 0, 2]), self.SMALL[[2, 0, 2]])
            assert source.metadata.columns == ["id", "site"]
            assert not source.in_memory
        both = Table(pa.table({"photo": contents, "speed": [1.0, 2.0, 3.0]}), columns=["photo", "speed"])
        batch = both.read([1])
        np.testing.assert_array_equal(batch["photo"], self.SMALL[1:2])
        assert batch["speed"].tolist() == [2.0]
        assert Table(pa.table({"photo": contents, "speed": [1.0, 2.0, 3.0]})).read([1]).tolist() == [[2.0]]

    def test_sizes(self) -> None:
        table = pa.table({"photo": self.encoded([self.SMALL[0], self.SMALL[1, :2]])})
        with pytest.raises(RecordError, match=r"row 1, column 'photo': an image of 2 x 6 pixels.*4 x 6"):
            Table(table).read([1])
        assert Table(table, image_size=(2, 2), image_mode="L").read([1, 0]).shape == (2, 2, 2, 1)

    def test_invalid_images(self) -> None:
        source = Table(pa.table({"photo": pa.array([*self.encoded()[:1], b"no", None], pa.binary())}))
        with pytest.raises(RecordError, match="row 1, column 'photo': cannot identify"):
            source.read([0, 1])
        with pytest.raises(RecordError, match="row 2, column 'photo': an image without bytes"):
            source.read([2])
        empty = Table(pa.table({"photo": pa.array([], pa.binary())}))
        assert empty.read([]).shape == (0, 0, 0, 3)

    @pytest.mark.parametrize("memory", [True, False])
    def test_in_parquet(self, tmp_path: Path, memory: bool) -> None:
        pq.write_table(pa.table({"photo": self.encoded()}), tmp_path / "set.parquet", row_group_size=2)
        source = Parquet(tmp_path / "set.parquet", memory=memory)
        for order in ([2, 0], [1, 1, 2], []):
            np.testing.assert_array_equal(source.read(order), self.SMALL[order])
        assert not source.in_memory

    def test_of_hugging_face(self) -> None:
        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
        content = {"image": [PIL.Image.fromarray(image) for image in self.SMALL], "label": [1, 0, 1]}
        source = HuggingFace(datasets.Dataset.from_dict(content, features=features))
        np.testing.assert_array_equal(source.read([2, 0]), self.SMALL[[2, 0]])
        assert (source.class_names, source.labels.tolist()) == (("cat", "dog"), [1, 0, 1])
        assert source.read([]).shape == (0, 4, 6, 3)


@pytest.mark.slow
def test_a_million_ids(tmp_path: Path) -> None:
    size = 10**6
    names = pa.array([f"r{number}" for number in range(size)])
    table = pa.table({"id": names, "flow": np.arange(size, dtype="float32"), "label": np.arange(size) % 3})
    pq.write_table(table, tmp_path / "set.parquet")
    for memory in (True, False):
        source = Parquet(tmp_path / "set.parquet", memory=memory)
        assert source.read([size - 1, 0]).tolist() == [[size - 1.0], [0.0]]
        assert source.positions(["r999999"]).tolist() == [size - 1]
        assert source.class_counts.sum() == size
    twice = pa.chunked_array([names.slice(0, size - 1), pa.array(["r7"])])
    with pytest.raises(DataError, match="'r7' twice"):
        Table(table.set_column(0, "id", twice))
