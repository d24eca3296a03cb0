"""The map of the package in CONTRIBUTING.md, made from the imports: `python docs/rooms.py` renews it.

A room is a module or package of `tailfit`; the packages of `data/` are rooms of their own. Rooms are listed from the
bottom up: a room imports only rooms listed above it. Of its imports, those are shown that none of the others imports,
directly or not.
"""

import ast
import graphlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

__all__ = ["PAGE", "graph", "table", "with_map"]

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "tailfit"
PAGE = ROOT / "CONTRIBUTING.md"
_BEGIN, _END = "<!-- map: begin; made by docs/rooms.py -->\n", "<!-- map: end -->\n"


def room_of(module: str) -> str:
    """Return the room of a module: `data.files.npy` is in the room `data/files/`."""
    parts = module.split(".")
    place = PACKAGE / parts[0]
    if parts[0] == "data" and len(parts) > 1:
        inner = place / parts[1]
        if inner.is_dir() or inner.with_suffix(".py").exists():
            return f"data/{parts[1]}" + ("/" if inner.is_dir() else ".py")
    return f"{parts[0]}/" if place.is_dir() else f"{parts[0]}.py"


def graph() -> dict[str, set[str]]:
    """Return the rooms that each room imports, also within functions and for type checkers."""
    found: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        if module == "__init__" or module.startswith("_"):
            continue
        room = room_of(module)
        imported = {room_of(name) for name in _imports(path) if not name.startswith("_")}
        found.setdefault(room, set()).update(imported - {room})
    return found


def table() -> str:
    """Return the map as a Markdown table."""
    rooms = graph()
    order = list(_from_the_bottom_up(rooms))
    reached: dict[str, set[str]] = {}
    for room in order:
        reached[room] = rooms[room].union(*(reached[other] for other in rooms[room]))
    lines = ["| room | what is in it | imports |", "|---|---|---|"]
    for room in order:
        indirect = set[str]().union(*(reached[other] for other in rooms[room]))
        direct = ", ".join(f"`{other}`" for other in order if other in rooms[room] - indirect)
        lines.append(f"| [`{room}`](src/tailfit/{room}) | {_summary(room)} | {direct} |")
    return "\n".join(lines) + "\n"


def with_map(page: str) -> str:
    """Return the text of CONTRIBUTING.md with the current map."""
    before, rest = page.split(_BEGIN)
    _, after = rest.split(_END)
    return before + _BEGIN + table() + _END + after


def _imports(path: Path) -> Iterable[str]:
    """Yield the modules of tailfit that a file imports, without the leading `tailfit.`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.removeprefix("tailfit.") for name in names if name.startswith("tailfit."))


def _from_the_bottom_up(rooms: Mapping[str, set[str]]) -> Iterator[str]:
    sorter = graphlib.TopologicalSorter(rooms)
    sorter.prepare()
    while sorter.is_active():
        level = sorted(sorter.get_ready())
        yield from level
        sorter.done(*level)


def _summary(room: str) -> str:
    path = PACKAGE / room
    text = (path / "__init__.py" if path.is_dir() else path).read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text)) or ""
    return docstring.splitlines()[0].replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(with_map(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
