"""Labels of every form are encoded; invalid labels are refused with the first invalid row."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailfit.errors import DataError
from tailfit.labels import encode, encode_codes

CODES = [2, 0, 1, 2]
ONE_HOT = np.eye(3)[CODES]


@pytest.mark.parametrize(
    "same",
    [
        CODES,
        tuple(CODES),
        np.array(CODES, dtype=np.uint8),
        np.array(CODES, dtype=np.float32),
        np.array(CODES)[:, None],
        np.array(CODES, dtype=object),
        pl.Series(CODES),
        ONE_HOT,
        ONE_HOT.astype(bool),
        ONE_HOT.astype(np.float16),
        ONE_HOT.tolist(),
    ],
)
def test_every_form_of_labels_gives_the_same_class_indices(same):
    encoded = encode(same)
    assert (encoded.kind, encoded.values.dtype, encoded.num_classes) == ("codes", np.int64, 3)
    assert encoded.values.tolist() == CODES
    assert encoded.class_counts.tolist() == [1, 1, 2]


@pytest.mark.parametrize(
    "text",
    [
        ["c", "a", "b", "c"],
        np.array(["c", "a", "b", "c"]),
        np.array(["c", "a", "b", "c"], dtype=object),
        np.array(["c", "a", "b", "c"], dtype=np.dtypes.StringDType()),
        pl.Series(["c", "a", "b", "c"]),
        pl.Series(["c", "a", "b", "c"]).cast(pl.Categorical),
    ],
)
def test_strings_are_indexed_in_sorted_order_or_in_the_order_of_class_names(text):
    assert encode(text).values.tolist() == CODES
    assert encode(text).class_names == ("a", "b", "c")
    named = encode(text, class_names=["c", "x", "b", "a"])
    assert named.values.tolist() == [0, 3, 2, 0]
    assert named.class_counts.tolist() == [2, 0, 1, 1]


def test_soft_and_multi_label_rows_stay_a_matrix():
    soft = encode([[0.25, 0.75], [1, 0]])
    assert (soft.kind, soft.values.dtype, soft.class_counts.tolist()) == ("soft", np.float32, [1.25, 0.75])
    several = encode([[1, 1, 0], [0, 0, 0], [0, 1, 0]])
    assert (several.kind, several.class_counts.tolist()) == ("multi-label", [1, 2, 0])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=30))
def test_one_hot_rows_become_class_indices(codes):
    assert encode(np.eye(7)[codes]).values.tolist() == codes
    assert encode(codes, num_classes=7).class_counts.sum() == len(codes)


@pytest.mark.parametrize(
    ("bad", "row"),
    [
        ([0, -1], 1),
        ([0.0, 1.5], 1),
        ([0.0, np.nan], 1),
        ([0.0, np.inf], 1),
        ([0.0, 1e300], 1),
        ([0, 10**9], 1),
        (["a", None], 1),
        (["a", float("nan")], 1),
        (["a", 1], 1),
        ([1, None], 1),
        (np.array([[0, 1], [None, 1]], dtype=object), 1),
        (np.ma.array([0, 1], mask=[False, True]), 1),
        ([[1, 0], [0.5, 0.4]], 1),
        ([[1, 0], [0, 0]], 1),
        ([[1, 0], [np.nan, 1]], 1),
        ([[1, 0], [2, -1]], 1),
        ([[1, 0], [1, {"leak": 1}]], 1),
        ([[1, 0], [10**400, 1]], 1),
        ([[1, 0], [1e300, 1]], 1),
        (np.array([[1j, 0], [1, 0]]), 0),
        (np.array([1 + 2j]), 0),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), 0),
        ([b"leak"], 0),
    ],
)
def test_the_message_shows_the_first_invalid_row(bad, row):
    with pytest.raises(DataError, match=f"whose row {row} "):
        encode(bad)


@pytest.mark.parametrize("bad", [5, {}, [[[1]]], [[1, 2], [3]], np.array([2**63], dtype=np.uint64), [["a"], ["b"]]])
def test_invalid_labels_are_refused(bad):
    with pytest.raises(DataError):
        encode(bad)


def test_the_message_shows_the_id_of_an_invalid_row():
    with pytest.raises(DataError, match=r"row 1 \(ID 'r7'\) is -1"):
        encode([0, -1], ids=["r3", "r7"])


def test_names_and_numbers_must_agree():
    for arguments in (
        {"class_names": ["a", "a"]},
        {"class_names": "ab"},
        {"class_names": ["a", "b"], "num_classes": 3},
        {"class_names": ["a"]},
        {"num_classes": 1},
    ):
        with pytest.raises(DataError):
            encode([0, 1], **arguments)
    with pytest.raises(DataError, match="'c'"):
        encode(["a", "c"], class_names=["a", "b"])
    with pytest.raises(DataError, match="3 columns for 2 classes"):
        encode(np.eye(3), num_classes=2)


def test_many_class_names_are_fast():
    names = [str(code) for code in range(100_000)]
    assert encode([0], class_names=names).num_classes == len(names)


def test_encode_codes_refuses_soft_and_multi_label_rows():
    with pytest.raises(DataError, match=r"row 1 is \[1, 1\] \(multi-label\)"):
        encode_codes([[1, 0], [1, 1]])
    with pytest.raises(DataError, match="soft"):
        encode_codes([[0.5, 0.5]])
