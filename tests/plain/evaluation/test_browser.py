"""Pages in a browser: complete, without errors, accessible, readable on a phone, in dark and light, and harmless."""

import pytest
from support.browsing import Tab, browser
from support.report_pages import NAMES, SCRIPT, compare_page, report_page

PAGES = {
    "report": report_page,
    "events": lambda: report_page(changing=True),
    "many classes": lambda: report_page([*NAMES, *[f"a class with a long name, number {k}" for k in range(30)]]),
    "comparison": compare_page,
}
WIDTHS = (360, 1400)


@pytest.fixture(scope="module")
def chromium():
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def pages(tmp_path_factory, chromium):
    folder = tmp_path_factory.mktemp("pages")
    for name, made in PAGES.items():
        (folder / f"{name}.html").write_text(made(), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in PAGES}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_complete_accessible_and_harmless(name, chromium, pages):
    with Tab(chromium, pages[name]) as tab:
        assert SCRIPT in tab.page.locator("body").inner_text()
        assert tab.page.locator("svg").count() > 0
        assert tab.page.locator(".fixed:visible").count() == 0
        assert tab.undrawn() == []
        backgrounds = []
        for scheme in ("light", "dark"):
            tab.page.emulate_media(color_scheme=scheme)
            backgrounds.append(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
            assert name == "many classes" or tab.violations() == [], scheme  # of many, axe takes long
            for width in WIDTHS:
                tab.page.set_viewport_size({"width": width, "height": 900})
                assert tab.overflow() == 0, (scheme, width)
        assert backgrounds == ["rgb(255, 255, 255)", "rgb(20, 24, 27)"]
        assert tab.complaints == []  # no error on the console, and no dialog of a class named <script>alert(1)


def test_a_slider_chooses_the_cost_of_a_missed_sample(chromium, pages):
    rows = ".of-slider tbody tr"
    with Tab(chromium, pages["report"]) as tab:
        seen = [tab.page.locator(rows).all_inner_texts()]
        assert tab.page.locator("output").inner_text() == "10"
        for key in ("ArrowRight", "End"):
            tab.page.locator("input[type=range]").press(key)
            seen.append(tab.page.locator(rows).all_inner_texts())
        assert tab.page.locator("output").inner_text() == "1,000"
        assert seen[1] != seen[2]
        assert all("100 %" in text for text in seen[2])  # so dear that every sample is to be found
        # Nothing but this one script may run, wherever it comes from.
        tab.evaluate("document.body.append(Object.assign(document.createElement('script'), {textContent: 'alert(1)'}))")
        assert len(tab.complaints) == 1
        assert "Content Security Policy" in tab.complaints[0]
    with Tab(chromium, pages["report"], scripts=False) as tab:
        assert tab.page.locator(".of-slider:visible").count() == 0
        assert tab.page.locator(".fixed tbody tr:visible").count() == len(NAMES)


def test_a_browser_that_is_named_but_missing_is_a_failure(monkeypatch):
    monkeypatch.setenv("TAILFIT_BROWSER", "/nowhere/chromium")
    with pytest.raises(pytest.fail.Exception, match="no Chromium"), browser():
        pass
    monkeypatch.delenv("TAILFIT_BROWSER")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(pytest.skip.Exception, match="no Chromium"), browser():
        pass
