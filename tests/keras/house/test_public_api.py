"""A public name, parameter or default does not change unnoticed; each name has a page and an example."""

import difflib
import importlib
import inspect
import re

import pytest
from support import public_api
from support.paths import ROOT

import tailfit

pytestmark = pytest.mark.only_on("jax")  # the file lists these names: Keras' own model differs by a few

# Classes that only functions and classes of tailfit make; the example of these shows them.
MADE_BY = {
    "tailfit.data.Inspection": "tailfit.data.inspect",
    "tailfit.evaluation.Decision": "tailfit.evaluation.comparison",
    "tailfit.evaluation.Stopped": "tailfit.compare",
    "tailfit.exporting.Exported": "tailfit.exporting.export",
    "tailfit.recipes.Predictions": "tailfit.recipes.predict",
    "tailfit.recipes.Recipe": "tailfit.recipes.load_recipe",
    "tailfit.recipes.Run": "tailfit.recipes.train",
    "tailfit.recipes.Suspects": "tailfit.recipes.find_suspects",
}
NAMES = dict(public_api._names(tailfit))


def test_public_names_and_parameters_are_those_of_the_file():
    kept = (ROOT / "tests" / "public-api.txt").read_text(encoding="utf-8").splitlines()
    changes = [line for line in difflib.ndiff(kept, public_api.lines()) if line.startswith(("- ", "+ "))]
    assert not changes, "\n".join(["write them to tests/public-api.txt and CHANGELOG.md:", *changes])


def test_each_public_name_has_a_page():
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md")]
    directives = re.findall(r"auto(module|class|function):: (\S+)", "\n".join(pages))
    shown = {id(_found(name)) for kind, name in directives if kind != "module"}
    for module in (_found(name) for kind, name in directives if kind == "module"):
        shown |= {id(getattr(module, name)) for name in module.__all__}
    assert not [name for name, value in NAMES.items() if id(value) not in shown]


def test_each_public_name_has_an_example():
    def has_example(name):
        value = NAMES[name]  # vars, because `__doc__` of a class may be that of its base
        return ">>>" in (vars(value)["__doc__"] if inspect.isclass(value) else value.__doc__)

    callables = {name for name, value in NAMES.items() if callable(value) and not _is_error(value)}
    assert not [name for name in sorted(callables - set(MADE_BY)) if not has_example(name)]
    assert not [name for name, maker in MADE_BY.items() if not has_example(maker) or has_example(name)]


def _found(name):
    """Return a module, or an attribute of one."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return getattr(importlib.import_module(module), attribute)


def _is_error(value):
    return inspect.isclass(value) and issubclass(value, Exception) and value is not tailfit.errors.TailfitError
