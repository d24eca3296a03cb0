"""Recordings of oil wells (3W), from the command line to intervals between wells.

    python benchmarks/wells DATA [--work build/wells] [--seeds 3] [--jobs 1] [--networks cnn fcn levels]

1. Make the table of wells and a partition for each fold (`prepare.py`).
2. `tailfit inspect`: classes by well and source, missing sensors, classes in one well.
3. `tailfit compare wells.yaml`: one split by well, 60/20/20.
4. `tailfit train wells.yaml -s data.group=null`: the same split by recording, so that recordings of one well are in
   all parts.
5. `tailfit compare` once per fold, so that each real well is tested once; the predictions of the folds are joined, and
   the remedies compared on all real wells. The input of `cnn` and `fcn` is the changes within a window (`network.py`);
   with `levels`, a `cnn` has the readings as they are.
6. The networks are compared on the validation parts of the folds.

Each step continues where it was interrupted; all of them take about 75 minutes on two cores with `--jobs 2` on JAX.
The windows of a well are tested by networks that have not seen the well.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
from prepare import CLASSES, FOLDS, prepare
from sklearn.metrics import recall_score

import tailfit
from tailfit.evaluation import Comparison, Evaluation, comparison

HERE = Path(__file__).parent
FUNCTION = "network={{function: 'network:fluctuations', options: {{network: {}}}}}"
NETWORKS = {
    "cnn": ["-m", HERE / "network.py", "-s", FUNCTION.format("cnn")],
    "fcn": ["-m", HERE / "network.py", "-s", FUNCTION.format("fcn")],
    "levels": [],
}
QUESTIONS = {
    "Which remedy helps? All recordings are in the training part.": (
        "all recordings",
        "trust weights",
        "class weights",
        "logit-adjusted",
    ),
    "Do simulated and drawn recordings help on real ones?": ("real only", "all recordings", "trust weights"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, default=Path("build/wells"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=["cnn", "fcn"])
    parser.add_argument("--out", type=Path, default=HERE / "results.txt")
    given = parser.parse_args()
    data, work = given.data.resolve(), given.work.resolve()
    if not (work / f"fold-{FOLDS - 1}.json").exists():
        prepare(data, work)
    shared = [f"data.path={data}", f"data.options.metadata={work}/wells.csv"]
    run = [*(word for each in shared for word in ("-s", each)), "--seeds", str(given.seeds), "--jobs", str(given.jobs)]
    inspected = run_tailfit(
        "inspect", data, "-o", f"metadata={work}/wells.csv", "-o", "group=well", problems_allowed=True
    )
    once = run_tailfit("compare", HERE / "wells.yaml", *run, "--out", work / "split")
    run_tailfit("train", HERE / "wells.yaml", *run[:4], "-s", "data.group=null", "--out", work / "by-recording")
    leaky = Evaluation.from_json((work / "by-recording" / "evaluation.json").read_text(encoding="utf-8"))
    sections = [
        ("tailfit inspect 3w -o metadata=wells.csv -o group=well", inspected),
        ("tailfit compare wells.yaml: one split by well", once),
        ("tailfit train wells.yaml -s data.group=null: one split by recording", str(leaky).partition("\n\n")[0]),
    ]
    for network in given.networks:
        for fold in range(FOLDS):
            own = [f"data.partition={work}/fold-{fold}.json", "data.split=null", "data.train_only=null"]
            words = [*NETWORKS[network], *(word for each in own for word in ("-s", each))]
            run_tailfit("compare", HERE / "wells.yaml", *run, *words, "--out", work / network / f"fold-{fold}")
        sections += of_all_wells(work / network, given.seeds)
    sections.append(("Which network? Balanced accuracy on the validation parts", validated(work, given)))
    text = "\n\n".join(f"## {heading}\n\n{body.strip()}" for heading, body in sections) + "\n"
    text = text.replace(str(work), "work").replace(f"{HERE}/", "benchmarks/wells/")
    text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    print(text)
    given.out.write_text(text, encoding="utf-8")


def run_tailfit(*words: object, problems_allowed: bool = False) -> str:
    """Run a command of tailfit, and return its standard output; exit code 1 means problems found."""
    command = [sys.executable, "-m", "tailfit", *map(str, words)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "110"})
    if ran.returncode not in ((0, 1) if problems_allowed else (0,)):
        sys.exit(ran.returncode)
    return ran.stdout


def remedies() -> dict[str, str]:
    """Return the remedies of the recipe, with the folder of each in a comparison."""
    vary = tailfit.recipes.load_recipe(HERE / "wells.yaml").compare.vary
    return {name: f"{place:02d}-{name.replace(' ', '-')}" for place, name in enumerate(vary)}


def of_all_wells(runs: Path, seeds: int) -> list[tuple[str, str]]:
    """Return the comparisons on all real wells, of the runs of one network."""
    evaluations = {name: [joined(runs, folder, seed) for seed in range(seeds)] for name, folder in remedies().items()}
    sections = []
    for question, names in QUESTIONS.items():
        found = comparison({name: evaluations[name] for name in names})
        found.save_html(runs / f"{names[0].replace(' ', '-')}.html", title=question)
        sections.append((f"{question} ({runs.name})", f"{found}\n\n{recalls(found)}\n\n{if_independent(found)}"))
    return [*sections, (f"Recall by well ({runs.name})", by_well(evaluations))]


def if_independent(found: Comparison) -> str:
    """Return the intervals that the comparison would have if windows were independent."""
    alone = {
        name: [tailfit.evaluate(one.y_true, one.y_pred, one.class_names, seed=one.seed) for one in each]
        for name, each in found.evaluations.items()
    }
    wrong = comparison(alone, baseline=found.baseline)
    lines = ["If windows were independent, which they are not:"]
    for name, figures in wrong.figures.items():
        line = f"{name:<15} {figures['balanced_accuracy']}"
        if name in wrong.verdicts:
            gain = wrong.differences[name]["balanced_accuracy"]
            line += f"   {float(gain):+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]   {wrong.verdicts[name]}"
        lines.append(line)
    return "\n".join(lines)


def by_well(evaluations: Mapping[str, list[Evaluation]]) -> str:
    """Return the recall of each class in each real well, the mean over the seeds, for each remedy."""
    lines = [f"{'class':<14} {'well':<11} windows" + "".join(f"{name:>15}" for name in evaluations)]
    first = next(iter(evaluations.values()))[0]
    for k, name in enumerate(first.class_names):
        for g in np.argsort(first.groups.names):
            own = (first.y_true == k) & (first.groups.index == g)
            if own.any():
                recalls = [np.mean([(one.y_pred[own] == k).mean() for one in each]) for each in evaluations.values()]
                cells = "".join(f"{recall:>15.2f}" for recall in recalls)
                lines.append(f"{name:<14} {first.groups.names[g]:<11} {own.sum():>7}{cells}")
    return "\n".join(lines)


def recalls(found: Comparison) -> str:
    """Return the recall of each class with a test sample, for each remedy, and the number of wells behind it."""
    first = found.evaluations[found.baseline][0]
    lines = [f"{'recall of a class':<18} wells windows" + "".join(f"{name:>24}" for name in found.evaluations)]
    for k, figures in enumerate(first.classes):
        if figures.support:
            doubt = " " if figures.trusted else "?"
            cells = [f"{found.recalls[name][k]!s:>23}{doubt}" for name in found.evaluations]
            lines.append(f"{figures.name:<18} {figures.groups:>5} {figures.support:>7}" + "".join(cells))
    return "\n".join(lines)


def validated(work: Path, given: argparse.Namespace) -> str:
    """Return the balanced accuracy of each network on the validation parts of all folds, the mean over the seeds."""
    found = {
        name: [
            np.mean([balanced_accuracy_of_validation(work / network, folder, seed) for seed in range(given.seeds)])
            for network in given.networks
        ]
        for name, folder in remedies().items()
    }
    found["mean"] = np.mean(list(found.values()), axis=0)
    lines = [f"{'remedy':<15}" + "".join(f"{network:>15}" for network in given.networks)]
    lines += [f"{name:<15}" + "".join(f"{value:>15.3f}" for value in values) for name, values in found.items()]
    return "\n".join(lines)


def balanced_accuracy_of_validation(runs: Path, remedy: str, seed: int) -> float:
    """Return the balanced accuracy on the validation parts of all folds together."""
    paths = [runs / f"fold-{fold}" / remedy / f"seed-{seed}" / "validation.json" for fold in range(FOLDS)]
    texts = [path.read_text(encoding="utf-8") for path in paths]
    parts = [Evaluation.from_json(text) for text in texts]
    true, predicted = (np.concatenate([getattr(part, name) for part in parts]) for name in ("y_true", "y_pred"))
    return float(recall_score(true, predicted, labels=np.unique(true), average="macro"))


def joined(runs: Path, remedy: str, seed: int) -> Evaluation:
    """Evaluate the predictions of all folds together."""
    parts = [runs / f"fold-{fold}" / remedy / f"seed-{seed}" / "predictions.parquet" for fold in range(FOLDS)]
    table = pl.concat([pl.read_parquet(path) for path in parts])
    return tailfit.evaluate(
        table["label"].to_list(),
        table["predicted"].to_list(),
        list(CLASSES),
        groups=table["group"].to_list(),
        ids=table["id"].to_list(),
        seed=seed,
        name=f"{remedy} {seed}",
    )


if __name__ == "__main__":
    main()
