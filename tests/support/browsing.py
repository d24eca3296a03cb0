"""A headless browser for tests of pages: Chromium or a relative, driven by Playwright.

Without one, the tests that need it are skipped. `TAILFIT_BROWSER=PATH` names one, and then its absence is a failure.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def browser_path() -> str | None:
    """Return the path of the browser: `TAILFIT_BROWSER`, or else the first one found."""
    named = os.environ.get("TAILFIT_BROWSER")
    return next(filter(None, map(shutil.which, [named] if named else _NAMES)), None)


@contextmanager
def browser() -> Iterator[Any]:
    """Start the browser. Without one, skip the test, or fail it if `TAILFIT_BROWSER` is set."""
    path = browser_path()
    missing = "no Chromium is installed" if path is None else ""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing = "Playwright is not installed"
    if missing:
        (pytest.fail if os.environ.get("TAILFIT_BROWSER") else pytest.skip)(f"{missing} (see TAILFIT_BROWSER)")
    with sync_playwright() as playwright:
        # As root, Chromium can not use its sandbox; the pages are the tests' own.
        arguments = ["--no-sandbox"] if os.name == "posix" and os.geteuid() == 0 else []
        running = playwright.chromium.launch(executable_path=path, args=arguments)
        yield running
        running.close()


class Tab:
    """A page in the browser, with the errors that the browser reported.

    Args:
        running: The browser.
        path: The page.
        width, dark: Of the window.
        scripts: Whether scripts may run.
    """

    def __init__(
        self, running: Any, path: Path, width: int = 1400, *, dark: bool = False, scripts: bool = True
    ) -> None:
        self.context = running.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
            offline=True,
        )
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", self._dialog)
        self.page.goto(path.as_uri())

    def _dialog(self, dialog: Any) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def __enter__(self) -> "Tab":
        return self

    def __exit__(self, *error: object) -> None:
        self.context.close()

    def evaluate(self, script: str) -> Any:
        return self.page.evaluate(script)

    def violations(self) -> list[str]:
        """Return the violations that axe finds: rules and elements."""
        # Evaluated by the debugger, to which the page's Content-Security-Policy does not apply.
        if not self.evaluate("'axe' in window"):
            import axe_playwright_python

            self.evaluate((Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
        found = self.evaluate(f"() => axe.run({_OUTSIDE_OF_CHARTS}, {_OPTIONS}).then(results => results.violations)")
        return [f"{each['id']}: {[node['html'][:200] for node in each['nodes'][:3]]}" for each in found]

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than its window."""
        return int(self.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def undrawn(self) -> list[str]:
        """Return charts without a visible mark, and texts that extend beyond their chart."""
        return list(self.evaluate(_UNDRAWN))


_OUTSIDE_OF_CHARTS = "{exclude: [['svg > *']]}"  # a chart is one image with a text alternative
_OPTIONS = "{resultTypes: ['violations'], elementRef: false, selectors: false}"
_UNDRAWN = """() => [...document.querySelectorAll("svg")].flatMap(svg => {
    const label = svg.getAttribute("aria-label"), box = svg.getBoundingClientRect(), faults = [];
    const marks = [...svg.querySelectorAll("path, rect, circle, polygon")].map(mark => mark.getBoundingClientRect());
    if (!marks.some(mark => mark.width + mark.height > 0) || !box.width) faults.push(label + ": nothing");
    for (const text of svg.querySelectorAll("text")) {
        const at = text.getBoundingClientRect(), slack = 2;
        const inside = at.left > box.left - slack && at.right < box.right + slack
            && at.top > box.top - slack && at.bottom < box.bottom + slack;
        if (!inside) faults.push(label.slice(0, 60) + ": " + text.textContent);
    }
    return faults;
})"""
