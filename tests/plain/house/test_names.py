"""Names: which are valid, in every reader; which are easily confused; and that printed names are harmless."""

import io
import json
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from rich.table import Table

import tailfit
from tailfit.data import Arrays, Concat, DataWarning, MapStyle, NpyFolder, Windows
from tailfit.data import Table as TableSource
from tailfit.errors import ArgumentError, DataError, TailfitError
from tailfit.evaluation.tables import as_text
from tailfit.labels import Encoded, encode
from tailfit.names import doubts, lookalikes, looks_missing, quoted
from tailfit.terminal import PlainConsole
from tailfit.text import visible

NUL, LONE = "ok\0", "ok\ud800"
X = np.zeros((2, 3), dtype="float32")

FORMS = {
    "list": list,
    "tuple": tuple,
    "objects": lambda names: np.array(names, dtype=object),
    "variable strings": lambda names: np.array(names, dtype=np.dtypes.StringDType()),
    "numpy strings in a list": lambda names: [np.str_(names[0]), names[1]],
}


class Sequence:
    """A column of another library."""

    def __init__(self, values: list[str]) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, position: int) -> str:
        return self._values[position]


class TestLabels:
    @pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
    def test_nul_and_lone_surrogates_are_refused(self, form: Any) -> None:
        with pytest.raises(DataError, match=r"row 1 \(ID 'b'\) is 'ok\\x00'"):
            encode(form(["ok", NUL]), ids=["a", "b"])
        if form is not FORMS["variable strings"]:  # they are UTF-8
            with pytest.raises(DataError, match=r"row 1 is 'ok\\ud800'"):
                encode(form(["ok", LONE]))

    @pytest.mark.parametrize("values", [pl.Series(["ok", NUL]), Sequence(["ok", NUL]), np.array(["o\0k", "ok"])])
    def test_of_other_libraries(self, values: Any) -> None:
        with pytest.raises(DataError, match=r"\\x00"):
            encode(values)

    def test_class_names(self) -> None:
        for name in (NUL, LONE):
            with pytest.raises(DataError, match="class name"):
                encode([0, 1], class_names=["ok", name])
            with pytest.raises(DataError, match="class name"):
                Encoded("codes", np.zeros(1, np.int64), ("ok", name))

    def test_strip(self) -> None:
        encoded = encode(["ok ", "\tleak", "ok", "leak\u00a0"], strip=True)
        assert (encoded.class_names, encoded.values.tolist()) == (("leak", "ok"), [1, 0, 1, 0])
        assert encode(["ok ", "leak"], class_names=["ok", "leak "], strip=True).values.tolist() == [0, 1]
        assert encode(["ok ", "ok"]).num_classes == 2
        both = ["ok", "leak", "ok "]  # the same class after stripping
        assert encode(["ok ", "leak", "ok"], class_names=both, strip=True).values.tolist() == [0, 1, 0]
        assert encode([2, 1, 0], class_names=both, strip=True).values.tolist() == [0, 1, 0]
        assert encode([2, 1, 0], class_names=both, strip=True).class_names == ("ok", "leak")
        soft = encode([[0.25, 0.25, 0.5]], class_names=both, strip=True)
        assert (soft.kind, soft.values.tolist()) == ("soft", [[0.75, 0.25]])
        several = encode([[1, 1, 1], [0, 0, 1]], class_names=both, strip=True)
        assert (several.kind, several.values.tolist()) == ("multi-label", [[1, 1], [1, 0]])
        with pytest.raises(DataError, match="pass strip=True"):
            encode(["ok ", "leak"], class_names=["ok", "leak"])


def folder(path: Path, labels: dict[str, Any]) -> Path:
    for name in ("a", "b"):
        np.save(path / f"{name}.npy", X[0])
    (path / "labels.json").write_text(json.dumps(labels))
    return path


