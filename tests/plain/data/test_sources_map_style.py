"""MapStyle: data sets of other libraries, and errors in them."""

import re
from typing import Any

import numpy as np
import pytest

from tailfit.data import Batches, MapStyle
from tailfit.errors import ArgumentError, DataError
from tailfit.samplers import Sequential


class Tensor:
    """A tensor that is not a NumPy array but convertible to one, like torch's."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(self.value, dtype=dtype)


class TestItems:
    def test_tensors(self) -> None:
        items = [(Tensor([1.0, 2.0]), Tensor(1)), (Tensor([3.0, 4.0]), Tensor(0))]
        source = MapStyle(items, label=1)
        assert source.read([1]).tolist() == [[3.0, 4.0]]
        assert source.labels.tolist() == [1, 0]

    def test_position_of_the_label(self) -> None:
        items = [{"x": 1.0, "z": 2, "cause": "leak"}, {"x": 3.0, "z": 4, "cause": "ok"}]
        source = MapStyle(items, label="cause", class_names=["ok", "leak"])
        batch = source.read([1, 0])
        assert {key: value.tolist() for key, value in batch.items()} == {"x": [3.0, 1.0], "z": [4, 2]}
        assert source.labels.tolist() == [1, 0]
        assert MapStyle([(1.0, 2.0, 1)], label=-1).read([0])[1].tolist() == [2.0]
        assert MapStyle([(1.0, 1)], [0]).read([0])[1].tolist() == [1]  # no label=: it is part of the record

    def test_given_labels_are_not_collected(self) -> None:
        asked = []

        class Items(list):
            def __getitem__(self, index: Any) -> Any:
                asked.append(index)
                return super().__getitem__(index)

        source = MapStyle(Items([(1.0, 0), (2.0, 1)]), np.array([[0.25, 0.75], [1, 0]]), label=1)
        assert asked == []
        assert source.label_kind == "soft"
        assert source.read([1]).tolist() == [2.0]
        assert asked == [1]

    def test_on_error_skip_in_batches(self) -> None:
        class Items(list):
            def __getitem__(self, index: Any) -> Any:
                if index == 1:
                    raise OSError("disk")
                return float(index)

        batches = Batches(MapStyle(Items("abc")), 3, Sequential(), on_error="skip")
        assert batches[0][0].tolist() == [0.0, 2.0, 2.0]
        assert "OSError: disk" in batches.skipped["1"]


class TestRefusals:
    @pytest.mark.parametrize("stream", [iter([1]), (value for value in [1]), 3], ids=lambda value: type(value).__name__)
    def test_a_stream(self, stream: Any) -> None:
        with pytest.raises(ArgumentError, match=type(stream).__name__):
            MapStyle(stream)

    @pytest.mark.parametrize(
        ("items", "options", "words"),
        [
            ([[1.0], [1.0, 2.0]], {}, "ID '1': a record of x[0] () float64, x[1]"),
            ([np.zeros(2), np.zeros(3)], {}, "ID '1': a record of x (3,)"),
            ([np.zeros(2), np.zeros(2, "float32")], {}, "ID '1': a record of x (2,) float32"),
            ([object(), object()], {}, "ID '0': x of type object"),
            ([None, None], {}, "object"),
            ([np.zeros(2), np.array([1.0, np.nan])], {}, "ID '1': NaN"),
            ([1.0, 2.0], {"label": 1}, "ID '0': an item of type float without 1"),
            ([(1.0, 2), (1.0,)], {"label": 1}, "ID '1': an item of type tuple without 1"),
            ([1.0, 2.0], {"labels": [0]}, "1 labels for 2 items"),
            ([1.0, 2.0], {"ids": ["a", "a"]}, "ID 'a' twice"),
            ([(1.0, "a"), (1.0, None)], {"label": 1}, "ID '1'"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_items(self, items: Any, options: dict[str, Any], words: str) -> None:
        with pytest.raises(DataError, match=re.escape(words)):
            MapStyle(items, **options).read([0, 1])

    @pytest.mark.parametrize("by_batch", [False, True])
    def test_errors_of_the_data_set_name_the_record(self, by_batch: bool) -> None:
        class Items(list):
            def __getitem__(self, index: Any) -> Any:
                return {0: 1.0}[index]

        if by_batch:
            Items.__getitems__ = lambda self, indices: [self[index] for index in indices]  # type: ignore[attr-defined]
        with pytest.raises(DataError, match=r"'b'.*KeyError: 1") as caught:
            MapStyle(Items([1, 2]), ids=["a", "b"]).read([0, 1])
        assert isinstance(caught.value.__cause__, KeyError)

    def test_batches_of_wrong_length(self) -> None:
        class Items(list):
            def __getitems__(self, indices: Any) -> Any:
                return [1.0]

        with pytest.raises(DataError, match="1 items for 2"):
            MapStyle(Items([1, 2])).read([0, 1])

    def test_contradicting_arguments(self) -> None:
        with pytest.raises(ArgumentError, match="class_names= without labels"):
            MapStyle([1.0], class_names=["a"])

    def test_no_items(self) -> None:
        source = MapStyle([])
        assert (len(source), len(source.read([]))) == (0, 0)
