"""Parsing of recipes: values and line numbers for valid YAML, an error for any other text."""

import contextlib
import itertools
import json
import math
import re
import subprocess
import sys
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.fuzzing import damaged, fuzzed, json_values, refused

from tailfit.errors import ArgumentError, CheckpointError, DataError
from tailfit.recipes.directory import Claim, read_claim
from tailfit.recipes.document import Document, check_nesting, parse, read
from tailfit.recipes.overriding import parse_settings, with_changes
from tailfit.storage.yaml_text import as_yaml

PLAIN = (str, int, float, bool, type(None), list, dict)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0o17", 15),
        ("012", 12),  # YAML 1.2: no octal number
        ("-5", -5),
        ("+.inf", math.inf),
        ("~", None),
        ("yes", "yes"),  # YAML 1.2: no bool
        ("on", "on"),
        ("True", True),
        ("2020-01-01", "2020-01-01"),
        ("1:30", "1:30"),
        ("'3'", "3"),
        (r'"\ud83d\ude00"', "\U0001f600"),  # as JSON writes it
        ("!!str 3", "3"),
        ("", None),
        ("{a: [1, {b: c}]}", {"a": [1, {"b": "c"}]}),
        ('{"a": 1}', {"a": 1}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("\ufeffa: 1", {"a": 1}),
    ],
)
def test_values(text, value):
    assert parse(text.encode()).value == value
    assert type(parse(text).value) is type(value)


def test_whole_floats_are_keys_by_class_code():
    assert parse("{0.0: 1, 1.0: 2}").value == {0: 1, 1: 2}


def test_nan():
    assert math.isnan(parse(".nan").value)


def test_lines():
    document = parse("a: 1\n\nb:\n  - x\n  - c: 2\n", "r.yaml")
    assert document.where(("b", 1, "c")) == "r.yaml, line 5, b[1].c"
    assert document.where(("b", 1, "nothing")) == "r.yaml, line 5, b[1].nothing"  # the nearest that is there
    assert document.where(()) == "r.yaml, line 1"
    assert Document({"a": 1}).where(("a",)) == "recipe, a"


@pytest.mark.parametrize(
    ("text", "received"),
    [
        ("a: 1\nb: 2\na: 3", "recipe, line 3: the key 'a' again, after line 1"),
        ("a: b: c", "recipe, line 1: mapping values"),
        ("a: [", "line 1"),
        ("- a\nb: 1", "line 2"),
        ("a\tb: 1", "line 1"),
        ("--- 1\n--- 2", "line 2"),
        ("a: !!python/object:os.system x", "line 1: a value tagged .*os.system"),
        ("a: !!python/object/apply:os.system [x]", "a value tagged"),
        ("a: !!binary aGk=", "a value tagged"),
        ("a: !own 1", "a value tagged !own"),
        ("a: !!set {x}", "a value tagged"),
        ("<<: {a: 1}", "a value tagged"),
        ("[1, 2]: 3", "a value tagged"),
        ("1.5: 2", "the key 1.5"),
        ("null: 2", "the key None"),
        ("true: 2", "the key True"),
        ("a: !!int x", "'x' as int"),
        ("a: !!bool x", "'x' as bool"),
        (r'a: "\ud83d"', "as str"),  # half a character
        ("a: " + "9" * 6000, "as int"),
        ("a: 1e999", "'1e999' as float"),
        ("a: \x00", "unacceptable|special characters"),
        ("%YAML 3.0\n---\na: 1", "incompatible"),
        ("a: *nothing", "undefined alias"),
        ("[" * 4000, "nesting deeper"),
        ("a: &a [*a]", "nesting deeper"),
        ("x" * (1 << 18) + "x", "over 262144 bytes"),
    ],
)
def test_invalid_text(text, received):
    with pytest.raises(DataError, match=received):
        parse(text)


def test_no_utf8():
    with pytest.raises(DataError, match=r"the byte 0xff at position 3"):
        parse(b"a: \xff")


def test_aliases_of_aliases_are_counted():
    """Ten lines that expand to 10^9 values."""
    names = "abcdefghi"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in itertools.pairwise(names)]
    began = time.perf_counter()
    assert refused(lambda: parse("\n".join(lines)))
    assert time.perf_counter() - began < 5


@fuzzed
@given(
    damaged(b"data: {path: x}\nloss:\n  name: &a Focal\n  gamma: 2.0\nsteps:\n- *a\n- 'b'\n") | st.binary(max_size=80)
)
def test_any_bytes(content):
    def sound():
        pending = [parse(content).value]
        while pending:
            value = pending.pop()
            assert type(value) in PLAIN
            pending += list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []

    refused(sound)


@fuzzed
@given(json_values)
def test_json_is_read_as_json_reads_it(value):
    text = json.dumps(value)
    assume("NaN" not in text and "Infinity" not in text)  # not valid JSON
    assert parse(text).value == value


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"nothing.yaml: No such file"):
        read(tmp_path / "nothing.yaml")
    with pytest.raises(DataError, match="a folder"):
        read(tmp_path)


# -- overrides -----------------------------------------------------------------------------------------


def test_overrides():
    document = parse("loss: LogitAdjusted\ndata: {path: x}")
    new = with_changes(document, parse_settings(["loss.tau=0.5", "data.split.train=0.8", "epochs=3", "steps=[Mixup]"]))
    assert new.value == {
        "loss": {"name": "LogitAdjusted", "tau": 0.5},
        "data": {"path": "x", "split": {"train": 0.8}},
        "epochs": 3,
        "steps": ["Mixup"],
    }
    assert document.value == {"loss": "LogitAdjusted", "data": {"path": "x"}}  # as it was


