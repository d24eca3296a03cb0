"""Repeat-factor sampling: repeat the samples of classes rarer than a threshold, and draw all others once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from numbers import Real
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from tailfit.errors import ArgumentError, DataError
from tailfit.labels import encode
from tailfit.samplers.balanced import ByShares
from tailfit.samplers.base import Plan, refuse_empty
from tailfit.samplers.quotas import largest_remainder
from tailfit.samplers.runs import Runs
from tailfit.samplers.weighted import SystematicPlan

__all__ = ["RepeatFactor"]

_DECIMALS = 30
_UNIT = 10**_DECIMALS


@final
@dataclass(frozen=True, kw_only=True)
class RepeatFactor(ByShares):
    """Draw each sample `max(1, sqrt(threshold / f))` times per epoch, where f is the frequency of its class.

    An epoch has as many draws as these factors sum to. Fractional factors are rounded up for some samples and down for
    others, and which ones changes from epoch to epoch. The members of a class are drawn equally often: over any
    consecutive epochs their counts differ by at most one. A multi-label sample has the factor of its rarest label; one
    without labels is drawn once.

    Args:
        threshold: Frequency below which a class is repeated, a fraction of the samples, > 0 and <= 1.
    Raises:
        ArgumentError: If the threshold is out of range.
        DataError: Raised by `plan` for soft labels.
    Source: Gupta, Dollar & Girshick 2019 (LVIS), arXiv:1908.03195, appendix B.2.

    >>> plan = RepeatFactor(0.4).plan(np.repeat([0, 1], [9, 1]), seed=1)
    >>> plan.size(0), np.bincount(plan.labels[plan.indices(0, 0, 11)]).tolist()
    (11, [9, 2])
    """

    by_class: ClassVar[bool] = True
    threshold: float = field(kw_only=False)

    def __post_init__(self) -> None:
        given: Any = self.threshold
        number = isinstance(given, Real) and not isinstance(given, bool | np.bool_)
        if not number or not 0 < given <= 1:
            raise ArgumentError(
                f"threshold={given!r}",
                expected="a fraction of the samples, > 0 and <= 1",
                fix="pass 0.01, for example, to repeat samples of classes rarer than 1 %",
            )
        object.__setattr__(self, "threshold", float(given))

    def plan(self, labels: Any, seed: int = 0, batch_size: int | None = None) -> Plan:
        """Apply the sampler to labels, which may be multi-label; see `Sampler.plan`."""
        if isinstance(labels, Runs) or np.ndim(labels) < 2:
            return super().plan(labels, seed, batch_size)
        encoded = encode(labels)
        if encoded.kind == "codes":
            return super().plan(encoded.values, seed, batch_size)
        if encoded.kind != "multi-label":
            raise DataError(
                f"{encoded.kind} labels for RepeatFactor",
                expected="one class per sample, or multi-label rows of 0 and 1",
                fix="pass hard labels, e.g. y.argmax(axis=1)",
            )
        refuse_empty(len(encoded.values))
        lengths, unit = _lengths(
            self._factors(encoded.values.sum(axis=0).tolist(), len(encoded.values)), encoded.values
        )
        draws = int(lengths.sum()) // unit
        return SystematicPlan(encoded.values, lengths, draws=draws, seed=seed, batch_size=batch_size)

    def _shares(self, counts: NDArray[np.int64], epoch: int) -> list[int]:
        factors = self._factors(counts.tolist(), int(counts.sum()))
        return [factor * count for factor, count in zip(factors, counts.tolist(), strict=True)]

    def _quotas(self, counts: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        # Split the whole repeats off first: in a class that is not repeated, each sample is drawn exactly once.
        shares = zip(self._shares(counts, epoch), counts.tolist(), strict=True)
        whole, parts = zip(*(divmod(share, _UNIT * count) for share, count in shares), strict=True)
        total = (sum(parts) + _UNIT // 2) // _UNIT
        return np.array(whole) * counts + (largest_remainder(total, parts) if total else 0)

    def _factors(self, counts: Sequence[float], samples: int) -> list[int]:
        """Return the repeat factor of each class in units of 10**-30.

        Computed in decimal, so that they are the same on every platform.
        """
        context = Context(prec=_DECIMALS, traps=[])
        factors = []
        for count in counts:
            rarity = context.divide(
                context.multiply(Decimal(self.threshold), Decimal(samples)), Decimal(int(count) or 1)
            )
            factors.append(max(_UNIT, int(context.multiply(context.sqrt(rarity), Decimal(_UNIT)))))
        return factors


def _lengths(factors: Sequence[int], rows: NDArray[Any]) -> tuple[NDArray[np.int64], int]:
    """Return the repeat factor of each sample in units of 1 / `unit`, and `unit`.

    `unit` is a power of two, and the factors sum to an integer, so that an epoch has a whole number of draws.
    """
    bits = 60 - len(rows).bit_length() - (max(factors) // _UNIT).bit_length()
    unit = 1 << bits
    by_class = np.array([factor * unit // _UNIT for factor in factors], dtype=np.int64)
    lengths = np.full(len(rows), unit, dtype=np.int64)
    for code, length in enumerate(by_class.tolist()):
        chosen = rows[:, code] > 0
        lengths[chosen] = np.maximum(lengths[chosen], length)
    # Round the sum up to a whole draw, at a sample with the rarest label.
    lengths[int(lengths.argmax())] += -int(lengths.sum()) % unit
    return lengths, unit
