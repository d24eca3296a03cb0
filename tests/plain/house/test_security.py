"""What SECURITY.md promises, promise by promise."""

import ast
import base64
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from support.pages import HOSTILE, NO_NAME, Page, two
from support.paths import ROOT

import tailfit
from tailfit.data import Arrays, pack, save_npy_folder
from tailfit.errors import DataError, RecordError
from tailfit.evaluation import report
from tailfit.resume.lock import Lock
from tailfit.resume.store import Position, Store
from tailfit.storage.writing import write_text

FILES = sorted((ROOT / "src" / "tailfit").rglob("*.py"))

# -- no file runs code ---------------------------------------------------------------------------------

RUN_CODE = {"eval", "exec", "compile", "__import__", "load_model", "extract", "extractall", "unpack_archive", "system"}
UNSAFE_MODULES = {"marshal", "shelve", "dill", "joblib", "cloudpickle"}
ALLOWED = {
    # What a process is given by its own parent, through a pipe that nobody else can write to.
    ("data/feeding/processes.py", "pickle.loads"),
    # Files that the same process has just written, in a folder that only this user can enter.
    ("exporting/converting.py", "keras.saving.load_model"),
    ("training/backends/torch_export.py", "torch.export.load"),
}


def called(node):
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def unsafe(tree):
    """Calls that can run code out of data, as written in the source."""
    for node in ast.walk(tree):
        name = called(node)
        head, _, last = name.rpartition(".")
        keywords = {each.arg: ast.unparse(each.value) for each in node.keywords} if name else {}
        if (
            (last in RUN_CODE and (last != "compile" or not head))
            or (
                last in ("load", "loads", "Unpickler", "read_pickle")
                and head.split(".")[0] in ("pickle", "torch", "pd")
            )
            or (name in ("np.load", "numpy.load") and keywords.get("allow_pickle") != "False")
            or (name.startswith("yaml.") and last not in ("safe_load", "safe_dump", "compose"))
            or keywords.get("shell") == "True"
            or keywords.get("trust_remote_code") == "True"
        ):
            yield name
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
            yield from UNSAFE_MODULES & {each.split(".")[0] for each in names}


@pytest.mark.parametrize(
    "code",
    [
        "eval(x)",
        "exec(x)",
        "import marshal",
        "keras.saving.load_model(x)",
        "np.load(x)",
        "np.load(x, allow_pickle=True)",
        "os.system(x)",
        "pickle.loads(x)",
        "torch.load(x)",
        "yaml.load(x)",
        "zipfile.ZipFile(x).extractall()",
    ],
)
def test_the_scan_sees(code):
    assert list(unsafe(ast.parse(code)))


def test_the_scan_lets_be():
    assert not list(unsafe(ast.parse("re.compile(x); np.load(x, allow_pickle=False); json.loads(x); model.compile()")))


