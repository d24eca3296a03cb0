"""TFRecord and ArrayRecord: features, labels, refused input. Damaged files are in the battery of formats."""

import gzip
import re
import struct
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter
from support.formats import example, framed

from tailfit.data import ArrayRecord, DataWarning, TFRecord
from tailfit.errors import ArgumentError, DataError, PackageError, RecordError

# Written by TensorFlow 2.21: an Example of x = [1.5, -2.0], n = [300, -1] and y = b"ok", then an empty record.
WRITTEN_BY_TENSORFLOW = bytes.fromhex(
    "39000000000000008b0737f10a370a150a016e12101a0e0a0cac02ffffffffffffffffff010a110a0178120c120a0a080000c03f000000c0"
    "0a0b0a017912060a040a026f6b73620310000000000000000029039807d8ea82a2"
)


def tfrecord(folder: Path, *contents: bytes) -> Path:
    (folder / "set.tfrecord").write_bytes(b"".join(map(framed, contents)))
    return folder / "set.tfrecord"


def array_record(folder: Path, *contents: bytes) -> Path:
    writer = ArrayRecordWriter(str(folder / "set.array_record"), "group_size:1")
    for content in contents:
        writer.write(content)
    writer.close()
    return folder / "set.array_record"


KINDS = pytest.mark.parametrize(("write", "kind"), [(tfrecord, TFRecord), (array_record, ArrayRecord)])


def test_files_written_by_tensorflow(tmp_path: Path) -> None:
    (tmp_path / "set.tfrecord").write_bytes(WRITTEN_BY_TENSORFLOW)
    source = TFRecord(tmp_path / "set.tfrecord", {"x": ((2, 1), "float32"), "n": ((2,), "int64")})
    assert source.read([0])["x"].tolist() == [[[1.5], [-2.0]]]
    assert source.read([0])["n"].tolist() == [[300, -1]]
    with pytest.raises(RecordError, match="record 1: no feature 'x'"):
        source.read([1])


@KINDS
class TestFeatures:
    def test_raw_bytes(self, tmp_path: Path, write: Any, kind: Any) -> None:
        image = np.arange(6, dtype="<u2").reshape(2, 3) * 1000
        source = kind(write(tmp_path, example(image=image.tobytes(), y="ok")), {"image": ((2, 3), "uint16")}, "y")
        np.testing.assert_array_equal(source.read([0]), image[None])
        assert source.class_names == ("ok",)

    def test_labels_of_each_form(self, tmp_path: Path, write: Any, kind: Any) -> None:
        rows = [example(x=[1.0, 2.0], code=n, name="ab"[n], soft=[0.25, 0.75]) for n in (1, 0)]
        path, features = write(tmp_path, *rows), {"x": ((2,), "float32")}
        assert kind(path, features, "code").labels.tolist() == [1, 0]
        assert kind(path, features, "name").class_names == ("a", "b")
        assert kind(path, features, "soft").label_kind == "soft"
        assert kind(path, features, labels=["u", "v"]).class_names == ("u", "v")
        assert list(kind(path, features, id="code").ids) == ["1", "0"]

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"features": {"z": ((1,), "int8")}}, "record 0: no feature 'z'; it contains ['text', 'x', 'y']"),
            ({"features": {"x": ((3,), "int8")}}, "record 0: 2 values in feature 'x'"),
            ({"features": {"text": ((3,), "int8")}}, "record 0: 2 bytes in feature 'text'"),
            ({"features": {"x": ((2,), "bool")}}, "record 0: feature 'x' with the value 2.0"),
            ({"label": "z"}, "record 0: no feature 'z'"),
            ({"label": "text"}, "record 0: bytes that are not text in feature 'text'"),
            ({"parse": lambda content: 1 / 0}, "record 0: ZeroDivisionError"),
        ],
    )
    def test_missing_features(self, tmp_path: Path, write: Any, kind: Any, options: Any, words: str) -> None:
        path = write(tmp_path, example(x=[1.0, 2.0], y=1, text=b"\xff\xfe"))
        with pytest.raises(RecordError, match=re.escape(words)) as caught:
            kind(path, **options).read([0])
        assert caught.value.received.startswith(str(path))

    def test_records_that_differ_name_the_id(self, tmp_path: Path, write: Any, kind: Any) -> None:
        path = write(tmp_path, example(x=[1.0, 2.0], id="a"), example(x=[1.0], id="b"))
        with pytest.raises(DataError, match=r"ID 'b': a record of x \(\) float32.*\(2,\) float32 as for ID 'a'"):
            kind(path, id="id").read([0, 1])

    def test_content_that_is_not_an_example(self, tmp_path: Path, write: Any, kind: Any) -> None:
        with pytest.raises(RecordError, match=r"record 1: content that is not a tf.train.Example.*parse="):
            kind(write(tmp_path, example(x=1), b"\xff\xff")).read([1])

    @pytest.mark.parametrize(
        "options",
        [
            {"features": {"x": "float32"}},
            {"features": {"x": ((-1,), "float32")}},
            {"features": {"x": ((1,), "O")}},
            {"features": {"x": ((1,), "nothing")}},
            {"parse": len, "features": {}},
            {"parse": len, "id": "id"},
            {"label": 0},
        ],
        ids=str,
    )
    def test_bad_arguments(self, tmp_path: Path, write: Any, kind: Any, options: Any) -> None:
        with pytest.raises(ArgumentError):
            kind(write(tmp_path, example(x=1)), **options)

    def test_parsed_items_with_a_label(self, tmp_path: Path, write: Any, kind: Any) -> None:
        path = write(tmp_path, *(struct.pack("<ff", value, value > 1) for value in (1.0, 2.0)))
        source = kind(path, parse=lambda content: tuple(np.frombuffer(content, "<f4").astype(int)), label=1)
        assert (source.read([1]).tolist(), source.labels.tolist()) == ([2], [0, 1])


