"""A local cache of data sets at URLs, compared with the server each time a data set is opened.

Concepts:
- *tag*: the server's description of a file's content: an ETag, a checksum, or the modification time.
- *manifest*: a file next to the copies with the size, tag, SHA-256 and local modification time of each file. A copy
  with the same size and time is trusted; if only the time differs, it is hashed; a copy that does not match is fetched
  again.

Only URLs that the user named are opened, and only files that the server lists below them. A transfer is limited by the
announced size, else by the free disk space. Over HTTP, a minute without a byte aborts the transfer, and bytes are
stored as sent, without decompression.

fsspec's own `filecache` does not replace this module: it renames files to hashes, so that readers of folders can't open
them; it keeps files that the server has deleted; and it neither notices a file that changes during the copy or a
damaged copy, nor limits the size of a transfer.
"""

import contextlib
import hashlib
import json
import os
import posixpath
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from tailfit.data.remote.downloading import copy_stream
from tailfit.data.tables.ids import check_id
from tailfit.errors import DataError, PackageError, RecordError, TailfitError
from tailfit.extras import needed
from tailfit.storage.json_text import read_object
from tailfit.storage.locking import one_at_a_time
from tailfit.storage.reading import digest_of
from tailfit.storage.writing import Draft, is_draft, remove_abandoned, write_parts

__all__ = ["fetch", "http_options", "is_url", "without_secrets"]

_URL = re.compile(r"[A-Za-z][\w+.-]+(://|::)")  # at least two letters, because "C:" is a drive
_ATTEMPTS = 2
_SAVE_INTERVAL = 5.0  # seconds between two writes of the manifest
_MAX_MANIFEST_BYTES = 1 << 30
_IDLE_TIMEOUT = 60.0  # seconds without a byte from an HTTP server
_TAGS = ("ETag", "etag", "sha256", "md5", "md5Hash", "content_md5", "checksum", "blob_id", "generation", "uid")
_TIMES = ("LastModified", "last_modified", "mtime", "modified", "updated", "created")


@dataclass(frozen=True)
class _Copy:
    """The manifest's entry of a copied file."""

    size: int
    tag: str
    sha256: str
    mtime_ns: int


def is_url(path: str | PathLike[str]) -> bool:
    """Return whether a path is a URL.

    >>> is_url("s3://bucket/set"), is_url("zip::https://host/set.zip"), is_url("C:/set"), is_url("set")
    (True, True, False, False)
    """
    return _URL.match(fspath(path)) is not None


def http_options(url: str) -> dict[str, Any]:
    """Return options for fsspec that limit an HTTP server; an empty dict for other protocols.

    By default aiohttp allows five minutes for a whole file and any time between two bytes, and decompresses responses
    of any size.

    >>> sorted(http_options("zip::https://host/set.zip")), http_options("s3://bucket/set")
    (['https'], {})
    """
    protocols = sorted(set(re.findall(r"(?:^|::)(https?)://", url)))
    if not protocols:
        return {}
    timeout = needed("aiohttp", "remote", without_secrets(url)).ClientTimeout(
        total=None, sock_connect=_IDLE_TIMEOUT, sock_read=_IDLE_TIMEOUT
    )
    client = {"timeout": timeout, "auto_decompress": False, "headers": {"Accept-Encoding": "identity"}}
    return {protocol: {"client_kwargs": client} for protocol in protocols}


def fetch(url: str, cache: str | PathLike[str] | None = None) -> Path:
    """Create or update the local copy of a file or folder, and return its path.

    Args:
        url: URL that fsspec can open.
        cache: Folder of the copies. Default: the environment variable `TAILFIT_CACHE`, or else `tailfit` in the user's
            cache folder.
    Raises:
        RecordError: If the file does not exist, is cut off, changes while it is copied, or has an unsafe name. The
            message begins with the URL.
        DataError: If the disk is too small.
        PackageError: If fsspec or the package for the protocol is not installed.

    >>> import fsspec, tempfile
    >>> with fsspec.open("memory://pumps/a.bin", "wb") as file:
    ...     _ = file.write(b"1234")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fetch("memory://pumps", folder).joinpath("a.bin").read_bytes()
    b'1234'
    """
    name = without_secrets(url)
    with _errors_with(url, name):
        system, path = needed("fsspec.core", "remote", name).url_to_fs(url, **http_options(url))
        if "file" in (system.protocol if isinstance(system.protocol, tuple) else (system.protocol,)):
            return Path(path)
        folder = _cache_folder(cache) / hashlib.sha256(url.encode()).hexdigest()[:32]
        target = folder / (_safe(posixpath.basename(path.split("?")[0].rstrip("/")) or "data", name))
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with one_at_a_time(folder.with_suffix(".lock")):  # of several workers, one copies
            _update(system, path, folder, target, name)
        return target


def _update(system: Any, path: str, folder: Path, target: Path, name: str) -> None:
    """Make the copy at `target` equal to what the server has now."""
    remove_abandoned(folder)
    remote = _list_remote(system, path, name)
    known = _read_manifest(folder / "manifest.json")
    stale = {part: file for part, file in remote.items() if not _is_current(target, part, known.get(part), file)}
    _check_disk_space(folder, stale, name)
    kept = {part: copy for part, copy in known.items() if part in remote and part not in stale}
    _remove_deleted(target, set(remote))
    written = time.monotonic()
    try:
        for part, file in stale.items():
            kept[part] = _copy_file(system, file, _local(target, part), f"{name}/{part}".rstrip("/"))
            if time.monotonic() - written > _SAVE_INTERVAL:  # so that a kill loses only this much work
                _write_manifest(folder / "manifest.json", kept)
                written = time.monotonic()
    finally:
        _write_manifest(folder / "manifest.json", kept)


