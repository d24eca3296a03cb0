"""The version is the same everywhere, and `scripts/release --cut` writes it everywhere."""

import re
import shutil
import subprocess

from support.paths import ROOT

PLACES = {
    "pyproject.toml": r'^version = "(.*)"$',
    "src/tailfit/__init__.py": r'^__version__ = "(.*)"$',
    "CITATION.cff": r"^version: (.*)$",
}


def versions(root):
    return {re.search(line, (root / name).read_text(), re.MULTILINE)[1] for name, line in PLACES.items()}


def test_the_version_is_cut_everywhere(tmp_path):
    assert len(versions(ROOT)) == 1
    for name in [*PLACES, "CHANGELOG.md", "scripts/release"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    subprocess.run([tmp_path / "scripts" / "release", "--cut", "12.3.4"], check=True)
    assert versions(tmp_path) == {"12.3.4"}
    cut = re.search(
        r"^## Unreleased\n\n## 12\.3\.4 - (\d{4}-\d\d-\d\d)\n", (tmp_path / "CHANGELOG.md").read_text(), re.M
    )
    citation = (tmp_path / "CITATION.cff").read_text()
    assert re.findall(r"^date-released: (.*)$", citation, re.M) == [cut[1]]
    changed = (tmp_path / "CHANGELOG.md").read_text()
    subprocess.run([tmp_path / "scripts" / "release", "--cut", "12.4.0.dev0"], check=True)
    assert versions(tmp_path) == {"12.4.0.dev0"}
    assert (tmp_path / "CHANGELOG.md").read_text() == changed
    assert "date-released" not in (tmp_path / "CITATION.cff").read_text()
