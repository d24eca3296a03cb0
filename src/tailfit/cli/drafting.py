"""`tailfit init`."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from tailfit.cli.data import reader_options
from tailfit.cli.next_steps import print_next
from tailfit.cli.progress import count_bar
from tailfit.errors import ArgumentError
from tailfit.recipes.drafting import draft_recipe
from tailfit.storage.writing import write_text
from tailfit.terminal import PlainConsole

__all__ = ["run_init"]


def run_init(data: str, out: Path | None, options: Sequence[str]) -> None:
    """Write a recipe for a data set, and print what to do next."""
    given = reader_options(options)
    path = out or Path(f"{Path(data.rstrip('/')).stem or 'recipe'}.yaml")
    if path.exists() or path.is_symlink():
        raise ArgumentError(f"{path}, which exists", expected="a new file", fix="choose a different name with --out")
    with count_bar("reading") as progress:
        text = draft_recipe(data, path.parent.absolute(), options=given, progress=progress)
    write_text(path, text)
    console = PlainConsole()
    console.print(f"Written: {path}. Look at its comments, then train", soft_wrap=True)
    file = shlex.quote(str(path))
    print_next(console, [(f"tailfit train {file}", "one model"), (f"tailfit compare {file}", "which remedies help")])
