"""Every parser, fed with what nobody wrote: the result is sound or an error of ours, and takes little memory."""

import io
import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import NAMES, damaged, fuzzed, json_values, refused

from tailfit.data import Arrays, NpyFolder, Packed, pack
from tailfit.data import open as open_source
from tailfit.evaluation import Evaluation, evaluate
from tailfit.resume.store import Position, Store
from tailfit.weights import sample_weights

X = np.arange(8.0).reshape(4, 2)
TABLE = pl.DataFrame({"id": NAMES, "site": ["A", "B", "A", None], "snr": [1.0, 2.0, 3.0, 4.0]})
SOURCE = Arrays(X, ["ok", "leak", "ok", "leak"], NAMES, TABLE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Records, and beside them what the tests write."""
    root = tmp_path_factory.mktemp("fuzzed")
    for name, record in zip(NAMES, X, strict=True):
        np.save(root / f"{name}.npy", record)
    pack(SOURCE, root / "packed")
    (root / "runs").mkdir()
    return root


def serialised(suffix):
    table = pl.DataFrame({"id": NAMES, "cause": ["ok", "leak", "ok", "leak"]})
    if suffix == "json":
        return json.dumps(dict(table.iter_rows())).encode()
    if suffix == "csv":
        return table.write_csv().encode()
    table.write_parquet(file := io.BytesIO())
    return file.getvalue()


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_labels_of_any_bytes(suffix, folder):
    path, whole = folder / f"labels.{suffix}", serialised(suffix)

    def read():
        source = NpyFolder(folder, path)
        assert sorted(source.ids) == NAMES
        assert source.class_counts.sum() == pytest.approx(4) or source.label_kind == "multi-label"

    path.write_bytes(whole)
    assert not refused(read)

    @fuzzed
    @given(damaged(whole))
    def bytes_of_any_kind(content):
        path.write_bytes(content)
        refused(read)

    bytes_of_any_kind()


@fuzzed
@given(json_values)
def test_labels_and_partitions_of_any_json(folder, value):
    path = folder / "any.json"
    path.write_text(json.dumps(value))
    refused(lambda: NpyFolder(folder, path))
    refused(lambda: SOURCE.split(path))


@fuzzed
@given(damaged(b'{"train": ["a", "b"], "test": ["c", "d"]}'))
def test_partitions_of_any_bytes(folder, content):
    path = folder / "partition.json"
    path.write_bytes(content)
    refused(lambda: [part.read(np.arange(len(part))) for part in SOURCE.split(path).values()])


@fuzzed
@given(damaged(b'["leak", "ok"]') | json_values.map(lambda value: json.dumps(value).encode()))
def test_class_names_of_any_bytes(folder, content):
    (folder / "class_names.json").write_bytes(content)
    (folder / "labels.json").write_bytes(serialised("json"))
    for other in ("labels.csv", "labels.parquet"):
        (folder / other).unlink(missing_ok=True)
    refused(lambda: open_source(folder))


@pytest.mark.parametrize("name", ["pack.json", "index.parquet", "data/00-00000.npy"])
def test_a_packed_set_of_any_bytes(name, folder):
    path = folder / "packed" / name
    whole = path.read_bytes()

    def read():
        records = Packed(folder / "packed", memory=False, nan="keep").read([3, 0])
        assert records.nbytes == 32

    assert not refused(read)

    @fuzzed
    @given(damaged(whole))
    def bytes_of_any_kind(content):
        path.write_bytes(content)
        refused(read)

    try:
        bytes_of_any_kind()
    finally:
        path.write_bytes(whole)


@fuzzed
@given(st.data())
def test_a_manifest_of_any_json(folder, data):
    path = folder / "packed" / "pack.json"
    whole = path.read_bytes()
    fields = json.loads(whole)
    sizes = st.integers(-2, 6) | st.sampled_from([2**31, 2**62, 2**70])
    leaves = st.fixed_dictionaries(
        {"shape": st.lists(sizes, max_size=3), "dtype": st.sampled_from(["<f8", "O", "V0", "U1", "i4,f4", "x"])}
    )
    field = data.draw(st.sampled_from(sorted(fields)))
    fields[field] = data.draw(sizes | json_values | st.lists(leaves, max_size=2))
    try:
        path.write_text(json.dumps(fields))
        refused(lambda: Packed(folder / "packed", memory=False).read([0]))
    finally:
        path.write_bytes(whole)


WORDS = "site snr = < AND NOT OR ( ) IN LIKE BETWEEN CASE WHEN THEN END AVG SELECT FROM * , :: date INTERVAL ["
TOKENS = st.sampled_from([*WORDS.split(), '"snr"', "'B'", "3", "1e999", "IS NULL", "OVER (", "~", "||"])


@fuzzed
@given(st.lists(TOKENS, max_size=9).map(" ".join) | st.text(max_size=30))
def test_conditions_of_any_text(condition):
    def weigh():
        weights = sample_weights(SOURCE, {condition: 0.5})
        assert set(weights.tolist()) <= {0.5, 1.0}

    refused(weigh)


@fuzzed
@given(st.data())
def test_an_evaluation_of_any_json(data):
    whole = evaluate([0, 1, 1], [0, 1, 0], resamples=50).to_json()
    text = data.draw(damaged(whole.encode()).map(lambda content: content.decode("utf-8", "replace")))
    refused(lambda: Evaluation.from_json(text))


@pytest.mark.parametrize("name", ["state.json", "arrays.safetensors"])
def test_a_checkpoint_of_any_bytes(name, folder):
    store, position = Store(folder / "runs"), Position(0, 8)
    store.write(position, {"value": [1, {"$tuple": [2]}]}, {"kernel": X})
    path = store.directory / position.name / name
    whole = path.read_bytes()

    @fuzzed
    @given(damaged(whole))
    def bytes_of_any_kind(content):
        path.write_bytes(content)
        # The checksums: nothing but what was written is ever taken for a checkpoint.
        assert refused(lambda: store.read(position)) == (content != whole)

    bytes_of_any_kind()
    for each in path.parent.iterdir():
        each.unlink()
    path.parent.rmdir()
