"""What the HTML pages share: templates that escape, plots as pictures with their data beside them, and versions."""

import json
import platform
import warnings
from collections.abc import Callable
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

import tailfit
from tailfit.evaluation.charts import Spec, to_svg
from tailfit.text import TailfitWarning, visible

__all__ = ["ReportWarning", "environment", "plot", "versions"]


class ReportWarning(TailfitWarning):
    """A picture or a page could not be made; the figures themselves are not affected."""


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


def plot(chart: Callable[[], Spec], label: str, prefix: str) -> dict[str, Any]:
    """A picture for a template: static SVG, and its specification as JSON.

    The figures of a page matter more than its pictures: one that can't be drawn is a `ReportWarning`, and a line of
    text on the page.
    """
    try:
        spec = chart()
        svg = to_svg(spec, label=label, prefix=prefix)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the engine's panics are no Exception
        failed = f"{label}: this picture could not be drawn ({type(error).__name__}: {str(error).strip()[:300]})"
        warnings.warn(f"{failed}. The figures beside it are complete.", ReportWarning, stacklevel=2)
        return {"failed": failed}
    # "<" would let a name end the block it stands in; JSON knows an escape for it.
    text = json.dumps(spec, separators=(",", ":")).translate({ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})
    return {"failed": None, "svg": Markup(svg), "spec": Markup(text)}
