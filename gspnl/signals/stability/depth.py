"""Measure the effect of depth: stable hypothesis, spectral gap, decay of a signal's variation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gspnl._base.array import constant
from gspnl._base.blas import on_one_thread
from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.graph.graph import FeatureGraph, check_graph
from gspnl.signals.stability.modes import dense, modes, nonconstant, require_normalized

MANY = 1024  # nodes above which μ₂ is computed from a partial spectrum


@on_one_thread
def idempotence_defect(graph: FeatureGraph, power: int = 2) -> float:
    r"""Measure the distance of a graph from the stable hypothesis :math:`A^p = A`.

    .. math:: \delta_p = \sqrt{\sum_i (\mu_i^p - \mu_i)^2} \Big/ \sqrt{\sum_i \mu_i^2}

    It is :math:`\|S^p - S\|_F / \|S\|_F` of the symmetric core S, and 0 exactly where every μ is
    0 or 1 (for odd p, or −1). Histograms of the entries of A^k do not show it, see
    :func:`strengths`.

    Parameters
    ----------
    graph : FeatureGraph
        One graph; O(N) at low rank. For softmax, which has no symmetric core, the result is
        :math:`\|A^p - A\|_F / \|A\|_F` of the dense matrix.
    power : int
        p ≥ 2.

    Returns
    -------
    float
        ≥ 0.

    Raises
    ------
    InputError
        For a power below 2, or a batch of graphs.
    SizeError
        Where dense matrices are needed and do not fit in memory.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.random.default_rng(0).random((1000, 3))
    >>> gspnl.stability.idempotence_defect(gspnl.feature_graph(X, kernel="dot")) < 0.2
    True
    >>> alike = gspnl.feature_graph(np.ones((1000, 3)), kernel="dot")  # A = 1πᵀ: global pooling
    >>> gspnl.stability.idempotence_defect(alike) < 1e-12
    True
    """
    power = whole_number("power", power, 2)
    if not check_graph(graph).affinity.symmetric_core:
        return matrix_defect(dense(graph), power)
    mu, counts = modes(graph)
    # np.sqrt(Σ μ²) > 0: a graph has at least the mode μ = 1.
    return math.sqrt((counts * (mu**power - mu) ** 2).sum() / (counts * mu**2).sum())


def matrix_defect(A: np.ndarray, power: int = 2) -> float:
    """Return ‖A^p − A‖ / ‖A‖ (Frobenius) of a matrix, and 0 for A = 0."""
    size = float(np.linalg.norm(A))
    return float(np.linalg.norm(np.linalg.matrix_power(A, power) - A)) / size if size else 0.0


def spectral_gap(graph: FeatureGraph, *, absolute: bool = True) -> float:
    r"""Compute the distance of the constant mode, μ = 1, from the other eigenvalues.

    Parameters
    ----------
    graph : FeatureGraph
        One graph. For softmax, the complex eigenvalues of the dense A are used.
    absolute : bool
        True: :math:`1 - |\mu_2|`, with μ₂ the second largest in magnitude, the rate at which a
        signal's variation decays with depth, see :func:`memory`. False: :math:`\lambda_2 = 1 - \max
        \operatorname{Re} \mu` over the other modes, the second smallest eigenvalue of L (algebraic
        connectivity).

    Returns
    -------
    float
        In [0, 1] (absolute) or [0, 2]; 0 for a graph in several components, and, if absolute,
        for one with a bipartite component.

    References
    ----------
    .. [1] D. A. Levin and Y. Peres, Markov Chains and Mixing Times, 2nd edition, section 12.2.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> graph = gspnl.feature_graph(np.eye(2) + 1.0, kernel="dot")  # A = [[5, 4], [4, 5]] / 9
    >>> round(gspnl.stability.spectral_gap(graph) * 9, 12)
    8.0
    """
    affinity = check_graph(graph).affinity
    if affinity.unit is not None and not absolute:  # λ₂ has a meaning for every Laplacian
        return max(0.0, float(constant(graph.spectrum(2).eigenvalues)[1]))
    require_normalized(graph)
    if affinity.symmetric_core and graph.shape[-1] > MANY and affinity.low_rank is None:
        return max(0.0, 1 - _second(graph, absolute))
    return mode_gap(nonconstant(*modes(graph)), absolute=absolute)  # not empty, since N ≥ 2


def mode_gap(mu: np.ndarray, *, absolute: bool = True) -> float:
    """Return the distance of μ = 1 from the other eigenvalues, see :func:`spectral_gap`."""
    return float(max(0.0, 1 - (np.abs(mu) if absolute else mu.real).max()))


def _second(graph: FeatureGraph, absolute: bool) -> float:
    """Compute μ₂ from the ends of the spectrum, without an N × N matrix."""
    low = 1 - float(constant(graph.spectrum(2).eigenvalues)[1])
    if not absolute:
        return low
    if graph.spectral_interval()[1] - 1 <= abs(low):  # no μ below −μ₂
        return abs(low)
    return max(abs(low), abs(1 - float(constant(graph.spectrum(1, "high").eigenvalues)[-1])))


@on_one_thread
def memory(graph: FeatureGraph, depth: Any = 1) -> Any:
    r"""Compute the share of a signal's variation that is left after k units, :math:`|\mu_2|^k`.

    .. math:: \|T^{-1} (A^k - 1\pi^\top)\, T\|_2 = |\mu_2|^k , \qquad \pi \propto d

    for a random-walk graph, and in the plain norm for a bistochastic one. For softmax it is only
    the asymptotic rate, since A is not normal.

    Parameters
    ----------
    graph : FeatureGraph
        One graph.
    depth : int or array of int
        k ≥ 0.

    Returns
    -------
    float, or array of the shape of depth
        In [0, 1].

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> graph = gspnl.feature_graph(np.eye(2) + 1.0, kernel="dot")  # μ = 1, 1/9
    >>> gspnl.stability.memory(graph, [0, 1, 2]).round(4)
    array([1.    , 0.1111, 0.0123])
    """
    k = np.asarray(depth)
    if k.dtype.kind not in "iu" or (k.size and k.min() < 0):
        raise InputError(f"depth={depth!r} must be a whole number ≥ 0, or an array of them")
    left = (1 - spectral_gap(graph)) ** k.astype(np.float64)
    return float(left) if k.ndim == 0 else left
