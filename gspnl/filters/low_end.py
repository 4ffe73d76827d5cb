"""Least eigenvalues of one graph: all of them where that is cheap, else those of a Lanczos run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gspnl._base.array import Array, check_fits, constant, constant64, is_numpy, like
from gspnl._base.blas import on_one_thread
from gspnl._base.effort import counted, work
from gspnl._base.lanczos import EIGH, lanczos
from gspnl.affinity.affinity import Affinity
from gspnl.filters.cache import SpectralCache
from gspnl.filters.deflation.factored import band
from gspnl.filters.spectrum import SMALL

COLUMNS = 8  # of a block, 4 above LARGE nodes: 10 clusters take two or three products
LARGE = 200_000
STEPS = 16, 24  # products at most, the fewer the larger the graph
ENTRIES = 1 << 24  # of a basis, unless the least number of steps needs more
BASIS = 150  # operations on a basis, by its entries times its columns, products of tall matrices
SETTLED = 5e-3  # residual from which a Ritz value counts as an eigenvalue
CLOSE = 1e-3  # residual of λ₂, whose error is about its square, where it is below FLAT
FLAT = 0.8  # λ/s above which the low end is that of a bulk, and its digits matter little
EDGE = 0.3  # λ/s up to which eigenvalues are searched


@dataclass(frozen=True, eq=False)
class LowEnd:
    """The least λ/s of the nodes that have edges, the constant modes first.

    Attributes
    ----------
    values : array of shape (k,)
        λ/s, ascending but for the constant modes, which come first as 0.
    errors : array of shape (k,)
        An eigenvalue lies within this of each value; 0 where all eigenvalues were computed.
    settled : int
        Number of the first values that are known to their digits: all of them, or those of a run
        with small residuals.
    whole : bool
        Whether all eigenvalues below :data:`EDGE` are among the settled ones.
    shares : array of shape (k,)
        Share of the modes that each value stands for: exact, or estimated.
    n_live : int
        Number of nodes that have edges.
    """

    values: np.ndarray
    errors: np.ndarray
    settled: int
    whole: bool
    shares: np.ndarray
    n_live: int

    def below(self, limit: float) -> tuple[int, bool]:
        """Count eigenvalues below ``limit``, and tell whether the count is exact."""
        found = int((self.values < limit).sum())
        if self.whole:
            return found, True
        estimate = self.n_live * float(self.shares[self.values < limit].sum())
        return max(found, round(estimate)), False


def low_end_operations(affinity: Affinity, known: int = 1) -> float:
    """Count the operations of :func:`low_end` at most, in units of matrix products."""
    n = affinity.n_nodes
    if affinity.low_rank is not None:
        m = int(affinity.low_rank.factor.shape[-1])
        return 2.0 * n * m**2 + 2 * EIGH * m**3
    if n <= SMALL:
        return EIGH * float(n) ** 3 + affinity.weights.operations(1)
    columns, steps = _block(n)
    basis = known + columns * steps
    return steps * affinity.weights.operations(columns) + BASIS * float(n) * basis**2


def _block(n: int) -> tuple[int, int]:
    """Return the columns of a block, and the number of products at most."""
    columns = min(COLUMNS if n <= LARGE else COLUMNS // 2, n)
    return columns, int(np.clip(ENTRIES // (columns * n), *STEPS))


@on_one_thread
def low_end(cache: SpectralCache, modes: Array | None = None) -> LowEnd:
    """Compute the least eigenvalues of one graph.

    Parameters
    ----------
    cache : SpectralCache
        Of a graph with a symmetric core.
    modes : array of shape (N, m), optional
        Orthonormal modes of S with λ = 0, those of the components; default: the constant mode.
    """
    affinity = cache.affinity
    n_live = live_nodes(affinity)
    if modes is None:
        modes = constant64(affinity.stationary)[:, None][:, : min(n_live, 1)]
    if affinity.low_rank is not None and affinity.n_nodes > SMALL:
        return _all(gram_values(cache, n_live), modes.shape[1], n_live)
    if affinity.n_nodes <= SMALL or cache.has_spectrum:
        spectrum = cache.spectrum
        every = np.repeat(constant64(spectrum.relative), spectrum.multiplicities)
        return _all(np.delete(every, _nearest_zero(every, len(every) - n_live)),
                    modes.shape[1], n_live)  # fmt: skip
    return _by_lanczos(cache, modes, n_live)


def live_nodes(affinity: Affinity) -> int:
    """Count the nodes that have edges."""
    return int(np.count_nonzero(constant(affinity.core_scale)))


def gram_values(cache: SpectralCache, n_live: int) -> np.ndarray:
    """Return λ/s of a low-rank graph from its Gram matrix, isolated nodes left out, ascending."""
    mu = constant64(cache.engine.eigen.values)
    if len(mu) >= n_live:
        mu = mu[np.argsort(np.abs(mu))[len(mu) - n_live :]]
    else:
        mu = np.append(mu, np.zeros(n_live - len(mu)))
    return np.asarray(np.sort(1 - mu))


def _nearest_zero(values: np.ndarray, count: int) -> np.ndarray:
    """Return the places of the ``count`` values nearest to 0."""
    return np.argsort(np.abs(values), kind="stable")[:count]


def _all(values: np.ndarray, constants: int, n_live: int) -> LowEnd:
    """Return the whole spectrum, the constant modes first."""
    rest = np.delete(values, _nearest_zero(values, constants))
    values = np.concatenate([np.zeros(constants), rest])
    shares = np.full(len(values), 1 / max(len(values), 1))
    return LowEnd(values, 0 * values, len(values), True, shares, n_live)


def _by_lanczos(cache: SpectralCache, modes: np.ndarray, n_live: int) -> LowEnd:
    """Run block Lanczos until the values up to :data:`EDGE`, and the next one, have settled."""
    affinity = cache.affinity
    n, constants = affinity.n_nodes, modes.shape[1]
    columns, steps = _block(n)
    remedy = "describe a sample of the nodes"
    check_fits((n, columns * steps), affinity.left, "the Krylov basis", remedy, copies=5)
    noise = np.random.default_rng(0).standard_normal((n, columns))
    start = like(noise * (constant(affinity.core_scale) > 0)[:, None], affinity.left)

    def prefix(values: np.ndarray, residuals: np.ndarray) -> tuple[int, bool]:
        """Count the settled values, and tell whether they reach beyond the edge."""
        lam, off = 1 - values[::-1], residuals[::-1]
        settled = int(np.argmax(np.append(off > SETTLED, True)))
        if not settled or lam[settled - 1] <= EDGE:
            return settled, False
        return settled, bool(off[0] <= CLOSE or lam[0] > FLAT)

    cost = low_end_operations(affinity, constants) if is_numpy(affinity.left) else 0.0
    what = f"the least eigenvalues of {n:,} nodes"

    def done(values: np.ndarray, residuals: np.ndarray) -> bool:
        return prefix(values, residuals)[1]

    with work(what, cost, steps, remedy) as shown:
        if affinity.factor is not None:
            ritz = band(affinity.factor, modes, start, done, steps)
        else:
            step = counted(affinity.apply_core, shown)
            ritz = lanczos(step, start, like(modes, affinity.left), done=done, steps=steps)
    settled, whole = prefix(ritz.values, ritz.residuals)
    least, most = affinity.limits
    lam = np.clip(1 - ritz.values[::-1], least, most)
    room = n_live - constants
    share = ritz.weights[::-1] * room / max(n_live, 1)
    # Copies of a repeated eigenvalue beyond the columns of a block are not found.
    whole &= not _full_block(lam[lam <= EDGE], columns)
    return LowEnd(
        np.concatenate([np.zeros(constants), lam]),
        np.concatenate([np.zeros(constants), ritz.residuals[::-1]]),
        constants + settled,
        whole,
        np.concatenate([np.full(constants, 1 / max(n_live, 1)), share]),
        n_live,
    )


def _full_block(values: np.ndarray, columns: int) -> bool:
    """Tell whether as many values as a block has columns are equal to their digits."""
    if len(values) < columns:
        return False
    spans = values[columns - 1 :] - values[: len(values) - columns + 1]
    return bool((spans <= 1e-6).any())