READERS = {
    "Arrays": lambda path, names: Arrays(X, names),
    "NpyFolder": lambda path, names: NpyFolder(folder(path, {}), dict(zip("ab", names, strict=True))),
    "JSON": lambda path, names: tailfit.data.open(folder(path, dict(zip("ab", names, strict=True)))),
    "DataFrame": lambda path, names: NpyFolder(folder(path, {}), pl.DataFrame({"id": ["a", "b"], "label": names})),
    "Table": lambda path, names: TableSource(pl.DataFrame({"x": [1.0, 2.0], "label": names})),
    "MapStyle": lambda path, names: MapStyle(X, labels=Sequence(names)),
    "MapStyle items": lambda path, names: MapStyle([(X[0], names[0]), (X[1], names[1])], label=1),
    "Windows": lambda path, names: Windows(np.zeros(4), 2, y=names, by=[0, 0, 1, 1]),
    "evaluate": lambda path, names: tailfit.evaluate(names, ["ok", "ok"]),
    "predicted": lambda path, names: tailfit.evaluate(["ok", "leak"], names),
    "weights": lambda path, names: tailfit.weights.class_weights(names),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_every_reader_refuses_nul_in_labels(read: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\\x00"):
        read(tmp_path, ["ok", NUL])


IDS = {
    "Arrays": lambda path, ids: Arrays(X, ids=ids),
    "MapStyle": lambda path, ids: MapStyle(X, ids=ids),
    "Table": lambda path, ids: TableSource(pl.DataFrame({"x": [1.0, 2.0], "id": ids})),
    "labels of a folder": lambda path, ids: NpyFolder(folder(path, {}), {"a": 0, ids[1]: 1}),
    "prefixes": lambda path, ids: Concat(Arrays(X), Arrays(X), prefixes=["a", ids[1]]),
    "a partition": lambda path, ids: Arrays(X).split({"train": ["0"], ids[1]: ["1"]}),
}


@pytest.mark.parametrize("read", IDS.values(), ids=IDS)
def test_ids_follow_the_same_rule(read: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\\x00"):
        read(tmp_path, ["a", NUL])


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes")
def test_a_file_name_that_is_not_utf8(tmp_path: Path) -> None:
    np.save(folder(tmp_path, {}) / "caf\udce9.npy", X[0])
    with pytest.raises(DataError, match=r"ID 'caf\\udce9'"):
        NpyFolder(tmp_path)


def test_names_in_files_written_by_tailfit(tmp_path: Path) -> None:
    evaluation = json.loads(tailfit.evaluate(["ok", "leak"], ["ok", "leak"]).to_json())
    for name in (NUL, LONE, None):
        with pytest.raises(DataError, match="name"):
            tailfit.evaluation.Evaluation.from_json(json.dumps({**evaluation, "class_names": ["ok", name]}))
    tailfit.data.pack(Arrays(X, ["ok", "leak"]), tmp_path / "packed")
    manifest = json.loads((tmp_path / "packed/pack.json").read_text())
    for name in (NUL, None):
        (tmp_path / "packed/pack.json").write_text(json.dumps({**manifest, "class_names": ["ok", name]}))
        with pytest.raises(DataError, match="the class name"):
            tailfit.data.Packed(tmp_path / "packed")


def test_bytes_that_are_not_utf8_are_refused_as_names(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "set.h5", "w") as file:
        file["x"] = X
        file["y"] = np.array([b"caf\xe9", b"caf\xe8"])  # with replacement characters, they would become one class
    with pytest.raises(DataError, match=r"caf\\xe9.*array 'y'"):
        tailfit.data.HDF5(tmp_path / "set.h5")


class TestLookalikes:
    @pytest.mark.parametrize(
        "other", ["leak ", " leak", "Leak", "le ak", "\ufeffleak", "le\u200bak", "leak\ufe0f", "\uff4ceak"], ids=ascii
    )
    def test_one_name(self, other: str) -> None:
        assert lookalikes(["ok", "leak", other]) == (("leak", other),)
        shown = quoted(["leak", other])
        assert shown[0] != shown[1]

    def test_the_table_of_an_evaluation(self) -> None:
        text = as_text(tailfit.evaluate(["ok", "ok ", "leak"], ["ok", "ok ", "leak"]).table())
        assert "'ok' " in text
        assert "'ok '" in text
        assert "'leak'" not in text

    def test_different_names(self) -> None:
        assert lookalikes(["leak", "leak2", "valve_leak", "café", "cafe", "10", "1"]) == ()
        assert doubts(["leak", "ok", "none", "-", "+"]) == ()

    def test_unicode_forms(self) -> None:
        assert lookalikes(["caf\u00e9", "cafe\u0301"])
        assert quoted(["caf\u00e9", "cafe\u0301"]) == ["'caf\\xe9'", "'cafe\\u0301'"]

    @pytest.mark.parametrize("name", ["", " ", "NA", "nan", "NaN", "None", "null", "N/A", "<NA>", "?"])
    def test_missing(self, name: str) -> None:
        assert looks_missing(name)
        assert "looks like a missing label" in doubts(["ok", name])[0]


def reopened(write: Any, path: Path) -> Any:
    write(path / "set", X, ["ok", "ok "])  # with both class names
    return tailfit.data.open(path / "set", strip=True)


SOURCES = {
    "NpyFolder": lambda path: NpyFolder(folder(path, {}), {"a": "ok", "b": "ok "}, strip=True),
    "open": lambda path: tailfit.data.open(folder(path, {"a": "ok", "b": "ok "}), strip=True),
    "Table": lambda path: TableSource(pl.DataFrame({"x": [1.0, 2.0], "label": ["ok", "ok "]}), strip=True),
    "Arrays": lambda path: Arrays(X, ["ok", "ok "], strip=True),
    "what save_npy_folder wrote": lambda path: reopened(tailfit.data.save_npy_folder, path),
    "Packed": lambda path: reopened(lambda root, *data: tailfit.data.pack(Arrays(*data), root), path),
    "MapStyle": lambda path: MapStyle(X, labels=["ok", "ok "], strip=True),
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_strip_in_every_source(make: Any, tmp_path: Path) -> None:
    assert make(tmp_path).class_names == ("ok",)


def test_every_source_that_takes_class_names_takes_strip() -> None:
    import inspect

    for name in tailfit.data.__all__:
        kind = getattr(tailfit.data, name)
        if isinstance(kind, type) and issubclass(kind, tailfit.data.Source) and kind is not Windows:
            known = inspect.signature(kind).parameters
            assert "strip" in known or "class_names" not in known, name


# -- terminals ------------------------------------------------------------------------------------------

TITLE = "\x1b]0;pwned\x07\u202e[red]"


def test_errors_contain_no_control_characters() -> None:
    error = ArgumentError(f"{TITLE} here", expected=f"not {TITLE}", fix=f"no {TITLE}\nReceived")
    assert str(error).isprintable()
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert "[red]" in str(error)
    assert r"\x1b]0;pwned\x07\u202e" in error.received


def test_warnings_contain_no_control_characters() -> None:
    with pytest.warns(DataWarning) as warned:
        warnings.warn(TITLE, DataWarning, stacklevel=1)
    assert str(warned[0].message) == visible(TITLE)


def test_the_console_interprets_no_markup() -> None:
    console = PlainConsole(file=io.StringIO(), width=80)
    table = Table(TITLE, title=TITLE)
    table.add_row(TITLE)
    console.print(TITLE, table)
    text = console.file.getvalue()
    assert text.count(r"\x1b]0;pwned\x07\u202e[red]") == 4
    assert all(line.isprintable() for line in text.splitlines())


def test_only_the_plain_console_is_used() -> None:
    root = Path(tailfit.__file__).parent
    for path in root.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name != "terminal.py":
            assert "from rich.console import Console" not in text, path
            assert "rich.markup" not in text, path


def test_the_command_line(tmp_path: Path) -> None:
    names = [TITLE, "ok"]
    np.save(tmp_path / "a\x1b[31m.npy", X[0])
    np.save(tmp_path / "b.npy", X[0])
    np.save(tmp_path / "c\u202e.npy", np.array([np.nan, 0, 0], "f4"))
    (tmp_path / "d\x1b.npy").write_bytes(b"")
    ids = ["a\x1b[31m", "b", "c\u202e", "d\x1b"]
    (tmp_path / "labels.json").write_text(json.dumps({name: names[row % 2] for row, name in enumerate(ids)}))
    code = "from tailfit.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "inspect", tmp_path], capture_output=True, encoding="utf-8", timeout=120
    )
    assert done.returncode == 1, done.stderr
    shown = done.stdout + done.stderr.replace("\x1b[?25l", "")
    assert all(line.isprintable() for line in done.stdout.splitlines()), shown
    for part in (r"\x1b]0;pwned\x07\u202e[red]", r"a\x1b[31m = b", r"c\u202e", r"d\x1b.npy: an empty file"):
        assert part in done.stdout
    done = subprocess.run(
        [sys.executable, "-c", code, "inspect", tmp_path / "no\x1b]0;x\x07"],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert r"no\x1b]0;x\x07" in done.stderr


def test_every_error_is_printable() -> None:
    for kind in TailfitError.__subclasses__():
        assert str(kind(TITLE, expected=LONE, fix=NUL)).isprintable()
