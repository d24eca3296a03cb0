"""What a recipe's data are, told from their files, so that runs on other data are not taken for runs on the same.

Concepts:
- *files*: name, size and time of change of every file that the recipe's data come from.
- *sample*: a few pieces of their contents, spread evenly: for data changed by what keeps size and time.
- *contents*: of all their bytes. Always taken of small data, of larger ones on demand (`--verify`): it takes reading
  them. Where two identities both have it, it alone decides, and times do not matter: copied data are the same.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tailfit.data.remote.fetching import is_url
from tailfit.storage.reading import open_regular

if TYPE_CHECKING:
    from tailfit.recipes.recipe import Recipe

__all__ = ["changed_data", "identity_of_data"]

_ALWAYS_READ: Final = 1 << 28  # bytes of data that are read whole without being asked to
_PIECES: Final = 64  # of the sample
_PIECE: Final = 1 << 12  # bytes of each
_NO_DATA: Final = (".html", ".log", ".md", ".py", ".txt", ".yaml", ".yml")
_OURS: Final = ("comparison.json", "lock", "run.json")  # in a directory of runs, which may lie within the data's


class _File(NamedTuple):
    name: str
    path: str
    size: int
    time: int


def identity_of_data(recipe: "Recipe", *, verify: bool = False) -> dict[str, Any]:
    """The identity of a recipe's data, as JSON.

    Args:
        recipe: Its `data` says where they are.
        verify: Whether to read all contents, however large.
    Raises:
        OSError: where they can't be read.

    >>> import pathlib, tempfile
    >>> from tailfit.recipes import load_recipe
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pathlib.Path(folder, "a.npy").write_bytes(b"1")
    ...     before = identity_of_data(recipe := load_recipe({"data": {"path": folder}}))
    ...     _ = pathlib.Path(folder, "a.npy").write_bytes(b"2")
    ...     changed_data(before, identity_of_data(recipe))
    'other contents'
    """
    if is_url(recipe.data.path):
        return {"url": recipe.data.path}  # fetched once, and kept
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


def changed_data(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say how data differ from what they were; empty where they are the same."""
    if before.get("url") != now.get("url"):
        return f"{before.get('url', 'a path')} before, {now.get('url', 'a path')} now"
    if before.get("count") != now.get("count"):
        return f"{before.get('count')} files before, {now.get('count')} now"
    if before.get("names") != now.get("names"):
        return "other files, or files of other sizes"
    if before.get("contents") and now.get("contents"):
        return "other contents" if before["contents"] != now["contents"] else ""
    if before.get("sample") != now.get("sample"):
        return "other contents"
    return "files that were written anew" if before.get("times") != now.get("times") else ""


def _files_of(recipe: "Recipe") -> Iterator[_File]:
    """What is opened for the recipe: all in its path that can be data, and files that it names elsewhere."""
    root = recipe.folder / recipe.data.path
    named = [recipe.data.partition, *recipe.data.options.values()]
    for place, path in enumerate([root, *(recipe.folder / name for name in named if isinstance(name, str))]):
        if path.is_file():
            yield _file(f"{place}", str(path))
        elif place == 0:
            yield from _within(str(path), "0", set())


def _within(folder: str, name: str, seen: set[tuple[int, int]]) -> Iterator[_File]:
    known = os.stat(folder)
    if (known.st_dev, known.st_ino) in seen:  # a link to a folder around it
        return
    with os.scandir(folder) as found:
        entries = [entry for entry in found if not entry.name.startswith(".")]
    if seen and any(entry.name in _OURS for entry in entries):
        return
    seen.add((known.st_dev, known.st_ino))
    for entry in entries:
        inside = f"{name}/{entry.name}"
        if entry.is_dir():
            yield from _within(entry.path, inside, seen)
        elif entry.is_file() and not entry.name.lower().endswith(_NO_DATA):
            yield _file(inside, entry.path)


def _file(name: str, path: str) -> _File:
    known = os.stat(path)
    return _File(name, path, known.st_size, known.st_mtime_ns)


def _pieces(files: list[_File]) -> Iterator[bytes]:
    """Pieces spread evenly over all bytes, as if the files were one."""
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
    known = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        known.update(len(content).to_bytes(8, "little") + content)
    return known.hexdigest()[:32]
