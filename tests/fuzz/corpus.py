"""Inputs of a parser in one small file: a line each, as a JSON string where it is text, else compressed."""

import base64
import json
import zlib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["kept", "read", "write"]

HERE = Path(__file__).parent


def kept(name: str) -> list[bytes]:
    """What is kept for a parser: inputs that once broke it, and those that together reach all that was ever reached.

    Both files are read by every run of the suite. Only `corpus/` is ever written anew.
    """
    return [content for folder in ("found", "corpus") for content in read(HERE / folder / f"{name}.txt")]


def read(path: Path) -> list[bytes]:
    """The inputs in a file; none where it is not there."""
    return [_decoded(line) for line in path.read_text("ascii").splitlines()] if path.exists() else []


def write(path: Path, contents: Iterable[bytes]) -> None:
    """Write inputs to a file, sorted, each once."""
    path.write_text("".join(f"{line}\n" for line in sorted({_encoded(content) for content in contents})), "ascii")


def _encoded(content: bytes) -> str:
    text = json.dumps(content.decode("latin-1"))
    packed = base64.b85encode(zlib.compress(content, 9)).decode("ascii")
    # Text can be read, and compared line by line; it may take some more room for that.
    return text if len(text) < 2 * len(packed) else f"={packed}"


def _decoded(line: str) -> bytes:
    return zlib.decompress(base64.b85decode(line[1:])) if line[0] == "=" else json.loads(line).encode("latin-1")
