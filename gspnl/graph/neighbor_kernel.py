"""Kernels of neighbour graphs, and Gaussian weights from the distances of neighbours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gspnl._base.array import Array
from gspnl._base.rows import map_rows
from gspnl._base.validate import number
from gspnl._base.warn import warn
from gspnl.affinity.kernels import RBF, Kernel
from gspnl.affinity.kernels.bandwidth import LOCAL
from gspnl.errors import DuplicatesWarning, InputError
from gspnl.graph.neighbors import Nearest

NEIGHBOR, FACTOR = LOCAL  # σ_i is this share of the distance to this neighbour
BANDWIDTHS = ("local", "median")
REMEDY = (
    "leave out copies, X = numpy.unique(X, axis=0), pass a k above their number, or a number as "
    "sigma="
)


@dataclass(frozen=True)
class OnNeighbors(Kernel):
    r"""A kernel between nearest neighbours, and 0 between all other nodes.

    Parameters
    ----------
    k : int
        Neighbours of each node.
    kernel : Kernel
        f(x_i, x_j), with its options and its fitted parameters.
    symmetrize : {"max", "mean", "mutual"}
        See :func:`gspnl.neighbor_graph`.
    """

    k: int
    kernel: Kernel
    symmetrize: str

    @property
    def nonnegative(self) -> bool:
        return self.kernel.nonnegative

    def embed(self, X: Array, weights: tuple[Array, Array] | None) -> tuple[Array, Array]:
        raise InputError("which nodes are neighbours depends on all nodes; use its kernel.kernel")

    def affinity(self, phi: Array, psi: Array) -> Array:
        raise InputError("which nodes are neighbours depends on all nodes; use its kernel.kernel")


@dataclass(frozen=True)
class LocalRBF(Kernel):
    r"""Self-tuning weights :math:`\exp(-\|x_i - x_j\|^2 / 2σ_iσ_j)` of a neighbour graph.

    Parameters
    ----------
    sigma : str
        "local".
    neighbor : int
        σ_i is half the distance of node i to its neighbour of this rank.

    Attributes
    ----------
    sigmas : array of shape (N,)
        σ_i.

    References
    ----------
    .. [1] L. Zelnik-Manor and P. Perona, Self-tuning spectral clustering, NIPS 2004.
    """

    sigma: str = "local"
    neighbor: int = NEIGHBOR
    sigmas: Array = field(default=None, repr=False, compare=False)

    @property
    def positive(self) -> bool:
        return True

    def embed(self, X: Array, weights: tuple[Array, Array] | None) -> tuple[Array, Array]:
        raise InputError("local bandwidths are those of the nodes of one neighbour graph")

    def affinity(self, phi: Array, psi: Array) -> Array:
        raise InputError("local bandwidths are those of the nodes of one neighbour graph")


def check_sigma(sigma: Any) -> float | str:
    """Return a number > 0, "median" or "local", or raise."""
    if not isinstance(sigma, str):
        return number("sigma", sigma, above=0)
    if sigma not in BANDWIDTHS:
        raise InputError(f"sigma={sigma!r} must be a number > 0, 'local' or 'median'")
    return sigma


def gaussian(sigma: float | str, found: Nearest) -> tuple[RBF | LocalRBF, float | np.ndarray]:
    """Return the kernel of a checked ``sigma`` for the neighbours found.

    The second value is σ, or σ_i of every row, (N,).
    """
    if not isinstance(sigma, str):
        return RBF(sigma), sigma
    distances = found.distances
    if not distances[:, -1].any():
        raise InputError(
            f"every node has {distances.shape[1]} neighbours at distance 0, so there is no sigma; "
            f"{REMEDY}"
        )
    if sigma == "median":
        middle = _median(distances)
        return RBF(middle), middle
    neighbor = min(NEIGHBOR, distances.shape[1])
    sigmas = FACTOR * _local(found, neighbor)
    of_nodes = sigmas
    if found.order is not None:
        of_nodes = np.empty_like(sigmas)
        of_nodes[found.order] = sigmas
    return LocalRBF(neighbor=neighbor, sigmas=of_nodes), sigmas


def _median(distances: np.ndarray) -> float:
    """Return the median distance, of distinct neighbours where most are copies."""
    middle = float(np.median(distances))
    if not middle:
        middle = float(np.median(distances[distances > 0]))
        warn(
            "sigma='median' is 0, since most neighbours are copies of their node: it is taken of "
            f"the neighbours that are not, {middle:.6g}; {REMEDY}",
            DuplicatesWarning,
        )
    return middle


def _local(found: Nearest, neighbor: int) -> np.ndarray:
    """Return the distance that scales each row: where it is 0, of the nearest distinct point."""
    distances = found.distances
    sigmas = distances[:, neighbor - 1].copy()
    copies = np.nonzero(sigmas == 0)[0]
    if not len(copies):
        return sigmas
    near = distances[copies]
    sigmas[copies] = np.where(near > 0, near, np.inf).min(1)
    lost = copies[np.isinf(sigmas[copies])]
    if len(lost):
        sigmas[lost] = np.median(sigmas[np.isfinite(sigmas)])
        nodes = lost if found.order is None else np.sort(found.order[lost])
        few = ", ".join(map(str, nodes[:5])) + (", ..." if len(nodes) > 5 else "")
        warn(
            f"{len(nodes)} of {len(sigmas)} nodes ({few}) have {distances.shape[1]} or more "
            "copies, so all their neighbours are at distance 0 and their local sigma is the "
            f"median of the others; {REMEDY}",
            DuplicatesWarning,
        )
    return sigmas


def gaussian_weights(sigma: float | np.ndarray, found: Nearest, dtype: Any) -> np.ndarray:
    """Compute exp(−‖x_i − x_j‖²/2σ_iσ_j) on the edges, (N, k)."""
    if not isinstance(sigma, np.ndarray):
        return _map(lambda d: _exp((d / sigma) ** 2, dtype), found.distances)
    local = sigma

    def weights(d: np.ndarray, j: np.ndarray, own: np.ndarray) -> np.ndarray:
        return _exp((d / own) * (d / local[j]), dtype)

    return _map(weights, found.distances, found.indices, sigma[:, None])


def _map(weights: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(map_rows(weights, *arrays))


def _exp(squares: np.ndarray, dtype: Any) -> np.ndarray:
    return np.asarray(np.exp(squares / -2).astype(dtype))
