"""Choose the strength of denoising from the standard deviation of the noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from gspnl._base.array import Array, constant64, float64, to_numpy
from gspnl._base.blas import on_one_thread
from gspnl._base.effort import Progress, Work, takes_progress
from gspnl._base.registry import Registry
from gspnl._base.validate import number, whole_number
from gspnl.errors import InputError
from gspnl.filters.relative import unit_of
from gspnl.graph.graph import FeatureGraph, single_graph
from gspnl.responses.evaluate import evaluate
from gspnl.signals.checks import symmetric
from gspnl.signals.least_risk import least_risk
from gspnl.signals.risk import Noisy, Rebuild, Risk, dependence
from gspnl.signals.smoothers import SMOOTHERS
from gspnl.signals.structure import warn_of_averaging

RANGE = (1e-6, 1e12)  # strengths times s: the least changes no mode, the largest all but one
GRID = 37  # strengths of the first search, two per decade
TRIALS = GRID + 10  # filters of a search, about


@dataclass(frozen=True, eq=False)
class Trial:
    """Arguments of a rule that chooses a strength.

    Parameters
    ----------
    noisy : Noisy
        The graph, the signals Z and the standard deviation of their noise.
    residual : callable
        ``residual(strength) -> Z − Y``, (N, c), Y the denoised signal.
    smoother : callable
        ``smoother(strength) -> response``.
    unit : float
        s of L = s (I − A), 1 but for the combinatorial Laplacian.
    rebuild : callable or None
    seed : int
    shown : Work
        The work whose steps are filters.
    """

    noisy: Noisy
    residual: Callable[[float], Array]
    smoother: Callable[[float], Any]
    unit: float
    rebuild: Rebuild | None
    seed: int
    shown: Work


RULES: Registry[Callable[[Trial], float]] = Registry("rule")


@takes_progress
@on_one_thread
def choose_strength(
    graph: FeatureGraph,
    Z: Array,
    method: str = "tikhonov",
    *,
    sigma: float,
    rule: str = "risk",
    order: int | None = None,
    tol: float | None = None,
    rebuild: Rebuild | None = None,
    seed: int = 0,
    progress: Progress = None,
) -> float:
    r"""Choose the strength of :func:`denoise` for noise of a known standard deviation.

    With independent noise of one σ at all nodes and in all c columns, and Y = F(Z) = g(L) Z:

    - "risk": the strength of least :math:`\|Z - Y\|^2 + 2 σ^2\, \mathrm{div} F - N c σ^2`, an
      unbiased estimate of the squared error (Stein). If the graph does not depend on Z,
      div F = c tr g(L) = c Σ g(λ) (Mallows' C_L): exact where the spectrum is cheap (low rank, or
      at most 1,024 nodes), else from random signals. If the graph was built from Z, as by
      :func:`gspnl.images.patch_graph`, the noise is in the graph too, and the divergence is taken
      through its construction, by building it again from Z + εb for random b.
    - "discrepancy": the strength at which the residual has the energy of the noise (Morozov),
      :math:`\|T^{-1} (Z - Y)\|^2 = σ^2 c \sum_i T_i^{-2}`. The left side grows with the strength,
      so the solution is unique. It needs filters only, and smooths more than "risk".

    Parameters
    ----------
    graph : FeatureGraph
        One graph with non-negative weights.
    Z : array of shape (N, c), or (N,)
        One strength is chosen for all columns.
    method : {"tikhonov", "heat"}
    sigma : float
        Standard deviation of the noise, > 0.
    rule : {"risk", "discrepancy"}
    order, tol : optional
        For the filters, as in :func:`denoise`.
    rebuild : callable, optional
        For "risk", ``rebuild(Z) -> FeatureGraph``: how the graph follows from the signals, such as
        ``lambda Z: gspnl.feature_graph(features_of(Z))``. Default: as the graph itself knows it,
        if Z are the features it was built from; else it is taken as independent of the noise.
    seed : int
        Of the random signals.
    progress : bool or callable, optional
        See :func:`gspnl.progress`.

    Returns
    -------
    float
        Between 1e-6 and 1e12, divided by max d for combinatorial; from random signals between 2⁻⁶
        and 2¹⁰.

    Raises
    ------
    NonsymmetricError
        For normalization="softmax".
    InputError
        If the signal varies less than the noise ("discrepancy"), for a batch, for signals that
        do not fit, or a ``rebuild`` that returns no such graph.

    Warns
    -----
    DependenceWarning
        For "risk", where the features of the graph explain the signals to less than their noise, so
        that they hold it, and it is not known how the graph follows from the signals.
    AveragingWarning
        Once for a graph that only averages (second λ above 0.8), on which no strength is good.

    Notes
    -----
    Cross-validation would need no sigma, but it fails on fully-connected graphs: a node that is
    left out is predicted by the mean of many others at any strength, so the score favours strength
    0, which smooths nothing.

    References
    ----------
    Mallows, C. L. (1973). Some comments on C_P. Stein, C. M. (1981). Estimation of the mean of a
    multivariate normal distribution. Ramani, S., Blu, T. and Unser, M. (2008). Monte-Carlo SURE.
    Morozov, V. A. (1966). On the solution of functional equations by the method of regularization.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> rng = np.random.default_rng(0)
    >>> X = rng.random((500, 1))
    >>> clean = np.sin(6 * X[:, 0])
    >>> noisy = clean + 0.5 * rng.standard_normal(500)
    >>> graph = gspnl.feature_graph(X, kernel="rbf", sigma=0.05)
    >>> strength = gspnl.choose_strength(graph, noisy, sigma=0.5)
    >>> smooth = gspnl.denoise(graph, noisy, strength=strength)
    >>> bool(np.std(smooth - clean) < 0.35 * np.std(noisy - clean))
    True
    """
    symmetric(graph, "choose_strength")
    single_graph(graph, "choose_strength")
    smoother, find = SMOOTHERS[method], RULES[rule]
    noise = number("sigma", sigma, above=0)
    whole_number("seed", seed)
    if rebuild is not None and rule != "risk":
        raise InputError(f"rebuild= belongs to rule='risk', not to {rule!r}; leave it out")
    noisy = Noisy.of(graph, Z, noise)  # the strength has no unit

    def residual(strength: float) -> Array:
        shown.done += 1
        return noisy.Z - graph.filter(noisy.Z, smoother(strength), order, tol=tol)

    with Work(f"the strength, rule {rule!r}", total=TRIALS) as shown:
        unit = unit_of(graph.affinity)
        found = find(Trial(noisy, residual, smoother, unit, rebuild, seed, shown))
    warn_of_averaging(graph, "choose_strength")
    return found


@RULES.register("risk")
def _risk(trial: Trial) -> float:
    """Minimise the risk, with the exact trace where the graph is given and its spectrum cheap."""
    again = dependence(trial.noisy, trial.rebuild)
    if again is None and trial.noisy.graph.caches.single().cheap_spectrum is not None:
        return _by_trace(trial)
    trial.shown.total = 0  # no filters to count
    risk = Risk.of(trial.noisy, again, trial.seed)
    return least_risk(risk, trial.smoother, trial.unit)


def _by_trace(trial: Trial) -> float:
    """Minimise the risk over a grid of strengths, then between the neighbours of the best."""
    spectrum = trial.noisy.graph.spectrum()
    lam, columns = to_numpy(float64(spectrum.eigenvalues)), int(trial.noisy.Z.shape[1])

    def risk(log: float) -> float:
        strength = math.exp(log)
        residual = constant64(trial.residual(strength)) / trial.noisy.sigma
        trace = float(spectrum.multiplicities @ evaluate(trial.smoother(strength), lam))
        return float((residual**2).sum()) + 2 * columns * trace

    first, last = np.clip(np.log(RANGE) - math.log(trial.unit), -700, 700)  # exp stays in range
    grid = np.linspace(first, last, GRID)
    risks = [risk(log) for log in grid]
    best = int(np.argmin(risks))
    around = grid[max(best - 1, 0)], grid[min(best + 1, GRID - 1)]
    found = minimize_scalar(risk, bounds=around, method="bounded", options={"xatol": 1e-2})
    return math.exp(float(found.x if found.fun < risks[best] else grid[best]))


@RULES.register("discrepancy")
def _discrepancy(trial: Trial) -> float:
    """Solve for the strength, by bracketing decades and Brent's method."""
    weight = 1 / constant64(trial.noisy.graph.affinity.change)
    target = trial.noisy.sigma * math.sqrt(trial.noisy.Z.shape[1] * float(weight @ weight))

    def size(strength: float) -> float:
        return float(np.linalg.norm(
            weight[:, None] * constant64(trial.residual(strength))
        ))  # fmt: skip

    low, high = RANGE[0] / trial.unit, 1 / trial.unit
    if size(low) >= target:
        return low
    while size(high) < target:
        low, high = high, 100 * high
        if high * trial.unit > RANGE[1]:
            raise InputError(
                f"sigma={trial.noisy.given_sigma:g} is more than all that varies in the signal on "
                "this graph, so no strength removes enough; check sigma"
            )
    log = brentq(
        lambda s: math.log(max(size(math.exp(s)), 1e-300) / target),
        math.log(low), math.log(high), xtol=1e-3,
    )  # fmt: skip
    return math.exp(float(log))
