"""TFRecord and ArrayRecord files as sources, parsed as `tf.train.Example` or by a user's function."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tailfit.data.files.record_files import ArrayRecordFiles, RecordFiles, TFRecordFiles
from tailfit.data.files.tf_example import Examples, Feature
from tailfit.data.records.finite import DataWarning
from tailfit.data.source import index_chunks
from tailfit.data.sources.map_style import MapStyle
from tailfit.data.tables.metadata import Metadata
from tailfit.data.tables.row_numbers import left_out_message, may_number_rows, numbers_rows
from tailfit.errors import ArgumentError, RecordError

__all__ = ["ArrayRecord", "TFRecord"]

_CHUNK_SIZE = 256  # records read together to collect labels and IDs
_Path = str | PathLike[str] | Sequence[str | PathLike[str]]


class _Records(MapStyle):
    """Base of both file formats; see `TFRecord` for the arguments."""

    _format: ClassVar[type[TFRecordFiles] | type[ArrayRecordFiles]]

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
        files = type(self)._format(path)
        if parse is not None:
            if features is not None or id is not None:
                raise ArgumentError(
                    "features= or id= together with parse=",
                    expected="either features= or parse=",
                    fix="drop features=, and pass the IDs as ids=",
                )
            options = {"label": label, "class_names": class_names, "strip": strip, "nan": nan}
            super().__init__(_Parsed(files, parse), labels, ids, metadata, **options)  # type: ignore[arg-type]
            return
        if isinstance(label, int):
            raise ArgumentError(
                f"label={label}", expected="the name of a feature", fix="pass a name; a position needs parse="
            )
        excluded = [name for name in (label, id) if name is not None]
        if features is None:
            self.left_out = tuple(_row_numbers(files, excluded))
        parsed = _Examples(files, Examples(features, [*excluded, *self.left_out]))
        if (label is not None and labels is None) or (id is not None and ids is None):
            found = [each for rows in index_chunks(0, len(files), _CHUNK_SIZE) for each in parsed.excluded(rows)]
            labels = [each[label] for each in found] if label is not None and labels is None else labels
            ids = [str(each[id]) for each in found] if id is not None and ids is None else ids
        if self.left_out:
            where = files.named(0).rpartition(": ")[0]
            warnings.warn(left_out_message(where, self.left_out, "features={...}"), DataWarning, stacklevel=3)
        super().__init__(parsed, labels, ids, metadata, class_names=class_names, strip=strip, nan=nan)


class TFRecord(_Records):
    """Records of TFRecord files, read in any order without importing TensorFlow.

    Construction scans the files once for the offset of each record. If `label` or `id` is a feature, it also parses
    every record once.

    Args:
        path: A file, a folder of `.tfrecord` files (in the order of their names), or a list of files; uncompressed.
        features: Shape and dtype of each feature of the record, `{"signal": ((128, 12), "float32")}`. By default all
            numeric features, as vectors, in the order of their names, except one that only numbers the records.
            Features of bytes are the raw memory of arrays, and must be listed here.
        label: Name of the feature with the label: a number, text, or a vector of C indicators or probabilities.
        id: Name of the feature with the ID; by default IDs are "0", "1", ...
        labels: One label per record, instead of `label`.
        ids: One ID per record, instead of `id`.
        metadata: See `Arrays`. A column called `id` contains the IDs if no other column is identified by its values.
        parse: `parse(content: bytes) -> record`, for records that are not `tf.train.Example` or contain encoded images.
            It returns an array or a nest of arrays; `label` is then a position or key in it, see `MapStyle`.
        class_names: Class names in the order of the class indices.
        strip: Whether to strip whitespace around class names.
        nan: Policy for NaN and infinity, applied when a record is first read: `"raise"`, `"warn"` (once) or `"keep"`.
    Shapes: `read(indices)` returns an array `[n, ...]` for one feature, or a dict of such arrays for several.
    Raises:
        RecordError: If a file is missing, truncated, compressed or has changed, or if a record has a wrong checksum or
            lacks a feature. The message begins with the file's path.
        DataError: If IDs or labels are invalid, or records differ in shape.
        PackageError: If google-crc32c or protobuf is not installed.

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

    _format = TFRecordFiles


class ArrayRecord(_Records):
    """Records of ArrayRecord files, a format for random access.

    Args:
        path: A file, a folder of `.array_record` files (in the order of their names), or a list of files. Write them
            with `group_size:1`; otherwise reading one record decodes its whole group.
        features, label, id, labels, ids, metadata, parse, class_names, strip, nan: See `TFRecord`.
    Shapes: See `TFRecord`.
    Raises:
        RecordError: If a file is missing, truncated, damaged or has changed, or if a record lacks a feature. The
            message begins with the file's path.
        DataError: If IDs or labels are invalid, or records differ in shape.
        PackageError: If array-record or protobuf is not installed.

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

    _format = ArrayRecordFiles


class _Parsed:
    """A map-style data set of records that the user's function parses from bytes."""

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
                expected="records that the function parse= can parse",
                fix="correct parse=",
            ) from error


class _Examples(_Parsed):
    """A map-style data set of records that are `tf.train.Example` messages."""

    def __init__(self, files: RecordFiles, examples: Examples) -> None:
        super().__init__(files, bytes)
        self._examples = examples

    def _record(self, content: bytes, index: int) -> Any:
        return self._examples.record(content, self._files.named(index))

    def excluded(self, indices: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Return the features that are not part of the record, such as its label and ID, for each record."""
        contents = zip(self._files.read(indices), indices.tolist(), strict=True)
        return [self._examples.excluded(content, self._files.named(index)) for content, index in contents]


def _row_numbers(files: RecordFiles, excluded: Sequence[str]) -> list[str]:
    """Return the features that only number the records, like a data frame's index that was written with them."""
    if not len(files):
        return []
    try:
        first = files.read(np.zeros(1, dtype=np.int64))[0]
        names = Examples(None, excluded).numbers(first, files.named(0))
    except RecordError:  # reading the record raises it again
        return []
    names = [name for name in names if may_number_rows(name)]
    return [name for name in names if numbers_rows(name, _feature(files, name))]


def _feature(files: RecordFiles, name: str) -> NDArray[Any]:
    """Return a feature of all records; an empty array if it is not a single number in every record."""
    parsed = _Examples(files, Examples(None, [name]))
    try:
        values = [each[name] for rows in index_chunks(0, len(files), _CHUNK_SIZE) for each in parsed.excluded(rows)]
        return np.array(values, dtype=np.float64).reshape(len(files))
    except (RecordError, ValueError):
        return np.zeros(0)