@pytest.mark.parametrize("given", ["loss", "=3", "a..b=1", "a=[", "a=!x 1"])
def test_invalid_settings(given):
    with pytest.raises((ArgumentError, DataError), match=r"--set"):
        parse_settings([given])


def test_a_key_in_a_number():
    with pytest.raises(ArgumentError, match=r"'epochs.x', which leads into a value that is not a mapping"):
        with_changes(parse("epochs: 3"), {"epochs.x": 1})
    with pytest.raises(ArgumentError, match=r"not a mapping"):
        with_changes(parse("3"), {"epochs": 1})


# -- claims on a directory -----------------------------------------------------------------------------


def claim(*, backend="jax", data=None, **recipe):
    return Claim({"loss": "Focal", **recipe}, "home", backend, data or {"count": 1})


def test_a_directory_belongs_to_one_run(tmp_path):
    assert read_claim(tmp_path / "run") is None
    claim(epochs=3, name="a")
    with claim(epochs=3, name="a").hold(tmp_path / "run"):
        (tmp_path / "run" / "result.json").write_text("{}")
    with claim(epochs=3, name="a").hold(tmp_path / "run"):
        assert (tmp_path / "run" / "result.json").exists()
    with claim(epochs=5, name="b").hold(tmp_path / "run"):  # a run may continue with more epochs
        assert not (tmp_path / "run" / "result.json").exists()  # removed, because it is the result of 3 epochs
    assert read_claim(tmp_path / "run").recipe["epochs"] == 5
    before = (tmp_path / "run" / "run.json").read_bytes()
    for other, message in (
        (claim(loss="LDAM", epochs=5), r'loss: "Focal" before, "LDAM" now'),
        (claim(backend="torch"), r"backend: jax before, torch now"),
        (claim(data={"count": 2}), r"data have changed since it was started: 1 files before, 2 now"),
    ):
        with pytest.raises(CheckpointError, match=message), other.hold(tmp_path / "run"):
            pass
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_a_process_that_is_refused_writes_nothing(tmp_path):
    """While another process works in the directory, with any recipe."""
    with claim(epochs=3).hold(tmp_path / "run"):
        (tmp_path / "run" / "result.json").write_text("{}")
        before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
        for other in (claim(epochs=300), claim(epochs=3), claim(loss="LDAM")):
            with pytest.raises(CheckpointError, match="another run is at work"), other.hold(tmp_path / "run"):
                pass
        assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    with claim(epochs=300).hold(tmp_path / "run"):
        assert read_claim(tmp_path / "run").recipe["epochs"] == 300


def test_drafts_of_killed_processes_are_removed(tmp_path):
    """Even if there is nothing else yet. Drafts of other programs are kept, and block a new run."""
    digits = "0123456789abcdef"
    for name in (f".run.json.{digits}.draft", f".weights.safetensors.{digits}.draft", "lock"):
        (tmp_path / name).write_text("half")
    (tmp_path / f".model.keras.{digits}.draft.keras").write_text("half")
    with claim().hold(tmp_path):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "run.json"]
    (tmp_path / "run.json").unlink()
    for name in (f".thesis.{digits}.draft", ".run.json.draft"):
        (tmp_path / name).write_text("precious")
        with pytest.raises(CheckpointError, match=re.escape(name)), claim().hold(tmp_path):
            pass
        (tmp_path / name).unlink()


def test_a_directory_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(CheckpointError, match=r"thesis.txt"):
        claim().hold(tmp_path).__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@fuzzed
@given(damaged(b'{"format": "tailfit.run", "version": 2, "recipe": {}, "folder": "x", "backend": "jax", "data": {}}'))
def test_a_claim_of_any_bytes(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp() / "fuzzed-run"
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_bytes(content)
    refused(lambda: read_claim(folder))


@pytest.mark.parametrize("room", ["document", "overriding", "directory"])
def test_a_recipe_is_read_before_keras_is_imported(room):
    code = f"import sys, tailfit.recipes.{room}; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("digits", ["0x" + "f" * 6000, "-0o" + "7" * 6000, "0b" + "1" * 20_000, "1" + "0" * 400])
def test_numbers_of_any_number_of_digits(digits):
    with pytest.raises(DataError, match=r"line 1: '.*' as int"):
        parse(f"epochs: {digits}")


@fuzzed
@given(json_values)
def test_values_written_as_yaml_are_read_as_the_same(value):
    value = json.loads(json.dumps({"a": value, "true": {"null": value}, "1": [math.inf, {"False": -math.inf}]}))
    with contextlib.suppress(DataError):  # a lone surrogate, a key that is repeated
        assert json.dumps(parse(as_yaml(value)).value) == json.dumps(value)  # as text: NaN is not equal to itself


def test_text_that_is_a_value_of_yaml_is_quoted():
    value = {"true": {"NULL": "null", "a b": "true", 3: 4}, "far": [math.inf, {"no": -math.inf, "False": {}}]}
    assert parse(as_yaml(value)).value == value
    assert math.isnan(parse(as_yaml({"a": math.nan})).value["a"])


def test_keys_and_values_of_any_depth():
    nested = {}
    for _ in range(5000):
        nested = {"a": nested}
    with pytest.raises(ArgumentError, match="of 10000 parts"):
        with_changes(parse("{}"), parse_settings([".".join("a" * 10_000) + "=1"]))
    with pytest.raises(DataError, match=r"loss: nesting deeper than 30"):
        with_changes(parse("{}"), {"loss": nested})
    with pytest.raises(DataError, match=r"over 10000 values"):
        check_nesting([0] * 20_000, "recipe")
