"""What package indexes show, and what the image is built from."""

import re
import shutil
import tomllib
import zipfile

import pytest
from support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)]+)\)")
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def metadata():
    core = pytest.importorskip("hatchling.metadata.core")
    manager = pytest.importorskip("hatchling.plugin.manager")

    def of(root):
        return core.ProjectMetadata(str(root), manager.PluginManager())

    return of


def with_source(root, version, url):
    """A copy of what the description is made from, for a version and a repository."""
    for name in ("README.md", "hatch_build.py"):
        shutil.copy(ROOT / name, root / name)
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    text = re.sub(r"^\[project\.urls\]\n(.+\n)*", "", text, flags=re.MULTILINE)
    text = re.sub(r'^version = ".*"$', f'version = "{version}"', text, flags=re.MULTILINE)
    (root / "pyproject.toml").write_text(f'{text}\n[project.urls]\nSource = "{url}"\n', encoding="utf-8")
    return root


def test_the_description_has_no_link_that_an_index_cannot_follow(metadata):
    project = metadata(ROOT).core
    assert project.readme_content_type == "text/markdown"
    assert [target for _, target in LINK.findall(project.readme) if not target.startswith("https://")] == []
    assert CODE.findall(project.readme) == CODE.findall(README)


@pytest.mark.parametrize(("version", "tag"), [("1.2.0", "v1.2.0"), ("1.2.0.dev0", "HEAD")])
def test_links_lead_to_the_tag_of_the_version(metadata, tmp_path, version, tag):
    text = metadata(with_source(tmp_path, version, "https://example.org/tailfit/")).core.readme
    views = {"": f"https://example.org/tailfit/blob/{tag}/", "!": f"https://example.org/tailfit/raw/{tag}/"}
    expected = [
        (image, target if target.startswith("https://") else views[image] + target)
        for image, target in LINK.findall(README)
    ]
    assert LINK.findall(text) == expected
    assert CODE.findall(text) == CODE.findall(README)


def test_the_release_script_tries_every_python_of_the_classifiers():
    named = {f"python{name.rsplit(' ', 1)[1]}" for name in PROJECT["classifiers"] if ":: Python :: 3." in name}
    script = (ROOT / "scripts" / "release").read_text(encoding="utf-8")
    assert named == set(re.search(r"pythons=\$\{\*:-(.*)\}", script)[1].split())


def test_the_image_is_built_from_files_that_make_the_same_wheel(tmp_path, monkeypatch):
    wheel = pytest.importorskip("hatchling.builders.wheel")
    stage = (ROOT / "Dockerfile").read_text(encoding="utf-8").split("\nFROM ")[1]
    sources = [line.split()[1:] for line in stage.splitlines() if line.startswith("COPY")]
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for *names, target in sources:
        for name in names:
            assert f"!{name}" in allowed
            place = tmp_path / "source" / target / (name if target == "./" else "")
            place.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, place)
    built = {}
    for name, root in {"image": tmp_path / "source", "repository": ROOT}.items():
        monkeypatch.chdir(root)
        (path,) = wheel.WheelBuilder(str(root)).build(directory=str(tmp_path / name))
        with zipfile.ZipFile(path) as archive:
            built[name] = {entry: archive.read(entry) for entry in archive.namelist()}
    assert built["image"] == built["repository"]
