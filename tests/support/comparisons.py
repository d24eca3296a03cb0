"""Directories of comparisons, for tests."""


def files(folder):
    """Return the files of a comparison by path, of checkpoints only the newest: others depend on interruptions."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "lock"]
    newest = {path.parents[1]: path.parent.name for path in found if path.parents[1].name == "checkpoints"}
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in found
        if newest.get(path.parents[1], path.parent.name) == path.parent.name
    }
