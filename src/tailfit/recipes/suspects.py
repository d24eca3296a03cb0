"""`find_suspects`: samples whose label is probably wrong, by confident learning on out-of-fold probabilities."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.arguments import whole_number
from tailfit.recipes.data_identity import identity_of_data
from tailfit.recipes.directory import locked_for
from tailfit.recipes.out_of_fold import OutOfFold, out_of_fold
from tailfit.recipes.parts import group_of_each, open_parts
from tailfit.recipes.prediction_table import as_bytes
from tailfit.recipes.recipe import Recipe, load_recipe
from tailfit.recipes.suspects_page import suspects_page
from tailfit.recipes.training import train_unless_finished
from tailfit.resume.signals import exit_on_sigterm
from tailfit.storage.writing import write_parts, write_text
from tailfit.weights import label_quality
from tailfit.weights.quality import confident_classes

__all__ = ["Suspects", "find_suspects"]

Progress = Callable[[int, int, Mapping[str, float]], None]


@dataclass(frozen=True, eq=False)
class Suspects:
    """Samples with the quality of their labels.

    Attributes:
        table: A row per judged sample, the most doubtful first: `id`, `part`, `group` if there are groups, `given` and
            `likely` class, `suspect`, `quality`, the probability of the given class, `p likely`, that of the likely
            one, and the columns of the metadata.
        probabilities: Out-of-fold probabilities, `float64[n, C]`, in the order of the rows.
        class_names: Names of the C classes.
        unjudged: Number of samples that are not judged, by class: those of classes that are in one group only.
        folds: Number of folds.
    """

    table: pl.DataFrame
    probabilities: NDArray[np.float64]
    class_names: tuple[str, ...]
    unjudged: Mapping[str, int]
    folds: int

    @property
    def found(self) -> pl.DataFrame:
        """The rows of the samples whose label is probably wrong."""
        return self.table.filter("suspect")

    def to_json(self) -> str:
        """Return the suspects, and the number of samples, as JSON."""
        document = {
            "samples": self.table.height,
            "folds": self.folds,
            "unjudged": dict(self.unjudged),
            "suspects": self.found.drop("suspect").to_dicts(),
        }
        return json.dumps(document, indent=1, default=str)

    def save_html(self, path: str | PathLike[str], *, title: str = "Doubtful labels") -> None:
        """Write the suspects as a self-contained page."""
        write_text(path, suspects_page(self.table, self.class_names, self.unjudged, self.folds, title))


def find_suspects(
    recipe: str | PathLike[str] | Mapping[str, Any] | Recipe,
    directory: str | PathLike[str],
    *,
    folds: int = 5,
    modules: Sequence[str] = (),
    fetch: bool = False,
    verify: bool = False,
    progress: Progress | None = None,
) -> Suspects:
    """Find the samples whose label is probably wrong.

    The recipe's network is trained once per fold of the training part, and judges the samples that it was not trained
    on: those of the fold, and of the validation and test part (by the mean over the folds). A label is a suspect if the
    confident class differs from it and is more probable (`tailfit.weights.label_quality`). Samples are ranked by the
    probability of their label, which finds more planted errors than the other rankings (`benchmarks/suspects`).

    `directory` gets `suspects.csv`, `suspects.html` and `quality.parquet`, which has a row per sample, and a run per
    fold. After an interruption the same call continues there.

    Args:
        recipe: Recipe of the training.
        directory: Directory of the runs and results.
        folds: Number of folds, >= 2.
        modules, fetch, verify: See `tailfit.recipes.train`.
        progress: Function called after each epoch with the number of the fold, the epoch, both from 1, and loss and
            metrics by name.
    Raises:
        ArgumentError: If there are fewer samples or groups than folds.
        DataError: If the recipe or the data are invalid.
        CheckpointError: If another process is working in the directory, or a run in it was trained on different data.
    Source: Northcutt, Jiang and Chuang 2021, arXiv:1911.00068.

    >>> import tempfile, tailfit
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 200)
    >>> x = rng.normal(6.0 * y[:, None], size=(200, 4)).astype("float32")
    >>> y[:3] = 1 - y[:3]  # wrong labels
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tailfit.data.save_npy_folder(f"{folder}/pumps", x, np.array(["leak", "ok"])[y])
    ...     recipe = {"data": {"path": f"{folder}/pumps"}, "optimizer": {"learning_rate": 0.02}}
    ...     found = find_suspects(recipe, f"{folder}/suspects", folds=2).found
    >>> sorted(found["id"].to_list())
    ['0', '1', '2']
    """
    checked = load_recipe(recipe, modules=modules)
    count = whole_number("folds", folds, least=2)
    place = Path(fspath(directory)).absolute()
    with exit_on_sigterm(), locked_for(place, "search"):
        data = identity_of_data(checked, verify=verify)
        parts = open_parts(checked, fetch=fetch)
        train = partial(train_unless_finished, data=data)
        result = _judged(out_of_fold(checked, parts, place, count, train, progress), count)
        write_parts(place / "quality.parquet", [as_bytes(result.table, "parquet")])
        write_parts(place / "suspects.csv", [as_bytes(result.found.drop("suspect"), "csv")])
        result.save_html(place / "suspects.html", title=f"Doubtful labels: {checked.name or place.name}")
    return result


def _judged(found: OutOfFold, count: int) -> Suspects:
    rows = np.flatnonzero(found.judged)
    positions = rows.tolist()
    source, names = found.source, found.source.class_names
    codes, probabilities = np.asarray(source.labels)[rows], found.probabilities[rows]
    quality = label_quality(codes, probabilities)
    likely, each = confident_classes(codes, probabilities), np.arange(len(rows))
    # As in cleanlab, a label that is more probable than the confident class is not doubted: its class has a high mean.
    likely = np.where(probabilities[each, likely] > probabilities[each, codes], likely, codes)
    columns: dict[str, Any] = {
        "id": [source.ids[row] for row in positions],
        "part": [found.part[row] for row in positions],
    }
    if (groups := group_of_each(source)) is not None:
        columns["group"] = [groups[row] for row in positions]
    columns |= {
        "given": [names[code] for code in codes],
        "likely": [names[code] for code in likely],
        "suspect": likely != codes,
        "quality": quality,
        "p likely": probabilities[each, likely],
    }
    table = pl.DataFrame(columns)
    if source.metadata is not None:
        metadata = source.metadata[rows]
        flat = [column for column in metadata if column.name not in columns and not column.dtype.is_nested()]
        table = table.hstack(flat)  # CSV has no nested columns
    order = np.argsort(quality, kind="stable")
    return Suspects(table[order], probabilities[order], names, found.unjudged, count)
