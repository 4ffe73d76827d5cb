"""Estimate the density of eigenvalues of large graphs by the kernel polynomial method."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gspnl._base.array import check_fits, constant, constant64, like
from gspnl._base.blas import on_one_thread
from gspnl._base.effort import Progress, takes_progress, work
from gspnl._base.validate import whole_number
from gspnl.chebyshev.fits import jackson_damping
from gspnl.chebyshev.recurrence import scales
from gspnl.errors import InputError
from gspnl.filters.deflation.factored import moments_factored
from gspnl.filters.relative import unit_of
from gspnl.graph.graph import FeatureGraph, check_graph

COLUMNS = 32  # probes in a block: a tiled product with many columns costs what one costs


@dataclass(frozen=True, eq=False)
class SpectralDensity:
    r"""Density of the eigenvalues of one graph, estimated by :func:`spectral_density`.

    Attributes
    ----------
    lam : array of shape (points,)
        λ, ascending over the band of all eigenvalues except those known to be 0.
    density : array of shape (points,)
        Eigenvalues per unit of λ, as a share of all N.
    standard_error : array of shape (points,)
        Standard error of ``density`` over the probes.
    interval : (float, float)
        The band.
    known : int
        Number of eigenvalues known to be 0: the constant mode and isolated nodes. ``density``
        leaves them out, ``count`` includes them.
    n_nodes : int
        N.
    """

    lam: np.ndarray
    density: np.ndarray
    standard_error: np.ndarray
    interval: tuple[float, float]
    known: int
    n_nodes: int
    _moments: np.ndarray  # (probes, moments), damped; the moment of k = 0 is N − known

    @property
    def resolution(self) -> float:
        r"""Largest standard deviation, in λ, to which the density broadens an eigenvalue.

        :math:`\frac{π}{K} \frac{b - a}{2}` for K moments on [a, b], in mid-band; less at the ends.
        """
        lo, hi = self.interval
        return math.pi / int(self._moments.shape[1]) * (hi - lo) / 2

    def count(self, low: float, high: float) -> float:
        """Estimated number of eigenvalues in [low, high], exact for those known to be 0.

        It errs by about the standard error of :meth:`count_error`, and by the eigenvalues that lie
        within twice the :attr:`resolution` of ``low`` or ``high``.
        """
        at_zero = self.known if low <= 0 <= high else 0
        return at_zero + float(self._counts(low, high).mean())

    def count_error(self, low: float, high: float) -> float:
        """Standard error of :meth:`count`, over the probes; inf for a single probe."""
        return _standard_error(self._counts(low, high))

    def _counts(self, low: float, high: float) -> np.ndarray:
        """Integrate the series of each probe over [low, high]."""
        if not low <= high:
            raise InputError(f"count({low!r}, {high!r}): low must not be above high")
        lo, hi = self.interval
        ends = np.clip((2 * np.array([low, high]) - lo - hi) / (hi - lo), -1, 1)
        first, second = np.arccos(ends)
        k = np.arange(1, self._moments.shape[1])
        waves = 2 * (np.sin(k * first) - np.sin(k * second)) / k
        return (self._moments @ np.concatenate([[first - second], waves])) / math.pi  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        lo, hi = self.interval
        probes, moments = self._moments.shape
        return (
            f"SpectralDensity({self.n_nodes} nodes, λ in [{lo:.4g}, {hi:.4g}] and {self.known} at "
            f"0, {moments} moments, {probes} probes)"
        )


@takes_progress
@on_one_thread
def spectral_density(
    graph: FeatureGraph,
    points: int = 200,
    moments: int = 100,
    probes: int = 32,
    seed: int = 0,
    *,
    progress: Progress = None,
) -> SpectralDensity:
    r"""Density of λ by the kernel polynomial method, from products with A alone.

    With :math:`\tilde S` the symmetric core without its constant mode, its band scaled to [−1, 1],

    .. math::

        ρ(x) = \frac{1}{π\sqrt{1 - x^2}} \Big( g_0 m_0 + 2 \sum_{k=1}^{K-1} g_k m_k T_k(x) \Big),
        \qquad m_k = \operatorname{tr} T_k(\tilde S) ≈ \frac{1}{R} \sum_r z_r^T T_k(\tilde S) z_r ,

    with Jackson's damping g and random signs z. It costs K/2 products with R columns.

    Parameters
    ----------
    graph : FeatureGraph
        One graph, not softmax.
    points : int
        Number of λ at which the density is evaluated, ≥ 2.
    moments : int
        K ≥ 4; an eigenvalue is broadened to about π/K of half the band.
    probes : int
        R ≥ 2; the standard error falls as 1/√R.
    seed : int
        Seed of the probes.
    progress : bool or callable, optional
        See :func:`gspnl.progress`.

    Returns
    -------
    SpectralDensity

    Raises
    ------
    NonsymmetricError
        For normalization="softmax".
    InputError
        For a batch, or numbers out of range.

    References
    ----------
    .. [1] A. Weiße, G. Wellein, A. Alvermann and H. Fehske, The kernel polynomial method,
       Rev. Mod. Phys. 78, 2006.
    .. [2] M. F. Hutchinson, A stochastic estimator of the trace of the influence matrix, 1990.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.random.default_rng(0).standard_normal((400, 3))
    >>> graph = gspnl.feature_graph(X, kernel="rbf")
    >>> found = gspnl.spectral_density(graph)
    >>> round(found.count(0.0, 2.0), 6)
    400.0
    >>> exact = int((graph.spectrum().eigenvalues < 0.9).sum())
    >>> abs(found.count(0.0, 0.9) - exact) < 3 * found.count_error(0.0, 0.9) + 2
    True
    """
    check_graph(graph)
    points, moments = whole_number("points", points, 2), whole_number("moments", moments, 4)
    probes, seed = whole_number("probes", probes, 2), whole_number("seed", seed)
    unit = unit_of(graph.affinity)
    lo, hi = (end / unit for end in graph.spectral_interval())
    n = graph.n_nodes
    live = constant(graph.affinity.core_scale) > 0
    known = n - int(live.sum()) + bool(live.any())  # without edges there is no constant mode
    factor = graph.affinity.factor
    cost = moments // 2 * graph.weights.operations(probes)
    if factor is not None:
        cost = graph.weights.operations(probes) + moments * factor.operations(probes)
    with work(f"the density of {n:,} nodes", cost, 0, "use fewer moments or probes") as shown:
        raw = _moments(graph, (lo, hi), moments, probes, seed, live, shown)
    raw[:, 0] = n - known  # the exact value, in place of the estimate
    damped = raw * jackson_damping(moments)
    angles = (np.arange(points)[::-1] + 0.5) * math.pi / points
    waves = np.cos(np.outer(np.arange(moments), angles))
    waves[1:] *= 2
    slope = math.pi * np.sin(angles) * (hi - lo) / 2
    curves = damped @ waves / slope / n
    return SpectralDensity(
        unit * ((lo + hi) / 2 + (hi - lo) / 2 * np.cos(angles)),  # λ/s to λ
        curves.mean(0) / unit,
        curves.std(0, ddof=1) / math.sqrt(probes) / unit,
        (unit * lo, unit * hi),
        known,
        n,
        damped,
    )


def _moments(
    graph: FeatureGraph,
    interval: tuple[float, float],
    count: int,
    probes: int,
    seed: int,
    live: np.ndarray,
    shown: Any,
) -> np.ndarray:
    """zᵀ T_k z for each probe, (probes, count): T_2k = 2 T_k² − 1 halves the products."""
    affinity, n = graph.affinity, graph.n_nodes
    alpha, beta = scales(interval)
    mode = constant64(affinity.stationary)[:, None]
    rng = np.random.default_rng(seed)

    def off(block: np.ndarray) -> np.ndarray:
        block = np.where(live[:, None], block, 0.0)
        out: np.ndarray = block - mode @ (mode.T @ block)
        return out

    def step(block: np.ndarray) -> np.ndarray:  # x = α − βμ, orthogonal to the constant mode
        shown.done += 1
        image = constant(affinity.apply_core(like(block, affinity.left)))
        return off(alpha * block - beta * image.astype(np.float64))

    found = []
    for start in range(0, probes, COLUMNS):
        width = min(COLUMNS, probes - start)
        check_fits((n, width), affinity.left, "a block of probes", "use fewer probes", copies=8)
        old = off(rng.choice([-1.0, 1.0], (n, width)))
        if affinity.factor is not None:
            found.append(moments_factored(affinity.factor, mode, interval, count, old))
            continue
        new = step(old)
        m = np.empty((width, count + 2))
        m[:, 0], m[:, 1] = _dots(old, old), _dots(old, new)
        for k in range(1, count // 2 + 1):
            # Here old, new are T_(k−1) z, T_k z.
            m[:, 2 * k] = 2 * _dots(new, new) - m[:, 0]
            if 2 * k + 1 < count:
                old, new = new, 2 * step(new) - old
                m[:, 2 * k + 1] = 2 * _dots(old, new) - m[:, 1]
        found.append(m[:, :count])
    return np.concatenate(found)


def _dots(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->j", a, b)  # type: ignore[no-any-return]


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values))
