"""From features to a graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl._base.array import as_floats, check_finite
from gspnl.affinity.approximation import Approximation, approximate, make_request
from gspnl.affinity.degrees import feature_maps
from gspnl.affinity.kernels import Kernel, check_embedding, make_kernel
from gspnl.affinity.normalization import NORMALIZATIONS
from gspnl.affinity.weights import STORAGES, Weights
from gspnl.affinity.weights.choice import choose
from gspnl.errors import InputError
from gspnl.graph.graph import FeatureGraph


def feature_graph(
    X: Any,
    kernel: str | Kernel = "dot",
    embed: tuple[Any, Any] | None = None,
    normalization: str = "random_walk",
    storage: str = "auto",
    self_loops: bool = True,
    rank: int | None = None,
    tol: float | None = None,
    approximation: str | None = None,
    seed: int | None = None,
    **kernel_options: Any,
) -> FeatureGraph:
    r"""Build the fully-connected graph of a set of features.

    :math:`W = ½(M + M^T)` with :math:`M_{ij} = f(x_i, x_j)`, :math:`d = W 1`, and
    :math:`A = diag(l)\,W\,diag(r)`.

    Parameters
    ----------
    X : array of shape (..., N, C)
        Node features, N ≥ 2; leading dimensions are a batch of graphs. Any array API library;
        float32 and float64 are kept, integers become float64.
    kernel : str or Kernel
        "dot", "gaussian", "embedded_gaussian", "rbf", "cosine", "concatenation", "anchors".
    embed : pair of arrays, optional
        (W_phi, W_psi), each (C, r), for "dot" and "embedded_gaussian"; (w_a, w_b), each (C,), for
        "concatenation"; None for the others.
    normalization : {"random_walk", "symmetric", "bistochastic", "softmax"}
        ===============  =======  =======  ==========================================
        name             l        r        rows sum to 1; symmetric
        ===============  =======  =======  ==========================================
        random_walk      1/d      1        yes; similar to a symmetric matrix
        symmetric        d^-½     d^-½     no; yes
        bistochastic     s        s        yes; yes (s∘(W s) = 1)
        softmax          1/(M1)   1        yes; no, and M is not symmetrised
        ===============  =======  =======  ==========================================
    storage : {"auto", "dense", "lowrank", "tiled", "sorted"}
        How W is held. "dense": N² entries; "lowrank": a tall factor, for kernels that are inner
        products; "sorted": by sorting, for the concatenation kernel; "tiled": never, each product
        makes its tiles again. All are exact. "auto" takes the cheapest by the cost model of
        :mod:`gspnl.affinity.weights.choice`, which ``graph.storage_reason`` then quotes; beyond
        256 MiB of W never the dense one.
    self_loops : bool
        Keep the diagonal of W, as the paper does.
    rank : int, optional
        Approximate "rbf", "gaussian" or "embedded_gaussian" by a graph of low rank, of this many
        columns (1 ≤ rank ≤ N): any filter then costs O(N · rank). What it is off by is told by the
        graph's ``approximation``. Its weights may be slightly negative.
    tol : float, optional
        Instead of ``rank``: about the least rank whose certified ``approximation.bound`` is at most
        ``tol``.
    approximation : {"cholesky", "nystrom", "random_features"}, optional
        How, with ``rank`` or ``tol``: randomly pivoted Cholesky (default), Nyström with uniform
        landmarks, or positive random features (non-negative and unbiased, no certificate, and the
        one that carries gradients).
    seed : int, optional
        Of the approximation (default 0); without one it is the kernel's own option.
    **kernel_options
        Options of the kernel: ``feature_map`` (dot), ``sigma`` (rbf, anchors), ``temperature``
        (embedded_gaussian), ``anchors`` and ``seed`` (anchors).

    Returns
    -------
    FeatureGraph

    Raises
    ------
    InputError
        For features that are not finite or fewer than 2 nodes, embeddings that do not fit, unknown
        names and options.
    DegreeError
        Where degrees are negative, overflow, or (raw dot products) vanish.
    SizeError
        Where dense weights would not fit in memory.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.random.default_rng(0).standard_normal((100_000, 3))
    >>> graph = gspnl.feature_graph(X, kernel="anchors", anchors=16)
    >>> graph.shape, graph.storage
    ((100000, 100000), 'lowrank')
    >>> bool(abs(graph.apply(np.ones((100_000, 1))) - 1).max() < 1e-12)
    True
    """
    wanted = rank is not None or tol is not None or approximation is not None
    if seed is not None and not wanted:
        kernel_options = {**kernel_options, "seed": seed}
    made = make_kernel(kernel, kernel_options)
    scheme = NORMALIZATIONS[normalization]
    if not isinstance(self_loops, (bool, np.bool_)):
        raise InputError(f"self_loops={self_loops!r} must be True or False")
    X = as_floats(X, "X")
    if X.ndim < 2 or X.shape[-2] < 2 or 0 in X.shape:
        raise InputError(
            f"X has shape {tuple(X.shape)}; features have shape (..., N, C) with N ≥ 2 nodes and "
            "C ≥ 1 columns"
        )
    check_finite(X, "X")
    pair = check_embedding(made, X, embed)
    if normalization == "bistochastic" and not made.nonnegative:
        raise InputError(
            "normalization='bistochastic' needs non-negative weights; pass "
            f"feature_map= one of {feature_maps()}"
        )
    if wanted:
        request = make_request(rank, tol, approximation, seed, X.shape[-2], storage)
        weights, report = approximate(made, X, pair, request, normalization, self_loops)
        return graph_of(weights, made, "lowrank", normalization, approximation=report)
    made = made.fit(X)
    held, reason = storage, "asked for"
    if storage == "auto":
        held, reason = choose(made, X, pair, self_loops=bool(self_loops))
    if not STORAGES[held].supports(made):
        able = ", ".join(repr(name) for name in STORAGES if STORAGES[name].supports(made))
        raise InputError(
            f"storage={held!r} cannot hold the {type(made).__name__} kernel; use storage={able}"
            + (", or kernel='dot', 'cosine' or 'anchors'" if held == "lowrank" else "")
        )
    with np.errstate(over="ignore", invalid="ignore"):  # the degrees tell, with a remedy
        weights = STORAGES[held].build(
            made, X, pair, symmetrize=scheme.symmetric_core, self_loops=self_loops
        )
    return graph_of(weights, made, held, normalization, reason=reason)


def graph_of(
    weights: Weights,
    kernel: Kernel,
    storage: str,
    normalization: str,
    *,
    reason: str = "asked for",
    approximation: Approximation | None = None,
) -> FeatureGraph:
    """The graph of weights that are built; raises DegreeError where 1/d has no meaning."""
    graph = FeatureGraph(weights, kernel, storage, normalization, reason, approximation)
    return graph if weights.lazy else graph.check_degrees()
