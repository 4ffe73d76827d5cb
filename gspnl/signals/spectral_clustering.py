"""Spectral clustering: k-means on the modes of least λ."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from scipy.cluster.vq import ClusterError, kmeans2

from gspnl._base.array import Array, constant, constant64, eps
from gspnl._base.blas import on_one_thread
from gspnl._base.effort import Progress, Work, takes_progress
from gspnl._base.validate import whole_number
from gspnl.errors import ConvergenceError, InputError
from gspnl.filters.partial_spectrum import PartialSpectrum
from gspnl.graph.graph import FeatureGraph
from gspnl.signals.checks import symmetric
from gspnl.signals.structure import warn_of_averaging

ISOLATED = -1  # the label of a node without edges


@takes_progress
@on_one_thread
def spectral_clustering(
    graph: FeatureGraph,
    k: int,
    *,
    seed: int = 0,
    restarts: int = 10,
    progress: Progress = None,
) -> Array:
    r"""Partition the nodes into k clusters by the k modes of least λ.

    k-means on the rows of U, (N, k): for random_walk the relaxed normalised cut (Shi and Malik);
    for symmetric with rows scaled to length 1 (Ng, Jordan and Weiss), since their length depends on
    the degree; for bistochastic, and for combinatorial (the relaxed ratio cut of Hagen and Kahng),
    without scaling.

    Parameters
    ----------
    graph : FeatureGraph
        One graph.
    k : int
        1 ≤ k ≤ N, without isolated nodes.
    seed : int
        Seed of k-means; the same seed gives the same labels.
    restarts : int
        Number of runs of k-means; the one of least squared distance is kept.
    progress : bool or callable, optional
        See :func:`gspnl.progress`.

    Returns
    -------
    array of int of shape (N,)
        Clusters 0 … k − 1 in the order in which they first occur; −1 for isolated nodes, which
        belong to no cluster.

    Raises
    ------
    NonsymmetricError
        For normalization="softmax".
    InputError
        For a batch, a k outside its range, or one that cuts inside a repeated eigenvalue: λ of the
        modes k and k + 1 are equal to within their accuracy, and the clusters would be arbitrary.
    ConvergenceError
        If every run of k-means leaves a cluster empty: fewer than k rows differ.

    Warns
    -----
    AveragingWarning
        Once for a graph that only averages (second λ above 0.8), so that it has no clusters.

    References
    ----------
    Shi, J. and Malik, J. (2000). Normalized cuts and image segmentation. Ng, A., Jordan, M. and
    Weiss, Y. (2001). On spectral clustering: analysis and an algorithm. von Luxburg, U. (2007). A
    tutorial on spectral clustering. Hagen, L. and Kahng, A. (1992). New spectral methods for ratio
    cut partitioning and clustering.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.array([[0.0], [5.0], [0.1], [5.1], [0.2], [5.2]])
    >>> graph = gspnl.feature_graph(X, kernel="rbf", sigma=1.0)
    >>> gspnl.spectral_clustering(graph, 2)
    array([0, 1, 0, 1, 0, 1])
    """
    affinity = symmetric(graph, "spectral_clustering")
    n = graph.n_nodes
    isolated = np.zeros(n, bool) if affinity.isolated is None else constant(affinity.isolated)
    skip = int(isolated.sum())
    k = whole_number("k", k, 1, n - skip, ", the nodes that have edges")
    whole_number("seed", seed)
    whole_number("restarts", restarts, 1)
    # Modes of isolated nodes come first; each is 0 on all other nodes. One more pair shows the cut.
    spectrum = graph.spectrum(min(skip + k + 1, n))
    _check_cut(spectrum, skip, k)
    if 1 < k < n - skip:
        warn_of_averaging(graph, "spectral_clustering", float(spectrum.eigenvalues[skip + 1]))
    rows = constant(spectrum.modes())[~isolated, skip : skip + k].astype(np.float64)
    if not affinity.row_stochastic:
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = rows / np.where(length > 0, length, 1.0)
    labels = np.full(n, ISOLATED)
    with Work(f"k-means of {len(rows):,} nodes"):
        labels[~isolated] = _in_order(_k_means(rows, k, seed, restarts))
    return affinity.xp.asarray(labels, device=affinity.left.device)


def _check_cut(spectrum: PartialSpectrum, skip: int, k: int) -> None:
    """Raise where the modes k and k + 1 have equal λ: any basis of them would do for the cut."""
    lam, off = constant64(spectrum.eigenvalues)[skip:], constant64(spectrum.residuals)[skip:]
    if k == 1 or len(lam) <= k:
        return  # one cluster of all nodes, or nothing is cut off
    rounding = 8 * math.sqrt(spectrum.n_nodes) * eps(spectrum.eigenvalues)
    accuracy = off[k - 1] + off[k] + rounding
    if lam[k] - lam[k - 1] > accuracy:
        return
    first = int(np.nonzero(lam[k - 1] - lam[:k] <= accuracy)[0][0])
    fewer = f"ask for k={first}, below it, or for more clusters" if first else "ask for more"
    raise InputError(
        f"k={k} cuts inside a repeated eigenvalue: λ = {lam[k - 1]:.6g} of the modes {k} and "
        f"{k + 1} is equal to within {accuracy:.0e}, as with equal nodes, symmetric ones, or more "
        f"components than clusters, so the clusters would be arbitrary; {fewer}, or merge equal "
        "nodes"
    )


def _k_means(rows: np.ndarray, k: int, seed: int, restarts: int) -> np.ndarray:
    """Run Lloyd's algorithm from k-means++ several times; return the labels of the best run."""
    best: Any = None
    least = np.inf
    rng = np.random.default_rng(seed)
    rows = rows / (np.abs(rows).max() or 1.0)
    for _ in range(restarts):
        try:
            with np.errstate(invalid="ignore"), warnings.catch_warnings():
                # SciPy warns where all rows are equal.
                warnings.simplefilter("ignore", RuntimeWarning)
                centres, labels = kmeans2(rows, k, iter=100, minit="++", missing="raise", rng=rng)
        except ClusterError:
            continue
        spread = float(((rows - centres[labels]) ** 2).sum())
        if spread < least:
            best, least = labels, spread
    if best is None:
        raise ConvergenceError(
            f"k-means left a cluster empty in each of {restarts} runs: fewer than k={k} rows of "
            "the modes differ, as with duplicate nodes; ask for fewer clusters"
        )
    return np.asarray(best)


def _in_order(labels: np.ndarray) -> np.ndarray:
    """Renumber clusters in the order in which they first occur."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]
