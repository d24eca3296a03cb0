"""`recommended.yaml` in the directory of a comparison: the recipe of the chosen remedy, ready to train."""

import os
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tailfit.data.remote.fetching import is_url
from tailfit.evaluation import Comparison
from tailfit.recipes.overriding import with_changes
from tailfit.recipes.parts import FILE_OPTIONS
from tailfit.recipes.recipe import Recipe
from tailfit.storage.writing import write_text
from tailfit.storage.yaml_text import as_yaml
from tailfit.text import visible

__all__ = ["write_recommended"]


def write_recommended(
    base: Recipe, remedies: Mapping[str, Mapping[str, Any]], compared: Comparison, directory: Path
) -> Path | None:
    """Write the recipe of the chosen remedy, and return its path; None if nothing was chosen.

    Args:
        base: Recipe that the remedies have in common.
        remedies: Changes of each remedy, by name.
        compared: The comparison.
        directory: Directory of the comparison.
    """
    if compared.chosen is None:
        return None
    value = with_changes(base.document, remedies[compared.chosen]).value
    value.pop("compare", None)
    value["data"] = _with_paths_from(directory, base.folder, value["data"])
    reason = textwrap.wrap(f"{visible(compared.chosen)!r}, chosen by tailfit compare. {compared.reason}", 118)
    comment = "".join(f"# {line}\n" for line in reason)
    return write_text(directory / "recommended.yaml", comment + as_yaml(value))


def _with_paths_from(directory: Path, folder: Path, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the key `data` with its paths relative to `directory` instead of `folder`."""

    def moved(path: Any) -> Any:
        if not isinstance(path, str) or is_url(path) or os.path.isabs(path):
            return path
        return Path(os.path.relpath((folder / path).resolve(), directory.resolve())).as_posix()

    changed = {**data, **{key: moved(data[key]) for key in ("path", "partition") if key in data}}
    if isinstance(data.get("options"), Mapping):
        options = data["options"]
        changed["options"] = {key: moved(each) if key in FILE_OPTIONS else each for key, each in options.items()}
    return changed
