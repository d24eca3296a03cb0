"""Bad input to the sources of file formats: one battery for all; each error names the file or the ID."""

import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.formats import FORMATS, Format

from tailfit.data import DataWarning, Source
from tailfit.errors import ArgumentError, DataError, RecordError

X = np.arange(120, dtype="float32").reshape(10, 4, 3)
Y = ["ok", "leak"] * 5
IDS = [f"r{number} ä日" for number in range(10)]


class Written:
    """A data set in one format on disk."""

    def __init__(self, root: Path, what: Format) -> None:
        self.root, self.what = root, what

    def write(self, x: Any = X, y: Any = Y, ids: Any = IDS) -> "Written":
        self.what.write(self.root, x, y, list(ids))
        return self

    def open(self, **options: Any) -> Source:
        return self.what.open(self.root, **options)

    @property
    def file(self) -> Path:
        return self.root / self.what.file

    @property
    def named(self) -> str:
        return str(self.root / (self.what.file if self.what.named is None else self.what.named))


@pytest.fixture(params=FORMATS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Written:
    return Written(tmp_path / "set", FORMATS[request.param])


def read_all(source: Source) -> Any:
    return source.read(np.arange(len(source)))


def test_round_trip(written: Written) -> None:
    source = written.write().open()
    order = source.positions([written.what.known_as(name, label) for name, label in zip(IDS, Y, strict=True)])
    np.testing.assert_array_equal(source.read(order).reshape(X.shape), X)
    assert [source.class_names[code] for code in source.labels[order]] == Y


def test_missing(written: Written) -> None:
    with pytest.raises(DataError, match="set") as caught:
        written.open()
    assert str(written.root) in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"not one\n" * 100, pickle.dumps(os.abort)], ids=["empty", "a byte", "text", "a pickle"]
)
def test_a_file_of_a_different_format(written: Written, content: bytes) -> None:
    written.write()
    written.file.write_bytes(content)
    with pytest.raises(RecordError) as caught:
        read_all(written.open())
    assert caught.value.received.startswith(written.named)
    assert len(str(caught.value)) < 600


