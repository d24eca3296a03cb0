"""Code on pages of the documentation: run block by block, and compared with the output on the page.

The Python blocks of a page run in order, in one namespace and one temporary folder. A text block that follows one, with
nothing in between, is the expected output: words must be equal, numbers nearly. A block does not run if the line above
it is a comment in Markdown with the reason: `% not run: downloads a data set`.

    KERAS_BACKEND=jax python tests/support/page_code.py docs/guides/loss.md    # write the output into the page
"""

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Block", "blocks", "differences", "run", "shell_commands", "with_output"]

FENCE = re.compile(
    r"(?:^% not run: (?P<reason>[^\n]+)\n)?"
    r"^```python\n(?P<code>.*?)^```$"
    r"(?:\n\n?^```text\n(?P<output>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:\.\d*)?(?:e[+-]?\d+)?(?![\w])")


@dataclass(frozen=True)
class Block:
    """One block of code.

    Args:
        line: Line of the page that its first statement is on, from 1.
        code: The code.
        output: The output that the page shows, or None.
        reason: Why it does not run, or None.
    """

    line: int
    code: str
    output: str | None = None
    reason: str | None = None


def blocks(page: Path) -> list[Block]:
    """Return the blocks of Python code of a page."""
    text = page.read_text(encoding="utf-8")
    found = FENCE.finditer(text)
    return [
        Block(text.count("\n", 0, match.start("code")) + 1, match["code"], match["output"], match["reason"])
        for match in found
    ]


def shell_commands(page: Path) -> list[list[str]]:
    """Return the words of each command after `$` in the console blocks of a page, without comments, pipes and `&`."""
    text = "\n".join(re.findall(r"^```console\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))
    lines = re.findall(r"^\$ (.*)", text.replace("\\\n", " "), re.MULTILINE)
    return [shlex.split(re.split(r" [|&>]", line)[0], comments=True) for line in lines]


@contextlib.contextmanager
def _within(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def run(page: Path, folder: Path, known: dict[str, Any] | None = None) -> list[tuple[Block, str]]:
    """Run the blocks of a page in a folder, and return each with what it has printed.

    Args:
        page: The page.
        folder: Current folder of the code.
        known: Namespace of the code; afterwards it has the names that the page has defined.
    """
    known = {} if known is None else known
    known.setdefault("__name__", "page")
    printed = []
    with _within(folder):
        for block in blocks(page):
            if block.reason is None:
                # Empty lines first, so that a traceback shows the line of the page.
                code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
                with contextlib.redirect_stdout(io.StringIO()) as output:
                    exec(code, known)
                printed.append((block, output.getvalue()))
    return printed


def differences(expected: str, found: str) -> list[str]:
    """Compare two outputs word by word.

    Whitespace does not count. Whole numbers must be equal; others may differ by 2 %, or two units of the last digit.
    """
    if NUMBER.sub("0", expected).split() != NUMBER.sub("0", found).split():
        return [f"expected\n{expected}\nfound\n{found}"]
    pairs = zip(NUMBER.findall(expected), NUMBER.findall(found), strict=True)
    return [f"expected {shown}, found {now} in\n{found}" for shown, now in pairs if not _close(shown, now)]


def _close(shown: str, now: str) -> bool:
    if shown == now:
        return True
    if not re.search("[.e]", shown):
        return False
    digits = len(re.sub(r"e.*", "", shown).partition(".")[2])
    exponent = int(shown.partition("e")[2] or 0)
    return abs(float(shown) - float(now)) <= max(0.02 * abs(float(shown)), 2.001 * 10.0 ** (exponent - digits))


def with_output(page: Path) -> str:
    """Return the text of a page with the output of each block written into it."""
    with tempfile.TemporaryDirectory() as folder:
        printed = iter(run(page.resolve(), Path(folder)))

    def written(match: re.Match[str]) -> str:
        if match["reason"] is not None:
            return match[0]
        _, output = next(printed)
        code = f"```python\n{match['code']}```"
        return f"{code}\n\n```text\n{_wrapped(output)}\n```" if output.strip() else code

    return FENCE.sub(written, page.read_text(encoding="utf-8"))


def _wrapped(output: str) -> str:
    lines = (textwrap.wrap(line, 120, subsequent_indent="    ", break_long_words=False) for line in output.splitlines())
    return "\n".join("\n".join(line) for line in lines)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        changed = with_output(Path(name))
        Path(name).write_text(changed, encoding="utf-8")
