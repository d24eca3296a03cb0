"""Decisions of `compare` on simulated comparisons, whose true figures are known (world.py).

    python benchmarks/decide --out benchmarks/decide/results.txt

- *optimism*: the reported figure of the chosen remedy minus its true one, if the best of all remedies on the test part
  is taken, and if the remedy is chosen on the validation part; and how often the 95 % interval of its gain contains the
  true gain.
- *rule*: the balanced accuracy lost against the truly best remedy, if the chosen one is the simplest whose difference
  to the best one on the validation part is not significant, with intervals of different levels; and how often that is
  plain training. "one standard error" is the rule of tailfit.
- *race*: how often a race with at most 40 % of the time (50 % with six remedies) picks the remedy of the complete
  comparison, or one that does not differ significantly from it (95 % interval on the validation part), and the time
  that it takes.
"""

import argparse
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
from world import World

from tailfit.evaluation.comparison_statistics import SeedMeans
from tailfit.evaluation.deciding import better_first, close_to, decide
from tailfit.recipes.racing import Pace, Race, race, seconds_of

KEY, RESAMPLES, SEEDS, EPOCHS = "balanced_accuracy", 200, 5, 20


def means(world: World, names: list[str], part: str) -> SeedMeans:
    return SeedMeans(
        {name: [world.trained(int(name), seed, part) for seed in range(SEEDS)] for name in names}, RESAMPLES
    )


def optimism(trials: int, remedies: int) -> str:
    names = [str(k) for k in range(remedies)]
    on_test, on_validation, covered, counted = [], [], 0, 0
    for trial in range(trials):
        world = World(np.random.default_rng([1, remedies, trial]), remedies)
        validation, test = means(world, names, "validation"), means(world, names, "test")
        best = better_first(names, test, KEY)[0]
        # Some test sets are easier for all remedies. On average this is 0; subtracting it reduces the standard errors.
        luck = np.mean([test.value(name, KEY) - world.truth[int(name)] for name in names])
        on_test.append(test.value(best, KEY) - world.truth[int(best)] - luck)
        found = decide(validation, test, names, baseline="0", decide_on=KEY, confidence=0.95)
        on_validation.append(test.value(found.chosen, KEY) - world.truth[int(found.chosen)] - luck)
        if found.gain is not None:
            counted += 1
            covered += found.gain.low <= world.truth[int(found.chosen)] - world.truth[0] <= found.gain.high
    texts = [
        f"{np.mean(values):+8.4f} +- {np.std(values) / np.sqrt(trials):.4f}" for values in (on_test, on_validation)
    ]
    return f"{remedies:8} {texts[0]:>20} {texts[1]:>20} {covered / max(counted, 1):9.1%} of {counted}"


def rule(trials: int, remedies: int, effect: float, gain: float) -> str:
    names = [str(k) for k in range(remedies)]
    lost, plain = Counter[str](), Counter[str]()
    levels = {"best": 0.0, "one standard error": 0.6827, "80 %": 0.8, "95 %": 0.95}
    for trial in range(trials):
        world = World(np.random.default_rng([2, remedies, trial]), remedies, effect, gain)
        validation, truth = means(world, names, "validation"), world.truth
        best = better_first(names, validation, KEY)[0]
        for level, confidence in levels.items():
            chosen = best
            if confidence:
                gaps = {name: validation.difference(best, name, KEY, confidence) for name in names}
                chosen = next(name for name in names if name == best or gaps[name].low <= 0)
            lost[level] += truth.max() - truth[int(chosen)]
            plain[level] += chosen == "0"
    cells = [f"{lost[level] / trials:8.4f} {plain[level] / trials:6.0%}" for level in levels]
    return f"{gain:6.2f} {effect:6.2f}   " + "   ".join(cells)


def races(trials: int, remedies: int, start: float, allowed: float) -> str:
    names = [str(k) for k in range(remedies)]
    paces = {name: Pace(start, 1.0 + (int(name) % 4 == 3)) for name in names}  # some steps take two passes
    epochs = dict.fromkeys(names, EPOCHS)
    listed = list(paces.values())
    full = (Race.planned(1e9, 1, paces, epochs, SEEDS)).rounds
    everything = seconds_of(full, listed, [EPOCHS] * remedies, 1)
    plan = Race.planned(allowed * everything / 60, 1, paces, epochs, SEEDS)
    same = close = 0
    times, lost = [], []
    for trial in range(trials):
        world = World(np.random.default_rng([3, remedies, trial]), remedies)
        done: dict[tuple[str, int], int] = {}
        used = 0.0

        def train(left, now, done=done):
            nonlocal used
            for name in left:
                for seed in range(now.seeds):
                    more = now.epochs(EPOCHS) - done.get((name, seed), 0)
                    done[name, seed] = now.epochs(EPOCHS)
                    used += paces[name].start + paces[name].epoch * more if more > 0 else 0.0

        def measure(left, now, world=world):
            train(left, now)
            share = now.epochs(EPOCHS) / EPOCHS
            of_each = {
                name: [world.trained(int(name), seed, "validation", share) for seed in range(now.seeds)]
                for name in left
            }
            return {name: float(np.mean([each.balanced_accuracy for each in of])) for name, of in of_each.items()}

        left, _ = race(plan.rounds, epochs, measure)
        train(left, plan.rounds[-1])
        whole, part = means(world, names, "validation"), means(world, left, "validation")
        chosen = close_to(better_first(names, whole, KEY)[0], names, whole, KEY)[0]
        picked = close_to(better_first(left, part, KEY)[0], left, part, KEY)[0]
        gap = whole.difference(chosen, picked, KEY, 0.95)
        same += picked == chosen
        close += picked == chosen or gap.low <= 0 <= gap.high
        times.append(used / everything)
        lost.append(world.truth[int(chosen)] - world.truth[int(picked)])
    rounds = ", ".join(f"{each.remedies} x {each.seeds} x {each.share:g}" for each in plan.rounds)
    return (
        f"{remedies:8} {start:6g} {same / trials:7.1%} {close / trials:8.1%} {np.mean(times):6.2f} {max(times):6.2f} "
        f"{np.mean(lost):+8.4f}   {rounds}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--out", type=Path, help="file that results are added to")
    options = parser.parse_args()
    for section in options.only:
        title, heading, rows = SECTIONS[section]
        show(f"{section}, {options.trials} simulated comparisons: {title}\n{heading}", options.out)
        for row in rows:
            show(row(options.trials), options.out)


def show(text: str, out: Path | None) -> None:
    print(text, flush=True)
    if out is not None:
        with out.open("a") as file:
            file.write(f"{text}\n")


SECTIONS = {
    "race": (
        "picks of the complete comparison, time as a share of it, and balanced accuracy lost against its pick",
        "remedies  start    same  or close  mean    max     lost   rounds: remedies x seeds x share of the epochs",
        [partial(races, remedies=k, start=start, allowed=allowed) for k, start, allowed in ((12, 0, 0.4), (6, 0, 0.5))],
    ),
    "optimism": (
        "reported balanced accuracy of the chosen remedy minus the true one, with its standard error",
        "remedies   best on the test part   chosen on validation   interval of the gain contains the truth",
        [partial(optimism, remedies=k) for k in (12, 2)],
    ),
    "rule": (
        "balanced accuracy lost against the best of 12 remedies, and how often plain training is taken",
        "  gain effect              best   one standard error             80 %             95 %",
        [partial(rule, remedies=12, effect=effect, gain=gain) for gain, effect in ((0.25, 0.35), (0.0, 0.0))],
    ),
}


if __name__ == "__main__":
    main()