def _list_remote(system: Any, path: str, shown: str) -> dict[str, dict[str, Any]]:
    """Return the server's information on each file by its path below the URL; `""` if the URL is a file."""
    info = _info(system, path)
    if info["type"] != "directory":
        return {"": info}
    root = system._strip_protocol(path).rstrip("/")
    found = {full[len(root) :].lstrip("/"): file for full, file in system.find(path, detail=True).items()}
    for name in found:
        for part in name.split("/"):
            _safe(part, shown)
    if not found:
        raise RecordError(
            f"{shown}: a folder without files", expected="a file or a folder of files", fix="check the URL"
        )
    return found


def _info(system: Any, path: str) -> dict[str, Any]:
    system.invalidate_cache()  # fsspec would answer from its listing of an earlier call
    info: dict[str, Any] = system.info(path)
    return info


def _safe(name: str, shown: str) -> str:
    try:
        check_id(name)
    except DataError as error:
        raise RecordError(
            f"{shown}: a file with the unsafe name {name!r}", expected=error.expected, fix="rename it on the server"
        ) from None
    return name


def _local(target: Path, name: str) -> Path:
    return target.joinpath(*name.split("/")) if name else target


def _tag(file: Mapping[str, Any]) -> str:
    found = next((name for name in (*_TAGS, *_TIMES) if file.get(name) is not None), None)
    return "" if found is None else f"{found} {file[found]}"


def _is_current(target: Path, name: str, copy: _Copy | None, file: Mapping[str, Any]) -> bool:
    if copy is None or copy.tag != _tag(file) or file.get("size") not in (copy.size, None):
        return False
    local = _local(target, name)
    try:
        found = local.lstat()
    except OSError:
        return False
    if local.is_symlink() or found.st_size != copy.size:
        return False
    return found.st_mtime_ns == copy.mtime_ns or _sha256(local) == copy.sha256


def _sha256(path: Path) -> str:
    return str(digest_of(path)["sha256"])


def _copy_file(system: Any, file: Mapping[str, Any], local: Path, shown: str) -> _Copy:
    local.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(_ATTEMPTS):
        before = _info(system, file["name"])
        with Draft(local, private=True, sweep=False) as draft:
            with system.open(file["name"], "rb") as remote:
                size, digest = copy_stream(remote, draft.file, before.get("size"), local.parent, shown)
            if before.get("size") in (size, None) and _tag(_info(system, file["name"])) == _tag(before):
                draft.place()
                return _Copy(size, _tag(file), digest, local.stat().st_mtime_ns)
    raise RecordError(
        f"{shown}: {size} of {before.get('size')} bytes, or a file that changed during the copy ({_ATTEMPTS} attempts)",
        expected="a complete file that does not change while it is copied",
        fix="try again later",
    )


def _check_disk_space(folder: Path, files: Mapping[str, Mapping[str, Any]], shown: str) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    needed_bytes, free = sum(file.get("size") or 0 for file in files.values()), shutil.disk_usage(folder).free
    if needed_bytes > free:
        raise DataError(
            f"{shown}: {needed_bytes} bytes to copy to {folder}",
            expected=f"at most {free} bytes, the free disk space",
            fix="pass a folder on a larger disk as cache=, or free disk space",
        )


def _remove_deleted(target: Path, names: set[str]) -> None:
    """Delete copies of files that the server no longer has, which must not be read as part of the data set."""
    if not target.is_dir():
        return
    for path in [path for path in target.rglob("*") if path.is_symlink() or not path.is_dir()]:
        # Keep drafts, which a different process may be writing.
        if path.relative_to(target).as_posix() not in names and not is_draft(path.name):
            path.unlink()


def _read_manifest(path: Path) -> dict[str, _Copy]:
    """Read the manifest; an unreadable one counts as empty, so that all files are fetched again."""
    try:
        content = read_object(path, _MAX_MANIFEST_BYTES)
        return {str(name): _Copy(**copy) for name, copy in content["files"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _write_manifest(path: Path, copies: Mapping[str, _Copy]) -> None:
    text = json.dumps({"files": {name: asdict(copy) for name, copy in copies.items()}}, indent=1)
    write_parts(path, [text.encode()], private=True)


def _cache_folder(cache: str | PathLike[str] | None) -> Path:
    if cache is not None:
        return Path(cache)
    given = os.environ.get("TAILFIT_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tailfit"


def without_secrets(url: str) -> str:
    """Return the URL without its user name, password and query, which may be secret.

    >>> without_secrets("https://me:pass@host/set.parquet?token=1")
    'https://host/set.parquet'
    """
    return re.sub(r"//[^/@]*@", "//", url.split("?")[0])


@contextlib.contextmanager
def _errors_with(url: str, shown: str) -> Iterator[None]:
    """Convert errors of the libraries behind fsspec to a `RecordError` that names the URL."""
    try:
        yield
    except TailfitError:
        raise
    except ImportError as error:
        raise PackageError(
            f"{shown}: {error}", expected="the package for this protocol installed", fix="install it with pip"
        ) from error
    except Exception as error:
        if _timed_out(error):
            raise RecordError(
                f"{shown}: no data from the server for {_IDLE_TIMEOUT:g} s",
                expected="a server that responds",
                fix="check the URL and the network, or try again later",
            ) from error
        what = (str(error).splitlines() or [""])[0].replace(url, shown)
        raise RecordError(
            f"{shown}: {type(error).__name__}: {what}",
            expected="a readable file or folder",
            fix="check the URL, the network and your credentials",
        ) from error


def _timed_out(error: BaseException | None) -> bool:
    """Return whether a timeout caused an error; fsspec reports some timeouts as a missing file."""
    return error is not None and (isinstance(error, TimeoutError) or _timed_out(error.__cause__ or error.__context__))
