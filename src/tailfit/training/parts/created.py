"""Variables that are created while code runs, such as the counts of a loss at its first batch."""

from typing import Any, Self

import keras
import numpy as np

from tailfit.keras_private import Replaced, value_behind
from tailfit.training.backends import engine

__all__ = ["Created"]


class Created:
    """A context that collects the variables created in it.

    Attributes:
        values: Pairs of a variable and its first value; without those that have no value yet.

    >>> with Created() as created:
    ...     count = keras.Variable(3.0)
    >>> [float(value) for _, value in created.values]
    [3.0]
    """

    def __init__(self) -> None:
        self.values: list[tuple[Any, Any]] = []
        self._replaced = Replaced(keras.Variable, "__init__", self._create)

    def _create(self, own: Any, variable: Any, *args: Any, **kwargs: Any) -> None:
        own(variable, *args, **kwargs)
        with engine.outside_traces():
            value = value_behind(variable)
            if value is not None:
                self.values.append((variable, np.array(keras.ops.convert_to_numpy(value))))

    def __enter__(self) -> Self:
        self._replaced.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._replaced.__exit__(*error)
