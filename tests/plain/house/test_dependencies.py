"""What the package imports: only declared distributions, and no module that imports itself through others."""

import ast
import re
import sys
import tomllib
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from pathlib import Path

import pytest
from support.paths import ROOT

PACKAGE = ROOT / "src" / "tailfit"
FILES = sorted(PACKAGE.rglob("*.py"))
# Distributions whose import name differs.
DISTRIBUTIONS = {
    "array_record": "array-record",
    "google_crc32c": "google-crc32c",
    "jaxlib": "jax",
    "ml_dtypes": "ml-dtypes",
    "PIL": "pillow",
    "ruamel": "ruamel-yaml",
    "sklearn": "scikit-learn",
}


@cache
def imported(path: Path) -> list[tuple[str, str]]:
    """Every (module, name) that a file imports, also in functions and under TYPE_CHECKING; a module has the name ""."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(str(node.module), alias.name) for alias in node.names]
    return found


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_every_import_is_of_a_declared_distribution():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    names = {re.match(r"[\w-]+", requirement)[0] for requirement in declared}
    undeclared = {
        (top, module_of(path))
        for path in FILES
        for module, _ in imported(path)
        if (top := module.split(".")[0]) not in sys.stdlib_module_names
        and DISTRIBUTIONS.get(top, top) not in names | {"tailfit"}
    }
    assert not undeclared


def cycle_of(room: str) -> list[str]:
    """A cycle among the modules of a room, or nothing."""
    modules = {module_of(path): path for path in FILES}
    inside = {module for module in modules if module.startswith(f"tailfit.{room}.")}
    graph = {
        module: {
            target
            for imported_from, name in imported(modules[module])
            for target in (imported_from, f"{imported_from}.{name}")
            if target in inside
        }
        for module in inside
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


# data: its circle goes with the move of its files into rooms.
ROOMS = sorted({path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__", "data"})


@pytest.mark.parametrize("room", ROOMS)
def test_no_module_imports_itself_through_others(room):
    assert not cycle_of(room)


@pytest.mark.parametrize("room", ["evaluation"])
def test_no_function_hides_its_module(room):
    """`from tailfit.room import *` and `help("tailfit.room.module")` must not disagree about a name."""
    init = next(path for path in FILES if module_of(path) == f"tailfit.{room}")
    modules = {path.stem for path in init.parent.glob("*.py")}
    assert not {name for _, name in imported(init)} & modules
