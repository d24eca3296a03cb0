"""Sources derived from other sources: `Concat`, `Mapped`, `Windows`."""

import numpy as np
import polars as pl
import pytest

from tailfit.data import Arrays, Batches, Concat, Mapped, NpyFolder, Windows
from tailfit.errors import ArgumentError, DataError

X = np.arange(48, dtype="float32").reshape(4, 6, 2)  # four records of six steps and two channels


class TestConcat:
    def test_classes_are_matched_by_name(self):
        a = Arrays(X, ["ok", "leak", "ok", "ok"])
        b = Arrays(X + 100, ["worn", "ok", "worn", "ok"])
        both = Concat(a, b, prefixes=["a", "b"])
        assert both.class_names == ("leak", "ok", "worn")
        assert [both.class_names[code] for code in both.labels] == [
            *["ok", "leak", "ok", "ok"],
            *["worn", "ok", "worn", "ok"],
        ]
        np.testing.assert_array_equal(both.read([7, 0, 4, 0]), np.stack([X[3] + 100, X[0], X[0] + 100, X[0]]))

    def test_multi_label_rows_are_matched_by_name(self):
        a = Arrays(X[:2], [[1, 1], [0, 1]], class_names=["leak", "worn"])
        b = Arrays(X[:2], [[1, 1], [1, 0]], class_names=["worn", "stuck"])
        both = Concat(a, b, prefixes=["a", "b"])
        assert both.class_names == ("leak", "worn", "stuck")
        assert both.labels.tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 1, 0]]

    def test_metadata_are_joined(self):
        a = Arrays(X[:1], ids=["a"], metadata=pl.DataFrame({"id": ["a"], "site": ["north"], "speed": [3]}))
        b, c = Arrays(X[:1], ids=["b"]), Arrays(X[:1], ids=["c"], metadata=pl.DataFrame({"id": ["c"], "speed": [2.5]}))
        table = Concat(a, b, c).metadata
        assert table["id"].to_list() == ["a", "b", "c"]
        assert table["site"].to_list() == ["north", None, None]
        assert table["speed"].to_list() == [3.0, None, 2.5]
        assert Concat(b, Arrays(X[:1], ids=["d"])).metadata is None

    def test_different_records_are_refused_in_one_batch(self):
        both = Concat(Arrays(X), Arrays(X[:, :3]), prefixes=["a", "b"])
        assert both.read([0, 1]).shape == (2, 6, 2)
        assert both.read([4]).shape == (1, 3, 2)
        with pytest.raises(DataError, match="source 1"):
            both.read([0, 4])

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: Concat(Arrays(X)), "two sources or more"),
            (lambda: Concat(Arrays(X), X), "two sources or more"),
            (lambda: Concat(Arrays(X), Arrays(X)), "ID '0' twice in the sources"),
            (lambda: Concat(Arrays(X), Arrays(X), prefixes=["a"]), "1 prefixes for 2"),
            (lambda: Concat(Arrays(X, list("aabb")), Arrays(X), prefixes=["a", "b"]), "kinds"),
        ],
    )
    def test_bad_input_is_refused(self, make, message):
        with pytest.raises((ArgumentError, DataError), match=message):
            make()


class TestMapped:
    def test_labels_and_ids_stay(self):
        whole = Arrays({"a": X, "b": X}, list("abab"), ids=list("wxyz"))
        mapped = Mapped(whole, lambda records: records["a"].mean(axis=1))
        assert mapped.ids == whole.ids
        assert mapped.labels.tolist() == [0, 1, 0, 1]
        np.testing.assert_allclose(mapped.read([2, 1]), X[[2, 1]].mean(axis=1))

    @pytest.mark.parametrize("function", [lambda records: records[:1], lambda records: 3.0, lambda records: {}])
    def test_a_different_number_of_records_is_refused(self, function):
        with pytest.raises(DataError, match="function of Mapped, for 2 records"):
            Mapped(Arrays(X), function).read([0, 1])

    @pytest.mark.parametrize("given", [(X, np.sqrt), (Arrays(X), "sqrt")])
    def test_arguments_of_wrong_type_are_refused(self, given):
        with pytest.raises(ArgumentError, match="Mapped of"):
            Mapped(*given)


