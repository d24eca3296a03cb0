"""TFRecord and ArrayRecord files as sources: their bytes read as `tf.train.Example`, or by a function of the user's."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailfit.data.files.record_files import ArrayRecordFiles, RecordFiles, TFRecordFiles
from tailfit.data.files.tf_example import Examples, Feature
from tailfit.data.records.finite import DataWarning
from tailfit.data.source import stretches
from tailfit.data.sources.map_style import MapStyle
from tailfit.data.tables.metadata import Metadata
from tailfit.data.tables.row_numbers import may_number_rows, numbers_rows, told_left_out
from tailfit.errors import ArgumentError, RecordError

__all__ = ["ArrayRecord", "TFRecord"]

_AT_ONCE = 256  # records, while labels and IDs are gathered
_Path = str | PathLike[str] | Sequence[str | PathLike[str]]


class _Records(MapStyle):
    """What both kinds of files share; the arguments are those of `TFRecord`."""

    def __init__(
        self,
        files: RecordFiles,
        features: Mapping[str, Feature] | None,
        label: str | int | None,
        id: str | None,
        labels: Any,
        ids: Sequence[str] | None,
        metadata: Metadata | None,
        *,
        parse: Callable[[bytes], Any] | None,
        class_names: Sequence[str] | None,
        strip: bool,
        nan: str,
    ) -> None:
        if parse is not None:
            if features is not None or id is not None:
                raise ArgumentError(
                    "features= or id= beside parse=", expected="one way to read a record", fix="pass ids= for IDs"
                )
            options = {"label": label, "class_names": class_names, "strip": strip, "nan": nan}
            super().__init__(_Parsed(files, parse), labels, ids, metadata, **options)  # type: ignore[arg-type]
            return
        if isinstance(label, int):
            raise ArgumentError(f"label={label}", expected="the name of a feature", fix="pass parse= for other content")
        gather = [name for name in (label, id) if name is not None]
        if features is None:
            self.left_out = tuple(_row_numbers(files, gather))
        parsed = _Examples(files, Examples(features, [*gather, *self.left_out]))
        if (label is not None and labels is None) or (id is not None and ids is None):
            found = [others for indices in stretches(0, len(files), _AT_ONCE) for others in parsed.beside(indices)]
            labels = [others[label] for others in found] if label is not None and labels is None else labels
            ids = [str(others[id]) for others in found] if id is not None and ids is None else ids
        if self.left_out:
            where = files.named(0).rpartition(": ")[0]
            warnings.warn(told_left_out(where, self.left_out, "features={...}"), DataWarning, stacklevel=4)
        super().__init__(parsed, labels, ids, metadata, class_names=class_names, strip=strip, nan=nan)


class TFRecord(_Records):
    """Records of TFRecord files, read in any order; TensorFlow is not imported.

    The files are passed through once, for where each record begins. Where a label or an ID is a feature, all are parsed
    once more.

    Args:
        path: A file, a folder of `.tfrecord` files (in the order of their names), or a list of files; not compressed.
        features: Shape and type of each feature of the record, `{"signal": ((128, 12), "float32")}`; without it all
            features of numbers, as vectors, in the order of their names, but for one that only numbers the records.
            Features of bytes are arrays as they lie in memory, and must be listed here.
        label: The feature that is the label: a number, text, or a vector of C indicators or probabilities.
        id: The feature that is the ID; without it they are numbered, "0", "1", ...
        labels: One a record, in place of `label`.
        ids: One a record, in place of `id`.
        metadata: As of `Arrays`; a column called `id` holds the IDs where their values don't tell.
        parse: `parse(content) -> record`, for records that are no `tf.train.Example`, or hold encoded images: an array
            or a nest of them; `label` is then a position or key in it, as of `MapStyle`.
        class_names: Names of the classes in the order of their codes.
        strip: Whether white space around names of classes is dropped.
        nan: What to do with NaN or infinity in a record, when it is read for the first time: `"raise"`, `"warn"` (once)
            or `"keep"`.
    Shapes: `read(indices)` gives, of one feature, its array `[n, ...]`, of several a dict of them.
    Raises:
        RecordError: beginning with a file's path: missing, truncated, compressed, changed since; or a record whose
            checksum is wrong, or that has not these features.
        DataError: if IDs or labels are not what they must be, or records differ in shape.
        PackageError: without google-crc32c or protobuf.

    >>> import pathlib, struct, tempfile, google_crc32c
    >>> def frame(content):  # what TensorFlow's TFRecordWriter writes
    ...     def masked(part):
    ...         crc = google_crc32c.value(part)
    ...         return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
    ...     length = struct.pack("<Q", len(content))
    ...     return length + masked(length) + content + masked(content)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "pumps.tfrecord")
    ...     _ = path.write_bytes(b"".join(frame(struct.pack("<2f", row, 1)) for row in range(3)))
    ...     TFRecord(path, parse=lambda content: np.frombuffer(content, "<f4")).read([2, 0]).tolist()
    [[2.0, 1.0], [0.0, 1.0]]
    """

    def __init__(
        self,
        path: _Path,
        features: Mapping[str, Feature] | None = None,
        label: str | int | None = None,
        id: str | None = None,
        labels: Any = None,
        ids: Sequence[str] | None = None,
        metadata: Metadata | None = None,
        *,
        parse: Callable[[bytes], Any] | None = None,
        class_names: Sequence[str] | None = None,
        strip: bool = False,
        nan: str = "raise",
    ) -> None:
        files, rest = TFRecordFiles(path), (features, label, id, labels, ids, metadata)
        super().__init__(files, *rest, parse=parse, class_names=class_names, strip=strip, nan=nan)


class ArrayRecord(_Records):
    """Records of ArrayRecord files, which are made to be read in any order.

    Args:
        path: A file, a folder of `.array_record` files (in the order of their names), or a list of files; best written
            with `group_size:1`, as else a group of records is decoded for one.
        features, label, id, labels, ids, metadata, parse, class_names, strip, nan: As of `TFRecord`.
    Shapes: As of `TFRecord`.
    Raises:
        RecordError: beginning with a file's path: missing, truncated, damaged, changed since; or a record that has not
            these features.
        DataError: if IDs or labels are not what they must be, or records differ in shape.
        PackageError: without array-record or protobuf.

    >>> import tempfile
    >>> from array_record.python.array_record_module import ArrayRecordWriter
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     writer = ArrayRecordWriter(f"{folder}/pumps.array_record", "group_size:1")
    ...     _ = [writer.write(np.full(2, row, "float32").tobytes()) for row in range(3)]
    ...     writer.close()
    ...     source = ArrayRecord(f"{folder}/pumps.array_record", parse=lambda content: np.frombuffer(content, "<f4"))
    ...     source.read([2, 0]).tolist()
    [[2.0, 2.0], [0.0, 0.0]]
    """

    def __init__(
        self,
        path: _Path,
        features: Mapping[str, Feature] | None = None,
        label: str | int | None = None,
        id: str | None = None,
        labels: Any = None,
        ids: Sequence[str] | None = None,
        metadata: Metadata | None = None,
        *,
        parse: Callable[[bytes], Any] | None = None,
        class_names: Sequence[str] | None = None,
        strip: bool = False,
        nan: str = "raise",
    ) -> None:
        files, rest = ArrayRecordFiles(path), (features, label, id, labels, ids, metadata)
        super().__init__(files, *rest, parse=parse, class_names=class_names, strip=strip, nan=nan)


class _Parsed:
    """A map-style data set of the records of files, each made of its bytes by the user's function."""

    def __init__(self, files: RecordFiles, parse: Callable[[bytes], Any]) -> None:
        self._files, self._parse = files, parse

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        contents = self._files.read(np.asarray(indices, dtype=np.int64))
        return [self._record(content, index) for content, index in zip(contents, indices, strict=True)]

    def _record(self, content: bytes, index: int) -> Any:
        try:
            return self._parse(content)
        except Exception as error:
            raise RecordError(
                f"{self._files.named(index)}: {type(error).__name__}: {error}",
                expected="records that parse= can read",
                fix="check parse=",
            ) from error


