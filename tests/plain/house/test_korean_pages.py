"""The Korean pages follow the English ones: the same sections, code and links, in the same order."""

import re

import pytest
from support.paths import ROOT

PAGES = [("README.md", "README.ko.md"), ("docs/getting-started.md", "docs/getting-started.ko.md")]
LANGUAGES = re.compile(r"^(?:\[English\]|English \|).*\n\n", re.MULTILINE)


def outline(name):
    """Levels of headings, blocks of code, rows of tables and targets of links."""
    text = LANGUAGES.sub("", (ROOT / name).read_text(encoding="utf-8"))
    code = re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return {
        "headings": [len(marks) for marks in re.findall(r"^(#+) ", prose, re.MULTILINE)],
        "code": code,
        "rows": [line.count("|") for line in prose.splitlines() if line.startswith("|")],
        "items": len(re.findall(r"^- ", prose, re.MULTILINE)),
        "links": [link.replace(".ko.md", ".md") for link in re.findall(r"\]\(([^)]+)\)", prose)],
        "names": sorted(set(re.findall(r"`([^`\n]+)`", prose))),
    }


@pytest.mark.parametrize(("english", "korean"), PAGES)
def test_the_korean_page_is_in_step(english, korean):
    expected, found = outline(english), outline(korean)
    for kind in expected:
        assert found[kind] == expected[kind], f"{kind} of {korean} differ from {english}"
    assert len(expected["code"]) > 2


@pytest.mark.parametrize(("english", "korean"), PAGES)
def test_they_link_to_each_other(english, korean):
    for page, other in ((english, korean), (korean, english)):
        target = other.removeprefix("docs/")
        assert f"]({target})" in (ROOT / page).read_text(encoding="utf-8").split("\n## ")[0]


@pytest.mark.parametrize("korean", [korean for _, korean in PAGES])
def test_it_is_korean(korean):
    prose = re.sub(r"^```.*?^```", "", (ROOT / korean).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert len(re.findall("[가-힣]", prose)) > 500
