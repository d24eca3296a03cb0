"""Values of single samples, such as their position or group, that a batch carries next to its records.

Keras' loops accept only `(x, y, sample_weight)`, so the values travel inside x: `{"x": records, "fields": {...}}`
under the two keys below. `tailfit.Model` takes them apart again before the network is called.
"""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

__all__ = ["Fields", "split_fields", "with_fields"]

Fields = Mapping[str, NDArray[Any]]
_RECORDS, _FIELDS = "tailfit.records", "tailfit.fields"


def with_fields(batch: tuple[Any, ...], fields: Fields) -> tuple[Any, ...]:
    """Return a batch whose x also carries these values, one row of each per sample."""
    return ({_RECORDS: batch[0], _FIELDS: dict(fields)}, *batch[1:])


def split_fields(x: Any) -> tuple[Any, dict[str, Any]]:
    """Return the records and the fields of an x; there are no fields if it carries none.

    >>> import numpy as np
    >>> batch = with_fields((np.zeros(2), np.array([1, 0])), {"position": np.array([7, 4])})
    >>> x, fields = split_fields(batch[0])
    >>> x.tolist(), fields["position"].tolist()
    ([0.0, 0.0], [7, 4])
    >>> split_fields(np.ones(1))
    (array([1.]), {})
    """
    if isinstance(x, dict) and x.keys() == {_RECORDS, _FIELDS}:
        return x[_RECORDS], x[_FIELDS]
    return x, {}
