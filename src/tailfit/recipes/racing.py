"""Races: comparisons within a budget of time, which stop remedies that can't win any more (`compare --budget`).

Concepts:
- *round*: the remedies that are left are trained with some seeds for a share of their epochs, and measured on the
  validation part. Those with the best deciding figures go on (successive halving: Karnin et al. 2013, ICML; Jamieson &
  Talwalkar 2016, arXiv:1502.07943). The baseline always goes on, because all gains refer to it. In the last round all
  seeds are trained to the end. A run goes on where it was; its figures are those of training it alone.
- *plan*: the rounds. `plans` lists them from generous to frugal; the first that fits the budget is taken. It is fixed
  once, from measured times of the first epochs, and kept in `race.json`. From then on decisions depend on results
  alone, never on the clock, so that an interrupted race ends with the same bytes. The budget is therefore a plan, not
  a limit.
- *late changes*: a remedy with a schedule, such as deferred weights, can't be judged before its last epoch. It is never
  stopped in a round that trains a share of the epochs only.
"""

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from tailfit.errors import ArgumentError, CheckpointError, DataError
from tailfit.evaluation.deciding import Stopped
from tailfit.recipes.directory import read_fields
from tailfit.storage.writing import write_text

__all__ = ["FIRST_EPOCHS", "Pace", "Race", "Round", "plans", "race", "seconds_of"]

_FORMAT: Final = {"format": "tailfit.race", "version": 1}
FIRST_EPOCHS: Final = 2  # measured: the first one includes compilation


@dataclass(frozen=True)
class Round:
    """A round of a race.

    Attributes:
        remedies: Number of remedies that take part, with the baseline.
        share: Share of the epochs that they are trained for, in (0, 1].
        seeds: Number of seeds.
    """

    remedies: int
    share: float
    seeds: int

    def epochs(self, of_remedy: int) -> int:
        """Return the number of epochs of a remedy in this round."""
        return max(1, math.ceil(self.share * of_remedy - 1e-9))


@dataclass(frozen=True)
class Pace:
    """Measured time of a remedy, in seconds.

    Attributes:
        start: Time of a training besides its epochs.
        epoch: Time of an epoch after the first.
    """

    start: float
    epoch: float

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """Read a pace from the fields of a file.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: If a time is missing, negative or not finite.
        """
        times = float(fields["start"]), float(fields["epoch"])
        if not all(0 <= time < math.inf for time in times):
            raise ValueError("a time that is negative or not finite")
        return cls(*times)


def plans(remedies: int, seeds: int, epochs: int) -> list[tuple[Round, ...]]:
    """Return possible plans, from all runs to the shortest race.

    Args:
        remedies: Number of remedies, at least 2.
        seeds: Number of seeds, at least 2.
        epochs: Number of epochs of the shortest training.

    >>> [len(plan) for plan in plans(12, 5, 20)]
    [1, 2, 3, 4, 4, 4, 3, 2]
    >>> [(each.remedies, each.share, each.seeds) for each in plans(12, 5, 20)[3]]
    [(12, 0.5, 1), (6, 1.0, 1), (4, 1.0, 2), (3, 1.0, 5)]
    """

    def divided_by(divisor: float) -> int:
        return min(remedies, max(2, math.ceil(remedies / divisor)))

    found = [
        [(remedies, 1.0, seeds)],
        [(remedies, 1.0, 2), (divided_by(2), 1.0, seeds)],
        [(remedies, 1.0, 1), (divided_by(2), 1.0, 2), (divided_by(4), 1.0, seeds)],
        [(remedies, 0.5, 1), (divided_by(2), 1.0, 1), (divided_by(3), 1.0, 2), (divided_by(4), 1.0, seeds)],
        [(remedies, 0.25, 1), (divided_by(1.5), 0.5, 1), (divided_by(3), 1.0, 2), (divided_by(4), 1.0, seeds)],
        [(remedies, 0.25, 1), (divided_by(2), 0.5, 1), (divided_by(4), 1.0, 1), (2, 1.0, seeds)],
        [(remedies, 0.25, 1), (divided_by(4), 1.0, 1), (2, 1.0, seeds)],
        [(remedies, 1 / epochs, 1), (2, 1.0, seeds)],
    ]
    return [tuple(Round(*each) for each in plan) for plan in found]


def seconds_of(plan: Sequence[Round], paces: Sequence[Pace], epochs: Sequence[int], jobs: int) -> float:
    """Return the time that a plan takes if the remedies that go on are of average speed.

    Args:
        plan: The plan.
        paces, epochs: Pace and epochs of each remedy.
        jobs: Number of runs that are trained at a time.

    >>> seconds_of(plans(2, 2, 10)[0], [Pace(1.0, 0.5), Pace(1.0, 1.0)], [10, 10], jobs=1)
    34.0
    """
    start = sum(pace.start for pace in paces) / len(paces)
    whole = [pace.epoch * of_remedy for pace, of_remedy in zip(paces, epochs, strict=True)]
    done: dict[tuple[int, int], float] = {}
    total = 0.0
    for each in plan:
        shares = []
        for run in itertools.product(range(each.remedies), range(each.seeds)):
            shares += [each.share - done.get(run, 0.0)]
            done[run] = each.share
        times = [start + share * sum(whole) / len(whole) for share in shares if share > 0]
        longest = start + max(shares) * max(whole) if times else 0.0
        total += max(sum(times) / jobs, longest)
    return total


