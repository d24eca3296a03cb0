"""Tables that belong to records: rows are matched by the values of IDs, for any column, format and spelling."""

import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import tailfit
from tailfit.cli.data import run_inspect
from tailfit.data import Arrays, MapStyle, NpyFolder, Table, pack
from tailfit.data.sources.layout import companion_files, partition_file
from tailfit.data.tables.reading import read_rows
from tailfit.errors import ArgumentError, DataError, RecordError
from tailfit.weights import sample_weights

IDS = ["001", "002", "010", "1"]
SITES = ["B", "A", "A", "C"]  # of these
NO_ORDER = [2, 0, 3, 1]
TABLE = pl.DataFrame({"site": SITES, "ID": IDS, "snr": [1.0, 2.0, 3.0, 4.0]})[NO_ORDER]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for number, name in enumerate(IDS):
        np.save(tmp_path / "data" / f"{name}.npy", np.full(2, float(number)))
    return tmp_path


def hdf5(folder: Path, metadata: Any) -> Any:
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "set.h5", "w") as file:
        file["x"], file["ids"] = np.eye(4), IDS
    return tailfit.data.HDF5(folder / "set.h5", metadata=metadata)


def zarr(folder: Path, metadata: Any) -> Any:
    group = pytest.importorskip("zarr").create_group(folder / "set.zarr")
    group.create_array("x", data=np.eye(4))
    group.create_array("ids", shape=(4,), dtype="str")[:] = np.array(IDS)
    return tailfit.data.Zarr(folder / "set.zarr", metadata=metadata)


def npz(folder: Path, metadata: Any) -> Any:
    np.savez(folder / "set.npz", x=np.eye(4), ids=IDS)
    return tailfit.data.Npz(folder / "set.npz", metadata=metadata)


def images(folder: Path, metadata: Any) -> Any:
    image = pytest.importorskip("PIL.Image")
    for name in IDS:
        image.new("RGB", (2, 1)).save(folder / f"{name}.png")
    return tailfit.data.ImageFolder(folder, metadata=metadata)


def packed(folder: Path, metadata: Any) -> Any:
    pack(Arrays(np.eye(4), ids=IDS, metadata=frame(metadata)), folder / "packed")
    return tailfit.data.open(folder / "packed")


def frame(metadata: Any) -> pl.DataFrame:
    return metadata if isinstance(metadata, pl.DataFrame) else read_rows(metadata).written


SOURCES = {
    "npy": lambda folder, table: NpyFolder(folder / "data", metadata=table),
    "arrays": lambda folder, table: Arrays(np.eye(4), ids=IDS, metadata=frame(table)),
    "map-style": lambda folder, table: MapStyle(list(np.eye(4)), ids=IDS, metadata=frame(table)),
    "hdf5": hdf5,
    "zarr": zarr,
    "npz": npz,
    "images": images,
    "packed": packed,
}


