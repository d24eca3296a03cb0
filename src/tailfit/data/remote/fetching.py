"""Data sets behind a URL: copied once into a local folder, and compared with what is there each time they are opened.

Concepts:
- *tag*: what the server says of a file's content: an ETag, a checksum, or the time of its change.
- *manifest*: beside the copies, of each file its size and tag there, its SHA-256, and its time of change here. A copy
  whose size and time are as they were is trusted; one that was touched is hashed; what does not match is fetched again.

Only URLs that the user named are opened, and only files that the server lists below them. What a server sends is
bounded by the size it announced, else by the free room. Over HTTP a minute without a byte ends the copy, and bytes are
kept as sent, never decompressed.
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

from tailfit.data.remote.downloading import received
from tailfit.data.tables.ids import check_id
from tailfit.errors import DataError, PackageError, RecordError, TailfitError
from tailfit.extras import needed
from tailfit.storage.json_text import read_object
from tailfit.storage.reading import digest_of
from tailfit.storage.writing import Draft, is_draft, remove_abandoned, write_parts

__all__ = ["fetched", "http_options", "is_url", "without_secrets"]

_URL = re.compile(r"[A-Za-z][\w+.-]+(://|::)")  # two letters or more: "C:" is a drive
_TRIES = 2
_SECONDS = 5.0  # between two writings of the manifest
_MOST_MANIFEST = 1 << 30  # bytes
_IDLE = 60.0  # seconds that an HTTP server may send nothing
_TAGS = ("ETag", "etag", "sha256", "md5", "md5Hash", "content_md5", "checksum", "blob_id", "generation", "uid")
_TIMES = ("LastModified", "last_modified", "mtime", "modified", "updated", "created")


@dataclass(frozen=True)
class _Copy:
    """A line of the manifest."""

    size: int
    tag: str
    sha256: str
    mtime_ns: int


def is_url(path: str | PathLike[str]) -> bool:
    """Whether a path is one.

    >>> is_url("s3://bucket/set"), is_url("zip::https://host/set.zip"), is_url("C:/set"), is_url("set")
    (True, True, False, False)
    """
    return _URL.match(fspath(path)) is not None


def http_options(url: str) -> dict[str, Any]:
    """Options for fsspec that bound what an HTTP server can do; none for other protocols.

    aiohttp's own limits are five minutes for a whole file and none between two bytes, and it unpacks what is sent
    compressed, whatever its size.

    >>> sorted(http_options("zip::https://host/set.zip")), http_options("s3://bucket/set")
    (['https'], {})
    """
    protocols = sorted(set(re.findall(r"(?:^|::)(https?)://", url)))
    if not protocols:
        return {}
    timeout = needed("aiohttp", "remote", without_secrets(url)).ClientTimeout(
        total=None, sock_connect=_IDLE, sock_read=_IDLE
    )
    client = {"timeout": timeout, "auto_decompress": False, "headers": {"Accept-Encoding": "identity"}}
    return {protocol: {"client_kwargs": client} for protocol in protocols}


def fetched(url: str, cache: str | PathLike[str] | None = None) -> Path:
    """The local copy of a file or folder, made or brought up to date.

    Args:
        url: What fsspec opens.
        cache: Folder of the copies; the environment's `TAILFIT_CACHE` without it, else `tailfit` in the user's cache.
    Raises:
        RecordError: beginning with the URL: not there, cut off, changed while it was copied, or of unsafe names.
        DataError: if there is no room for it on the disk.
        PackageError: without fsspec, or the package that its protocol needs.

    >>> import fsspec, tempfile
    >>> with fsspec.open("memory://pumps/a.bin", "wb") as file:
    ...     _ = file.write(b"1234")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fetched("memory://pumps", folder).joinpath("a.bin").read_bytes()
    b'1234'
    """
    name = without_secrets(url)
    with _named(url, name):
        system, path = needed("fsspec.core", "remote", name).url_to_fs(url, **http_options(url))
        if "file" in (system.protocol if isinstance(system.protocol, tuple) else (system.protocol,)):
            return Path(path)
        folder = _cache_folder(cache) / hashlib.sha256(url.encode()).hexdigest()[:32]
        target = folder / (_safe(posixpath.basename(path.split("?")[0].rstrip("/")) or "data", name))
        remove_abandoned(folder)
        there = _listed(system, path, name)
        known = _read_manifest(folder / "manifest.json")
        stale = {part: file for part, file in there.items() if not _is_current(target, part, known.get(part), file)}
        _check_room(folder, stale, name)
        kept = {part: copy for part, copy in known.items() if part in there and part not in stale}
        _remove_others(target, set(there))
        written = time.monotonic()
        try:
            for part, file in stale.items():
                kept[part] = _copied(system, file, _local(target, part), f"{name}/{part}".rstrip("/"))
                if time.monotonic() - written > _SECONDS:  # what a kill at any moment may cost
                    _write_manifest(folder / "manifest.json", kept)
                    written = time.monotonic()
        finally:
            _write_manifest(folder / "manifest.json", kept)
        return target


def _listed(system: Any, path: str, shown: str) -> dict[str, dict[str, Any]]:
    """What the server says of each file, by its path below the URL; `""` where that is the file itself."""
    info = _info(system, path)
    if info["type"] != "directory":
        return {"": info}
    root = system._strip_protocol(path).rstrip("/")
    found = {full[len(root) :].lstrip("/"): file for full, file in system.find(path, detail=True).items()}
    for name in found:
        for part in name.split("/"):
            _safe(part, shown)
    if not found:
        raise RecordError(f"{shown}: no file", expected="a file, or a folder of files", fix="check the URL")
    return found


def _info(system: Any, path: str) -> dict[str, Any]:
    system.invalidate_cache()  # what it was told before is not what is there now
    info: dict[str, Any] = system.info(path)
    return info


def _safe(name: str, shown: str) -> str:
    try:
        check_id(name)
    except DataError as error:
        raise RecordError(
            f"{shown}: a file of the unsafe name {name!r}", expected=error.expected, fix="rename it"
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


def _copied(system: Any, file: Mapping[str, Any], local: Path, shown: str) -> _Copy:
    local.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(_TRIES):
        before = _info(system, file["name"])
        with Draft(local, private=True) as draft:
            with system.open(file["name"], "rb") as remote:
                size, digest = received(remote, draft.file, before.get("size"), local.parent, shown)
            if before.get("size") in (size, None) and _tag(_info(system, file["name"])) == _tag(before):
                draft.place()
                return _Copy(size, _tag(file), digest, local.stat().st_mtime_ns)
    raise RecordError(
        f"{shown}: {size} bytes came of {before.get('size')}, or it changed meanwhile ({_TRIES} attempts)",
        expected="a file that stays as it is while it is copied",
        fix="try again",
    )


def _check_room(folder: Path, files: Mapping[str, Mapping[str, Any]], shown: str) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    wanted, free = sum(file.get("size") or 0 for file in files.values()), shutil.disk_usage(folder).free
    if wanted > free:
        raise DataError(
            f"{shown}: {wanted} bytes to copy to {folder}", expected=f"the {free} bytes free there", fix="pass cache="
        )


def _remove_others(target: Path, names: set[str]) -> None:
    """What the server has no more must not be read as part of the set."""
    if not target.is_dir():
        return
    for path in [path for path in target.rglob("*") if path.is_symlink() or not path.is_dir()]:
        # Another process may be writing a draft.
        if path.relative_to(target).as_posix() not in names and not is_draft(path.name):
            path.unlink()


def _read_manifest(path: Path) -> dict[str, _Copy]:
    """An unreadable one is none: all is fetched again."""
    try:
        content = read_object(path, _MOST_MANIFEST)
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
    """The URL without what may be a secret: a user's name and password, and its query.

    >>> without_secrets("https://me:pass@host/set.parquet?token=1")
    'https://host/set.parquet'
    """
    return re.sub(r"//[^/@]*@", "//", url.split("?")[0])


@contextlib.contextmanager
def _named(url: str, shown: str) -> Iterator[None]:
    """Errors of the many libraries behind fsspec as one that names the URL."""
    try:
        yield
    except TailfitError:
        raise
    except ImportError as error:
        raise PackageError(f"{shown}: {error}", expected="that package installed", fix="pip install it") from error
    except Exception as error:
        if _timed_out(error):
            raise RecordError(
                f"{shown}: no byte for {_IDLE:g} s",
                expected="a server that answers",
                fix="check the URL and the network, or try again later",
            ) from error
        what = (str(error).splitlines() or [""])[0].replace(url, shown)
        raise RecordError(
            f"{shown}: {type(error).__name__}: {what}",
            expected="a file or folder that can be read",
            fix="check the URL, the network and your credentials",
        ) from error


def _timed_out(error: BaseException | None) -> bool:
    """Whether a timeout lies behind an error; fsspec reports some as a file that is not there."""
    return error is not None and (isinstance(error, TimeoutError) or _timed_out(error.__cause__ or error.__context__))
