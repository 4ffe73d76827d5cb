"""Analyse signals by a filter bank, and synthesise signals from coefficients."""

from __future__ import annotations

from functools import partial
from typing import Any

from gspnl._base.array import Array, as_floats
from gspnl._base.validate import on_signals
from gspnl.errors import InputError
from gspnl.filters import ChebyshevBank, bank_on_graph, chebyshev_bank
from gspnl.filters.cache import SpectralCache
from gspnl.graph.graph import FeatureGraph, check_graph
from gspnl.responses.banks import FilterBank


def analyze(
    graph: FeatureGraph,
    Z: Array,
    bank: FilterBank,
    order: int | None = None,
    *,
    tol: float | None = None,
) -> Array:
    r"""Compute the coefficients of a signal in a filter bank, :math:`C_f = g_f(L)\, Z`.

    The filters share their work: the Fourier transform or the Gram matrix of exact ones, the
    :math:`T_k(\tilde L) Z` of Chebyshev ones.

    Parameters
    ----------
    graph : FeatureGraph
    Z : array of shape (..., N, c), or (N,) on a single graph
        On a batch of graphs (b, N, N), of shape (b, N, c), or (N, c) for all of them.
    bank : FilterBank
        Of F filters.
    order : int, optional
        K ≥ 0 of Chebyshev series; default: exact filters.
    tol : float, optional
        Instead of ``order``: each filter gets the least order whose certificate, relative to
        ‖T⁻¹ Z‖, is at most ``tol``.

    Returns
    -------
    array of shape (..., F, N, c), or (F, N)
        The axis of the bank comes right before that of the nodes, also on a batch of graphs,
        (b, F, N, c): ``C[..., f, :, :]`` is a signal.

    Raises
    ------
    InputError
        For signals that do not fit the graph, or a bank that is not finite on its spectrum.
    NonsymmetricError
        For exact filters, or an order above 1, on a softmax graph.

    See Also
    --------
    synthesize : the adjoint; with the dual bank, the inverse.
    plan_bank : the certificates.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.random.default_rng(0).standard_normal((300, 3))
    >>> graph, bank = gspnl.feature_graph(X), gspnl.banks.abspline(4)
    >>> C = gspnl.analyze(graph, X, bank)
    >>> C.shape
    (4, 300, 3)
    >>> bool(np.allclose(gspnl.synthesize(graph, C, bank.dual()), X))
    True
    """
    _check(graph, bank)
    batch, n = graph.shape[:-2], graph.n_nodes
    z = as_floats(Z, "Z")
    single = z.ndim == 1 and not batch and z.shape[0] == n
    if single:
        z = z[:, None]

    def one(cache: SpectralCache, z: Array) -> Array:
        return bank_on_graph(cache, bank, order, tol).analysis(z)

    out = on_signals(partial(graph.caches.map, one), z, graph.shape, graph.affinity.left)
    return out[..., 0] if single else out


def synthesize(
    graph: FeatureGraph,
    coefficients: Array,
    bank: FilterBank,
    order: int | None = None,
    *,
    tol: float | None = None,
) -> Array:
    r"""Synthesise a signal from coefficients in a filter bank, :math:`\sum_f g_f(L)\, C_f`.

    It is the adjoint of :func:`analyze` with the same bank, in the inner product ⟨T⁻¹ ·, T⁻¹ ·⟩ of
    the graph, which is D-weighted for random_walk; with ``bank.dual()`` it is its inverse.

    Parameters
    ----------
    graph : FeatureGraph
    coefficients : array of shape (..., F, N, c), or (F, N) on a single graph
        As :func:`analyze` returns them; on a batch of graphs (b, N, N), of shape (b, F, N, c).
    bank : FilterBank
        Of F filters.
    order, tol : optional
        As for :func:`analyze`.

    Returns
    -------
    array of shape (..., N, c), or (N,)

    Raises
    ------
    InputError
        For coefficients that do not fit the graph or the bank.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.random.default_rng(0).standard_normal((300, 3))
    >>> graph, bank = gspnl.feature_graph(X), gspnl.banks.meyer(4)
    >>> C = gspnl.analyze(graph, X[:, 0], bank, order=30)
    >>> C.shape, gspnl.synthesize(graph, C, bank, order=30).shape
    ((4, 300), (300,))
    """
    _check(graph, bank)
    batch, n, f = graph.shape[:-2], graph.n_nodes, len(bank)
    c = as_floats(coefficients, "coefficients")
    single = c.ndim == 2 and not batch
    shape = tuple(c.shape)
    fits = shape == (f, n) if single else c.ndim >= 3 and shape[-3:-1] == (f, n)
    if not fits or (batch and shape[:-3] != batch):
        lead = ", ".join(str(b) for b in batch) if batch else "..."
        raise InputError(
            f"coefficients has shape {shape}; {f} filters on this graph have coefficients of shape "
            f"({lead}, {f}, {n}, c)" + ("" if batch else f", or ({f}, {n})")
        )
    if single:
        c = c[..., None]

    def one(cache: SpectralCache, c: Array) -> Array:
        return bank_on_graph(cache, bank, order, tol).synthesis(c)

    # In the check of signals, the axis of the bank is one more batch dimension.
    shape = (*batch, f, n, n) if batch else (n, n)
    out = on_signals(partial(graph.caches.map, one), c, shape, graph.affinity.left, summed=True)
    return out[..., 0] if single else out


def plan_bank(
    graph: FeatureGraph, bank: FilterBank, order: int | None = None, *, tol: float | None = None
) -> ChebyshevBank:
    r"""Plan the Chebyshev filters of a bank on a graph, with their certificates.

    :func:`analyze` and :func:`synthesize` use the same plan for the same ``order`` or ``tol``.

    Parameters
    ----------
    graph : FeatureGraph
        A single one.
    bank : FilterBank
    order, tol
        One of the two, as for :func:`analyze`.

    Returns
    -------
    ChebyshevBank
        ``error_bounds``, one for each filter; ``error_bound``, of all together; ``plans``.

    Raises
    ------
    InputError
        Where no order meets ``tol``: most classical banks are only piecewise smooth; use
        ``order=``.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.random.default_rng(0).standard_normal((300, 3))
    >>> plan = gspnl.plan_bank(gspnl.feature_graph(X), gspnl.banks.mexican_hat(4), tol=1e-6)
    >>> len(plan.plans), bool((plan.error_bounds <= 1e-6).all())
    (4, True)
    """
    _check(graph, bank)
    return chebyshev_bank(graph.caches.single(), bank, order, tol)


def _check(graph: Any, bank: Any) -> None:
    check_graph(graph)
    if not isinstance(bank, FilterBank):
        raise InputError(
            f"bank={bank!r} is no filter bank; pass one of gspnl.banks, or "
            "gspnl.banks.FilterBank((response, ...))"
        )