def test_a_truncated_file_is_refused_or_read_completely(written: Written) -> None:
    whole = written.write().file.read_bytes()
    truth, refused = read_all(written.open()), 0
    sizes = [*range(1, len(whole), max(1, len(whole) // 40)), len(whole) - 1]
    for size in sizes:
        written.file.write_bytes(whole[:size])
        try:
            found = read_all(written.open())
        except RecordError as error:
            refused += error.received.startswith(written.named)
        else:
            np.testing.assert_array_equal(found, truth)  # the part cut off is after the data
            refused += 1
    assert refused == len(sizes)


def test_damaged_bytes_give_an_error_or_data(written: Written) -> None:
    whole = written.write().file.read_bytes()
    rng = np.random.default_rng(3)
    for _ in range(40):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            damaged[place] ^= 1 << int(rng.integers(8))
        written.file.write_bytes(damaged)
        said = ""
        try:
            source = written.open(nan="keep")
            assert len(read_all(source)) == len(source)
        except DataError as error:
            said = str(error)
        assert not said or str(written.root) in said or "ID" in said


@pytest.mark.parametrize("how", ["truncated", "replaced", "grown", "removed"])
def test_a_file_changed_after_opening(written: Written, how: str) -> None:
    if not written.what.watched and how != "truncated":
        pytest.skip("the library reads what it finds")
    source = written.write().open()
    read_all(source)
    if how == "truncated":
        os.truncate(written.file, written.file.stat().st_size // 2)
    elif how == "replaced":
        content = bytearray(written.file.read_bytes())
        content[len(content) // 2] ^= 255
        written.file.write_bytes(content)
        os.utime(written.file, ns=(1, 1))
    elif how == "grown":
        with written.file.open("ab") as file:
            file.write(b"more")
    else:
        written.file.unlink()
    again = pickle.loads(pickle.dumps(source))
    for each in (source, again):
        with pytest.raises(RecordError) as caught:
            read_all(each)
        assert caught.value.received.startswith(written.named)


def test_a_folder_or_pipe_instead_of_a_file(written: Written) -> None:
    written.write().file.unlink()
    if written.what.watched:
        written.file.mkdir()
        with pytest.raises(DataError, match="set"):
            read_all(written.open())
        written.file.rmdir()
    os.mkfifo(written.file)
    with pytest.raises(DataError, match="set"):
        read_all(written.open())


def test_unreadable(written: Written) -> None:
    written.write().file.chmod(0)
    if os.geteuid() == 0:  # root can read everything, so change the user
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            shutil.copytree(written.root, f"{folder}/set")
            written.root = Path(folder) / "set"
            os.seteuid(65534)
            try:
                with pytest.raises(RecordError, match=r"[Pp]ermission denied"):
                    read_all(written.open())
            finally:
                os.seteuid(0)
    else:
        with pytest.raises(RecordError, match=r"[Pp]ermission denied"):
            read_all(written.open())


def test_a_link_out_of_the_folder(written: Written, tmp_path: Path) -> None:
    if not written.what.listed:
        pytest.skip("the user names the file")
    written.write().file.rename(tmp_path / "outside")
    written.file.symlink_to(tmp_path / "outside")
    with pytest.raises(RecordError, match="a link out of the folder"):
        read_all(written.open())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_by_policy(written: Written, value: float) -> None:
    if not written.what.floats:
        pytest.skip("its records are whole numbers")
    x = X.copy()
    x[3, 1, 1] = value
    written.write(x)
    source = written.open()
    place = int(source.positions([IDS[3]])[0])
    assert np.isfinite(source.read([(place + 1) % 10])).all()
    for _ in range(2):  # a record that was refused is refused again
        with pytest.raises(DataError, match=f"{IDS[3]}.*(NaN|infinity)"):
            source.read([place])
    np.testing.assert_array_equal(written.open(nan="keep").read([place])[0], x[3])
    source = written.open(nan="warn")
    with pytest.warns(DataWarning, match=f"{IDS[3]}.*(NaN|infinity)") as warned:
        np.testing.assert_array_equal(source.read([place])[0], x[3])
    assert warned[0].filename == __file__
    source.read([place])  # once: a second warning would be an error
    with pytest.raises(ArgumentError, match="'drop'"):
        written.open(nan="drop")


def test_a_duplicate_id(written: Written) -> None:
    if written.what.unique:
        pytest.skip("its IDs are names of files")
    with pytest.raises(DataError, match="'b' twice"):
        written.write(X[:3], Y[:3], ["a", "b", "b"]).open()


def test_an_empty_id(written: Written) -> None:
    if written.what.unique:
        pytest.skip("its IDs are names of files")
    with pytest.raises(DataError, match="ID ''"):
        written.write(X[:2], Y[:2], ["a", ""]).open()


def test_no_samples(written: Written) -> None:
    written.write(X[:0], [], [])
    if not written.what.empties:
        with pytest.raises(RecordError, match="empty"):
            written.open()
        return
    source = written.open()
    assert len(source) == 0
    assert len(read_all(source)) == 0
    assert list(source.ids) == []


def test_one_class(written: Written) -> None:
    source = written.write(y=["ok"] * 10).open()
    assert source.class_names == ("ok",)
    assert source.class_counts.tolist() == [10.0]


def in_a_fork(source: Source, indices: Any) -> Any:
    receiver, sender = multiprocessing.get_context("fork").Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=lambda: sender.send(source.read(indices)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # about forking in a process with threads
        child.start()
    assert receiver.poll(60), "the forked process hangs"
    found = receiver.recv()
    child.join(60)
    assert child.exitcode == 0
    return found


def test_a_fork_reads_the_same(written: Written) -> None:
    source = written.write().open()
    before = source.read([3, 1])
    np.testing.assert_array_equal(in_a_fork(source, [3, 1]), before)
    np.testing.assert_array_equal(source.read([3, 1]), before)


def test_a_fresh_process_reads_the_same(tmp_path: Path) -> None:
    sources = [Written(tmp_path / name, what).write().open() for name, what in FORMATS.items()]
    for source in sources:
        source.read([0])
    (tmp_path / "sources").write_bytes(pickle.dumps(sources))
    code = f"""
import pickle
with open({str(tmp_path / "sources")!r}, "rb") as file:
    print([source.read([2, 7]).ravel()[:3].tolist() for source in pickle.load(file)])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == str([source.read([2, 7]).ravel()[:3].tolist() for source in sources]), done.stderr
