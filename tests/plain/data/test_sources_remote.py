"""Sources at URLs: copied once, compared at each call, never trusted."""

import contextlib
import gzip
import http.server
import itertools
import json
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tailfit.data import NpyFolder, Parquet, save_npy_folder
from tailfit.data import open as open_source
from tailfit.data.remote.fetching import fetch
from tailfit.errors import DataError, PackageError, RecordError
from tailfit.storage import Draft

X = np.arange(12.0).reshape(4, 3)
NUMBERS = itertools.count()


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A data set of four records on a server of this process."""
    url = f"memory://server{next(NUMBERS)}/set"
    save_npy_folder(tmp_path / "local", X, ["ok", "leak", "ok", "ok"])
    fsspec.filesystem("memory").put(str(tmp_path / "local"), url, recursive=True)
    return url


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files copied from the server."""
    names: list[str] = []
    original = MemoryFileSystem.open

    def counted(self: Any, path: str, *args: Any, **options: Any) -> Any:
        names.append(path.rsplit("/", 1)[1])
        return original(self, path, *args, **options)

    monkeypatch.setattr(MemoryFileSystem, "open", counted)
    return names


def read(url: str, cache: Path) -> Any:
    source = open_source(url, cache=cache)
    return source.read(source.positions(["0", "1", "2", "3"]))


