"""State the warning of graphs that only average, by λ₂ of a dense formula."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from gspnl.errors import AveragingWarning
from support.formulas import eigen


def second_of(W, A, change, normalization="random_walk"):
    """Return λ₂/s without isolated nodes."""
    d = W.sum(1)
    lam = eigen(A, change)[0][int((d == 0).sum()) :]
    return lam[1] / (d.max() if normalization == "combinatorial" else 1.0)


def stated(second):
    """A context that wants the warning where λ₂ is above 0.8, and none elsewhere."""
    if second <= 0.8:
        return contextlib.nullcontext()
    digits = np.unique([f"{second - 0.004:.2f}", f"{second:.2f}", f"{second + 0.004:.2f}"])
    return pytest.warns(AveragingWarning, match=f"its second λ is ({'|'.join(digits)}) ")