def test_nothing_in_the_package_runs_what_it_reads():
    found = {
        (path.relative_to(ROOT / "src" / "tailfit").as_posix(), name)
        for path in FILES
        for name in unsafe(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == ALLOWED


AUDITED = """
import json, sys
import numpy as np
import tailfit, tailfit.data
from tailfit.resume.encoding import decode
from tailfit.resume.store import Store
from pathlib import Path
directory, sources = Path(sys.argv[1]), sys.argv[2:]
events, watched = [], True
def hook(event, arguments):
    if watched:
        events.append((event, [str(each) for each in arguments[:1]]))
sys.addaudithook(hook)
checkpoint, damage = Store(directory).recover()
decode(checkpoint.state["value"], checkpoint.arrays, "value")
loading, events = events, []
for path in sources:
    source = tailfit.data.open(path)
    source.read(np.arange(len(source)))
reading, watched = events, False
print(json.dumps({"damage": damage, "loading": loading, "reading": reading}))
"""


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """The audit events of reading a checkpoint, and of reading local data, in a process of their own."""
    root = tmp_path_factory.mktemp("audited")
    Store(root / "run").write(Position(0, 8), {"value": [1, {"$tuple": ["a"]}]}, {"kernel": np.eye(3)})
    source = Arrays(np.eye(2), ["ok", "leak"], ["a", "b"])
    save_npy_folder(root / "folder", np.eye(2), ["ok", "leak"], ["a", "b"])
    pack(source, root / "packed")
    table = pl.DataFrame({"id": ["a", "b"], "x": [1.0, 2.0]})
    table.write_parquet(root / "table.parquet")
    table.write_csv(root / "table.csv")
    paths = [str(root / name) for name in ("folder", "packed", "table.parquet", "table.csv")]
    done = subprocess.run(
        [sys.executable, "-c", AUDITED, str(root / "run"), *paths], capture_output=True, text=True, check=True
    )
    return root, json.loads(done.stdout)


def test_a_checkpoint_is_read_without_running_or_importing_anything(audited):
    root, seen = audited
    assert seen["damage"] == []
    kinds = {event for event, _ in seen["loading"]}
    assert kinds <= {"open", "os.scandir", "os.listdir"}, kinds
    opened = {Path(arguments[0]) for event, arguments in seen["loading"] if event == "open"}
    # A number is a file that is open already; how much memory there is stands in files of the system.
    opened = {path for path in opened if not path.name.isdigit() and path.parts[1] not in ("proc", "sys")}
    assert {path.name for path in opened} == {"state.json", "arrays.safetensors"}
    assert all(path.is_relative_to(root / "run") for path in opened)


def test_local_data_is_read_without_network_processes_or_pickle(audited):
    _, seen = audited
    assert "open" in {event for event, _ in seen["reading"]}
    wrong = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pickle.")
    assert not [event for event, _ in seen["reading"] if event.startswith(wrong)]


# -- nothing leaves its folder -------------------------------------------------------------------------


def test_members_of_an_archive_stay_in_it(tmp_path):
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in" / "set.zip", "w") as archive:
        archive.writestr("../evil.txt", "x")
        archive.writestr("zarr.json", "{}")
    with pytest.raises(DataError):
        tailfit.data.open(tmp_path / "in" / "set.zip")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["in", "set.zip"]


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_members_of_an_archive_fit_into_memory(tmp_path, monkeypatch):
    """A kilobyte of zip may be a gigabyte of array; a description is small anyhow."""
    monkeypatch.setattr("tailfit.data.sources.zarr_store.available_memory", lambda: 1 << 20)
    layout = {"zarr_format": 2, "shape": [4], "chunks": [4], "dtype": "<f8", "fill_value": 0, "order": "C"}
    described = json.dumps(layout | {"compressor": None, "filters": None})
    for name, size, refused in (("0", 2 << 20, True), (".zattrs", 17 << 20, True), ("0", 32, False)):
        path = tmp_path / f"{name}{size}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(".zarray", described)
            archive.writestr(name, bytes(size))
        if refused:
            with pytest.raises(RecordError, match=rf"{name}: {size} bytes"):
                tailfit.data.Zarr(path)
        else:
            assert tailfit.data.Zarr(path).read([1]).tolist() == [0.0]
    (tmp_path / "set.zarr").mkdir()
    with open(tmp_path / "set.zarr" / ".zarray", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(RecordError, match=r"\.zarray: 1099511627776 bytes"):
        tailfit.data.Zarr(tmp_path / "set.zarr")


def test_what_a_run_writes_is_for_its_user_only(tmp_path):
    mask = os.umask(0)
    try:
        store = Store(tmp_path / "run")
        store.write(Position(0, 8), {}, {"kernel": np.eye(3)})
        Lock(store.directory).release()
    finally:
        os.umask(mask)
    assert [path for path in (store.directory, *store.directory.rglob("*")) if path.stat().st_mode & 0o077] == []


def test_a_report_is_not_written_through_a_link(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("kept")
    monkeypatch.setattr("secrets.token_hex", lambda size: "0" * size)
    (tmp_path / f".page.html.{'0' * 8}.draft").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_text(tmp_path / "page.html", "new")
    assert (tmp_path / f".page.html.{'0' * 8}.draft").is_symlink()  # somebody else's
    monkeypatch.undo()
    (tmp_path / "page.html").symlink_to(victim)
    write_text(tmp_path / "page.html", "new")  # the link is replaced, and not followed
    assert victim.read_text() == "kept"


# -- the report's page ---------------------------------------------------------------------------------

EVIL = " ".join(HOSTILE)


def page(**field):
    first, second = two([field.get("class_name", "b"), "c"]).values()
    shown = {field.get("heading", "one"): first, "two": second}
    note, key, value = (field.get(name, name) for name in ("note", "key", "value"))
    return Page(report(shown, title=field.get("title", "t"), notes=[note], details={key: value}))


@pytest.fixture(scope="module")
def spoilt():
    fields = dict.fromkeys(("heading", "title", "note", "key", "value"), EVIL + NO_NAME)
    return page(class_name=EVIL, **fields)


def test_hostile_text_in_every_field_adds_no_element_and_no_attribute(spoilt):
    plain = page()
    assert spoilt.elements == plain.elements
    assert {name for name, _ in spoilt.attributes} <= {name for name, _ in plain.attributes}


def test_the_page_forbids_itself_scripts_and_loading(spoilt):
    policy = next(value for name, value in spoilt.attributes if name == "content" and "default-src" in value)
    allowed = dict(each.strip().split(" ", 1) for each in policy.split(";"))
    assert allowed["default-src"] == allowed["base-uri"] == allowed["form-action"] == "'none'"
    assert set(allowed) == {"default-src", "style-src", "img-src", "base-uri", "form-action"}
    # Nothing that the policy would keep from showing: no script but blocks of data, nothing fetched.
    assert len(spoilt.blocks) == spoilt.elements["svg"] == 3
    assert not {"img", "image", "link", "iframe", "object", "embed", "form", "base"} & spoilt.elements.keys()
    assert not {"src", "href", "xlink:href", "srcset", "action"} & {name for name, _ in spoilt.attributes}


def test_a_page_with_scores_allows_one_script_by_its_contents():
    y = np.arange(8) % 2
    page = Page(tailfit.evaluate(y, np.eye(2)[y] + 0.1, [EVIL, "b"]).to_html(title=EVIL))
    policy = next(value for name, value in page.attributes if name == "content" and "default-src" in value)
    digest = base64.b64encode(hashlib.sha256(page.scripts[0].encode()).digest()).decode()
    assert f"default-src 'none'; script-src 'sha256-{digest}'; style-src" in policy
    assert len(page.scripts) == 1
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_the_page_of_promises_is_linked():
    assert "SECURITY.md" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert (ROOT / "SECURITY.md").is_file()
