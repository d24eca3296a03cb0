"""`tf.train.Example`, the usual content of a TFRecord, as arrays: parsed by protobuf, without TensorFlow.

An Example is a map from names to lists of floats, whole numbers or bytes; it knows no shapes and no other types.
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
    """Reads the features of an Example.

    Attributes:
        features: Shape and type of each that belongs to the record; bytes are taken as they lie in memory, C order,
            little-endian. None: all of numbers, as vectors; a single number as such.
        others: Names of features beside the record: its label, its ID.
    """

    features: Mapping[str, Feature] | None
    others: Sequence[str] = ()

    def __post_init__(self) -> None:
        _example_class()
        for name, feature in (self.features or {}).items():
            try:
                shape, dtype = feature
                sound = all(int(size) == size >= 0 for size in shape) and np.dtype(dtype).kind in "biuf"
            except (TypeError, ValueError):
                sound = False
            if not sound:
                raise ArgumentError(
                    f"features[{name!r}]={feature!r}",
                    expected="(shape, type) of real numbers",
                    fix="write it so, e.g. {'signal': ((128, 12), 'float32')}",
                )

    def numbers(self, content: bytes, where: str) -> list[str]:
        """The names of the features of numbers in an Example, which are its record where none are told."""
        given = _features(content, where)
        rest = sorted(set(given) - set(self.others))
        return [name for name in rest if given[name].WhichOneof("kind") in ("float_list", "int64_list")]

    def record(self, content: bytes, where: str) -> Any:
        """The record in an Example: of one feature its array, of several a dict.

        Raises:
            RecordError: beginning with `where`, for what is no Example, or has not the features.
        """
        given = _features(content, where)
        names: Iterable[str] = self.numbers(content, where) if self.features is None else self.features
        record = {name: self._array(_values(given, name, where), name, where) for name in names}
        return next(iter(record.values())) if len(record) == 1 else record

    def excluded(self, content: bytes, where: str) -> dict[str, Any]:
        """The features beside the record, each a number, text or a vector.

        Raises:
            RecordError: as `record`.
        """
        given = _features(content, where)
        return {name: _single(_values(given, name, where), name, where) for name in self.others}

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
            return _converted(values, np.dtype(dtype), f"{where}: feature {name!r}").reshape(shape)
        raise RecordError(
            f"{where}: {values.size} {'bytes' if values.dtype == np.uint8 else 'values'} in feature {name!r}",
            expected=f"shape {tuple(shape)}, type {np.dtype(dtype)}",
            fix="correct features=",
        )


def _converted(values: NDArray[Any], dtype: np.dtype[Any], where: str) -> NDArray[Any]:
    """Convert numbers to the type that was asked for, which must hold them; floats may be rounded."""
    with np.errstate(invalid="ignore", over="ignore"):
        made = values.astype(dtype)
        if dtype.kind == "f":
            lost = np.isfinite(values) & ~np.isfinite(made)
        else:
            lost = (made.astype(values.dtype) != values) | ((made < 0) != (values < 0))
    if lost.any():
        raise RecordError(
            f"{where} with the value {values[int(np.argmax(lost))]}",
            expected=f"values that {dtype} can hold",
            fix="name a wider type in features=",
        )
    return made


def _features(content: bytes, where: str) -> Any:
    example = _example_class()()
    try:
        example.ParseFromString(content)
    except needed("google.protobuf.message", "records", where).DecodeError as error:
        raise RecordError(
            f"{where}: no tf.train.Example", expected="records that are", fix="pass parse= for other content"
        ) from error
    return example.features.feature


def _values(given: Any, name: str, where: str) -> NDArray[Any] | list[bytes]:
    if name not in given:  # before it is asked for: a map of protobuf makes what is not there
        raise RecordError(f"{where}: no feature {name!r}, but {sorted(given)[:20]}", expected="it", fix="name another")
    kind = given[name].WhichOneof("kind")
    if kind == "bytes_list":
        return list(given[name].bytes_list.value)
    if kind == "float_list":
        floats = given[name].float_list
        size = len(floats.value)
        # Its bytes end in the floats as they lie in memory: a fiftieth of the time of reading one after another.
        packed = floats.SerializeToString()
        return np.frombuffer(packed, "<f4", size, len(packed) - 4 * size).astype(np.float32)
    return np.array(given[name].int64_list.value, dtype=np.int64)


def _single(values: NDArray[Any] | list[bytes], name: str, where: str) -> Any:
    """A label or an ID: text, a number, or a vector of indicators."""
    if isinstance(values, list) and len(values) == 1:
        try:
            return values[0].decode()
        except UnicodeDecodeError as error:
            raise RecordError(f"{where}: feature {name!r} is no text", expected="UTF-8", fix="name another") from error
    if isinstance(values, list) or not values.size:
        raise RecordError(f"{where}: {len(values)} values in feature {name!r}", expected="one", fix="name another")
    return values[0] if values.size == 1 else values


@cache
def _example_class() -> Any:
    """The message class, from a description of its own: TensorFlow's, if it is imported, stays apart."""
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
