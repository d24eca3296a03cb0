"""Identity of a recipe's data, computed from their files, to detect that the data of a run have changed.

Concepts:
- *names*, *times*: hashes of the names, sizes and modification times of all files that the data come from.
- *sample*: a hash of a few pieces of the contents, spread evenly, for changes that keep size and time.
- *contents*: a hash of all bytes. It is always computed for small data, and for larger data on demand (`--verify`),
  because all of the data must be read. If both identities have it, it alone decides, and times are ignored: a copy of
  the data is the same data.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tailfit.data.remote.fetching import is_url
from tailfit.storage.reading import open_regular

if TYPE_CHECKING:
    from tailfit.recipes.recipe import Recipe

__all__ = ["describe_change", "identity_of_data"]

_ALWAYS_READ: Final = 1 << 28  # bytes; data up to this size are always read completely
_PIECES: Final = 64  # number of pieces in the sample
_PIECE: Final = 1 << 12  # bytes of each piece
_NO_DATA: Final = (".html", ".log", ".md", ".py", ".txt", ".yaml", ".yml")
_RUN_FILES: Final = ("comparison.json", "lock", "run.json")  # a directory of runs inside the data's folder is skipped


class _File(NamedTuple):
    name: str
    path: str
    size: int
    time: int


def identity_of_data(recipe: "Recipe", *, verify: bool = False) -> dict[str, Any]:
    """Return the identity of a recipe's data, as JSON.

    Args:
        recipe: Recipe whose `data` is identified.
        verify: Whether to read all contents even if the data are large.
    Raises:
        OSError: If the data can't be read.

    >>> import pathlib, tempfile
    >>> from tailfit.recipes import load_recipe
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pathlib.Path(folder, "a.npy").write_bytes(b"1")
    ...     before = identity_of_data(recipe := load_recipe({"data": {"path": folder}}))
    ...     _ = pathlib.Path(folder, "a.npy").write_bytes(b"2")
    ...     describe_change(before, identity_of_data(recipe))
    'different contents'
    """
    if is_url(recipe.data.path):
        return {"url": recipe.data.path}  # downloaded once and then cached, so the contents stay the same
    files = sorted(_files_of(recipe))
    whole = verify or sum(file.size for file in files) <= _ALWAYS_READ
    return {
        "count": len(files),
        "bytes": sum(file.size for file in files),
        "names": _hash(f"{file.name}\0{file.size}" for file in files),
        "times": _hash(f"{file.name}\0{file.time}" for file in files),
        "sample": _hash(_pieces(files)),
        "contents": _hash(_contents(files)) if whole else None,
    }


def describe_change(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Describe how two identities differ; return an empty text if the data are the same."""
    if before.get("url") != now.get("url"):
        return f"{before.get('url', 'a local path')} before, {now.get('url', 'a local path')} now"
    if before.get("count") != now.get("count"):
        return f"{before.get('count')} files before, {now.get('count')} now"
    if before.get("names") != now.get("names"):
        return "different file names or sizes"
    if before.get("contents") and now.get("contents"):
        return "different contents" if before["contents"] != now["contents"] else ""
    if before.get("sample") != now.get("sample"):
        return "different contents"
    return "different modification times" if before.get("times") != now.get("times") else ""


def _files_of(recipe: "Recipe") -> Iterator[_File]:
    """Yield the files that opening the recipe's data may read: those under `path`, and those named by other keys."""
    root = recipe.folder / recipe.data.path
    named = [recipe.data.partition, *recipe.data.options.values()]
    for place, path in enumerate([root, *(recipe.folder / name for name in named if isinstance(name, str))]):
        if path.is_file():
            yield _file(f"{place}", str(path))
        elif place == 0:
            yield from _within(str(path), "0", set())


def _within(folder: str, name: str, seen: set[tuple[int, int]]) -> Iterator[_File]:
    status = os.stat(folder)
    if (status.st_dev, status.st_ino) in seen:  # a link back to an enclosing folder
        return
    with os.scandir(folder) as found:
        entries = [entry for entry in found if not entry.name.startswith(".")]
    if seen and any(entry.name in _RUN_FILES for entry in entries):
        return
    seen.add((status.st_dev, status.st_ino))
    for entry in entries:
        inside = f"{name}/{entry.name}"
        if entry.is_dir():
            yield from _within(entry.path, inside, seen)
        elif entry.is_file() and not entry.name.lower().endswith(_NO_DATA):
            yield _file(inside, entry.path)


def _file(name: str, path: str) -> _File:
    status = os.stat(path)
    return _File(name, path, status.st_size, status.st_mtime_ns)


def _pieces(files: list[_File]) -> Iterator[bytes]:
    """Yield pieces spread evenly over the concatenation of all files."""
    ends, total = [], 0
    for file in files:
        total += file.size
        ends.append(total)
    place = 0
    for piece in range(_PIECES):
        at = total * piece // _PIECES
        while place < len(files) and ends[place] <= at:
            place += 1
        if place == len(files):
            return
        with open_regular(files[place].path) as content:
            content.seek(at - (ends[place] - files[place].size))
            yield content.read(_PIECE)


def _contents(files: list[_File]) -> Iterator[bytes]:
    for file in files:
        with open_regular(file.path, file.size) as content:
            yield hashlib.file_digest(content, "blake2b").digest()


def _hash(parts: Iterator[str] | Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()[:32]
