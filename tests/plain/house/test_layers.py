"""The house rules that a parser can check: imports point one way, files say what they offer, backends stay apart."""

import ast
import functools
import graphlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.paths import ROOT

PACKAGE = ROOT / "src" / "tailfit"

# Rooms from left to right: a room imports only rooms further left, and itself. A dotted name is a room inside a room.
ORDER = [
    {"contexts", "hashing", "lazy", "memory", "text"},
    {"errors", "registration", "terminal"},
    {"names", "extras", "storage", "workers", "notebook"},
    {"labels", "keras_private", "processes", "ray_cluster", "whole_calls"},
    {"schedules"},
    {"arguments"},
    {"samplers", "weights", "layers", "augment"},
    {"targets", "counting", "deferring", "hyperparameters"},
    {"losses"},
    {"metrics"},
    {"data.records", "data.files"},
    {"data.tables"},
    {"data.remote", "data.grouping"},
    {"data.splitting"},
    {"data.source"},
    {"data.sources", "data.changes", "data.breakdown"},
    {"data.writing"},
    {"data.opening", "data.inspecting", "data.folding"},
    {"data.feeding"},
    {"data"},  # its names for users: `tailfit.data.NpyFolder`
    {"training"},
    {"stages", "steps"},
    {"networks"},
    {"resume", "tracking"},
    {"callbacks"},
    {"posthoc", "evaluation"},
    {"sklearn"},
    {"recipes"},
    {"distributed", "exporting"},
    {"diagnosis"},
    {"cli"},
    {"__main__"},
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
BACKENDS = {"jax", "jaxlib", "tensorflow", "torch"}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of_module(parts: Sequence[str]) -> str:
    """The innermost room of a module, given by the parts of its name below `tailfit`."""
    inner = ".".join(parts[:2])
    return inner if inner in RANK else parts[0]


def room_of(path: Path) -> str:
    return room_of_module([part.removesuffix(".py") for part in path.relative_to(PACKAGE).parts])


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imports(path: Path) -> list[tuple[str, int]]:
    """Every absolute module that a file imports, wherever it does so."""
    found = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return found


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_one_way(path):
    room = room_of(path)
    if room in {"__init__", "_examples"}:
        return
    assert room in RANK, f"{room}: give the new room its place in ORDER"
    for module, line in imports(path):
        parts = module.split(".")
        if parts[0] != "tailfit" or len(parts) == 1 or parts[1] == "__version__":
            continue
        target = room_of_module(parts[1:])
        assert target in RANK, f"{path}:{line} imports {module}: name the room it lives in"
        allowed = target == room or RANK[target] < RANK[room]
        assert allowed, f"{path}:{line}: {room} imports {target}, which is not left of it"


def module_of(path: Path) -> str:
    return ".".join(["tailfit", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")


def test_no_module_imports_itself_in_a_circle():
    """Also not under TYPE_CHECKING or within a function. The `__init__` of a room lists its names: it is left out."""
    modules = {module_of(path): path for path in FILES if path.name != "__init__.py"}
    graph = {}
    for module, path in modules.items():
        named = {name for name, _ in imports(path)}
        graph[module] = {other for other in modules if other in named or any(n.startswith(f"{other}.") for n in named)}
        graph[module].discard(module)
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"circle of imports: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_backends_are_imported_in_their_rooms_only(path):
    inside = path.is_relative_to(PACKAGE / "training" / "backends") or path.name == "interop.py"
    if not inside:
        wrong = [(module, line) for module, line in imports(path) if module.split(".")[0] in BACKENDS]
        assert not wrong, f"{path}: {wrong}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_say_what_they_are_and_offer(path):
    tree = tree_of(path)
    offered = [
        target.id
        for node in tree.body
        for target in (node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)])
        if isinstance(target, ast.Name)
    ]
    assert "__all__" in offered, f"{path} has no __all__ (ruff keeps it sorted)"
    assert ast.get_docstring(tree), f"{path} has no module docstring"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_stay_small_and_without_asserts(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 500, f"{path}: over 500 lines"
    asserts = [node.lineno for node in ast.walk(tree_of(path)) if isinstance(node, ast.Assert)]
    assert not asserts, f"{path}: assert vanishes under -O, raise an error of tailfit.errors"


def lazy_names(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The homes of the names that a package imports on first use: at run time, and for type checkers."""
    package = ".".join(path.parent.relative_to(PACKAGE.parent).parts)
    at_run_time, for_checkers = {}, {}
    for node in tree_of(path).body:
        if isinstance(node, ast.Assign) and "lazy_attributes(" in ast.unparse(node.value):
            at_run_time = ast.literal_eval(node.value.args[1])
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for each in node.body:
                for alias in each.names:
                    submodule = each.module == package
                    for_checkers[alias.name] = f"{package}.{alias.name}" if submodule else each.module
    return at_run_time, for_checkers


@pytest.mark.parametrize("path", [path for path in FILES if path.name == "__init__.py"], ids=name_of)
def test_names_imported_on_first_use_are_those_that_type_checkers_see(path):
    at_run_time, for_checkers = lazy_names(path)
    assert at_run_time == for_checkers
    if path.parent == PACKAGE:
        assert len(at_run_time) > 20


KERAS_ROOMS = {"keras_private.py", "data/feeding/keras_loops.py"}
OTHERS_NAMES = {  # names with an underscore that are not Keras': what they are, and of which library
    "_getframe": "sys",
    "_strip_protocol": "fsspec: documented for file systems",
    "_replace": "namedtuple: public",
}


def may_use_private_names(name: str) -> bool:
    return name in KERAS_ROOMS or name.startswith("training/backends/")


def private_names() -> tuple[set[str], list[tuple[str, str, int]]]:
    """Private names that tailfit itself defines, and (name, file, line) of all private names that it reads."""
    defined: set[str] = set()
    read = []
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Store):
                if node.attr.startswith("_") and not node.attr.startswith("__"):
                    read.append((node.attr, name_of(path), node.lineno))
            elif may_use_private_names(name_of(path)):
                continue
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                defined.add(node.name)
            elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
                defined.add(node.id if isinstance(node, ast.Name) else node.attr)
    return defined, read


def test_private_names_of_keras_are_in_their_rooms_only():
    """`keras.src`, and attributes such as `model._loss_tracker`: Keras may change them without notice."""
    rooms = {name for name in map(name_of, FILES) if may_use_private_names(name)}
    wrong = [
        (module, path)
        for path in FILES
        for module, _ in imports(path)
        if module.startswith("keras.src") and name_of(path) not in rooms
    ]
    defined, read = private_names()
    wrong += [
        (name, f"{file}:{line}")
        for name, file, line in read
        if name not in defined | set(OTHERS_NAMES) and file not in rooms
    ]
    assert not wrong
    assert any(name == "_loss_tracker" for name, _, _ in read), "the search finds what it is to find"


def test_public_names_of_the_package():
    import tailfit

    assert tailfit.__all__ == sorted(tailfit.__all__)
    assert set(tailfit.__all__) <= set(dir(tailfit))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tailfit.nothing


@pytest.mark.parametrize("room", ["errors", "labels", "samplers", "schedules", "weights", "evaluation", "data"])
def test_what_needs_only_numpy_imports_no_keras(room):
    code = f"import sys, tailfit.{room}; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
