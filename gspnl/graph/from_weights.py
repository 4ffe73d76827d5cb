"""Build a graph from precomputed weights, sparse or dense."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from gspnl._base.array import Array, as_floats, check_finite, check_fits, constant
from gspnl._base.memory import within_memory
from gspnl.affinity.kernels import Kernel
from gspnl.affinity.normalization import NORMALIZATIONS
from gspnl.affinity.weights import Dense, Weights
from gspnl.affinity.weights.sparse import Sparse, sparse_floats
from gspnl.errors import DegreeError, InputError
from gspnl.graph.build import graph_of
from gspnl.graph.graph import FeatureGraph
from gspnl.graph.symmetry import symmetrized


@dataclass(frozen=True)
class Precomputed(Kernel):
    """Kernel of a graph built from weights: it has no features and no function f(x_i, x_j).

    Parameters
    ----------
    signed : bool
        Whether weights can be negative.
    """

    signed: bool = False

    @property
    def nonnegative(self) -> bool:
        return not self.signed

    def embed(self, X: Array, weights: tuple[Array, Array] | None) -> tuple[Array, Array]:
        raise InputError("precomputed weights have no features; use gspnl.graph_from_weights(W)")

    def affinity(self, phi: Array, psi: Array) -> Array:
        raise InputError("precomputed weights have no features; use gspnl.graph_from_weights(W)")


@within_memory
def graph_from_weights(W: Any, normalization: str = "random_walk") -> FeatureGraph:
    r"""Build a graph from a weight matrix W, such as a k-nearest-neighbour graph or a road map.

    :math:`A = diag(l)\,W\,diag(r)` as for :func:`gspnl.feature_graph`, with the same filters,
    spectra and certificates. A sparse W stays sparse: a product costs O(nnz), a Chebyshev filter of
    order K costs K products; exact spectra and filters convert it to a dense matrix.

    Parameters
    ----------
    W : array of shape (..., N, N), or scipy.sparse array or matrix of shape (N, N)
        N ≥ 2. Row i has the weights of the edges from node i. W must equal its transpose, except
        for "softmax" and "chung"; differences of rounding (64 eps of the largest weights of the two
        nodes) are averaged. Diagonal entries are self-loops and are kept. Integers and booleans
        become float64. W is copied.
    normalization : str
        "random_walk", "symmetric", "bistochastic", "softmax", "chung" or "combinatorial".
        "combinatorial" keeps W as it is, with L = D − W: the Laplacian of PyGSP, NetworkX and
        scipy.sparse.csgraph unless they are asked for another. Its λ lies in [0, 2 max d].
        "softmax" does not symmetrise W and divides each row by its sum: a random walk along
        directed edges. It has no real spectrum. "chung" averages that walk with its time reversal,
        ½(A + Π⁻¹AᵀΠ), which has one, and all filters: see :func:`gspnl.feature_graph`.

    Returns
    -------
    FeatureGraph
        With ``storage`` "sparse" or "dense".

    Raises
    ------
    InputError
        For a W that is not square, finite, real or symmetric, and for negative weights with
        "bistochastic", "chung" or "combinatorial".
    ReducibleError
        For "chung", if the walk leaves some nodes for good, as under a causal mask.
    DegreeError
        If negative weights make a degree ≤ 0, or sums leave the range of the dtype.
    SizeError
        If a dense W and its copies would not fit in memory.

    Notes
    -----
    A node without edges is a component of its own, with A_ii = 1 and λ = 0. Negative weights are
    allowed where every degree stays positive; λ may then leave [0, 2].

    Examples
    --------
    >>> import numpy as np, scipy.sparse, gspnl
    >>> ring = scipy.sparse.diags_array([1.0, 1.0, 1.0, 1.0], offsets=[-5, -1, 1, 5], shape=(6, 6))
    >>> graph = gspnl.graph_from_weights(ring)
    >>> graph
    FeatureGraph(6 nodes, kernel Precomputed(signed=False), sparse, random_walk)
    >>> graph.spectrum().eigenvalues.round(12)  # 1 − cos(2πj/6)
    array([0. , 0.5, 0.5, 1.5, 1.5, 2. ])
    """
    scheme = NORMALIZATIONS[normalization]
    if (library := type(W).__module__.partition(".")[0]) in ("networkx", "pygsp"):
        raise InputError(f"W is a graph of {library}; use gspnl.from_{library}(W)")
    sparse = scipy.sparse.issparse(W)
    matrix = _sparse(W) if sparse else _dense(W)
    if scheme.symmetrizes:
        matrix = symmetrized(matrix, normalization)
    values = matrix.data if sparse else constant(matrix)
    kernel = Precomputed(signed=bool((values < 0).any()))
    if kernel.signed and scheme.nonnegative:
        raise InputError(
            f"normalization={normalization!r} needs non-negative weights, and the least is "
            f"{values.min():.3g}; pass np.maximum(W, 0), or use normalization='symmetric'"
        )
    matrix, factor = in_range(matrix, values, kernel.signed)
    weights: Weights = Dense(matrix, scheme.symmetrizes, factor)
    if sparse:
        weights = Sparse(matrix, factor)
    sizes = abs(matrix if sparse else values).sum(-1) if kernel.signed else None
    check_degrees(weights, kernel, sizes)
    return graph_of(weights, kernel, "sparse" if sparse else "dense", normalization)


def in_range(matrix: Any, values: np.ndarray, signed: bool) -> tuple[Any, float]:
    """Divide W by a power of 2 where products with signals would leave the range of its dtype.

    Returns the matrix and the logarithm of the factor. What overflows, or has lost its digits, is
    left as it is: the check of degrees refuses it.
    """
    limits, peak = np.finfo(values.dtype), float(np.abs(values).max(initial=0.0))
    far = matrix.shape[-1] / float(limits.eps)
    if peak == 0 or far * float(limits.smallest_normal) < peak < float(limits.max) / far:
        return matrix, 0.0
    with np.errstate(over="ignore"):
        sums = (abs(matrix) if signed else matrix).sum(-1)
    known = constant(sums)
    lowest = known[known > 0].min(initial=np.inf)
    if not (np.isfinite(known).all() and lowest >= limits.smallest_normal):
        return matrix, 0.0
    power = int(np.frexp(peak)[1])
    half = -power // 2  # 2^power itself may leave the range
    return matrix * 2.0**half * 2.0 ** (-power - half), power * math.log(2)


def check_degrees(weights: Weights, kernel: Precomputed, sizes: Any = None) -> None:
    """Raise where 1/d is undefined, with a remedy for weights rather than features.

    ``sizes`` are Σ_j |w_ij|; a degree of signed weights that is within their rounding counts as 0.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        d = constant(weights.degrees())
    if not np.isfinite(d).all():
        raise DegreeError(
            f"the sums of rows of W overflow {d.dtype}; divide W by a constant, which A does not "
            "see, or use float64"
        )
    if kernel.signed:
        noise = 0 if sizes is None else 64 * np.finfo(d.dtype).eps * np.asarray(sizes)
        bad = np.argwhere(d <= noise)
        if len(bad):
            node = tuple(int(i) for i in bad[0])
            raise DegreeError(
                f"W has negative weights, and {len(bad)} of {d.size} degrees are ≤ 0 or vanish to "
                f"rounding (node {node[-1] if len(node) == 1 else node}: {d[node]:.3g}), so its "
                "Laplacian is undefined; pass np.maximum(W, 0), abs(W), or W with self-loops"
            )
    if ((d > 0) & (d < np.finfo(d.dtype).smallest_normal)).any():
        raise DegreeError(
            f"some sums of rows of W are below {np.finfo(d.dtype).smallest_normal:.1e}, where "
            f"{d.dtype} loses its digits; multiply W by a constant, which A does not see"
        )


