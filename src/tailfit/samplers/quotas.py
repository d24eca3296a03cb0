"""How many draws each class gets in an epoch: exact shares, rounded by largest remainder.

Whole-number arithmetic throughout: a float's last bit, which differs between platforms, must not decide
which class gets the draw left over.
"""

from collections.abc import Sequence
from decimal import Context, Decimal

import numpy as np
from numpy.typing import NDArray

__all__ = ["largest_remainder", "power_shares"]

_DECIMALS = 30
_LARGEST_EXACT_POWER = 8


def largest_remainder(total: int, shares: Sequence[int]) -> NDArray[np.int64]:
    """Split `total` in proportion to `shares`; each part is within 1 of the exact one, their sum is `total`.

    Args:
        total: What is split, >= 0.
        shares: Whole numbers >= 0, not all 0. Equal remainders: the earlier share gets the unit.

    >>> largest_remainder(10, [1, 1, 1]).tolist()
    [4, 3, 3]
    """
    whole = sum(shares)
    parts, remainders = zip(*(divmod(total * share, whole) for share in shares), strict=True)
    quotas = np.array(parts, dtype=np.int64)
    # sorted is stable: ties go by position.
    by_remainder = sorted(range(len(shares)), key=lambda position: -remainders[position])
    quotas[by_remainder[: total - sum(parts)]] += 1
    return quotas


def power_shares(counts: NDArray[np.int64], power: float) -> list[int]:
    """Whole numbers in proportion to `counts ** power`: exact for whole powers, else to 30 digits.

    >>> power_shares(np.array([10, 1000]), 1.0)
    [10, 1000]
    """
    if power.is_integer() and power <= _LARGEST_EXACT_POWER:
        return [int(count) ** int(power) for count in counts]
    # decimal, not float: its powers are the same on every platform. Its context is our own, whatever the
    # user's is; one power for each distinct count, as there may be many classes.
    context = Context(prec=_DECIMALS, traps=[])
    exponent, largest = Decimal(power), int(counts.max())
    unit = Decimal(10) ** _DECIMALS
    share = {}
    for count in {int(count) for count in counts}:
        ratio = context.divide(Decimal(count), Decimal(largest))
        share[count] = int(context.multiply(context.power(ratio, exponent), unit))
    return [share[int(count)] for count in counts]
