"""Metrics update their sums in two ways on torch: all tests run with both there."""

import keras
import pytest

from tailfit.metrics import _base

WAYS = ("numpy", "operators") if keras.backend.backend() == "torch" else ("operators",)


@pytest.fixture(autouse=True, scope="module", params=WAYS)
def update(request):
    """How sums are updated: with NumPy on a CPU, or with operators as on a GPU and in compiled steps."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "operators" and len(WAYS) > 1:
            patch.setattr(_base, "shares_memory", lambda variable: False)
        yield request.param
