"""Imports: of declared distributions only, of names that exist, and none that hides a module of the same name."""

import ast
import re
import sys
import tomllib
from functools import cache
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
    "mlflow": "mlflow-skinny",
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


ROOMS = [path.parent for path in FILES if path.name == "__init__.py" and path.parent.name != "tailfit"]


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(PACKAGE)))
def test_no_function_hides_its_module(room):
    """`tailfit.room.name` is a function or a module, whichever of the two was imported first."""
    modules = {path.stem for path in room.iterdir()}
    assert not {name for _, name in imported(room / "__init__.py")} & modules


OUTSIDE = [path for folder in ("tests", "benchmarks", "examples", "docs") for path in (ROOT / folder).rglob("*.py")]


@cache
def defined(module: str) -> set[str]:
    """Return every name that a module of tailfit defines or imports, at any level; submodules for a package."""
    place = PACKAGE.parent.joinpath(*module.split("."))
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    names = {entry.stem for entry in place.iterdir()} if place.is_dir() else set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def test_names_imported_from_the_package_exist():
    """Types are checked in src only; a benchmark, or a test of one backend, may not run for a long time."""
    modules = {module_of(path) for path in FILES}
    missing = [
        (str(path.relative_to(ROOT)), module, name)
        for path in OUTSIDE
        for module, name in imported(path)
        if module.split(".")[0] == "tailfit" and (module not in modules or (name and name not in defined(module)))
    ]
    assert not missing
