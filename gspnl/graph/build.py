"""Build a graph from features: kernel, storage of W, normalisation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gspnl._base.array import Array, as_floats, check_finite, eps
from gspnl._base.blas import on_one_thread
from gspnl._base.effort import Progress, takes_progress
from gspnl._base.memory import within_memory
from gspnl.affinity.approximation import (
    METHODS,
    Approximation,
    approximate,
    basis_of,
    check_supported,
    choose_way,
    make_request,
)
from gspnl.affinity.chung import chung_weights
from gspnl.affinity.degrees import feature_maps
from gspnl.affinity.kernels import Exponential, Kernel, check_embedding, make_kernel
from gspnl.affinity.kernels.auto import choose_kernel
from gspnl.affinity.kernels.declarations import fit_checked
from gspnl.affinity.normalization import NORMALIZATIONS
from gspnl.affinity.rescale import check_underflow, in_range, rescaled, with_factor
from gspnl.affinity.weights import STORAGES, Weights
from gspnl.affinity.weights.choice import choose
from gspnl.errors import ConvergenceError, DegreeError, EffortError, InputError, ToleranceError
from gspnl.graph.graph import FeatureGraph
from gspnl.graph.source import Source, keeps_source


@keeps_source
@within_memory
@takes_progress
@on_one_thread
def feature_graph(
    X: Any,
    kernel: str | Kernel = "auto",
    embed: tuple[Any, Any] | None = None,
    normalization: str = "random_walk",
    storage: str = "auto",
    self_loops: bool = True,
    rank: int | None = None,
    tol: float | None = None,
    approximation: str | None = None,
    seed: int | None = None,
    progress: Progress = None,
    **kernel_options: Any,
) -> FeatureGraph:
    r"""Build the fully-connected graph of a set of features.

    :math:`W = ½(M + M^T)` with :math:`M_{ij} = f(x_i, x_j)`, :math:`d = W 1`, and
    :math:`A = diag(l)\,W\,diag(r)`.

    Parameters
    ----------
    X : array of shape (..., N, C)
        Node features, N ≥ 2; leading dimensions are a batch of graphs. Arrays of any array API
        library; float32 and float64 are kept, integers become float64.
    kernel : str or Kernel
        "dot", "gaussian", "embedded_gaussian", "rbf", "cosine", "concatenation", "anchors", or
        "auto". "auto" takes "rbf" with sigma="adaptive" for up to 2,000 nodes and "anchors" with
        256 anchors and sigma="adaptive" for more, but "dot" with ``embed`` or ``feature_map``, and
        in general the kernel that has the options given (:mod:`gspnl.affinity.kernels.auto`);
        ``graph.kernel`` is what it took, and ``graph.storage_reason`` says why.
    embed : pair of arrays, optional
        (W_phi, W_psi), each (C, r), for "dot" and "embedded_gaussian"; (w_a, w_b), each (C,), for
        "concatenation"; None for the others.
    normalization : str
        One of:

        ===============  =======  =======  ==========================================
        name             l        r        rows sum to 1; symmetric
        ===============  =======  =======  ==========================================
        random_walk      1/d      1        yes; similar to a symmetric matrix
        symmetric        d^-½     d^-½     no; yes
        bistochastic     s        s        yes; yes (s∘(W s) = 1)
        softmax          1/(M1)   1        yes; no, and M is not symmetrised
        chung            1/π      1        yes; similar to a symmetric matrix
        combinatorial    1        1        no; yes: A = W and L = D − W, not I − A
        ===============  =======  =======  ==========================================

        For "combinatorial" λ lies in [0, 2 max d] and is proportional to W. Low-rank storage keeps
        products in O(N r); exact filters of more than 1,024 nodes are series of such products.

        "chung" is the directed Laplacian of Chung [1]_, :math:`½(A + Π^{-1}A^TΠ)` of the directed
        walk A = D⁻¹M, with πᵀA = πᵀ and Π = diag(π): A averaged with its time reversal. M ≥ 0 is
        not symmetrised, W = ½(ΠA + AᵀΠ) and ``graph.degrees`` is π. It has what "random_walk" has,
        and is "random_walk" for a symmetric M. It shares Dirichlet forms with the walk,
        ⟨x, (I − A) x⟩_π, but does not commute with it: functions of A, such as the responses NL
        and SNL of a softmax graph, are no filters of this graph. Nodes that the walk leaves for
        good have π = 0 and are an error.
    storage : {"auto", "dense", "lowrank", "tiled", "sorted"}
        Storage of W. "dense": N² entries; "lowrank": a tall factor, for kernels that are inner
        products; "sorted": sorted features, for the concatenation kernel; "tiled": no entries, each
        product computes W again, tile by tile. All are exact. "auto" takes the cheapest by the cost
        model of :mod:`gspnl.affinity.weights.choice`, and never a dense W above 256 MiB;
        ``graph.storage_reason`` quotes the costs.
    self_loops : bool
        True keeps the diagonal of W, as the paper does.
    rank : int, optional
        Approximate "rbf", "gaussian" or "embedded_gaussian" by a low-rank graph with this number of
        columns (1 ≤ rank ≤ N): any filter then costs O(N · rank). ``graph.approximation`` has the
        error. Weights may be slightly negative.
    tol : float, optional
        Approximate to a certified ``approximation.bound`` of at most ``tol``. Alone it takes what
        costs least: a Fourier sum, low rank or the exact weights; ``graph.storage_reason`` quotes
        the costs. With ``approximation="cholesky"`` the rank is the least, to a few percent, in up
        to about three times the time of ``rank``; a tolerance that is forecast to take minutes
        raises :class:`~gspnl.errors.EffortError` (see :func:`gspnl.patience`).
    approximation : {"cholesky", "nystrom", "random_features", "fourier"}, optional
        Method for ``rank`` or ``tol``. The first three are of low rank: randomly pivoted Cholesky
        (default for ``rank``), Nyström with uniform landmarks, or positive random features
        (non-negative, unbiased, without certificate). "fourier" takes ``tol`` and features, or
        embedded features φ = ψ, of at most 3 columns, or 5 where σ is wide: products are nonuniform
        fast Fourier transforms, linear in N, for all normalisations; it needs
        ``pip install 'gspnl[fourier]'``. Without ``tol`` it takes 1e-9, or 1e-4 for float32
        features. Its error is relative to the largest weights, so "gaussian" and
        "embedded_gaussian" lose digits where degrees span orders of magnitude: then ``tol`` is
        refused. "random_features" and "fourier" carry gradients.
    seed : int, optional
        Seed of the approximation (default 0); without an approximation, an option of the kernel.
    progress : bool or callable, optional
        See :func:`gspnl.progress`.
    **kernel_options
        Options of the kernel: ``feature_map`` (dot), ``sigma`` (rbf: a number, "median", "local" or
        "adaptive"; anchors: a number or "adaptive"), ``temperature`` (embedded_gaussian),
        ``anchors`` and ``seed`` (anchors).

    Returns
    -------
    FeatureGraph

    Raises
    ------
    InputError
        For features that are not finite or fewer than 2 nodes, embeddings that do not fit, unknown
        names and options.
    KernelError
        If a user's kernel breaks what it declares, as a few nodes show.
    DegreeError
        If degrees are negative, overflow, or (raw dot products) vanish.
    ReducibleError
        For "chung", if the walk leaves some nodes for good.
    SizeError
        If dense weights would not fit in memory.
    EffortError
        If the approximation is estimated to take longer than allowed.

    References
    ----------
    .. [1] F. Chung, Laplacians and the Cheeger inequality for directed graphs, Annals of
       Combinatorics 9, 2005.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.random.default_rng(0).standard_normal((100_000, 3))
    >>> graph = gspnl.feature_graph(X)
    >>> graph.shape, graph.storage, type(graph.kernel).__name__
    ((100000, 100000), 'lowrank', 'Anchors')
    >>> bool(abs(graph.apply(np.ones((100_000, 1))) - 1).max() < 1e-12)
    True
    """
    approximated = rank is not None or tol is not None or approximation is not None
    if seed is not None and not approximated:
        kernel_options = {**kernel_options, "seed": seed}
    taken = ""
    if not isinstance(kernel, str) or kernel != "auto":  # checked before the features
        fitted = make_kernel(kernel, kernel_options)
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
    if isinstance(kernel, str) and kernel == "auto":
        fitted, taken = choose_kernel(
            X, kernel_options, embedded=embed is not None, approximated=approximated,
            storage=storage,
        )  # fmt: skip
        taken += "; "
    pair = check_embedding(fitted, X, embed)
    if scheme.nonnegative and not fitted.nonnegative:
        raise InputError(
            f"normalization={normalization!r} needs non-negative weights; pass "
            f"feature_map= one of {feature_maps()}"
        )
    way = None
    if approximated:
        if isinstance(fitted, Exponential):  # else refused below
            fitted = fit_checked(fitted, X, pair)
        request = make_request(rank, tol, approximation, seed, X.shape[-2], storage, eps(X))
        basis = basis_of(normalization, pair, request)
        if rank is None and approximation is None and storage == "auto":
            check_supported(fitted)
            way = choose_way(fitted, X, pair, request, basis, self_loops=bool(self_loops))
    while approximated and (way is None or way.method is not None):
        if way is not None:
            request = replace(request, method=way.method or "", seconds=way.seconds)
        method = METHODS[request.method]
        if scheme.regular and not method.nonnegative:
            raise InputError(
                f"normalization={normalization!r} needs non-negative weights, and "
                f"approximation={request.method!r} can make some slightly negative; leave out "
                "rank= and tol=, or pass approximation='fourier' with tol=, or "
                "approximation='random_features' with rank="
            )
        try:
            weights, report = approximate(fitted, X, pair, request, basis, self_loops)
        except (EffortError, ToleranceError) as error:
            if way is None:
                raise
            way = way.after(error)
        else:
            reason = taken + ("asked for" if way is None else way.reason)
            return graph_of(
                weights, fitted, method.storage, normalization, reason=reason, approximation=report
            )
    if way is None:
        fitted = fit_checked(fitted, X, pair)
    chosen, reason = storage, "asked for"
    if storage == "auto":
        chosen, reason = choose(fitted, X, pair, self_loops=bool(self_loops))
    reason = taken + (reason if way is None else way.reason)
    exact = None if way is None else way.report
    if not STORAGES[chosen].supports(fitted):
        able = ", ".join(repr(name) for name in STORAGES if STORAGES[name].supports(fitted))
        raise InputError(
            f"storage={chosen!r} cannot hold the {type(fitted).__name__} kernel; use storage={able}"
            + (", or kernel='dot', 'cosine' or 'anchors'" if chosen == "lowrank" else "")
        )

    spans: list[bool] = []  # whether degrees of a directed M lie well within the range

    def build(features: Array, embeddings: Any, factor: Any = None) -> FeatureGraph:
        with np.errstate(over="ignore", invalid="ignore"):  # the check of degrees gives a remedy
            weights = STORAGES[chosen].build(
                fitted, features, embeddings, symmetrize=scheme.symmetrizes,
                self_loops=self_loops,
            )  # fmt: skip
        if factor is not None:
            weights = with_factor(weights, factor)
        if scheme.directed and not weights.lazy:
            with np.errstate(over="ignore", invalid="ignore"):
                spans.append(in_range(weights.degrees()))
        return graph_of(weights, fitted, chosen, normalization, reason=reason, approximation=exact)

    try:
        graph = build(X, pair)
        if graph.weights.lazy or (spans or [in_range(graph.affinity.degrees)])[0]:
            return graph
    except (DegreeError, ConvergenceError):
        scaled = rescaled(fitted, X, pair)
        if scaled is None:
            raise
    else:
        scaled = rescaled(fitted, X, pair)
    if scaled is not None:
        X, pair, factor = scaled
        graph = build(X, pair, factor)
    check_underflow(
        fitted, X, pair, graph.affinity.degrees, symmetrize=scheme.symmetrizes,
        self_loops=bool(self_loops),
    )  # fmt: skip
    return graph


def graph_of(
    weights: Weights,
    kernel: Kernel,
    storage: str,
    normalization: str,
    *,
    reason: str = "asked for",
    approximation: Approximation | None = None,
    source: Source | None = None,
) -> FeatureGraph:
    """Build the graph of weights; raises DegreeError where 1/d is undefined."""
    if NORMALIZATIONS[normalization].directed:
        weights = chung_weights(weights, kernel)
    graph = FeatureGraph(weights, kernel, storage, normalization, reason, approximation, source)
    return graph if weights.lazy else graph.check_degrees()