def _sparse(W: Any) -> Any:
    _check_square(W.shape)
    csr = sparse_floats(W)
    bad = np.nonzero(~np.isfinite(csr.data))[0]
    if len(bad):
        row = int(np.searchsorted(csr.indptr, bad[0], side="right")) - 1
        raise InputError(
            f"W has {len(bad)} value(s) that are not finite, the first one {csr.data[bad[0]]} at "
            f"index ({row}, {int(csr.indices[bad[0]])}); remove or impute them"
        )
    return csr


def _dense(W: Any) -> Array:
    if isinstance(W, np.matrix):
        W = np.asarray(W)
    if "sparse" in str(getattr(W, "layout", "")):  # torch
        raise InputError("W is a sparse torch tensor; pass W.to_dense(), or a scipy.sparse array")
    matrix = as_floats(W, "W")
    _check_square(tuple(matrix.shape))
    check_finite(matrix, "W")
    remedy = "pass it as a scipy.sparse array, or use from_linear_operator(aslinearoperator(W))"
    check_fits(tuple(matrix.shape), matrix, "a copy of W and its transpose", remedy, copies=3)
    return matrix + 0  # a copy, in any library, that keeps a gradient


def _check_square(shape: tuple[int, ...]) -> None:
    if len(shape) < 2 or shape[-1] != shape[-2] or shape[-1] < 2 or 0 in shape:
        raise InputError(
            f"W has shape {tuple(shape)}; weights have shape (..., N, N) with N ≥ 2 nodes"
        )
