"""Spectrum of the directed A of one graph."""

from __future__ import annotations

import numpy as np

from gspnl._base.array import constant64
from gspnl._base.effort import work
from gspnl._base.products import Products
from gspnl._base.validate import whole_number
from gspnl.affinity.affinity import Affinity
from gspnl.affinity.products import AffinityProducts
from gspnl.affinity.stationary import stationary_of
from gspnl.errors import ConvergenceError, InputError, ReducibleError
from gspnl.filters.directed.core import MatrixProducts
from gspnl.filters.directed.krylov import WIDEST
from gspnl.filters.directed.record import DirectedSpectrum
from gspnl.filters.directed.spectrum import DENSE, directed_spectrum_of

STEPS = 60  # block products, at least, of eigenvalues, singular values and numerical range


def directed_spectrum(affinity: Affinity, k: int, power: int, seed: int) -> DirectedSpectrum:
    """Compute the directed spectrum of one graph, see :meth:`FeatureGraph.directed_spectrum`."""
    require_walk(affinity)
    columns = min(whole_number("k", k, 1) + 1, WIDEST)
    steps = STEPS * whole_number("power", power, 1)
    cost = steps * affinity.weights.operations(columns) if affinity.n_nodes > DENSE else 0.0
    what = f"the directed spectrum of {affinity.n_nodes:,} nodes"
    with work(what, cost, 0, "ask for fewer eigenvalues, or use a low-rank kernel"):
        pi, reason = stationary_or_reason(affinity)
        return directed_spectrum_of(
            products_of(affinity), pi, k, power=power, seed=seed, reason=reason, dense=DENSE
        )


def require_walk(affinity: Affinity) -> None:
    """Raise where the rows of A do not sum to 1, or weights may be negative."""
    if affinity.unit is not None or not affinity.row_stochastic:
        name = "symmetric" if affinity.unit is None else "combinatorial"
        raise InputError(
            f"normalization={name!r} has no A whose rows sum to 1, which a directed spectrum is "
            "of; its λ are real: use graph.spectrum(k), or normalization='random_walk'"
        )
    if not affinity.nonnegative:
        raise InputError(
            "a directed spectrum is that of a random walk, and weights of this graph can be "
            "negative; pass np.maximum(W, 0), or feature_map='relu'"
        )


def products_of(affinity: Affinity) -> Products:
    """Return the products of A: by its entries in float64 where the graph is small."""
    if affinity.n_nodes > DENSE:
        return AffinityProducts(affinity)
    rows = constant64(affinity.rows(affinity.xp.arange(affinity.n_nodes)))
    return MatrixProducts(rows / rows.sum(-1, keepdims=True))


def stationary_or_reason(affinity: Affinity) -> tuple[np.ndarray | None, str]:
    """Return π in float64, or None with the reason."""
    try:
        return constant64(stationary_of(affinity)), ""
    except (ReducibleError, ConvergenceError) as error:
        return None, str(error)