class TestOneRule:
    @pytest.mark.parametrize("kind", SOURCES)
    @pytest.mark.parametrize("suffix", ["csv", "frame"])
    def test_the_column_of_the_ids_is_found_by_its_values(self, kind: str, suffix: str, folder: Path) -> None:
        TABLE.write_csv(folder / "table.csv")
        source = SOURCES[kind](folder, TABLE if suffix == "frame" else folder / "table.csv")
        assert source.metadata.columns == ["id", "site", "snr"]
        assert source.metadata["id"].to_list() == list(source.ids)
        assert source.metadata["site"].to_list() == SITES
        assert sample_weights(source, {"site = 'B'": 0.5}).tolist() == [0.5, 1, 1, 1]

    @pytest.mark.parametrize("kind", SOURCES)
    def test_never_by_position_if_ids_exist(self, kind: str, folder: Path) -> None:
        with pytest.raises(DataError, match=r"none of which contains an ID of the 4 samples.*such as '001"):
            SOURCES[kind](folder, TABLE.select("site"))

    @pytest.mark.parametrize("kind", SOURCES)
    def test_two_orders_are_refused_unless_one_column_is_called_id(self, kind: str, folder: Path) -> None:
        both = TABLE.rename({"ID": "run"}).with_columns(pair=pl.Series(IDS))
        with pytest.raises(DataError, match=r"'run' and 'pair' both contain every ID.*id='run'"):
            SOURCES[kind](folder, both)
        assert Arrays(np.eye(4), ids=IDS, metadata=both.rename({"run": "Id"})).metadata["site"].to_list() == SITES
        same = TABLE.rename({"ID": "run"}).with_columns(file=pl.col("run") + ".npy")  # two columns, one order
        assert Arrays(np.eye(4), ids=IDS, metadata=same).metadata["site"].to_list() == SITES

    def test_the_user_may_name_the_column(self, folder: Path) -> None:
        both = TABLE.rename({"ID": "run"}).with_columns(pair=pl.Series(IDS), id=pl.Series([7, 7, 8, 9]))
        both.write_csv(folder / "metadata.csv")
        source = tailfit.data.open(folder, id="run")
        assert source.metadata["site"].to_list() == SITES
        assert source.metadata["id (column)"].to_list() == [7, 9, 7, 8]
        assert tailfit.data.open(folder, id="pair").metadata["site"].to_list() == TABLE["site"].to_list()
        with pytest.raises(ArgumentError, match=r"id='nun'.*'run'"):
            tailfit.data.open(folder, id="nun")

    def test_a_missing_column_is_refused(self) -> None:
        with pytest.raises(ArgumentError, match=r"id='run' for tables with the columns.*'ID'"):
            Arrays(np.eye(4), ids=IDS, metadata=TABLE, id="run")
        with pytest.raises(ArgumentError, match="id='run' without a table"):
            Arrays(np.eye(4), ids=IDS, id="run")

    def test_an_id_without_a_row_names_the_column(self, folder: Path) -> None:
        with pytest.raises(DataError, match=r"ID '002' \(1 of 4 IDs have none\) in column 'ID'"):
            NpyFolder(folder / "data", metadata=TABLE.filter(pl.col("ID") != "002"))
        with pytest.raises(DataError, match=r"several rows for ID '1' in column 'ID'"):
            NpyFolder(folder / "data", metadata=pl.concat([TABLE, TABLE[2:3]]))

    def test_numbers_without_leading_zeros_are_not_ids(self, folder: Path) -> None:
        numbers = TABLE.filter(pl.col("ID") != "1").with_columns(pl.col("ID").cast(pl.Int64))
        with pytest.raises(DataError, match=r"ID '001'.*in column 'ID', which begins with '10'.*zeros"):
            NpyFolder(folder / "data", metadata=numbers)
        with pytest.raises(DataError, match=r"'2' in 'run' lost leading zeros"):
            NpyFolder(folder / "data", metadata=pl.DataFrame({"run": [2, 3]}))
        with pytest.raises(DataError, match=r"unknown ID '2'.*lost leading zeros"):
            NpyFolder(folder / "data", {"001": 0, "2": 0, "010": 0, "1": 0})

    @pytest.mark.parametrize("dtype", [pl.Int64, pl.Float64, pl.Categorical])
    def test_ids_of_any_type_are_compared_as_text(self, dtype: Any) -> None:
        table = pl.DataFrame({"site": ["A", "B"], "run": ["8", "7"]}).with_columns(
            pl.col("run").cast(dtype, strict=False)
        )
        assert Arrays(np.eye(2), ids=["7", "8"], metadata=table).metadata["site"].to_list() == ["B", "A"]

    @pytest.mark.parametrize(("name", "first"), [("", 0), ("Unnamed: 0", 0), ("index", 0), ("", 1)])
    def test_row_numbers_of_a_data_frame_are_not_ids(self, name: str, first: int) -> None:
        ids = [str(number) for number in range(first, first + 4)]
        table = pl.DataFrame({name: range(first, first + 4), "site": SITES})
        with pytest.raises(DataError, match=r"row numbers.*id="):
            Arrays(np.eye(4), ids=ids, metadata=table)
        assert Arrays(np.eye(4), ids=ids, metadata=table, id=name).metadata["site"].to_list() == SITES
        runs = table.with_columns(run=pl.Series(ids[::-1]))
        assert Arrays(np.eye(4), ids=ids, metadata=runs).metadata["site"].to_list() == SITES[::-1]

    def test_samples_that_are_only_numbered_take_the_rows_in_order(self) -> None:
        assert Arrays(np.eye(4), metadata=TABLE.drop("ID")).metadata["site"].to_list() == TABLE["site"].to_list()
        with pytest.raises(DataError, match=r"ID '0'.*column 'ID'.*pass ids= to the source"):
            Arrays(np.eye(4), metadata=TABLE)
        numbered = TABLE.with_columns(ID=pl.Series([2, 0, 3, 1]))
        assert Arrays(np.eye(4), metadata=numbered).metadata["site"].to_list() == SITES

    def test_tables_of_parts_stay_in_order(self, folder: Path) -> None:
        # Both columns contain every ID of the part, in different orders; the column was chosen for the whole source.
        table = pl.DataFrame({"id": IDS, "pair": IDS[::-1]})
        parts = Arrays(np.eye(4), ids=IDS, metadata=table).split({"a": IDS[1:3][::-1]})
        assert parts["a"].metadata.rows() == [("010", "002"), ("002", "010")]

    def test_a_table_source_takes_either_case_for_its_ids(self, tmp_path: Path) -> None:
        (tmp_path / "set.csv").write_text("ID,flow,run\n007,1.5,010\n7,2.5,01\n")
        assert tailfit.data.open(tmp_path / "set.csv").ids == ("007", "7")
        assert tailfit.data.open(tmp_path / "set.csv", id="run").ids == ("010", "01")
        frame = pl.DataFrame({"ID": ["b", "a"], "flow": [1.0, 2.0], "site": ["a", "b"]})
        assert Table(frame).metadata.rows() == [("b", "a"), ("a", "b")]

    def test_probabilities_find_their_rows(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (folder / "labels.csv").write_text(
            "".join(
                f"{name},{cause}\n"
                for name, cause in zip(["ID", *IDS], ["cause", "ok", "leak", "ok", "leak"], strict=True)
            )
        )
        sure = [0.9, 0.1, 0.9, 0.2]
        table = pl.DataFrame({"ok": sure, "leak": [1 - p for p in sure], "run": IDS})[NO_ORDER]
        table.write_csv(folder / "p.csv", separator=";")
        assert run_inspect(str(folder), None, folder / "p.csv", [])
        assert "doubtful" not in capsys.readouterr().out
        table.drop("run").write_csv(folder / "p.csv")
        with pytest.raises(DataError, match=r"p.csv: probabilities.*none of which contains an ID"):
            run_inspect(str(folder), None, folder / "p.csv", [])


LABELLED = {"001": "ok", "002": "leak", "010": "ok", "1": "leak"}


class TestLabels:
    def labels(self, folder: Path, text: str | bytes, name: str = "labels.csv", **options: Any) -> Any:
        (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
        source = tailfit.data.open(folder, **options)
        return dict(zip(source.ids, (source.class_names[code] for code in source.labels), strict=True))

    @pytest.mark.parametrize(
        "text",
        [
            "cause,ID\nok,001\nleak,002\nok,010\nleak,1\n",
            "Id,cause\n1,leak\n010,ok\n002,leak\n001,ok\n",
            ",cause,run\n0,ok,001\n1,leak,002\n2,ok,010\n3,leak,1\n",
            ",cause\n001,ok\n002,leak\n010,ok\n1,leak\n",
            "id;cause\n001;ok\n002;leak\n010;ok\n1;leak\n",
            "id\tcause\r\n001\tok\r\n002\tleak\r\n010\tok\r\n1\tleak\r\n",
            'id|cause\n001|"ok"\n002|leak\n010|ok\n"1"|leak',
            "sep=;\r\nid;cause\r\n001;ok\r\n002;leak\r\n010;ok\r\n1;leak\r\n",
            "id,cause\r001,ok\r002,leak\r010,ok\r1,leak\r",
            "\ufeffid,cause\n001,ok\n002,leak\n010,ok\n1,leak\n",
            "id,cause\n001.npy,ok\n002.npy,leak\n010.npy,ok\n1,leak\n",
            "id,cause\ndata/001,ok\ndata/002.npy,leak\ndata/010,ok\ndata/1,leak\n",
            "id,cause\nD:\\x\\001.npy,ok\nD:\\x\\002.npy,leak\nD:\\x\\010.npy,ok\nD:\\x\\1.npy,leak\n",
        ],
    )
    def test_of_every_table(self, text: str, folder: Path) -> None:
        assert self.labels(folder, text) == LABELLED
        if text.isascii():
            for encoding in ("utf-16", "utf-32"):
                assert self.labels(folder, text.encode(encoding)) == LABELLED

    @pytest.mark.parametrize("mark", ["", "\ufeff"])
    def test_of_every_json(self, mark: str, folder: Path) -> None:
        spelled = {"001.npy": "ok", "002": "leak", "010.npy": "ok", "1": "leak"}
        assert self.labels(folder, mark + json.dumps(spelled), "labels.json") == LABELLED
        rows = [{"cause": cause, "ID": name} for name, cause in LABELLED.items()]
        assert self.labels(folder, mark + json.dumps(rows), "labels.json") == LABELLED
        (folder / "labels.json").unlink()
        lines = "\n".join(map(json.dumps, rows))
        assert self.labels(folder, mark + lines, "labels.ndjson") == LABELLED

    def test_of_several_columns(self, folder: Path) -> None:
        text = "ID,cause,size\n001,ok,1\n002,leak,1\n010,ok,2\n1,leak,3\n"
        with pytest.raises(DataError, match=r"'ID' contains the IDs.*label='cause'"):
            self.labels(folder, text)
        assert self.labels(folder, text, label="cause") == LABELLED
        assert self.labels(folder, text.replace("cause", "label")) == LABELLED
        with pytest.raises(DataError, match="a column 'kind'"):
            self.labels(folder, text, label="kind")
        (folder / "labels.csv").unlink()
        with pytest.raises(ArgumentError, match="label='cause' without a table"):
            tailfit.data.open(folder, labels=LABELLED, label="cause")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("id,cause\n001,ok\n001.npy,ok\n002,ok\n010,ok\n1,ok\n", "'001' twice in column 'id'"),
            ("id,cause\na/001,ok\nb/002,ok\na/010,ok\na/1,ok\n", "ID 'b/002'"),
            ("id,cause\n../001,ok\n../002,ok\n../010,ok\n../1,ok\n", r"ID '\.\./001'"),
            ("id,cause\n001,ok\n002,ok\n010,ok\n1,ok\n2,ok\n", "the unknown ID '2'"),
            ("id,cause\n001,ok\n002,ok\n010,ok\n", "ID '1' without a label"),
            ("run,twin,cause\n001,002,ok\n002,001,ok\n010,010,ok\n1,1,ok\n", "'run' and 'twin' both contain"),
            ("name,cause\nx,ok\ny,ok\n", r"none of which contains an ID"),
        ],
    )
    def test_that_match_no_file_are_refused(self, text: str, message: str, folder: Path) -> None:
        with pytest.raises(DataError, match=message):
            self.labels(folder, text)

    def test_of_one_id_spelled_twice_in_json(self, folder: Path) -> None:
        with pytest.raises(DataError, match=r"'001' and as '001\.npy'"):
            NpyFolder(folder / "data", {"001": 0, "001.npy": 1, "002": 0, "010": 0, "1": 0})

    def test_names_composed_differently(self, tmp_path: Path) -> None:
        composed, decomposed = "dépôt", unicodedata.normalize("NFD", "dépôt")
        np.save(tmp_path / f"{decomposed}.npy", np.zeros(2))
        source = NpyFolder(tmp_path, {composed: "ok"}, pl.DataFrame({"run": [composed], "site": ["A"]}))
        assert source.ids == (decomposed,)  # the name of the file, which must be opened
        assert source.read([0]).shape == (1, 2)
        assert source.split({"test": [f"{composed}.npy"]})["test"].ids == (decomposed,)
        if len(os.listdir(tmp_path)) == 1:
            np.save(tmp_path / f"{composed}.npy", np.ones(2))
        if len(os.listdir(tmp_path)) == 2:  # unless the file system treats both as one name
            both = NpyFolder(tmp_path, {composed: "ok", decomposed: "leak"})
            assert both.read([0, 1]).tolist() == [[1, 1], [0, 0]]

    def test_images_are_known_by_name_path_and_stem(self, tmp_path: Path) -> None:
        image = pytest.importorskip("PIL.Image")
        (tmp_path / "train").mkdir()
        for name in "ab":
            image.new("RGB", (2, 1)).save(tmp_path / "train" / f"{name}.png")
        for spelled in ("{}", "{}.png", "train\\{}.png", "photos/train/{}.png"):
            labels = {spelled.format("b"): "ok", spelled.format("a"): "leak"}
            source = tailfit.data.ImageFolder(tmp_path, labels)
            assert (source.ids, source.labels.tolist()) == (("train/b.png", "train/a.png"), [1, 0])


