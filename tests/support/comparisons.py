"""Directories of comparisons, for tests."""


def files(folder):
    """The files of a comparison; of the checkpoints, which depend on where a run was continued, the newest only."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "lock"]
    newest = {path.parents[1]: path.parent.name for path in found if path.parents[1].name == "checkpoints"}
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in found
        if newest.get(path.parents[1], path.parent.name) == path.parent.name
    }
