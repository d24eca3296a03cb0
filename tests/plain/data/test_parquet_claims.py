"""Memory claimed by Parquet pages: correct for files of two writers; claims beyond memory are refused before they
are allocated."""

import io

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailfit.data.files.parquet_pages import claimed_memory
from tailfit.data.tables.reading import read_table
from tailfit.errors import RecordError

ROWS = 500
TABLE = pl.DataFrame(
    {
        "id": [f"r{row}" for row in range(ROWS)],
        "x": np.arange(float(ROWS)),
        "list": [[1, 2, 3]] * ROWS,
        "struct": [{"a": 1, "b": "x"}] * ROWS,
        "some": [None, 1] * (ROWS // 2),
        "flag": [True, False] * (ROWS // 2),
    }
)


def written(write, **options):
    write(file := io.BytesIO(), **options)
    return file.getvalue()


@pytest.mark.parametrize("options", [{}, {"compression": "snappy"}, {"row_group_size": 100}], ids=str)
@pytest.mark.parametrize("writer", ["polars", "arrow", "arrow, pages of version 2"])
def test_claims_of_intact_files(writer, options):
    if writer == "polars":
        content = written(TABLE.write_parquet, **options)
    else:
        version = "2.0" if "2" in writer else "1.0"
        content = written(
            lambda file, **kw: pq.write_table(TABLE.to_arrow(), file, data_page_version=version, **kw), **options
        )
    file = pq.ParquetFile(io.BytesIO(content)).metadata
    columns = [file.row_group(group).column(k) for group in range(file.num_row_groups) for k in range(file.num_columns)]
    values = sum(column.num_values for column in columns)
    # The values of all pages and their bytes, and in addition those of dictionaries, at most as many.
    assert 16 * values < claimed_memory(content) < 2 * 16 * values + sum(c.total_uncompressed_size for c in columns)


def test_a_page_of_a_billion_values_is_refused(tmp_path, monkeypatch):
    content = bytearray(written(TABLE.select("id").write_parquet, compression="uncompressed"))
    header = next(at for at in range(4, 40) if content[at : at + 3] == bytes([0x15, *varint(2 * ROWS)]))
    content[header + 1 : header + 3] = varint(2 * 10**9)
    (tmp_path / "labels.parquet").write_bytes(content)
    assert 16 * 10**9 < claimed_memory(bytes(content)) < 17 * 10**9
    monkeypatch.setattr("tailfit.data.tables.reading.available_memory", lambda: 1 << 33)
    with pytest.raises(RecordError, match=r"labels\.parquet: 500 rows .* do not fit into memory"):
        read_table(tmp_path / "labels.parquet")


def varint(number):
    """Encode a number as Thrift does, with seven bits per byte."""
    out = []
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_bytes_give_a_number(data):
    whole = bytearray(written(TABLE.head(4).write_parquet))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    assert claimed_memory(bytes(whole)) >= 0
    assert claimed_memory(data.draw(st.binary(max_size=60))) >= 0


def test_a_page_with_a_negative_count_is_refused(tmp_path):
    """polars reads the number as unsigned, allocates 2**61 bytes, and aborts the process."""
    pl.DataFrame({"id": ["a", "b", "a", "b"], "x": [1, 2, 1, 2]}).write_parquet(file := io.BytesIO())
    content = file.getvalue()
    header = bytes([0x15, 0x08, 0x15, 0x10, 0x15, 0x06, 0x15, 0x06])  # 4 values, by dictionary; levels run-length
    assert header in content
    spoilt = content.replace(header, bytes([0x15, 0x03]) + header[2:], 1)  # -2 values
    assert claimed_memory(content) < 1000
    assert claimed_memory(spoilt) > 1 << 60
    path = tmp_path / "index.parquet"
    path.write_bytes(spoilt)
    with pytest.raises(RecordError, match="do not fit into memory"):
        read_table(path)