class _Examples(_Parsed):
    """Of records that are Examples."""

    def __init__(self, files: RecordFiles, examples: Examples) -> None:
        super().__init__(files, bytes)
        self._examples = examples

    def _record(self, content: bytes, index: int) -> Any:
        return self._examples.record(content, self._files.named(index))

    def beside(self, indices: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Of each record, its label and ID."""
        contents = zip(self._files.read(indices), indices.tolist(), strict=True)
        return [self._examples.beside(content, self._files.named(index)) for content, index in contents]


def _row_numbers(files: RecordFiles, others: Sequence[str]) -> list[str]:
    """The features that only number the records, as a data frame's index does that was written with them."""
    if not len(files):
        return []
    try:
        first = files.read(np.zeros(1, dtype=np.int64))[0]
        names = Examples(None, others).numbers(first, files.named(0))
    except RecordError:  # it is one when the record is read, too
        return []
    names = [name for name in names if may_number_rows(name)]
    return [name for name in names if numbers_rows(name, _feature(files, name))]


def _feature(files: RecordFiles, name: str) -> NDArray[Any]:
    """A feature of all records; empty where it is not a number in each."""
    parsed = _Examples(files, Examples(None, [name]))
    try:
        values = [each[name] for rows in stretches(0, len(files), _AT_ONCE) for each in parsed.beside(rows)]
        return np.array(values, dtype=np.float64).reshape(len(files))
    except (RecordError, ValueError):
        return np.zeros(0)
