"""Files in one way: what is opened, what is refused, and that nothing in the package goes another way."""

import ast
import errno
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from support.formats import FORMATS
from support.odd_files import KINDS, no_longer_than
from support.paths import ROOT

import tailfit
from tailfit.data import Arrays, pack, save_npy_folder
from tailfit.errors import RecordError, TailfitError
from tailfit.storage import Draft, open_regular, parsed, read_whole, write_text
from tailfit.storage.writing import DraftFolder, draft_path, remove_abandoned

PACKAGE = ROOT / "src" / "tailfit"
pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")

# -- one way -------------------------------------------------------------------------------------------

CALLS = {
    "open", "io.open", "os.open", "os.fdopen", "np.load", "np.fromfile", "np.loadtxt", "np.genfromtxt", "np.memmap",
    "np.save", "json.load", "json.loads", "mmap.mmap", "os.rename", "os.replace",
}  # fmt: skip
METHODS = {"read_text", "read_bytes", "write_text", "write_bytes"}
# Who may go another way, and why.
ALLOWED = {
    ("cli/process.py", "os.open"): "the null device, for standard files that are closed",
    ("distributed/local.py", "open"): "logs of workers, to append to, after check_replaceable",
    ("diagnosis/child.py", "open"): "findings, to append to, in a folder of the doctor's own",
    ("diagnosis/running.py", "open"): "the output of the child, in the same folder",
    ("data/tables/reading.py", "pl.read_csv"): "bytes that read_whole has read",
    ("data/tables/reading.py", "pl.read_json"): "bytes that read_whole has read",
    ("data/tables/reading.py", "pl.read_parquet"): "bytes that read_whole has read",
    ("data/tables/reading.py", "pl.scan_parquet"): "bytes that read_whole has read",
    ("data/writing/npy_folder.py", "np.save"): "records of a new folder, which is renamed whole",
    ("data/files/memory.py", "read_text"): "files of the system that say how much memory there is",
    ("data/remote/fetching.py", "open"): "of a file system behind a URL",
    ("data/files/npy.py", "np.memmap"): "after its header was read by open_regular",
    ("data/files/npy.py", "os.open"): "a call a record, not waiting: its bytes are compared with a regular file's",
    ("processes/parent.py", "os.fdopen"): "pipes to the process that started this one",
    ("exporting/exports.py", "np.save"): "a temporary folder of its own",
    ("exporting/exports.py", "np.load"): "a temporary folder of its own, which its process wrote",
    ("exporting/process.py", "np.save"): "a temporary folder of the process that started it",
    ("exporting/process.py", "np.load"): "a temporary folder of the process that started it",
    ("processes/parent.py", "os.open"): "the null device, as standard input",
    ("recipes/prediction_parts.py", "pl.scan_parquet"): "regular files of a locked folder, which it has written",
    ("recipes/serving.py", "open"): "members of an archive that was just written",
    ("resume/lock.py", "os.open"): "a file to lock, checked there",
    ("resume/remembered.py", "open"): "a log that was just written, to append to",
    ("storage/locking.py", "os.open"): "a file to lock, whose contents are never used",
    ("storage/disk.py", "os.open"): "new files, and folders to sync",
    ("storage/disk.py", "os.rename"): "the one way",
    ("storage/json_text.py", "json.loads"): "the one way",
    ("storage/reading.py", "os.fdopen"): "the one way",
    ("storage/reading.py", "os.open"): "the one way",
    ("storage/writing.py", "os.fdopen"): "the one way",
    ("storage/writing.py", "os.open"): "folders of drafts, to lock",
    ("storage/writing.py", "os.replace"): "the one way",
}


