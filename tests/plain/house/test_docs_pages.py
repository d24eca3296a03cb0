"""Pages of the documentation: links into the source, the map of the rooms, and the data of "Getting started"."""

import ast
import importlib.util
import re

import pytest
from support.page_code import run
from support.paths import ROOT

import tailfit

PAGES = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKED = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
MADE_BY_THE_SITE = ("_build/", "gallery/", "../gallery/")
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


def text_lines(page):
    """The lines of a page outside of its blocks of code."""
    inside = False
    for line in page.read_text(encoding="utf-8").splitlines():
        inside ^= line.lstrip().startswith("```")
        if not inside:
            yield line


def anchors(page):
    """The anchors of a page's headings, as GitHub and the site make them."""
    headings = [re.sub(r"[`*]", "", line.lstrip("# ")).lower() for line in text_lines(page) if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.name)
def test_links_between_pages_lead_to_files_and_headings(page):
    for link in re.findall(r"\]\(([^):\s]+)\)", "\n".join(text_lines(page))):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not path.startswith(MADE_BY_THE_SITE):
            assert target.exists(), link
            assert not anchor or target.suffix != ".md" or anchor in anchors(target), link


def test_there_are_such_links():
    page = (ROOT / "docs" / "batch-to-step.md").read_text(encoding="utf-8")
    assert len(LINK.findall(page)) > 20


def test_the_demos_picture_is_small():
    assert (ROOT / "docs" / "images" / "demo.svg").stat().st_size < 200_000


def script_of_the_docs(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def test_the_tables_about_speed_are_those_of_the_benchmarks():
    speed = script_of_the_docs("speed")
    page = speed.PAGE.read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- table: (\w+);", page)) == speed.TABLES.keys()
    assert page == speed.with_tables(page), "run python docs/speed.py"


def test_the_map_in_contributing_shows_the_imports():
    rooms = script_of_the_docs("rooms")
    page = rooms.PAGE.read_text(encoding="utf-8")

    def without_summaries(text):
        rows = [line.split("|") for line in text.splitlines() if line.startswith("| [`")]
        return [(row[1], row[-2]) for row in rows if "](src/tailfit/" in row[1]]

    shown = without_summaries(page)
    assert shown == without_summaries(rooms.with_map(page)), "run python docs/rooms.py"
    assert len(shown) > 30


def test_the_data_of_getting_started_are_written_and_opened(tmp_path, monkeypatch):
    page = ROOT / "docs" / "getting-started.md"
    assert len(run(page, tmp_path)) == 1
    layout = re.search(r"```text\nfaults/\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    files = [line.split()[0].rstrip(",") for line in layout.splitlines()]
    assert len(files) == 4
    assert all((tmp_path / "faults" / file).exists() for file in files)
    parts = tailfit.data.open("faults").split("faults/partition.json")
    assert [len(parts[name]) for name in ("train", "validation", "test")] == [245, 35, 70]
