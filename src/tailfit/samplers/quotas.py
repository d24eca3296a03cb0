"""The number of draws of each class in an epoch: exact shares, rounded by the largest-remainder method.

All arithmetic is on integers: the last bit of a float differs between platforms, and must not decide which class gets
a remaining draw.
"""

from collections.abc import Sequence
from decimal import Context, Decimal

import numpy as np
from numpy.typing import NDArray

__all__ = ["largest_remainder", "power_shares"]

_DECIMALS = 30
_LARGEST_EXACT_POWER = 8


def largest_remainder(total: int, shares: Sequence[int]) -> NDArray[np.int64]:
    """Split `total` into integers in proportion to `shares`; each part is within 1 of its exact share.

    Args:
        total: The sum of the parts, >= 0.
        shares: Integers >= 0, not all 0. Of equal remainders, the earlier one is rounded up first.

    >>> largest_remainder(10, [1, 1, 1]).tolist()
    [4, 3, 3]
    """
    whole = sum(shares)
    parts, remainders = zip(*(divmod(total * share, whole) for share in shares), strict=True)
    quotas = np.array(parts, dtype=np.int64)
    # sorted is stable: ties go to the earlier position.
    by_remainder = sorted(range(len(shares)), key=lambda position: -remainders[position])
    quotas[by_remainder[: total - sum(parts)]] += 1
    return quotas


def power_shares(counts: NDArray[np.int64], power: float) -> list[int]:
    """Return integers in proportion to `counts ** power`: exact for integer powers up to 8, else to 30 digits.

    >>> power_shares(np.array([10, 1000]), 1.0)
    [10, 1000]
    """
    if power.is_integer() and power <= _LARGEST_EXACT_POWER:
        return [int(count) ** int(power) for count in counts]
    # decimal, because float powers differ between platforms; in a context of its own, because the user may have
    # changed the global one. One power per distinct count: there may be many classes.
    context = Context(prec=_DECIMALS, traps=[])
    exponent, largest = Decimal(power), int(counts.max())
    unit = Decimal(10) ** _DECIMALS
    share = {}
    for count in {int(count) for count in counts}:
        ratio = context.divide(Decimal(count), Decimal(largest))
        share[count] = int(context.multiply(context.power(ratio, exponent), unit))
    return [share[int(count)] for count in counts]