def test_a_compressed_file_is_refused(tmp_path: Path) -> None:
    path = tfrecord(tmp_path, example(x=1))
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(RecordError, match=r"set.tfrecord: a compressed file.*decompress the file"):
        TFRecord(path)


def test_a_huge_length_is_refused_before_allocation(tmp_path: Path) -> None:
    length = struct.pack("<Q", 1 << 60)
    crc = google_crc32c.value(length)
    head = length + struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
    (tmp_path / "set.tfrecord").write_bytes(framed(example(x=1)) + head + b"few")
    with pytest.raises(RecordError, match=f"truncated in record 1, of {1 << 60} bytes"):
        TFRecord(tmp_path / "set.tfrecord")


def test_a_flipped_bit_names_its_record(tmp_path: Path) -> None:
    path = tfrecord(tmp_path, *(example(x=[1.0, 2.0]) for _ in range(3)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    source = TFRecord(path)
    assert source.read([0, 2]).tolist() == [[1.0, 2.0]] * 2
    with pytest.raises(RecordError, match="a wrong checksum of record 1"):
        source.read([1])


@pytest.mark.parametrize(
    ("module", "kind"), [("google_crc32c", TFRecord), ("array_record.python.array_record_module", ArrayRecord)]
)
def test_without_its_package(module: str, kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(PackageError, match=r"pip install 'tailfit\[records\]'"):
        kind(tmp_path)


@KINDS
def test_a_feature_that_only_numbers_the_records(tmp_path: Path, write: Any, kind: Any) -> None:
    path = write(tmp_path, *(example(flow=[row / 4, 1.0], index=row) for row in range(3)))
    with pytest.warns(DataWarning, match=r"row numbers in column 'index'.*features="):
        source = kind(path)
    assert (source.left_out, source.read([2]).tolist()) == (("index",), [[0.5, 1.0]])
    assert set(kind(path, {"flow": ((2,), "float32"), "index": ((), "int64")}).read([2])) == {"flow", "index"}
    path = write(tmp_path, *(example(flow=[row / 4, 1.0], index=[row, row]) for row in range(3)))
    assert kind(path).left_out == ()
