"""Configuration of Sphinx: pages in Markdown, and a reference from the docstrings."""

import os
import re
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

sys.path.insert(0, str(Path(__file__).parent))

import gallery_pages
import loss_plots

import tailfit

project = "tailfit"
copyright = "The tailfit developers"
version = release = tailfit.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
]
sphinx_gallery_conf = gallery_pages.CONFIG
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "gallery/*.ipynb", "gallery/*.md5"]
html_theme = "furo"
html_theme_options = {"top_of_page_buttons": []}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_title = f"tailfit {release}"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True, "show-inheritance": True}
# Sections of the docstrings that napoleon does not know.
napoleon_custom_sections = [("Shapes", "params_style"), ("Source", "notes_style")]
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# `code` in docstrings is written with single backticks, as in Markdown.
default_role = "code"

_ONE_LINERS = ("Shapes: ", "Source: ", "Raises: ", "Returns: ")


def _for_napoleon(app, what, name, obj, options, lines):
    """Rewrite a docstring in place where napoleon or docutils would read it differently from a person."""
    lines[:] = _with_lists(_with_returns(_with_paragraphs(lines)))
    if what in ("property", "attribute", "data"):
        # In the first line, words before a colon would be the type. An escaped end of line is removed.
        lines.insert(0, "\\")


def _with_paragraphs(lines):
    """`Shapes: text` on one line becomes a paragraph: napoleon wants a block."""
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
    return result


def _with_returns(lines):
    """`Returns:` and its block become a field: napoleon would read words before a colon as the type."""
    result, inside = [], False
    for line in lines:
        if line == "Returns:":
            inside = True
            result += ["", ":returns:"]
        else:
            if inside and line and not line.startswith(" "):
                inside = False
                result.append("")
            result.append(line)
    return result


def _with_lists(lines):
    """A list after a line of text gets the empty line before it that docutils wants."""
    result = []
    for line in lines:
        before = result[-1] if result else ""
        if line.startswith("- ") and before and not before.startswith(("- ", "  ")):
            result.append("")
        result.append(line)
    return result


_ARRAY_LIKE = re.compile(r"[\w.~]*_Buffer \| .*?\| [\w.~]*_NestedSequence\[complex \| bytes \| str\]")


def _short_signature(app, what, name, obj, options, signature, returns):
    """Write `ArrayLike`, whose definition Sphinx would write out, in signatures."""
    short = [text and _ARRAY_LIKE.sub("ArrayLike", text) for text in (signature, returns)]
    return tuple(short) if short != [signature, returns] else None


def _short_types(app, domain, object_type, node):
    """Write `ArrayLike` in the types of arguments."""
    for types in app.env.current_document.autodoc_annotations.values():
        types.update({name: _ARRAY_LIKE.sub("ArrayLike", text) for name, text in types.items()})


def _draw(app):
    loss_plots.draw(Path(app.srcdir) / "_build" / "losses", Path(app.srcdir) / "losses.md")


def _is_metadata_routing(app, what, name, obj, skip, options):
    """Leave out the methods that scikit-learn adds to each estimator: they refer to its own glossary."""
    return True if name.endswith("_request") or name == "get_metadata_routing" else None


def setup(app):
    app.connect("autodoc-skip-member", _is_metadata_routing)
    app.connect("builder-inited", _draw)
    app.connect("autodoc-process-docstring", _for_napoleon, priority=100)  # before napoleon
    app.connect("autodoc-process-signature", _short_signature)
    app.connect("object-description-transform", _short_types, priority=100)  # before autodoc adds the types
