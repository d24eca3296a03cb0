"""Pages that name modules: each link into the source leads to a file that defines the name."""

import ast
import re

import pytest
from support.paths import ROOT

PAGES = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\[`([^`\]]+)`\]\((?:\.\./)?(src/tailfit/[^)]+)\)")


def defined_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    assigned = [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
    return names | {target.id for target in assigned if isinstance(target, ast.Name)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_into_the_source_lead_to_what_they_name(page):
    for name, path in LINK.findall(page.read_text(encoding="utf-8")):
        assert (ROOT / path).exists(), f"{name}: no {path}"
        if not name.endswith((".py", "/")):
            assert set(name.split(".")) <= defined_in(path), f"{path} defines no {name}"


def test_there_are_such_links():
    page = (ROOT / "docs" / "batch-to-step.md").read_text(encoding="utf-8")
    assert len(LINK.findall(page)) > 20


def test_the_demos_picture_is_small():
    assert (ROOT / "docs" / "images" / "demo.svg").stat().st_size < 200_000
