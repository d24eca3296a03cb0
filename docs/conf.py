"""Sphinx: the pages are Markdown, the reference comes from the docstrings."""

import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

sys.path.insert(0, str(Path(__file__).parent))

import loss_plots

import tailfit

project = "tailfit"
copyright = "The tailfit developers"
version = release = tailfit.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"tailfit {release}"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True, "show-inheritance": True}
# Bare section names of our docstrings that napoleon does not know by itself.
napoleon_custom_sections = [("Shapes", "params_style"), ("Source", "notes_style")]
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# `code` in docstrings is written with single backticks, as in Markdown.
default_role = "code"

_ONE_LINERS = ("Shapes: ", "Source: ", "Raises: ", "Returns: ")


def _paragraphs(app, what, name, obj, options, lines):
    """`Shapes: text`, written on one line in our docstrings, becomes a paragraph: napoleon wants a block."""
    result, inside = [], False
    for line in lines:
        if line.startswith(_ONE_LINERS):
            label, _, text = line.partition(": ")
            result += ["", f"**{label}:** {text}"]
            inside = True
        elif inside and line.startswith("    "):
            result.append(line.strip())
        else:
            if inside and line:
                result.append("")
            inside = False
            result.append(line)
    lines[:] = result


def _draw(app):
    loss_plots.draw(Path(app.srcdir) / "_build" / "losses", Path(app.srcdir) / "losses.md")


def _not_scikit_learns(app, what, name, obj, skip, options):
    """Leave out what scikit-learn writes into each estimator: its words refer to its own glossary."""
    return True if name.endswith("_request") or name == "get_metadata_routing" else None


def setup(app):
    app.connect("autodoc-skip-member", _not_scikit_learns)
    app.connect("builder-inited", _draw)
    app.connect("autodoc-process-docstring", _paragraphs, priority=100)  # before napoleon
