"""What the HTML pages share: templates that escape, plots as pictures with their data beside them, and versions."""

import json
import platform

import jinja2
import numpy as np
from markupsafe import Markup

import tailfit
from tailfit.evaluation.charts import Spec, to_svg
from tailfit.text import visible

__all__ = ["environment", "plot", "versions"]

environment = jinja2.Environment(
    loader=jinja2.PackageLoader("tailfit.evaluation"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
environment.filters["visible"] = lambda text: visible(str(text))


def versions() -> dict[str, str]:
    """For the foot of a page."""
    return {"tailfit": tailfit.__version__, "NumPy": np.__version__, "Python": platform.python_version()}


def plot(spec: Spec, label: str, prefix: str) -> dict[str, Markup]:
    """A picture for a template: static SVG, and its specification as JSON."""
    # "<" would let a name end the block it stands in; JSON knows an escape for it.
    text = json.dumps(spec, separators=(",", ":")).translate({ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})
    return {"svg": Markup(to_svg(spec, label=label, prefix=prefix)), "spec": Markup(text)}
