"""Build the graph of the nearest neighbours of a set of features."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl._base.array import as_floats, check_finite, check_fits, is_numpy
from gspnl._base.blas import on_one_thread
from gspnl._base.effort import Progress, takes_progress
from gspnl._base.memory import within_memory
from gspnl._base.validate import one_of, whole_number
from gspnl.affinity.degrees import feature_maps
from gspnl.affinity.kernels import RBF, Kernel, check_embedding, make_kernel
from gspnl.affinity.kernels.base import KERNELS
from gspnl.affinity.kernels.declarations import fit_checked
from gspnl.affinity.normalization import NORMALIZATIONS
from gspnl.errors import ConvergenceError, InputError
from gspnl.graph.edge_weights import weights_and_loops
from gspnl.graph.graph import FeatureGraph
from gspnl.graph.neighbor_kernel import OnNeighbors, check_sigma, gaussian, gaussian_weights
from gspnl.graph.neighbor_matrix import (
    SYMMETRIZE,
    directed_matrix,
    symmetric_matrix,
    underflowed,
    warn_of_components,
    with_loops,
)
from gspnl.graph.neighbors import Nearest, nearest
from gspnl.graph.source import keeps_source
from gspnl.graph.sparse_graph import sparse_graph


@keeps_source
@within_memory
@takes_progress
@on_one_thread
def neighbor_graph(
    X: Any,
    k: int = 16,
    kernel: str | Kernel = "rbf",
    embed: tuple[Any, Any] | None = None,
    *,
    sigma: float | str | None = None,
    symmetrize: str = "max",
    normalization: str = "random_walk",
    self_loops: bool = False,
    search: str = "auto",
    seed: int = 0,
    progress: Progress = None,
    **kernel_options: Any,
) -> FeatureGraph:
    r"""Build the graph that joins each node to its k nearest neighbours.

    With :math:`M_{ij} = f(x_i, x_j)` where j is one of the k nodes nearest to i, and 0 elsewhere,
    W is the symmetrised M, stored as a sparse matrix: products, Chebyshev filters and, above 1,024
    nodes, exact filters by smooth responses cost O(N k).

    Parameters
    ----------
    X : array of shape (N, C)
        Node features, N ≥ 2, of one graph, in NumPy. float32 and float64 are kept, integers become
        float64.
    k : int
        Neighbours of each node, 1 ≤ k ≤ N − 1, by Euclidean distance; the node itself is none.
        Among neighbours at equal distance the search chooses.
    kernel : str or Kernel
        f, as for :func:`gspnl.feature_graph`. It is computed for neighbours only.
    embed : pair of arrays, optional
        As for :func:`gspnl.feature_graph`. Neighbours are those of X.
    sigma : float, "local" or "median", optional
        For "rbf", default "local": :math:`\exp(-\|x_i - x_j\|^2 / 2σ_iσ_j)` with σ_i half the
        distance of node i to its 7th neighbour (to its kth for k < 7) [1]_. "median": σ is the
        median distance of all neighbours. A number: σ in the units of the features. An option of
        other kernels that have one.
    symmetrize : {"max", "mean", "mutual"}
        W of the directed M. "max": an edge where either node has the other as a neighbour, with
        :math:`w_{ij} = \max(m_{ij}, m_{ji})`; "mean": :math:`W = ½(M + M^T)`, so that edges of one
        direction count half; "mutual": an edge where both have the other, which can leave nodes
        without edges.
    normalization : str
        "random_walk", "symmetric", "bistochastic", "softmax", "chung" or "combinatorial".
        See :func:`gspnl.feature_graph`. "softmax" keeps the directed M: each node averages over its
        own k neighbours. "chung" does too, and refuses nodes that are no node's neighbour.
    self_loops : bool
        True adds :math:`w_{ii} = f(x_i, x_i)`.
    search : {"auto", "tree", "brute", "approximate"}
        "tree": scipy.spatial.cKDTree; "brute": scikit-learn's brute force, for many columns;
        "approximate": pynndescent, which misses some neighbours. "auto" takes the tree up to 8
        columns, else brute force where scikit-learn is installed, and pynndescent, where
        installed, above 200,000 nodes. ``graph.storage_reason`` tells which one was taken.
    seed : int
        Seed of the approximate search, and of kernels that have one.
    progress : bool or callable, optional
        See :func:`gspnl.progress`.
    **kernel_options
        Options of the kernel, as for :func:`gspnl.feature_graph`.

    Returns
    -------
    FeatureGraph
        With ``storage`` "sparse"; ``graph.weights.sparse`` is W, ``graph.kernel.kernel`` f with the
        sigma that was used.

    Raises
    ------
    InputError
        For features that are not finite or not one NumPy array (N, C), a k that is not a whole
        number from 1 to N − 1, and features whose neighbours are all at distance 0.
    DegreeError
        If weights underflow, or (kernels that can be negative) degrees vanish.
    EffortError
        Where the search is estimated to take more than an hour, see :func:`gspnl.patience`.
    MissingExtraError
        For a ``search`` whose library is not installed.

    Warns
    -----
    DisconnectedWarning
        If the graph has several components: how many, how large, and what to do.
    DuplicatesWarning
        If nodes have so many copies that a sigma cannot be taken from their neighbours.

    References
    ----------
    .. [1] L. Zelnik-Manor and P. Perona, Self-tuning spectral clustering, NIPS 2004.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.random.default_rng(0).standard_normal((1000, 2))
    >>> graph = gspnl.neighbor_graph(X, k=8)
    >>> graph.storage, graph.storage_reason
    ('sparse', '8 nearest neighbours by scipy.spatial.cKDTree, exact (2 columns)')
    >>> graph.kernel
    OnNeighbors(k=8, kernel=LocalRBF(sigma='local', neighbor=7), symmetrize='max')
    >>> smooth = graph.filter(X, gspnl.responses.heat(2.0))
    """
    scheme = NORMALIZATIONS[normalization]
    one_of("symmetrize", symmetrize, SYMMETRIZE)
    whole_number("seed", seed)
    if not isinstance(self_loops, (bool, np.bool_)):
        raise InputError(f"self_loops={self_loops!r} must be True or False")
    if not scheme.symmetrizes and symmetrize != "max":
        raise InputError(
            f"normalization={normalization!r} keeps directed edges, so symmetrize={symmetrize!r} "
            "has no meaning for it; leave it out"
        )
    X = _features(X)
    k = whole_number("k", k, 1, len(X) - 1, ", the other nodes")
    fitted, bandwidth = _kernel(kernel, sigma, seed, kernel_options)
    if scheme.nonnegative and fitted is not None and not fitted.nonnegative:
        raise InputError(
            f"normalization={normalization!r} needs non-negative weights; pass "
            f"feature_map= one of {feature_maps()}"
        )
    if fitted is not None:
        pair = check_embedding(fitted, X, embed)
        fitted = fit_checked(fitted, X, pair)
    elif embed is not None:
        raise InputError("the RBF kernel compares the features themselves; leave embed=None")
    check_fits((len(X), k), X, "the neighbours' weights", "use a smaller k", copies=8)
    found = nearest(X, k, search, seed)
    if fitted is None:
        fitted, sigmas = gaussian(bandwidth, found)
        values, factor = gaussian_weights(sigmas, found, X.dtype), 0.0
        diagonal: np.ndarray | None = np.ones(len(X), X.dtype)
    else:
        nodes = X if found.order is None else X[found.order]
        values, diagonal, factor = weights_and_loops(
            fitted, nodes, found.indices, pair,
            symmetrize=scheme.symmetrizes, loops=bool(self_loops),
        )  # fmt: skip
    limit = np.finfo(X.dtype).smallest_normal / np.finfo(X.dtype).eps
    if values.min() < limit:
        values[np.abs(values) < limit] = 0  # what has lost its digits
    return _graph(
        found, values, diagonal if self_loops else None, factor,
        OnNeighbors(k, fitted, symmetrize), normalization,
    )  # fmt: skip


def _features(X: Any) -> np.ndarray:
    """Return features as a finite NumPy array (N, C)."""
    X = as_floats(X, "X")
    if not is_numpy(X):
        raise InputError(
            f"X is a {type(X).__name__}, and a neighbour graph is a matrix of SciPy, for signals "
            "in NumPy; pass X.detach().cpu().numpy() of a torch tensor, or numpy.asarray(X)"
        )
    if X.ndim > 2:
        raise InputError(
            f"X has shape {tuple(X.shape)}, a batch; a neighbour graph is one graph of features "
            "(N, C): build one for each, [gspnl.neighbor_graph(x) for x in X]"
        )
    if X.ndim < 2 or len(X) < 2 or not X.shape[1]:
        hint = ", such as X[:, None]" if X.ndim == 1 else ""
        raise InputError(
            f"X has shape {tuple(X.shape)}; features have shape (N, C) with N ≥ 2 nodes and C ≥ 1 "
            f"columns{hint}"
        )
    check_finite(X, "X")
    return np.asarray(X)


def _kernel(
    kernel: str | Kernel, sigma: Any, seed: int, options: dict[str, Any]
) -> tuple[Kernel | None, Any]:
    """Return the kernel, or None and the sigma for Gaussian weights from distances."""
    if kernel == "rbf":
        make_kernel("rbf", options)  # refuses options that it does not have
        return None, check_sigma("local" if sigma is None else sigma)
    if sigma is not None:
        options = {**options, "sigma": sigma}
    if isinstance(kernel, str) and "seed" in getattr(KERNELS[kernel], "__dataclass_fields__", {}):
        options = {"seed": seed, **options}
    made = make_kernel(kernel, options)
    return (None, check_sigma(made.sigma)) if type(made) is RBF else (made, None)


def _graph(
    found: Nearest, values: np.ndarray, diagonal: np.ndarray | None, factor: float,
    kernel: OnNeighbors, normalization: str,
) -> FeatureGraph:  # fmt: skip
    """Build the graph of directed weights."""
    W = directed_matrix(found.indices, values)
    symmetric = NORMALIZATIONS[normalization].symmetrizes
    if symmetric:
        W = symmetric_matrix(W, kernel.symmetrize)
    else:
        W.sort_indices()
        W.eliminate_zeros()
    lost = underflowed(W, values, found, kernel.kernel)
    warn_of_components(W, found.order, kernel.k, kernel.symmetrize, lost, symmetric=symmetric)
    if diagonal is not None:
        W = with_loops(W, diagonal)
    try:
        return sparse_graph(W, kernel, normalization, found.reason, factor, found.order)
    except ConvergenceError as error:
        if diagonal is not None:
            raise
        raise ConvergenceError(f"{error}; or pass self_loops=True") from None
