"""Stationary distribution of a head, or the reason why it has none."""

from __future__ import annotations

import numpy as np

from gspnl.affinity.stationary import stationary_distribution
from gspnl.errors import ConvergenceError, ReducibleError

CLOSED = "A has {} closed classes of nodes, each with a π of its own"


def stationary(A: np.ndarray) -> tuple[np.ndarray | None, str]:
    """Return π of a dense A, or None and the reason."""
    try:
        return stationary_distribution(A), ""
    except ReducibleError as error:
        return None, several(error)
    except ConvergenceError as error:
        return None, str(error)


def several(error: ReducibleError) -> str:
    """Tell of several closed classes."""
    return CLOSED.format(len(error.classes))
