"""Predictions of a finished run: what they contain, that an interrupted one continues, and what is refused."""

import errno
import io
import json
import os
import re
import shutil
import warnings

import numpy as np
import polars as pl
import polars.testing
import pytest

import tailfit
from tailfit.cli import main
from tailfit.data import DataWarning
from tailfit.errors import CheckpointError, TailfitError
from tailfit.recipes import evaluate_run, predict, train
from tailfit.recipes.overlap import overlap
from tailfit.recipes.predicting import Predictions
from tailfit.resume.lock import Lock

pytestmark = pytest.mark.above_training

NAMES = ("leak", "ok", "stuck")
CHANNELS = ("flow", "heat", "hum")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A run trained on a table, and new data."""
    root = tmp_path_factory.mktemp("predict")
    rng = np.random.default_rng(0)
    y = np.repeat([1, 0, 2], [150, 40, 20])
    x = rng.normal(1.5 * np.eye(3)[y], size=(len(y), 3)).astype("float32")
    columns = {name: x[:, k] for k, name in enumerate(CHANNELS)}
    pl.DataFrame({**columns, "cause": [NAMES[k] for k in y]}).write_parquet(root / "known.parquet")
    recipe = {
        "data": {"path": str(root / "known.parquet"), "options": {"label": "cause"}, "split": {}},
        "network": {"name": "mlp", "units": [4]},
        "epochs": 2,
        "correction": "LogitAdjustment",
    }
    train(recipe, root / "run")
    new = rng.normal(0.5, 1.0, size=(300, 3)).astype("float32")
    ids = [f"n{k}" for k in range(300)]
    table = pl.DataFrame({"id": ids, **{name: new[:, k] for k, name in enumerate(CHANNELS)}})
    table.write_parquet(root / "new.parquet")
    return root


def quietly(*arguments, **options) -> Predictions:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        return predict(*arguments, **options)


def test_columns_are_matched_by_name_and_labels_are_not_read(home, tmp_path):
    table = pl.read_parquet(home / "new.parquet")
    odd = table.select(
        "hum", "flow", "id", "heat", pl.lit("x").alias("note"), pl.lit(None).cast(pl.String).alias("cause")
    )
    odd.write_parquet(tmp_path / "odd.parquet")
    run = home / "run"
    plain = quietly(run, home / "new.parquet").table
    assert plain.columns == ["id", "predicted", "decision", "confidence", *(f"score {name}" for name in NAMES)]
    assert quietly(run, tmp_path / "odd.parquet").table.equals(plain)
    arrays = tailfit.data.Arrays(table.select(CHANNELS).to_numpy(), ids=table["id"].to_list())
    assert quietly(run, arrays).table.equals(plain)
    np.save(tmp_path / "new.npy", table.select(CHANNELS).to_numpy())
    assert quietly(run, tmp_path / "new.npy").table.drop("id").equals(plain.drop("id"))


@pytest.mark.on_each
def test_scores_are_those_of_the_run(home):
    known = pl.read_parquet(home / "run" / "predictions.parquet")
    again = predict(home / "run", home / "known.parquet").table.filter(pl.col("id").is_in(known["id"].to_list()))
    again = known.select("id").join(again, on="id", how="left", maintain_order="left")
    names = [f"score {name}" for name in NAMES]
    np.testing.assert_allclose(again[names].to_numpy(), known[names].to_numpy(), rtol=0, atol=1e-5)
    assert again["predicted"].equals(known["predicted"])


def test_each_format_has_the_same_rows(home, tmp_path):
    run, new = home / "run", home / "new.parquet"
    found = quietly(run, new, tmp_path / "o.parquet", abstain=0.5, batch_size=4)
    table = pl.read_parquet(tmp_path / "o.parquet")
    assert (found.samples, found.abstained) == (300, table["decision"].null_count())
    assert 0 < found.abstained < 300
    unsure = table["confidence"] < 0.5
    assert table["decision"].is_null().equals(unsure.rename("decision"))
    assert table.filter(~unsure).select(pl.col("decision") == pl.col("predicted"))["decision"].all()
    for name in ("o.csv", "o.jsonl"):
        assert quietly(run, new, tmp_path / name, abstain=0.5, batch_size=4).abstained == found.abstained
    pl.testing.assert_frame_equal(pl.read_csv(tmp_path / "o.csv", schema_overrides=table.schema), table)
    pl.testing.assert_frame_equal(pl.read_ndjson(tmp_path / "o.jsonl", schema_overrides=table.schema), table)
    stream = io.BytesIO()
    assert quietly(run, new, stream, abstain=0.5, batch_size=4).samples == 300
    assert stream.getvalue() == (tmp_path / "o.jsonl").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["o.csv", "o.jsonl", "o.parquet"]


class StoppedError(BaseException):
    """Stops a prediction at any place, as a signal does."""


@pytest.mark.parametrize("name", ["o.parquet", "o.csv"])
def test_an_interrupted_prediction_continues(name, home, tmp_path):
    out = tmp_path / name
    out.write_text("an older file")
    whole = tmp_path / f"whole-{name}"
    predict(home / "run", home / "new.parquet", whole, batch_size=4)

    def stop(done, total):
        if done > 32:
            raise StoppedError

    with pytest.raises(StoppedError):
        predict(home / "run", home / "new.parquet", out, batch_size=4, progress=stop)
    assert out.read_text() == "an older file"
    parts = tmp_path / f".{name}.parts"
    (parts / ".000000000032-000000000160-0.0123456789abcdef.draft").write_text("half")  # as a killed process leaves it
    calls = []
    found = predict(
        home / "run", home / "new.parquet", out, batch_size=4, progress=lambda done, total: calls.append((done, total))
    )
    assert found.continued > 0
    assert calls[0][0] > found.continued
    assert calls[-1] == (300, 300)
    assert out.read_bytes() == whole.read_bytes()
    assert not parts.exists()


def test_parts_of_other_options_or_data_are_not_used(home, tmp_path):
    out, new = tmp_path / "o.csv", tmp_path / "new.parquet"
    table = pl.read_parquet(home / "new.parquet")
    table.write_parquet(new)

    def stopped(**options):
        def stop(done, total):
            raise StoppedError

        with pytest.raises(StoppedError):
            predict(home / "run", new, out, batch_size=4, progress=stop, **options)

    stopped(abstain=0.5)
    stopped()
    table.with_columns(pl.col("flow") + 1).write_parquet(new)
    assert predict(home / "run", new, out, batch_size=4).continued == 0
    assert pl.read_csv(out)["id"].to_list() == table["id"].to_list()


def test_statistics_far_off_are_a_warning(home, tmp_path):
    table = pl.read_parquet(home / "new.parquet")
    table.with_columns(pl.col("heat") * 1000).write_parquet(tmp_path / "pascal.parquet")
    with pytest.warns(DataWarning, match=r"1 of 3 channels are far .*: heat \(mean .*units"):
        predict(home / "run", tmp_path / "pascal.parquet")
    quietly(home / "run", tailfit.data.Arrays(table.select(CHANNELS).to_numpy()[:1] + 4))  # one unusual sample


X = np.zeros((3, 3), "float32")
BAD = {
    "another shape": (lambda home, out: predict(home / "run", tailfit.data.Arrays(X[:, :2])), r"shape \(2,\)"),
    "no sample": (lambda home, out: predict(home / "run", tailfit.data.Arrays(X[:0])), "0 samples"),
    "a channel missing": (
        lambda home, out: predict(home / "run", written(out / "a.csv", "flow,heat\n1.0,2.0\n")),
        "'hum'",
    ),
    "no data": (lambda home, out: predict(home / "run", out / "nothing"), "nothing: no such file"),
    "NaN": (lambda home, out: predict(home / "run", tailfit.data.Arrays(X * np.nan)), "NaN"),
    "no run": (lambda home, out: predict(out, tailfit.data.Arrays(X)), "contains no result.json"),
    "an unknown format": (lambda home, out: predict(home / "run", tailfit.data.Arrays(X), out / "a.xlsx"), "a.xlsx"),
    "no such format": (
        lambda home, out: predict(home / "run", tailfit.data.Arrays(X), out / "a.csv", format="xml"),
        "format='xml'",
    ),
    "a stream of Parquet": (
        lambda home, out: predict(home / "run", tailfit.data.Arrays(X), io.BytesIO(), format="parquet"),
        "format='parquet'",
    ),
    "a folder as output": (
        lambda home, out: predict(home / "run", tailfit.data.Arrays(X), (out / "f.csv").mkdir() or out / "f.csv"),
        "not a regular file",
    ),
    "a negative confidence": (lambda home, out: predict(home / "run", tailfit.data.Arrays(X), abstain=-0.1), "abstain"),
    "a confidence of text": (lambda home, out: predict(home / "run", tailfit.data.Arrays(X), abstain="a"), "abstain"),
    "no batch": (lambda home, out: predict(home / "run", tailfit.data.Arrays(X), batch_size=0), "batch_size"),
}


def written(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name, home, tmp_path):
    call, message = BAD[name]
    with pytest.raises(TailfitError, match=message):
        call(home, tmp_path)
    assert not [entry for entry in os.listdir(tmp_path) if "parts" in entry]


def test_an_output_in_use_or_on_a_full_disk(home, tmp_path, monkeypatch):
    (tmp_path / ".o.csv.parts").mkdir()
    lock = Lock(tmp_path / ".o.csv.parts")
    with pytest.raises(CheckpointError, match="another run is at work"):
        predict(home / "run", tailfit.data.Arrays(X), tmp_path / "o.csv")
    lock.release()

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tailfit.recipes.prediction_parts.shutil.copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        predict(home / "run", tailfit.data.Arrays(X), tmp_path / "o.csv")
    assert sorted(os.listdir(tmp_path)) == [".o.csv.parts"]
    monkeypatch.undo()
    assert predict(home / "run", tailfit.data.Arrays(X), tmp_path / "o.csv").continued == 3
    assert os.listdir(tmp_path) == ["o.csv"]


def test_the_command(home, tmp_path, monkeypatch, capfdbinary):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["tailfit", "predict", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code

    assert run(home / "run", home / "new.parquet", "--out", "-", "--abstain", "0.5") == 0
    said = capfdbinary.readouterr()
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert (len(lines), lines[0]["id"]) == (300, "n0")
    assert re.search(rb"300 samples, \d+ left to a person", said.err)
    assert run(home / "run", home / "new.parquet", "--out", "-", "--batch-size", "4") == 0
    assert re.search(rb"300 samples; [\d,]+ samples/s", capfdbinary.readouterr().err)
    assert run(home / "run", home / "new.parquet", "--out", tmp_path / "o.csv") == 0
    assert b"Written: " in capfdbinary.readouterr().out
    assert run(home / "run", home / "new.parquet", "--out", tmp_path / "o.xls") == 2
    assert b"Fix: name the file" in capfdbinary.readouterr().err


# -- evaluation on data that contain samples of the training part --------------------------------------


def warnings_of_evaluation(home, data):
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always", DataWarning)
        evaluate_run(home / "run", data=str(data))
    return [str(each.message) for each in issued if isinstance(each.message, DataWarning)]


def test_samples_of_the_training_part_are_found_by_id_and_content(home, tmp_path):
    known = pl.read_parquet(home / "known.parquet")
    (same,) = warnings_of_evaluation(home, home / "known.parquet")
    trained = round(0.7 * len(known))
    assert re.search(rf"{trained} samples have the ID and the record of a training sample\. The figures", same)
    shuffled = known.sample(fraction=1.0, shuffle=True, seed=1).with_columns(pl.col("flow").cast(pl.Float64))
    shuffled.write_csv(tmp_path / "copy.csv")  # other rows, another format and type
    (copied,) = warnings_of_evaluation(home, tmp_path / "copy.csv")
    found = [int(number) for number in re.findall(r"(\d+) samples have", copied)]
    assert sum(found) == trained
    known.with_columns(pl.col("flow") + 0.01).write_parquet(tmp_path / "new.parquet")  # row numbers are no IDs
    assert warnings_of_evaluation(home, tmp_path / "new.parquet") == []


def test_equal_records_by_chance_are_no_copies():
    rng = np.random.default_rng(0)
    coarse = [tailfit.data.Arrays(rng.integers(0, 3, size=(500, 2)).astype("float32"), nan="keep") for _ in range(2)]
    assert not overlap(*coarse).found
    named = [tailfit.data.Arrays(rng.normal(size=(3, 2)), ids=["a", "b", "3"]) for _ in range(2)]
    assert overlap(*named).by_id == 2
    assert overlap(*named).found


def test_training_data_that_are_gone_are_a_warning(home, tmp_path):
    shutil.copytree(home, tmp_path / "home")
    recipe = {"data": {"path": str(tmp_path / "home" / "known.parquet"), "options": {"label": "cause"}, "split": {}}}
    train({**recipe, "network": {"name": "mlp", "units": [4]}, "epochs": 1}, tmp_path / "run")
    (tmp_path / "home" / "known.parquet").unlink()
    with pytest.warns(DataWarning, match="can't be read, so it is unknown"):
        evaluate_run(tmp_path / "run", data=str(home / "known.parquet"))
