"""Squared variation of a signal over the edges: Dirichlet energy, Rayleigh quotient, gradient."""

from __future__ import annotations

from gspnl._base.array import Array, constant, float64, like, namespace
from gspnl.errors import InputError
from gspnl.graph.graph import FeatureGraph
from gspnl.signals.checks import nonnegative, on_graph, per_column, symmetric
from gspnl.signals.edges import Edges


def dirichlet_energy(graph: FeatureGraph, Z: Array) -> Array:
    r"""Dirichlet energy of each column, :math:`½ \sum_{ij} K_{ij} (f_i - f_j)^2`.

    It equals :math:`⟨z, L z⟩` in the norm in which eigenvectors are orthogonal, ‖T⁻¹ · ‖:

    ===============  ==========================================  =========================
    normalization    energy                                      norm of ⟨z, L z⟩
    ===============  ==========================================  =========================
    random_walk      ½ Σ W_ij (z_i − z_j)² = zᵀ (D − W) z        Σ d_i z_i²
    symmetric        ½ Σ W_ij (z_i/√d_i − z_j/√d_j)²             plain
    bistochastic     ½ Σ A_ij (z_i − z_j)²                       plain
    combinatorial    ½ Σ W_ij (z_i − z_j)² = zᵀ (D − W) z        plain
    ===============  ==========================================  =========================

    Each edge counts once; self-loops and isolated nodes add 0. The cost is O(N r) for a W of rank
    r, and one product with W for other storages.

    Parameters
    ----------
    graph : FeatureGraph
    Z : array of shape (..., N, c), or (N,)

    Returns
    -------
    array of shape (..., c), or a number for a signal (N,)
        ≥ 0 for non-negative weights; the energy of several channels is the sum over columns.

    Raises
    ------
    NonsymmetricError
        For normalization="softmax".
    InputError
        For signals that do not fit the graph.

    Notes
    -----
    The mean of f is subtracted before the product, so a constant signal has energy 0 to the square
    of rounding. The error is a few eps · Σ m_i (f_i − mean)².

    References
    ----------
    Shuman, D. I. et al. (2013). The emerging field of signal processing on graphs, section II.C.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> graph = gspnl.feature_graph(np.ones((3, 1)), kernel="dot")  # W_ij = 1: three edges
    >>> float(gspnl.dirichlet_energy(graph, np.array([0.0, 0.0, 2.0])))
    8.0
    """
    edges = Edges(symmetric(graph, "dirichlet_energy"))

    def energy(z: Array) -> Array:
        return like(_scaled(edges, _energy(edges, z)), z)

    return per_column(graph, energy, Z, degree=2)


def smoothness(graph: FeatureGraph, Z: Array) -> Array:
    r"""Rayleigh quotient :math:`⟨z, L z⟩ / ⟨z, z⟩` of each column, in the norm ‖T⁻¹ · ‖.

    It is the mean λ of the signal, weighted by its power: 0 for the constant mode, small for
    signals that vary little between similar nodes, near 1 for noise on a fully-connected graph, and
    at most 2 (2 max d for combinatorial).

    Parameters
    ----------
    graph : FeatureGraph
    Z : array of shape (..., N, c), or (N,)
        A large mean lowers the quotient; subtract it if only the variation matters.

    Returns
    -------
    array of shape (..., c), or a number for a signal (N,)
        In [0, 2] for non-negative weights, or [0, 2 max d] for combinatorial.

    Raises
    ------
    NonsymmetricError
        For normalization="softmax".
    InputError
        For a column of zeros, or signals that do not fit the graph.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.random.default_rng(0).standard_normal((200, 2))
    >>> graph = gspnl.feature_graph(X, kernel="rbf")
    >>> spec = graph.spectrum()
    >>> quotients = gspnl.smoothness(graph, spec.modes(3))
    >>> bool(np.allclose(quotients, spec.eigenvalues[:3]))
    True
    """
    affinity = symmetric(graph, "smoothness")
    edges = Edges(affinity)

    def quotient(z: Array) -> Array:
        xp = namespace(z)
        peak = xp.max(xp.abs(z), axis=-2, keepdims=True)
        if bool(xp.any(peak == 0)):
            column = (constant(peak) == 0).nonzero()[-1][0]
            raise InputError(
                f"column {column} of Z is zero, and its Rayleigh quotient 0/0; leave it out"
            )
        unit = z / peak
        y = float64(unit / affinity.change[..., None])
        value = _energy(edges, unit) / xp.sum(y * y, axis=-2, keepdims=True)
        least, most = affinity.limits
        if affinity.unit is not None:
            value = _scaled(edges, value)
            most = like(most * affinity.unit[..., None, None], value)
        return like(xp.clip(value, min=least, max=most), z)

    return per_column(graph, quotient, Z, degree=0)


def local_variation(graph: FeatureGraph, Z: Array) -> Array:
    r"""Norm of the gradient at each node, :math:`\sqrt{\sum_j K_{ij} (f_i - f_j)^2}`.

    K and f are those of :func:`dirichlet_energy`, which is half the sum of its squares. The
    gradient itself has N² entries, one for each edge, and is never stored.

    Parameters
    ----------
    graph : FeatureGraph
        Its weights must be non-negative.
    Z : array of shape (..., N, c), or (N,)

    Returns
    -------
    array of the shape of Z

    Raises
    ------
    NonsymmetricError
        For normalization="softmax".
    InputError
        For signed weights, or signals that do not fit the graph.

    Notes
    -----
    The result is a difference of sums: values below about √eps of the largest are rounding.

    References
    ----------
    Shuman, D. I. et al. (2013). The emerging field of signal processing on graphs, section II.C.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> graph = gspnl.feature_graph(np.ones((3, 1)), kernel="dot")
    >>> gspnl.local_variation(graph, np.array([0.0, 0.0, 1.0])).round(4)
    array([1.    , 1.    , 1.4142])
    """
    edges = Edges(nonnegative(graph, "local_variation"))

    def variation(z: Array) -> Array:
        xp = namespace(z)
        f = _centred(edges, edges.potential(z))
        peak = xp.max(xp.abs(f), axis=-2, keepdims=True)
        f = f / xp.where(peak > 0, peak, xp.ones_like(peak))
        c = f.shape[-1]
        both = edges.apply(xp.concat([f, f * f], axis=-1))
        mass = edges.mass[..., None]
        squares = mass * f * f - 2 * f * both[..., :c] + both[..., c:]
        return _scaled(edges, peak * xp.sqrt(xp.clip(squares, min=0.0)), 0.5)

    return on_graph(graph, variation, Z)


def _energy(edges: Edges, z: Array) -> Array:
    """Energy of each column, (..., 1, c), summed in float64."""
    xp = namespace(z)
    f = _centred(edges, edges.potential(z))
    flow = edges.mass[..., None] * f - edges.apply(f)
    total = xp.sum(float64(f) * float64(flow), axis=-2, keepdims=True)
    return xp.clip(total, min=0.0) if edges.affinity.nonnegative else total


def _scaled(edges: Edges, x: Array, power: float = 1.0) -> Array:
    """Multiply by a power of the factor of K."""
    factor = edges.factor
    return x if factor is None else x * like(factor**power, x)


def _centred(edges: Edges, f: Array) -> Array:
    """Subtract the mean of f with weights m, which changes no difference but reduces rounding."""
    xp = namespace(f)
    mass = float64(edges.mass)[..., None]
    total = xp.sum(mass, axis=-2, keepdims=True)
    safe = xp.where(total > 0, total, xp.ones_like(total))
    return f - like(xp.sum(mass / safe * float64(f), axis=-2, keepdims=True), f)
