"""Denoise a signal by a low-pass filter on the graph."""

from __future__ import annotations

from gspnl._base.array import Array, as_floats
from gspnl._base.effort import Progress, takes_progress
from gspnl._base.validate import number
from gspnl.errors import InputError
from gspnl.graph.graph import FeatureGraph
from gspnl.signals.checks import symmetric
from gspnl.signals.choose_response import ORDER, choose_response
from gspnl.signals.choose_strength import choose_strength
from gspnl.signals.risk import Rebuild
from gspnl.signals.smoothers import METHODS, POLYNOMIAL, SMOOTHERS
from gspnl.signals.structure import warn_after_smoothing


@takes_progress
def denoise(
    graph: FeatureGraph,
    Z: Array,
    method: str | None = None,
    *,
    strength: float | None = None,
    sigma: float | None = None,
    order: int | None = None,
    tol: float | None = None,
    rebuild: Rebuild | None = None,
    progress: Progress = None,
) -> Array:
    r"""Smooth a noisy signal along the graph.

    - "tikhonov": :math:`\arg\min_Y \|Y - Z\|^2 + τ ⟨Y, L Y⟩ = (I + τ L)^{-1} Z`, the norm and the
      inner product those of ‖T⁻¹ · ‖: D-weighted for random_walk, plain for all others.
    - "heat": :math:`e^{-t L} Z`, the solution of dZ/dt = −L Z at time t.
    - "polynomial": the polynomial response of order 5 (or ``order``) of least estimated error, see
      :func:`choose_response`.

    Parameters
    ----------
    graph : FeatureGraph
    Z : array of shape (..., N, c), or (N,)
    method : {"tikhonov", "heat", "polynomial"}
        Default: "tikhonov" with ``strength``, "polynomial" with ``sigma``.
    strength : float
        τ or t, ≥ 0; 0 leaves the signal unchanged.
    sigma : float
        Standard deviation of the noise, > 0, in place of a strength: :func:`choose_strength` or
        :func:`choose_response` choose by it.
    order, tol : optional
        As for :meth:`FeatureGraph.filter`: the order of a Chebyshev filter, or its certified error;
        default: the exact filter, which computes all eigenpairs of a dense W.
    rebuild : callable, optional
        With ``sigma``, how the graph follows from the signals, as for :func:`choose_strength`.
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
        For an unknown method, a strength that is not a number ≥ 0, neither or both of strength and
        sigma, or signals that do not fit.

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
    >>> smooth = gspnl.denoise(graph, noisy, sigma=0.5)  # chooses by the noise
    >>> bool(np.std(smooth - clean) < 0.35 * np.std(noisy - clean))
    True
    """
    symmetric(graph, "denoise")
    if (strength is None) == (sigma is None):
        raise InputError(
            "pass one of strength= and sigma=, the standard deviation of the noise, by which a "
            "strength is chosen (gspnl.images.estimate_noise(photo) estimates that of a photo)"
        )
    if method is None:
        method = POLYNOMIAL if strength is None else "tikhonov"
    if method == POLYNOMIAL:
        if sigma is None or tol is not None:
            raise InputError("method='polynomial' takes sigma= and order=, no strength= or tol=")
        degree = ORDER if order is None else order
        chosen = choose_response(graph, Z, sigma=sigma, order=degree, rebuild=rebuild)
        return graph.filter(Z, chosen, chosen.order)
    smoother = SMOOTHERS[method if method in SMOOTHERS else METHODS[method]]
    if strength is None:
        assert sigma is not None
        strength = choose_strength(
            graph, Z, method, sigma=sigma, order=order, tol=tol, rebuild=rebuild
        )
    elif rebuild is not None:
        raise InputError("rebuild= belongs to sigma=; a given strength needs no estimate")
    strength = number("strength", strength, least=0)
    response = smoother(strength)
    smooth = graph.filter(Z, response, order, tol=tol)
    if strength > 0:
        warn_after_smoothing(graph, "denoise", as_floats(Z, "Z"), smooth, response)
    return smooth
