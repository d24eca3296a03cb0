"""Directories of runs, comparisons and searches: what belongs to them, and what is left alone."""

import pytest

from tailfit.errors import ArgumentError, CheckpointError
from tailfit.recipes.directory import check_no_other_files, check_not_of_run

LEFTOVERS = ["lock", ".run.json.0123456789abcdef.draft", ".race.json.0123456789abcdef.draft", ".programs-x/"]
MARKS = {
    "run": ["run.json"],
    "comparison": ["00-plain/", "fold-1-of-5/", "comparison.json", "race.json"],
    "search": ["fold-1-of-5/", "suspects.csv"],
}


def create(folder, name):
    (folder / name).mkdir() if name.endswith("/") else (folder / name).touch()


@pytest.mark.parametrize("kind", MARKS)
def test_a_directory_belongs_to_what_began_in_it(kind, tmp_path):
    check_no_other_files(tmp_path / "new", kind)
    for name in LEFTOVERS:
        create(tmp_path, name)
    check_no_other_files(tmp_path, kind)
    create(tmp_path, "notes.txt")
    with pytest.raises(CheckpointError, match=f"contains the file notes.txt.*of the same {kind}"):
        check_no_other_files(tmp_path, kind)
    for mark in MARKS[kind]:
        create(tmp_path, mark)
        check_no_other_files(tmp_path, kind)  # the user may keep notes in it
        (tmp_path / mark).rmdir() if mark.endswith("/") else (tmp_path / mark).unlink()


@pytest.mark.parametrize(
    ("mark", "kind"),
    [(mark, kind) for other in MARKS for mark in MARKS[other] for kind in MARKS if mark not in MARKS[kind]],
)
def test_a_directory_does_not_belong_to_another_kind(mark, kind, tmp_path):
    create(tmp_path, mark)
    with pytest.raises(CheckpointError, match=rf"contains the file {mark.strip('/')}"):
        check_no_other_files(tmp_path, kind)


def test_folds_of_comparisons_and_of_searches(tmp_path):
    fold = tmp_path / "fold-1-of-5"
    fold.mkdir()
    (fold / "partition.json").touch()
    check_no_other_files(tmp_path, "comparison")
    check_no_other_files(fold, "comparison")  # nothing was trained in it yet
    with pytest.raises(CheckpointError, match="contains the file fold-1-of-5"):
        check_no_other_files(tmp_path, "search")
    (fold / "partition.json").rename(fold / "run.json")
    check_no_other_files(tmp_path, "search")
    for folder in (tmp_path, fold):
        with pytest.raises(CheckpointError, match=r"contains the file (fold-1-of-5|run\.json)"):
            check_no_other_files(folder, "comparison")


def test_a_run_in_the_directory_of_a_comparison_keeps_it(tmp_path):
    create(tmp_path, "run.json")
    create(tmp_path, "00-plain/")
    with pytest.raises(CheckpointError, match=r"contains the file run\.json"):
        check_no_other_files(tmp_path, "comparison")


@pytest.mark.parametrize("mark", ["run.json", "comparison.json", "suspects.csv"])
def test_files_of_a_run_are_no_outputs(mark, tmp_path):
    check_not_of_run(tmp_path / "predictions.parquet")
    create(tmp_path, mark)
    for name in ("predictions.parquet", "evaluation.json", "result.json", "history.csv", "quality.parquet"):
        with pytest.raises(ArgumentError, match=f"{name}, a file of the run"):
            check_not_of_run(tmp_path / name)
    for name in ("new.parquet", "report.html", "model.onnx"):
        check_not_of_run(tmp_path / name)
