"""The problems on the page "What helped, and what did not": what was measured, and the figures of each remedy."""

from collections.abc import Iterator
from dataclasses import dataclass

from differences import mean_of
from store import Figures, Store, mean_over

SETS = ("MedicalImages", "WordSynonyms", "DistalPhalanxTW")

BySeed = dict[str, dict[int, float]]


@dataclass(frozen=True)
class Subject:
    """One problem with one network: what was measured, and the figure of each remedy, by seed, in points."""

    title: str
    short: str
    facts: tuple[str, ...]
    figure: str
    plain: str
    values: BySeed


def points(rows: dict[str, dict[int, Figures]], key: str, prefix: str = "") -> BySeed:
    """Return the figure `key` in percent of the rows that begin with the prefix, by their names without it."""
    return {
        name.removeprefix(prefix): {seed: 100 * figures[key] for seed, figures in seeds.items()}
        for name, seeds in rows.items()
        if name.startswith(prefix)
    }


def over_sets(store: Store, network: str) -> BySeed:
    found = mean_over(store.rows("ucr"), [f"{of}, {network}, " for of in SETS], "mean recall")
    return {remedy: {seed: 100 * value for seed, value in seeds.items()} for remedy, seeds in found.items()}


def subjects(store: Store) -> Iterator[Subject]:
    yield Subject(
        "Handwritten digits with a long tail",
        "MNIST",
        (
            "Images of 10 digits: 4,000 of the most frequent to 40 of the rarest (100 to 1), 9,000 in all; "
            "10,000 balanced test images.",
            "Network: five convolutions, 0.15 million weights; shifts of up to two pixels for every remedy.",
        ),
        "mean recall",
        "plain cross-entropy",
        points(store.rows("mnist"), "mean recall"),
    )
    of_plant = (
        "Windows of 20 steps and 52 sensors of a simulated chemical plant, 22 root causes: 69 windows of the most "
        "frequent to 3 of the rarest (20 to 1), 495 in all; 4,095 test windows of other runs. Which cause is rare is "
        "drawn anew for each seed.",
    )
    yield Subject(
        "Tennessee Eastman with a long tail, a small network",
        "plant, small",
        (*of_plant, "Network: two convolutions of 64 channels, mean and maximum."),
        "macro F1",
        "plain cross-entropy",
        points(store.rows("tep"), "macro F1"),
    )
    rows = store.rows("tep-networks")
    fcn = "Network: `fcn` of [networks](networks.md), the best of six on held-out windows"
    for network, of_inputs in (
        ("fcn", f"{fcn}."),
        ("fcn + statistics", f"{fcn}. Inputs: the readings and their statistics in the window, as logarithms."),
    ):
        values = points(rows, "macro F1", f"{network}, ")
        if "plain cross-entropy" in values:
            yield Subject(
                f"Tennessee Eastman with a long tail, {network}",
                f"plant, {network}",
                (*of_plant, of_inputs),
                "macro F1",
                "plain cross-entropy",
                values,
            )
    for name, short, fact in (
        ("random forest", "forest", "500 trees of scikit-learn on all readings of a window."),
        ("random forest of statistics", "forest of statistics", "500 trees on the statistics of a window."),
        (
            "ridge regression of statistics",
            "ridge of statistics",
            "One layer on the statistics of a window, by ridge regression: `tailfit.stages.ridge_classifier`.",
        ),
    ):
        values = {
            remedy.removeprefix(name).strip(" ,+") or "plain": seeds
            for remedy, seeds in points(rows, "macro F1").items()
            if remedy == name or remedy.startswith((f"{name}, ", f"{name} + "))
        }
        if values:
            yield Subject(
                f"Tennessee Eastman with a long tail, {name}",
                f"plant, {short}",
                (*of_plant, f"No network: {fact}" if "forest" in name else fact),
                "macro F1",
                "plain",
                values,
            )
    for network in ("cnn", "fcn", "resnet", "minirocket", "lite", "inception_time"):
        values = over_sets(store, network)
        if "plain cross-entropy" in values:
            yield Subject(
                f"Three sets of the UCR archive, {network}",
                f"UCR, {network}",
                (
                    "MedicalImages (381 series of 99 steps, 10 classes, 203 to 6), WordSynonyms (267 of 270 steps, "
                    "25 classes, 60 to 2), DistalPhalanxTW (400 of 80 steps, 6 classes, 213 to 18), in the archive's "
                    "split. The figure is the mean over the three sets.",
                    f"Network: `{network}`.",
                    *(
                        ["Warps were taken up after a trial on the test parts of one seed."]
                        if any("warps" in name for name in values)
                        else ()
                    ),
                ),
                "mean recall",
                "plain cross-entropy",
                values,
            )
    for kind, title in (
        ("symmetric 50 %", "half of the labels random"),
        ("pair 45 %", "45 % of the labels one class on"),
    ):
        values = points(store.rows("noise"), "last epoch", f"{kind}, ")
        limit = values.pop("limit: correct labels alone", None)
        reached = f" Trained on the correct labels alone it reaches {mean_of(limit):.1f} %." if limit else ""
        yield Subject(
            f"Wrong labels: {title}",
            f"noise, {kind}",
            (
                "60,000 images of 10 balanced digits, wrong labels in the training and the held-out part; "
                "10,000 test images with correct labels.",
                f"Network: two dense layers of 256 units, ten epochs.{reached}",
            ),
            "accuracy after the last epoch",
            "cross-entropy",
            values,
        )
    yield Subject(
        "Two overlapping normal distributions",
        "Gaussians",
        (
            "10,000 points in the plane, 5 % of them of the rare class (19 to 1); 10,000 test points.",
            "Network: a linear classifier. The best possible balanced accuracy is 92.1 %.",
        ),
        "balanced accuracy",
        "plain cross-entropy",
        {
            name: {seed: 100 - value for seed, value in seeds.items()}
            for name, seeds in points(store.rows("gaussians"), "balanced error").items()
            if name != "Bayes"
        },
    )