class TestWindowsOfASource:
    def test_every_window_of_every_record(self):
        metadata = pl.DataFrame({"run": list("pqrs"), "site": list("nnss")})
        windows = Windows(Arrays(X, list("abab"), ["p", "q", "r", "s"], metadata), length=3, stride=2)
        assert windows.ids == tuple(f"{name}@{start}" for name in "pqrs" for start in (0, 2))
        assert windows.labels.tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
        assert windows.metadata["record"].to_list() == list("ppqqrrss")
        assert windows.metadata["start"].to_list() == [0, 2] * 4
        assert windows.metadata["site"].to_list() == list("nnnnssss")
        np.testing.assert_array_equal(windows.read([5, 0, 4, 5]), [X[2, 2:5], X[0, :3], X[2, :3], X[2, 2:5]])

    def test_windows_of_one_record_stay_together(self):
        windows = Windows(Arrays(np.zeros((20, 9, 1)), np.arange(20) % 2), length=3)
        train, test = windows.split(0.8, 0.2, by="record")
        assert not set(train.metadata["record"]) & set(test.metadata["record"])
        assert len(train) + len(test) == 60

    def test_a_record_is_read_once_per_batch(self, tmp_path):
        for name, record in zip("abcd", X, strict=True):
            np.save(tmp_path / f"{name}.npy", record)
        folder = NpyFolder(tmp_path)
        reads = []
        counted = Mapped(folder, lambda records: reads.append(len(records)) or records)
        windows = Windows(counted, length=2, stride=1)
        reads.clear()
        windows.read([0, 1, 2, 4, 5])
        assert reads == [2]

    def test_windows_of_nests(self):
        windows = Windows(Arrays({"a": X, "b": X[..., 0]}), length=4)
        batch = windows.read([1])
        np.testing.assert_array_equal(batch["b"], X[[1], :4, 0])
        with pytest.raises(DataError, match="steps"):
            Windows(Arrays({"a": X, "b": X[:, :3]}), length=2)
        with pytest.raises(DataError, match="steps"):
            Windows(Arrays(np.arange(3.0)), length=1)

    def test_options_of_arrays_are_refused_with_a_source(self):
        with pytest.raises(ArgumentError, match="together with a source"):
            Windows(Arrays(X), 2, by=[0, 1, 2, 3])


class TestWindowsOfALongArray:
    LONG = np.arange(20.0).reshape(10, 2)

    def test_no_window_spans_two_records(self):
        windows = Windows(self.LONG, 3, 1, by=["a"] * 4 + ["b"] * 2 + ["c"] * 4)
        assert windows.ids == ("a@0", "a@1", "c@0", "c@1")  # b is too short
        np.testing.assert_array_equal(windows.read([3, 0]), [self.LONG[7:10], self.LONG[:3]])

    @pytest.mark.parametrize(("label", "expected"), [("last", ["ok", "leak", "leak"]), ("first", ["ok", "ok", "leak"])])
    def test_the_label_of_a_step(self, label, expected):
        y = ["ok"] * 5 + ["leak"] * 5
        windows = Windows(self.LONG, 3, y=y, label=label)
        assert [windows.class_names[code] for code in windows.labels] == expected

    def test_labels_of_records_and_soft_ones(self):
        windows = Windows(self.LONG, 5, by=[0] * 5 + [1] * 5, y=[[0.25, 0.75], [1.0, 0.0]])
        assert windows.labels.tolist() == [[0.25, 0.75], [1.0, 0.0]]

    def test_batches_of_a_memmap(self, tmp_path):
        np.save(tmp_path / "long.npy", self.LONG)
        windows = Windows(np.load(tmp_path / "long.npy", mmap_mode="r"), 2, 1)
        assert not windows.in_memory
        seen = np.concatenate([x for (x,) in Batches(windows, 4).iterate(0)])
        assert type(seen) is np.ndarray
        np.testing.assert_array_equal(np.sort(seen[:, 0, 0]), self.LONG[:9, 0])

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"length": 0}, "length=0"),
            ({"length": 2.0}, "length=2.0"),
            ({"length": 2, "stride": 0}, "stride=0"),
            ({"length": 2, "label": "middle"}, "label='middle'"),
            ({"length": 11}, "records of up to 10 steps"),
            ({"length": 2, "by": [0, 1]}, "by of shape"),
            ({"length": 2, "by": [0, 1] * 5}, "separate runs of steps"),
            ({"length": 2, "y": [0, 1, 0]}, "3 labels"),
        ],
    )
    def test_bad_input_is_refused(self, given, message):
        with pytest.raises((ArgumentError, DataError), match=message):
            Windows(self.LONG, **given)
