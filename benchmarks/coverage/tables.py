"""The measured coverage as text tables."""

from tailfit.evaluation.group_intervals import FEW_GROUPS

KEYS = ("recalls", "balanced_accuracy", "macro_f1", "geometric_mean", "worst_class_recall", "accuracy")
GAINS = ("balanced_accuracy", "macro_f1", "accuracy")
PEERS = ("groups", "iid", "percentile", "BCa", "bootstrap-t", "jackknife t")
LABELS = {
    "recalls": "recall",
    "balanced_accuracy": "balanced",
    "macro_f1": "macro-F1",
    "geometric_mean": "G-mean",
    "worst_class_recall": "worst",
    "accuracy": "accuracy",
    "best recall": "recall .95",
    "lowest recall": "recall .6",
}
_HEAD = "design      groups  classes corr. "


def table(lines: list[dict]) -> str:
    """Return the tables of finished settings."""
    lines = sorted(lines, key=lambda line: tuple(line["setting"].values()))
    return "\n\n".join([_ours(lines), _peers(lines)])


def _ours(lines: list[dict]) -> str:
    out = [
        "Coverage in % of 95 % intervals by tailfit; the same that treats windows as independent in brackets.",
        "! below 93 %; + above 98 %: wider than needed; ? fewer than 5 groups: tailfit warns not to trust it.",
        " " * 34 + "figure" + " " * 54 + "difference",
        _HEAD + "".join(f"{LABELS[key]:>10}" for key in KEYS) + " " + "".join(f"{LABELS[key]:>9}" for key in GAINS),
    ]
    for line in lines:
        covered = line["covered"]
        cells = [
            _marked(covered, f"groups: {key}") + f"{'(' + _percent(covered, f'iid: {key}') + ')':>5}" for key in KEYS
        ]
        gains = [_marked(covered, f"groups: difference {key}") for key in GAINS]
        out.append(
            _head(line) + "".join(f"{cell:>10}" for cell in cells) + "".join(f"{gain:>9}" for gain in gains).rstrip()
        )
    return "\n".join(out)


def _peers(lines: list[dict]) -> str:
    keys = ("balanced_accuracy", "best recall", "lowest recall")
    out = [
        "Coverage in % of other 95 % intervals, next to tailfit's (tf). iid: windows as independent; perc, BCa,",
        "boot-t: groups resampled; jack: delete one group.",
        " " * 34 + "".join(f"{LABELS[key]:^36}" for key in keys).rstrip(),
        _HEAD + "    tf   iid  perc   BCa boot-t jack" * len(keys),
    ]
    for line in lines:
        covered = line["covered"]
        if "BCa: balanced_accuracy" in covered:
            cells = [f"{_percent(covered, f'{name}: {key}'):>6}" for key in keys for name in PEERS]
            out.append(_head(line) + "".join(cells))
    return "\n".join(out)


def _head(line: dict) -> str:
    setting = line["setting"]
    doubt = "?" if setting["groups"] < FEW_GROUPS else " "
    return (
        f"{setting['design']:<11} {setting['groups']:>6}{doubt} {setting['classes']:>7} {setting['correlation']:>5.2g} "
    )


def _marked(covered: dict, key: str) -> str:
    mark = "!" if covered[key] < 0.93 else "+" if covered[key] > 0.98 else " "
    return _percent(covered, key) + mark


def _percent(covered: dict, key: str) -> str:
    return f"{100 * covered[key]:.0f}"