@dataclass(frozen=True)
class Race:
    """The plan of a race, as stored in `race.json`.

    Attributes:
        budget: Budget in minutes.
        jobs: Number of runs that are trained at a time.
        paces: Measured pace of each remedy, by name.
        rounds: The rounds.
    """

    budget: float
    jobs: int
    paces: Mapping[str, Pace]
    rounds: tuple[Round, ...]

    @classmethod
    def planned(
        cls, budget: float, jobs: int, paces: Mapping[str, Pace], epochs: Mapping[str, int], seeds: int
    ) -> Self:
        """Take the first plan that fits the budget.

        Raises:
            ArgumentError: If even the shortest one does not.
        """
        of_each = list(epochs.values())
        listed = [paces[name] for name in epochs]
        times = []
        for plan in plans(len(epochs), seeds, min(of_each)):
            times.append(seconds_of(plan, listed, of_each, jobs))
            if times[-1] <= 60 * budget:
                return cls(budget, jobs, paces, plan)
        raise ArgumentError(
            f"budget={budget:g} minutes",
            expected=f"at least {math.ceil(10 * min(times) / 60) / 10:g} minutes: one epoch of each of {len(epochs)} "
            f"remedies, and then two of them with {seeds} seeds",
            fix="increase the budget, or use fewer seeds, epochs or remedies, or more jobs",
        )

    def write(self, directory: Path) -> None:
        """Write `race.json`."""
        fields = {**_FORMAT, **asdict(self)}
        write_text(directory / "race.json", json.dumps(fields, indent=1, allow_nan=False))

    @classmethod
    def read(cls, directory: Path, remedies: Sequence[str]) -> Self | None:
        """Read `race.json`; return None if the file does not exist.

        Raises:
            DataError: If it is damaged.
            CheckpointError: If it is that of different remedies.
        """
        path = directory / "race.json"
        if not path.is_file():
            return None
        try:
            fields = read_fields(path, _FORMAT)
        except DataError as error:
            raise _damaged(path, error.received) from error
        try:
            paces = {str(name): Pace.of(each) for name, each in fields["paces"].items()}
            rounds = tuple(
                Round(int(each["remedies"]), float(each["share"]), int(each["seeds"])) for each in fields["rounds"]
            )
            found = cls(float(fields["budget"]), int(fields["jobs"]), paces, rounds)
            if not all(0 < each.share <= 1 and each.seeds > 0 and each.remedies > 1 for each in rounds) or not rounds:
                raise ValueError("a round that is not valid")
            if not 0 < found.budget < math.inf or found.jobs < 1:
                raise ValueError("a budget or a number of jobs that is not valid")
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise _damaged(path, f"{type(error).__name__}: {error}") from error
        if list(paces) != list(remedies):
            raise CheckpointError(
                f"{directory}, which contains a race of the remedies {', '.join(map(repr, paces))}",
                expected=f"a new directory, or one with the remedies of this race: {', '.join(map(repr, remedies))}",
                fix="use a different directory for this comparison",
            )
        return found


def _damaged(path: Path, what: str) -> DataError:
    return DataError(
        what if what.startswith(str(path)) else f"{path}: {what}",
        expected="the plan of a race, as tailfit wrote it",
        fix="remove the file: the same command then plans the race again, and keeps what is trained",
    )


def race(
    rounds: Sequence[Round],
    epochs: Mapping[str, int],
    measure: Callable[[Sequence[str], Round], Mapping[str, float]],
    *,
    late: Sequence[str] = (),
    lower_is_better: bool = False,
) -> tuple[list[str], list[Stopped]]:
    """Run a race, and return the remedies of the last round and those that were stopped.

    Args:
        rounds: The plan.
        epochs: Number of epochs of each remedy by name, the baseline first.
        measure: Function that trains remedies for a round, and returns the deciding figure of each. It is not called
            for the last round.
        late: Remedies that are not stopped before their last epoch.
        lower_is_better: Whether small figures are better.

    >>> figures = {"plain": 0.3, "one": 0.5, "other": 0.6, "third": 0.4}
    >>> left, stopped = race(plans(4, 3, 10)[2], dict.fromkeys(figures, 10), lambda names, round: figures)
    >>> left, [(each.name, each.rank) for each in stopped]
    (['plain', 'other'], [('third', 3), ('one', 2)])
    """
    left, stopped = list(epochs), []
    baseline = left[0]
    for now, following in itertools.pairwise(rounds):
        figures = measure(left, now)
        ranked = sorted(left, key=lambda name: figures[name] if lower_is_better else -figures[name])
        spared = {baseline, *(late if now.share < 1 else ())}
        places = max(following.remedies - len(spared & set(ranked)), 1)
        kept = {*spared, *[name for name in ranked if name not in spared][:places]}
        stopped += [
            Stopped(
                name=name,
                epochs=now.epochs(epochs[name]),
                seeds=now.seeds,
                figure=figures[name],
                rank=ranked.index(name) + 1,
                remedies=len(ranked),
            )
            for name in reversed(ranked)
            if name not in kept
        ]
        left = [name for name in left if name in kept]
    return left, stopped
