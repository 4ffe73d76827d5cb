"""Denoise a signal by a low-pass filter on the graph."""

from __future__ import annotations

from collections.abc import Callable

from gspnl._base.array import Array, as_floats
from gspnl._base.effort import Progress, takes_progress
from gspnl._base.registry import Registry
from gspnl._base.validate import number
from gspnl.graph.graph import FeatureGraph
from gspnl.responses import RESPONSES, Response
from gspnl.signals.checks import symmetric
from gspnl.signals.structure import warn_after_smoothing

SMOOTHERS: Registry[Callable[[float], Response]] = Registry("method")
for name in ("tikhonov", "heat"):
    SMOOTHERS.register(name)(RESPONSES[name])


@takes_progress
def denoise(
    graph: FeatureGraph,
    Z: Array,
    method: str = "tikhonov",
    *,
    strength: float,
    order: int | None = None,
    tol: float | None = None,
    progress: Progress = None,
) -> Array:
    r"""Smooth a noisy signal along the graph.

    - "tikhonov": :math:`\arg\min_Y \|Y - Z\|^2 + τ ⟨Y, L Y⟩ = (I + τ L)^{-1} Z`, the norm and the
      inner product those of ‖T⁻¹ · ‖: D-weighted for random_walk, plain for all others.
    - "heat": :math:`e^{-t L} Z`, the solution of dZ/dt = −L Z at time t.

    Parameters
    ----------
    graph : FeatureGraph
    Z : array of shape (..., N, c), or (N,)
    method : {"tikhonov", "heat"}
    strength : float
        τ or t, ≥ 0; 0 leaves the signal unchanged. :func:`choose_strength` finds a value.
    order, tol : optional
        As for :meth:`FeatureGraph.filter`: the order of a Chebyshev filter, or its certified error;
        default: the exact filter, which computes all eigenpairs of a dense W.
    progress : bool or callable, optional
        See :func:`gspnl.progress`.

    Returns
    -------
    array of the shape of Z

    Raises
    ------
    NonsymmetricError
        For normalization="softmax".
    InputError
        For an unknown method, a strength that is not a number ≥ 0, or signals that do not fit.

    Warns
    -----
    AveragingWarning
        Once for a graph that only averages (second λ above 0.8): a signal becomes nearly its mean.

    References
    ----------
    Shuman, D. I. et al. (2013). The emerging field of signal processing on graphs, section III.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> rng = np.random.default_rng(0)
    >>> X = rng.random((500, 1))
    >>> clean = np.sin(6 * X[:, 0])
    >>> noisy = clean + 0.5 * rng.standard_normal(500)
    >>> graph = gspnl.feature_graph(X, kernel="rbf", sigma=0.05)
    >>> smooth = gspnl.denoise(graph, noisy, strength=3.0)
    >>> bool(np.std(smooth - clean) < 0.35 * np.std(noisy - clean))
    True
    """
    symmetric(graph, "denoise")
    strength = number("strength", strength, least=0)
    response = SMOOTHERS[method](strength)
    smooth = graph.filter(Z, response, order, tol=tol)
    if strength > 0:
        warn_after_smoothing(graph, "denoise", as_floats(Z, "Z"), smooth, response)
    return smooth