def other_ways(tree):
    """Calls that read or write a file, by their names."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func).replace("numpy.", "np.")
        last = name.rpartition(".")[2]
        modes = [each.value for each in node.args if isinstance(each, ast.Constant)]
        if name in CALLS or re.fullmatch(r"pl\.(read|scan)_\w+", name):
            yield name
        elif name != last and (last in METHODS or (last == "open" and {"rb", "r", "wb", "w", "xb"} & {*modes})):
            yield last


@pytest.mark.parametrize(
    "code",
    [
        "open(x)",
        "x.open('rb')",
        "Path(x).read_text()",
        "np.load(x)",
        "json.load(f)",
        "pl.scan_csv(x)",
        "x.write_text(y)",
    ],
)
def test_the_scan_sees(code):
    assert list(other_ways(ast.parse(code)))


def test_the_scan_lets_be():
    assert not list(other_ways(ast.parse("read_text(x, most); write_text(x, y); source.open(); json.dumps(x)")))


def test_files_are_read_and_written_in_one_way():
    found = {
        (path.relative_to(PACKAGE).as_posix(), name)
        for path in PACKAGE.rglob("*.py")
        for name in other_ways(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == set(ALLOWED), "go through tailfit.storage, or say why not"


# -- what is no regular file ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_only_regular_files_of_some_size_are_opened(tmp_path, kind):
    KINDS[kind](str(tmp_path / "file"))
    with no_longer_than(5):
        with pytest.raises(RecordError, match=r"file: (not a regular file|1099511627776 bytes)"):
            read_whole(tmp_path / "file", 1 << 20)
        if kind != "a sparse terabyte":
            with pytest.raises(RecordError, match="not a regular file"):
                write_text(tmp_path / "file", "x")
    with pytest.raises(RecordError, match="No such file"):
        open_regular(tmp_path / "none")
    with pytest.raises(RecordError, match="null"):
        open_regular("a\0b")


def images(root):
    FORMATS["ImageFolder"].write(root, np.zeros((2, 4, 3)), ["ok", "leak"], ["a", "b"])


def layout(root):
    metadata = pl.DataFrame({"id": ["a", "b"], "site": ["x", "y"]})
    save_npy_folder(root, np.eye(2), ["ok", "leak"], ["a", "b"], metadata=metadata, partition={"train": ["a", "b"]})


def table(suffix):
    def write(root):
        root.mkdir()
        frame = pl.DataFrame({"id": ["a", "b"], "x": [1.0, 2.0]})
        write = {"csv": frame.write_csv, "ndjson": frame.write_ndjson, "arrow": frame.write_ipc}[suffix]
        write(root / f"set.{suffix}")

    return write


def zipped(root):
    FORMATS["Zarr"].write(root.with_name("unpacked"), np.ones((2, 4, 3), "f4"), ["ok", "leak"], ["a", "b"])
    root.mkdir()
    shutil.make_archive(str(root / "set"), "zip", root.with_name("unpacked"))


SETS = {
    "layout": layout,
    "packed": lambda root: pack(Arrays(np.eye(2), ["ok", "leak"], ["a", "b"]), root),
    "npy": lambda root: (root.mkdir(), np.save(root / "set.npy", np.eye(2))),
    "zip": zipped,
    "ImageFolder": images,
    **{suffix: table(suffix) for suffix in ("csv", "ndjson", "arrow")},
    **{
        name: lambda root, write=FORMATS[name].write: write(root, np.ones((2, 4, 3), "f4"), ["ok", "leak"], ["a", "b"])
        for name in ("Parquet", "HDF5", "Npz", "Zarr", "TFRecord", "ArrayRecord")
    },
}
# A folder of images may have any name; what Zarr has no chunk of is filled.
SOUND = {("ImageFolder", "a folder"), ("Zarr", "a folder")}
ONE_FILE = ("npy", "zip", "csv", "ndjson", "arrow", "HDF5", "Npz")


@pytest.mark.parametrize("name", SETS)
def test_whatever_is_in_the_place_of_a_file_of_a_data_set(tmp_path, name):
    """Every file that a set consists of, found in one that was written."""
    root = tmp_path / "set"
    SETS[name](root)
    files = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
    assert files

    def read():
        (path,) = root.iterdir() if name in ONE_FILE else (root,)
        source = tailfit.data.open(path, **({"size": (2, 2)} if name == "ImageFolder" else {}))
        if (root / "partition.json").exists():
            source.split(root / "partition.json")
        source.read(range(len(source)))

    read()
    for file in files:
        for kind, put in KINDS.items():
            place, kept = root / file, tmp_path / "kept"
            place.rename(kept)
            put(str(place))
            if kind == "a link to a pipe":  # beside the set, not in it
                os.rename(f"{place}.pipe", tmp_path / "pipe")
                place.unlink()
                place.symlink_to(tmp_path / "pipe")
            try:
                with no_longer_than(20):
                    read()
                said = None
            except TailfitError as error:
                said = error
            assert said is not None or (name, kind) in SOUND, f"{kind} in the place of {file}"
            shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()
            (tmp_path / "pipe").unlink(missing_ok=True)
            kept.rename(place)
    read()


# -- drafts --------------------------------------------------------------------------------------------


def test_a_draft_in_use_is_told_from_one_that_was_left(tmp_path):
    left = tmp_path / "deep" / ".a.0123456789abcdef.draft"
    left.parent.mkdir()
    left.touch()
    os.mkfifo(tmp_path / ".b.0123456789abcdef.draft")
    with Draft(tmp_path / "a") as at_work, no_longer_than(5):
        remove_abandoned(tmp_path)
        assert not left.exists()
        assert at_work.path.exists()
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


@pytest.mark.parametrize("name", ["a.txt", "n" * 250], ids=len)
def test_drafts_that_killed_processes_left_are_removed_when_the_file_is_written_again(tmp_path, name):
    path = tmp_path / name
    left = draft_path(path)
    left.write_text("half")
    other = draft_path(tmp_path / "other")
    other.touch()
    with Draft(path) as at_work:
        write_text(path, "whole")
        assert at_work.path.exists()
    assert sorted(tmp_path.iterdir()) == sorted([path, other])
    assert path.read_text() == "whole"


def test_a_folder_of_drafts_is_private_and_is_removed(tmp_path):
    path = tmp_path / "new" / "model"
    left = draft_path(path)
    left.mkdir(parents=True)
    (left / "half").touch()
    with DraftFolder(path) as at_work:
        assert not left.exists()
        assert at_work.path.stat().st_mode & 0o777 == 0o700
        with DraftFolder(path) as other:  # another process, which leaves this one's folder alone
            (other.path / "file").write_text("whole")
            other.place(other.path / "file")
        assert at_work.path.exists()
        assert path.read_text() == "whole"
        path.unlink()
        (at_work.path / "folder" / "inner").mkdir(parents=True)
        (at_work.path / "folder" / "inner" / "a").write_text("whole")
        at_work.place(at_work.path / "folder")
        assert os.listdir(path.parent) == ["model"]  # also if the process is killed here
    assert (path / "inner" / "a").read_text() == "whole"


def test_a_long_name_has_a_draft(tmp_path):
    assert write_text(tmp_path / ("n" * 250), "x").read_text() == "x"


# -- JSON ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "{", "[" * 200_000, '{"a": 1, "b": 2, "a": 3}', "1" * 5000, b"\xff"], ids=len)
def test_json_is_a_value_or_one_kind_of_error(text):
    with pytest.raises(ValueError, match=r"."):
        parsed(text)


def test_many_equal_keys_take_no_longer(tmp_path):
    text = "{" + ",".join(f'"{key}":0' for key in range(200_000)) + ',"199999":0}'
    with no_longer_than(10), pytest.raises(ValueError, match="'199999' twice"):
        parsed(text)


# -- few open files ------------------------------------------------------------------------------------

FEW = """
import os, resource, sys
import numpy as np, polars, tailfit.data
from tailfit.errors import TailfitError
from tailfit.storage import read_whole, write_text
root = sys.argv[1]
tailfit.data.save_npy_folder(f"{root}/set", np.eye(40), ["ok", "leak"] * 20)
tailfit.data.pack(tailfit.data.open(f"{root}/set"), f"{root}/first")
free = [number for number in range(2000) if not os.path.exists(f"/proc/self/fd/{number}")]
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
said = []
for more in range(12):
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[more], hard))
    for call in (
        lambda: tailfit.data.pack(tailfit.data.open(f"{root}/set"), f"{root}/packed-{more}", shard_bytes=4000),
        lambda: tailfit.data.open(f"{root}/first").read([1, 2]),
        lambda: write_text(f"{root}/text", "whole"),
    ):
        try:
            call()
        except (TailfitError, OSError) as error:
            said.append(str(error))
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if not os.path.exists(f"{root}/packed-{more}"):
        tailfit.data.pack(tailfit.data.open(f"{root}/set"), f"{root}/packed-{more}", shard_bytes=4000)
    assert len(tailfit.data.open(f"{root}/packed-{more}").read(range(40))) == 40
assert said and all("Too many open files" in each and root in each for each in said), said
assert any("ulimit -n" in each for each in said), said
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts open files in /proc")
def test_few_open_files_are_a_clear_error_and_leave_nothing_half_written(tmp_path):
    done = subprocess.run([sys.executable, "-c", FEW, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


@pytest.mark.skipif(os.name == "nt", reason="no such limit")
def test_a_command_says_that_it_needs_more_open_files():
    command = 'ulimit -n 15; exec "$@"'
    run = [sys.executable, "-c", "from tailfit.cli import main; main()", "recipe", "schema"]
    done = subprocess.run(["sh", "-c", command, "sh", *run], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "tailfit: Received a limit of 15 open files.\nExpected 64 or more.\nFix: raise it, e.g. ulimit -n 1024."
    )


def test_an_error_while_writing_names_the_file(tmp_path):
    with pytest.raises(OSError, match="No space left") as raised, Draft(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert raised.value.filename == str(tmp_path / "a.txt")
    assert not os.listdir(tmp_path)
