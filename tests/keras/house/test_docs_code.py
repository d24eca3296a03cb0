"""Every block of Python code on these pages runs, and prints what the page shows."""

from pathlib import Path

import keras
import pytest
from support.page_code import differences, run
from support.paths import ROOT

DOCS = ROOT / "docs"
PAGES = [*sorted((DOCS / "guides").glob("*.md")), DOCS / "coming-from.md", DOCS / "traps.md"]


@pytest.mark.skipif(keras.__version__ < "3.15", reason="the pages show what Keras 3.15 does")
@pytest.mark.only_on("jax")  # as the pages say; others draw other random numbers
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_prints_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    for block, output in run(page, tmp_path):
        found = differences(block.output or "", output)
        assert not found, f"{page.name}, line {block.line}, renew with tests/support/page_code.py: {found}"
