"""What users pass for `y`: labels of any form, a source, or Batches of one.

Sources and Batches live in a room to the right of this one, so they are known by their attributes: a source
has `labels`, `class_names` and `metadata`; Batches have the `source`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tailfit.errors import ArgumentError, DataError
from tailfit.labels import Encoded, encode

__all__ = ["by_output", "encoded_labels", "source_of"]


def source_of(y: Any) -> Any | None:
    """The source that `y` is or reads from; None for labels themselves."""
    # A part of a source has `source` too, the whole: `labels` is asked for first.
    if hasattr(y, "labels"):
        return y
    return source_of(y.source) if hasattr(y, "source") else None


def by_output(one: Callable[..., Any], y: Mapping[str, Any], **given: Any) -> dict[str, Any]:
    """`one(y[name], *given[name])` for each output of a model; what is given as None is None for each.

    Raises:
        ArgumentError: for what is not given output by output.

    >>> by_output(lambda y, scale: y * scale, {"cause": 1, "site": 2}, scale={"cause": 10, "site": 20})
    {'cause': 10, 'site': 40}
    """
    for what, value in given.items():
        if value is not None and (not isinstance(value, Mapping) or value.keys() != y.keys()):
            shown = list(value) if isinstance(value, Mapping) else f"of type {type(value).__name__}"
            raise ArgumentError(
                f"{what} {shown} beside labels of the outputs {list(y)}",
                expected="a dict with the same outputs",
                fix=f"pass {what}={{{', '.join(f'{name!r}: ...' for name in y)}}}",
            )
    return {name: one(y[name], *(value and value[name] for value in given.values())) for name in y}


def encoded_labels(y: Any, *, class_names: Sequence[str] | None = None, num_classes: int | None = None) -> Encoded:
    """The labels of `y` in one form.

    Raises:
        ArgumentError: for class names or a number of classes that contradict those of a source.
        DataError: for labels that don't hold together, or none.
    """
    source = source_of(y)
    encoded = (
        encode(y, class_names=class_names, num_classes=num_classes)
        if source is None
        else _encoded_source(source, class_names, num_classes)
    )
    if not len(encoded.values):
        raise DataError("no labels", expected="at least one sample", fix="check the source or the split")
    return encoded


def _encoded_source(source: Any, class_names: Sequence[str] | None, num_classes: int | None) -> Encoded:
    if source.labels is None:
        raise DataError(f"{source!r} without labels", expected="a labelled source", fix="pass it labels=")
    names = getattr(source, "class_names", None) or class_names
    for what, given, same in (
        ("class_names", class_names, class_names is None or list(class_names) == list(names or ())),
        ("num_classes", num_classes, num_classes is None or not names or num_classes == len(names)),
    ):
        if not same:
            raise ArgumentError(
                f"{what}={given!r} beside a source of the classes {', '.join(map(repr, names or ()))}",
                expected="the source's own classes",
                fix=f"leave {what} out, or name the classes when the source is made",
            )
    encoded = getattr(source, "encoded", None)
    if isinstance(encoded, Encoded):  # of a part, whose few labels may not tell one-hot from multi-label
        return encoded
    return encode(source.labels, class_names=names, num_classes=num_classes)