class TestReading:
    @pytest.mark.parametrize(
        ("last", "dtype"), [("1.5", pl.Float64), ("150A", pl.String), ("2" * 25, pl.String), ("", pl.Int64)]
    )
    @pytest.mark.parametrize("suffix", ["csv", "json", "ndjson"])
    def test_types_are_inferred_from_all_rows(self, last: str, dtype: Any, suffix: str, tmp_path: Path) -> None:
        if suffix == "csv":
            text = "id,v\n" + "".join(f"{row},1\n" for row in range(150)) + f"x,{last}\n"
        else:
            value = {"1.5": 1.5, "": None}.get(last, last)
            rows = [json.dumps({"id": row, "v": 1}) for row in range(150)] + [json.dumps({"id": "x", "v": value})]
            text = "[" + ",".join(rows) + "]" if suffix == "json" else "\n".join(rows)
        (tmp_path / f"t.{suffix}").write_text(text)
        table = read_rows(tmp_path / f"t.{suffix}").frame
        assert table["v"].dtype == dtype
        assert table["id"].to_list()[-2:] == ["149", "x"]

    def test_whole_numbers_are_class_indices(self, folder: Path) -> None:
        (folder / "labels.csv").write_text("id,y\n001,0\n002,1\n010,1\n1,2\n")
        assert tailfit.data.open(folder).labels.tolist() == [0, 1, 1, 2]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"id,site\na,caf\xe9\n", "byte 0xe9 in line 2, which is not UTF-8.*save it as UTF-8"),
            ("id,site\na,b\n".encode("utf-16-le"), "UTF-16 without a byte-order mark"),
            (b"\xff\xfei", "line 1, which is not UTF-16"),
            (b"a;b,c\n1;2,3\n", "several possible delimiters, ',' and ';'.*separator=','"),
        ],
    )
    def test_the_cause_is_named(self, content: bytes, message: str, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_bytes(content)
        with pytest.raises(RecordError, match=f"(?s)t.csv.*{message}"):
            read_rows(tmp_path / "t.csv")

    def test_a_quoted_delimiter_is_no_delimiter(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text('id,note\na,"x; y"\nb,"x\nz"\n')
        assert read_rows(tmp_path / "t.csv").frame.rows() == [("a", "x; y"), ("b", "x\nz")]
        (tmp_path / "t.csv").write_text('id,"a;b"\na,"x;y"\nb,"1;2"\n')
        assert read_rows(tmp_path / "t.csv").frame.columns == ["id", "a;b"]

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
    @pytest.mark.parametrize("name", ["labels.csv", "labels.json", "metadata.parquet", "partition.json"])
    def test_pipes_and_devices_do_not_block(self, name: str, folder: Path) -> None:
        os.mkfifo(folder / name)
        os.symlink("/dev/zero", folder / f"zero.{name.rpartition('.')[2]}")
        source = NpyFolder(folder / "data")
        option = name.partition(".")[0]
        read = source.split if option == "partition" else lambda path: NpyFolder(folder / "data", **{option: path})
        for path in (folder / name, folder / f"zero.{name.rpartition('.')[2]}"):
            with pytest.raises(RecordError, match="not a regular file"):
                read(path)

    @pytest.mark.parametrize("name", ["labels.csv", "class_names.json", "metadata.json", "partition.json"])
    def test_companion_files_must_not_link_out(self, name: str, folder: Path) -> None:
        (folder / "in").mkdir()
        (folder / "data").rename(folder / "in" / "data")
        if name == "class_names.json":
            (folder / "in" / "labels.json").write_text("{}")
        (folder / "in" / name).symlink_to(folder / "elsewhere")
        with pytest.raises(RecordError, match=f"{name}: a link out of the folder"):
            companion_files(folder / "in" / "data") if name != "partition.json" else partition_file(folder / "in")

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
    @pytest.mark.parametrize("name", ["labels.csv", "class_names.json", "metadata.tsv"])
    def test_pipes_as_companion_files_are_refused(self, name: str, folder: Path) -> None:
        if name == "class_names.json":
            (folder / "labels.json").write_text(json.dumps(LABELLED))
        os.mkfifo(folder / name)
        with pytest.raises(RecordError, match=f"{name}: not a regular file"):
            tailfit.data.open(folder)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
    @pytest.mark.parametrize("suffix", ["csv", "npy", "parquet", "h5", "zip", "arrow", "tfrecord", "array_record"])
    def test_pipes_for_data_are_refused(self, suffix: str, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / f"set.{suffix}")
        with pytest.raises(DataError, match=f"set.{suffix}"):
            tailfit.data.open(tmp_path / f"set.{suffix}")

    @pytest.mark.parametrize("name", ["labels.csv", "labels.json", "metadata.parquet"])
    def test_a_file_beyond_memory_is_not_read(self, name: str, folder: Path) -> None:
        with open(folder / name, "wb") as file:
            file.truncate(1 << 42)
        with pytest.raises(RecordError, match=f"{1 << 42} bytes.*Expected a regular file of at most"):
            NpyFolder(folder / "data", **{name.partition(".")[0]: folder / name})