def test_workers_that_open_a_folder_together_copy_it_once(url: str, tmp_path: Path, copied: list[str]) -> None:
    workers = [threading.Thread(target=fetch, args=(url, tmp_path / "cache")) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(copied) == sorted(set(copied))
    np.testing.assert_array_equal(read(url, tmp_path / "cache"), X)


def test_a_folder_is_copied_once(url: str, tmp_path: Path, copied: list[str]) -> None:
    source = open_source(url, cache=tmp_path / "cache")
    assert isinstance(source, NpyFolder)
    np.testing.assert_array_equal(source.read(range(4)), X)
    assert source.class_names == ("leak", "ok")
    assert len(copied) == 6  # four records, labels, class names
    np.testing.assert_array_equal(read(url, tmp_path / "cache"), X)
    assert len(copied) == 6


def test_files_changed_on_the_server_are_copied_again(url: str, tmp_path: Path, copied: list[str]) -> None:
    read(url, tmp_path / "cache")
    with fsspec.open(f"{url}/data/2.npy", "wb") as file:
        np.save(file, X[2] + 100)
    fsspec.filesystem("memory").rm(f"{url}/class_names.json")
    copied.clear()
    np.testing.assert_array_equal(read(url, tmp_path / "cache")[2], X[2] + 100)
    assert copied == ["2.npy"]
    assert not list((tmp_path / "cache").rglob("class_names.json"))


@pytest.mark.parametrize("damage", ["truncated", "a bit", "a link", "removed", "manifest"])
def test_a_damaged_copy_is_replaced(url: str, tmp_path: Path, copied: list[str], damage: str) -> None:
    read(url, tmp_path / "cache")
    (path,) = (tmp_path / "cache").rglob("2.npy")
    if damage == "truncated":
        os.truncate(path, 100)
    elif damage == "a bit":
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    elif damage == "a link":
        path.rename(tmp_path / "elsewhere.npy")
        path.symlink_to(tmp_path / "elsewhere.npy")
    elif damage == "removed":
        path.unlink()
    else:
        (manifest,) = (tmp_path / "cache").glob("*/manifest.json")
        manifest.write_text("[")
    copied.clear()
    np.testing.assert_array_equal(read(url, tmp_path / "cache"), X)
    assert "2.npy" in copied
    assert len(copied) == (6 if damage == "manifest" else 1)


def test_a_touched_copy_is_hashed_and_kept(url: str, tmp_path: Path, copied: list[str]) -> None:
    read(url, tmp_path / "cache")
    (path,) = (tmp_path / "cache").rglob("2.npy")
    os.utime(path, ns=(1, 1))
    copied.clear()
    np.testing.assert_array_equal(read(url, tmp_path / "cache"), X)
    assert copied == []


def test_interrupted_copies_resume(
    url: str, tmp_path: Path, copied: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = MemoryFileSystem.open

    def fails(self: Any, path: str, *args: Any, **options: Any) -> Any:
        if path.endswith("2.npy"):
            raise ConnectionError("lost")
        return original(self, path, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(MemoryFileSystem, "open", fails)
        with pytest.raises(RecordError, match=r"memory://.*ConnectionError: lost"):
            read(url, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.name.endswith(".draft")]
    before = list(copied)
    np.testing.assert_array_equal(read(url, tmp_path / "cache"), X)
    assert "2.npy" not in before
    assert sorted(copied) == ["0.npy", "1.npy", "2.npy", "3.npy", "class_names.json", "labels.json"]


def test_a_truncated_transfer_is_refused(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = MemoryFileSystem.info
    monkeypatch.setattr(
        MemoryFileSystem,
        "info",
        lambda self, path, **options: (found := info(self, path, **options)) | {"size": (found["size"] or 0) + 1},
    )
    with pytest.raises(RecordError, match=r"\d+ of \d+ bytes"):
        read(url, tmp_path / "cache")
    files = [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert files == ["manifest.json"]


@pytest.mark.parametrize("name", ["../escape.npy", "a/../../escape.npy", "C:x.npy", "a\\b.npy"])
def test_names_stay_in_the_cache(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    system = fsspec.filesystem("memory")
    system.pipe("/evil/set/a.npy", b"1234")
    listing = {f"/evil/set/{name}": {"name": "/evil/set/a.npy", "size": 4, "type": "file"}}
    monkeypatch.setattr(MemoryFileSystem, "find", lambda *args, **options: listing)
    with pytest.raises(RecordError, match="unsafe name"):
        fetch("memory://evil/set", tmp_path / "cache")
    assert not list(tmp_path.rglob("*.npy"))


def test_copies_are_private_and_need_disk_space(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read(url, tmp_path / "cache")
    for path in (tmp_path / "cache").rglob("*.npy"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 100}))
    with pytest.raises(DataError, match="at most 100 bytes"):
        read(url, tmp_path / "other")


def test_the_environment_names_the_cache(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILFIT_CACHE", str(tmp_path / "named"))
    assert fetch(url).is_relative_to(tmp_path / "named")
    monkeypatch.delenv("TAILFIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert fetch(url).is_relative_to(tmp_path / "xdg" / "tailfit")


def test_missing_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecordError, match=r"memory://nowhere: FileNotFoundError"):
        fetch("memory://nowhere", tmp_path)
    with pytest.raises(RecordError, match=r"nosuch://set: ValueError"):
        fetch("nosuch://set", tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(PackageError, match=r"s3://set"):
        fetch("s3://set", tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "fsspec.core", None)
    with pytest.raises(PackageError, match=r"pip install 'tailfit\[remote\]'"):
        fetch("memory://set", tmp_path)


def test_a_local_url_is_not_copied(tmp_path: Path) -> None:
    save_npy_folder(tmp_path / "set", X)
    assert fetch(f"file://{tmp_path}/set", tmp_path / "cache") == tmp_path / "set"
    assert not (tmp_path / "cache").exists()


class Server(http.server.BaseHTTPRequestHandler):
    content, etag, seen = b"", '"1"', []  # type: ignore[var-annotated]

    def do_HEAD(self) -> None:
        self.send_response(200 if self.path.startswith("/set.parquet") else 404)
        self.send_header("Content-Length", str(len(self.content)))
        self.send_header("ETag", self.etag)
        self.end_headers()

    def do_GET(self) -> None:
        self.seen.append(self.path)
        self.do_HEAD()
        self.wfile.write(self.content)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://me:secret@127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_over_http(tmp_path: Path, server: str) -> None:
    import polars as pl

    frame = pl.DataFrame({"flow": [0.5, 1.5], "label": ["ok", "leak"]})
    frame.write_parquet(tmp_path / "set.parquet")
    Server.content = (tmp_path / "set.parquet").read_bytes()
    url = f"{server}/set.parquet?token=hidden"
    source = open_source(url, cache=tmp_path / "cache")
    assert isinstance(source, Parquet)
    assert source.read([1]).tolist() == [[1.5]]
    asked = len(Server.seen)
    open_source(url, cache=tmp_path / "cache")
    assert len(Server.seen) == asked  # the same ETag: not copied again
    frame.with_columns(flow=pl.col("flow") + 1).write_parquet(tmp_path / "set.parquet")
    Server.content, Server.etag = (tmp_path / "set.parquet").read_bytes(), '"2"'
    assert open_source(url, cache=tmp_path / "cache").read([1]).tolist() == [[2.5]]
    with pytest.raises(RecordError) as caught:
        open_source(f"{server}/nothing?token=hidden", cache=tmp_path / "cache")
    stored = [json.dumps(str(path)) + path.read_text("latin1") for path in (tmp_path / "cache").rglob("*.json")]
    for text in (str(caught.value), *stored):
        assert "secret" not in text
        assert "hidden" not in text


class Hostile(http.server.BaseHTTPRequestHandler):
    """A server that sends /endless without a length, /packed with unrequested compression, and /silent never."""

    sent = 0
    released = threading.Event()

    def do_HEAD(self) -> None:
        self.send_response(200)
        if self.path == "/packed.csv":
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(PACKED)))
        self.end_headers()

    def do_GET(self) -> None:
        if self.path == "/silent.csv":
            self.released.wait(30)
            return
        self.do_HEAD()
        if self.path == "/packed.csv":
            self.wfile.write(PACKED)
            return
        with contextlib.suppress(OSError):  # the client closed the connection
            for _ in range(1 << 12):
                self.wfile.write(bytes(1 << 16))
                type(self).sent += 1 << 16

    def log_message(self, *args: Any) -> None:
        pass


PACKED = gzip.compress(bytes(1 << 26))  # 64 MiB in 64 KiB


@pytest.fixture
def hostile() -> Iterator[str]:
    Hostile.released.clear()
    Hostile.sent = 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hostile) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        Hostile.released.set()
        running.shutdown()
        thread.join()


def no_part_in(folder: Path) -> bool:
    return not list(folder.rglob("*.draft")) and not list(folder.rglob("*.csv"))


def test_a_response_without_length_is_limited(hostile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk with 300 MiB, of which 256 must stay free."""
    monkeypatch.setattr(
        "shutil.disk_usage", lambda path: type("Usage", (), {"free": (300 << 20) - Hostile.sent}), raising=True
    )
    with pytest.raises(DataError, match=r"a file of unknown size of which \d+ bytes arrived"):
        fetch(f"{hostile}/endless.csv", tmp_path)
    assert Hostile.sent < 128 << 20
    assert no_part_in(tmp_path)


def test_compressed_responses_are_refused(hostile: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="unrequested compression"):
        fetch(f"{hostile}/packed.csv", tmp_path)
    assert no_part_in(tmp_path)


def test_a_server_that_never_answers(hostile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailfit.data.remote.fetching._IDLE_TIMEOUT", 1.0)
    with pytest.raises(RecordError, match=r"silent\.csv: no data from the server for 1 s"):
        fetch(f"{hostile}/silent.csv", tmp_path)
    assert no_part_in(tmp_path)


def test_drafts_of_a_killed_download_are_removed(url: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    read(url, cache)
    (copy,) = cache.rglob("2.npy")
    (copy.parent / ".2.npy.0123456789abcdef.draft").write_bytes(b"1234")
    with Draft(copy.parent / "3.npy") as at_work:
        read(url, cache)
        assert list(cache.rglob("*.draft")) == [at_work.path]
