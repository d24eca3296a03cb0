"""Parser of `tf.train.Example`, the usual content of a TFRecord, to arrays by protobuf, without TensorFlow.

An Example maps names of features to lists of floats, whole numbers or bytes, without shapes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tailfit.errors import ArgumentError, RecordError
from tailfit.extras import needed

__all__ = ["Examples", "Feature"]

Feature = tuple[Sequence[int], DTypeLike]


@dataclass(frozen=True)
class Examples:
    """A parser of the features of an Example.

    Attributes:
        features: Shape and dtype of each feature of the record; bytes are raw memory in C order, little-endian. None
            for all numeric features, as vectors, or as scalars if they have a single value.
        not_in_record: Names of the features that are not part of the record, such as its label and ID.
    """

    features: Mapping[str, Feature] | None
    not_in_record: Sequence[str] = ()

    def __post_init__(self) -> None:
        _example_class()
        for name, feature in (self.features or {}).items():
            try:
                shape, dtype = feature
                valid = all(int(size) == size >= 0 for size in shape) and np.dtype(dtype).kind in "biuf"
            except (TypeError, ValueError):
                valid = False
            if not valid:
                raise ArgumentError(
                    f"features[{name!r}]={feature!r}",
                    expected="a pair (shape, dtype) of real numbers",
                    fix="pass such pairs, for example {'signal': ((128, 12), 'float32')}",
                )

    def numbers(self, content: bytes, where: str) -> list[str]:
        """Return the names of the numeric features of an Example, which by default form its record."""
        found = _features(content, where)
        rest = sorted(set(found) - set(self.not_in_record))
        return [name for name in rest if found[name].WhichOneof("kind") in ("float_list", "int64_list")]

    def record(self, content: bytes, where: str) -> Any:
        """Return the record in an Example: an array for one feature, a dict for several.

        Raises:
            RecordError: If the content is not an Example, or lacks a feature. The message begins with `where`.
        """
        found = _features(content, where)
        names: Iterable[str] = self.numbers(content, where) if self.features is None else self.features
        record = {name: self._array(_values(found, name, where), name, where) for name in names}
        return next(iter(record.values())) if len(record) == 1 else record

    def excluded(self, content: bytes, where: str) -> dict[str, Any]:
        """Return the features that are not part of the record, each a number, text or a vector.

        Raises:
            RecordError: See `record`.
        """
        found = _features(content, where)
        return {name: _single(_values(found, name, where), name, where) for name in self.not_in_record}

    def _array(self, values: NDArray[Any] | list[bytes], name: str, where: str) -> NDArray[Any]:
        if self.features is None:
            array = np.asarray(values)
            return array[0] if array.shape == (1,) else array
        shape, dtype = self.features[name]
        if isinstance(values, list):
            values = np.frombuffer(b"".join(values), np.uint8)
            size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
            if values.size == size:
                return values.view(np.dtype(dtype).newbyteorder("<")).reshape(shape).astype(dtype)
        elif values.size == int(np.prod(shape, dtype=np.int64)):
            return _convert(values, np.dtype(dtype), f"{where}: feature {name!r}").reshape(shape)
        raise RecordError(
            f"{where}: {values.size} {'bytes' if values.dtype == np.uint8 else 'values'} in feature {name!r}",
            expected=f"shape {tuple(shape)}, type {np.dtype(dtype)}",
            fix="correct features=",
        )


def _convert(values: NDArray[Any], dtype: np.dtype[Any], where: str) -> NDArray[Any]:
    """Convert numbers to a dtype; floats may be rounded, but no value may overflow or be truncated."""
    with np.errstate(invalid="ignore", over="ignore"):
        converted = values.astype(dtype)
        if dtype.kind == "f":
            lost = np.isfinite(values) & ~np.isfinite(converted)
        else:
            lost = (converted.astype(values.dtype) != values) | ((converted < 0) != (values < 0))
    if lost.any():
        raise RecordError(
            f"{where} with the value {values[int(np.argmax(lost))]}",
            expected=f"values that {dtype} can represent",
            fix="pass a wider dtype in features=",
        )
    return converted


def _features(content: bytes, where: str) -> Any:
    example = _example_class()()
    try:
        example.ParseFromString(content)
    except needed("google.protobuf.message", "records", where).DecodeError as error:
        raise RecordError(
            f"{where}: content that is not a tf.train.Example",
            expected="records of tf.train.Example messages",
            fix="pass a function as parse= for other content",
        ) from error
    return example.features.feature


def _values(features: Any, name: str, where: str) -> NDArray[Any] | list[bytes]:
    if name not in features:  # checked first, because indexing a protobuf map creates the entry
        raise RecordError(
            f"{where}: no feature {name!r}; it contains {sorted(features)[:20]}",
            expected=f"an Example with the feature {name!r}",
            fix="correct the name, or write the record again",
        )
    kind = features[name].WhichOneof("kind")
    if kind == "bytes_list":
        return list(features[name].bytes_list.value)
    if kind == "float_list":
        floats = features[name].float_list
        size = len(floats.value)
        # The serialized list ends with the raw floats. Reading these takes a fiftieth of the time of iterating values.
        packed = floats.SerializeToString()
        return np.frombuffer(packed, "<f4", size, len(packed) - 4 * size).astype(np.float32)
    return np.array(features[name].int64_list.value, dtype=np.int64)


def _single(values: NDArray[Any] | list[bytes], name: str, where: str) -> Any:
    """Return a label or an ID: text, a number, or a vector of indicators."""
    if isinstance(values, list) and len(values) == 1:
        try:
            return values[0].decode()
        except UnicodeDecodeError as error:
            raise RecordError(
                f"{where}: bytes that are not text in feature {name!r}",
                expected="a label or an ID as text in UTF-8",
                fix="pass the name of a different feature, or write it in UTF-8",
            ) from error
    if isinstance(values, list) or not values.size:
        raise RecordError(
            f"{where}: {len(values)} values in feature {name!r}",
            expected="a single text, or numbers, as label or ID",
            fix="pass the name of a different feature",
        )
    return values[0] if values.size == 1 else values


@cache
def _example_class() -> Any:
    """Build the message class in a separate descriptor pool, so that it can't collide with TensorFlow's."""
    descriptor = needed("google.protobuf.descriptor_pb2", "records", "a tf.train.Example")
    pool = needed("google.protobuf.descriptor_pool", "records", "a tf.train.Example").DescriptorPool()
    factory = needed("google.protobuf.message_factory", "records", "a tf.train.Example")
    kind = descriptor.FieldDescriptorProto
    file = descriptor.FileDescriptorProto(name="tailfit/example.proto", package="tailfit", syntax="proto3")

    def message(name: str, *fields: tuple[str, Any, int, str], into: Any = file.message_type) -> Any:
        made = into.add(name=name)
        for number, (field, type_, label, type_name) in enumerate(fields, 1):
            made.field.add(name=field, number=number, type=type_, label=label, type_name=type_name or None)
        return made

    one, many = kind.LABEL_OPTIONAL, kind.LABEL_REPEATED
    message("BytesList", ("value", kind.TYPE_BYTES, many, ""))
    message("FloatList", ("value", kind.TYPE_FLOAT, many, ""))
    message("Int64List", ("value", kind.TYPE_INT64, many, ""))
    lists = ("BytesList", "FloatList", "Int64List")
    names = ("bytes_list", "float_list", "int64_list")
    feature = message(
        "Feature", *((name, kind.TYPE_MESSAGE, one, f".tailfit.{of}") for name, of in zip(names, lists, strict=True))
    )
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    features = message("Features", ("feature", kind.TYPE_MESSAGE, many, ".tailfit.Features.FeatureEntry"))
    entry = message(
        "FeatureEntry",
        ("key", kind.TYPE_STRING, one, ""),
        ("value", kind.TYPE_MESSAGE, one, ".tailfit.Feature"),
        into=features.nested_type,
    )
    entry.options.map_entry = True
    message("Example", ("features", kind.TYPE_MESSAGE, one, ".tailfit.Features"))
    pool.Add(file)
    return factory.GetMessageClass(pool.FindMessageTypeByName("tailfit.Example"))
