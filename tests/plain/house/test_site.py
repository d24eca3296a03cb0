"""The built site in a browser: `scripts/docs` builds it and then runs this; without a built site it is skipped."""

import re
from urllib.parse import unquote

import pytest
from support.browsing import Tab, browser
from support.paths import ROOT

SITE = ROOT / "docs" / "_build" / "html"
PAGES = ["index", "getting-started", "losses", "gallery/index", "gallery/read_report", "search"]

pytestmark = pytest.mark.skipif(not (SITE / "index.html").exists(), reason="the site is not built: make docs")


def test_pages_are_accessible_and_fit_a_phone():
    faults = {}
    with browser() as running:
        for page in PAGES:
            for width, dark in ((360, False), (1400, True)):
                with Tab(running, SITE / f"{page}.html", width, dark=dark) as tab:
                    found = tab.violations()
                    if tab.overflow() > 0:
                        found.append(f"{tab.overflow()} pixels too wide")
                    if found:
                        faults[f"{page}, {width} pixels, {'dark' if dark else 'light'}"] = found
    assert not faults


def test_search_finds():
    with browser() as running, Tab(running, SITE / "search.html", 1400) as tab:
        tab.page.goto((SITE / "search.html").as_uri() + "?q=LogitAdjusted")
        tab.page.wait_for_selector("ul.search li a", timeout=20_000)
        assert "LogitAdjusted" in tab.page.inner_text("#search-results")


def test_links_between_pages_lead_somewhere():
    links = {}
    for page in SITE.rglob("*.html"):
        if "_modules" in page.parts:
            continue
        for link in re.findall(r'href="([^"#?:]*)[^":]*"', page.read_text(encoding="utf-8")):
            links[page.parent / unquote(link)] = page
    assert not [f"{page.relative_to(SITE)}: {target}" for target, page in links.items() if not target.exists()]
