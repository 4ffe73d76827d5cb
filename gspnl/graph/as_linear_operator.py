"""Export a graph as a SciPy LinearOperator, for iterative solvers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse.linalg import LinearOperator

from gspnl._base.array import Array, constant, like, namespace, to_numpy
from gspnl._base.registry import Registry
from gspnl._base.validate import on_signals
from gspnl.affinity.affinity import Affinity, scale_rows
from gspnl.affinity.weights.adjoint import rmatmul
from gspnl.errors import InputError
from gspnl.graph.graph import FeatureGraph, single_graph

Map = Callable[[Affinity, Array], Array]
OPERATORS: Registry[tuple[Map, Map]] = Registry("operator")  # (forward, adjoint)


def as_linear_operator(graph: FeatureGraph, of: str = "affinity") -> LinearOperator:
    r"""Return an operator of the graph for SciPy's eigensolvers and linear solvers.

    No matrix is stored: each product is a product with the graph.

    Parameters
    ----------
    graph : FeatureGraph
        One graph, not a batch.
    of : {"affinity", "laplacian", "core"}
        "affinity": A, or W for normalization="combinatorial". "laplacian": L = I − A, or D − W.
        "core":
        :math:`S = T^{-1} A T = diag(√(lr))\,W\,diag(√(lr))`, which is symmetric (1 on the diagonal
        at isolated nodes) with eigenvalues 1 − λ, as ``eigsh`` requires.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator
        (N, N), of the graph's dtype, for NumPy arrays whatever the array library of the graph. It
        has an adjoint, :math:`A^T = diag(r)\,W^T diag(l)`.

    Raises
    ------
    NonsymmetricError
        For of="core" of a softmax graph.
    GspnlError
        When the operator is applied, if the graph carries a gradient, which would be lost.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> from scipy.sparse.linalg import eigsh
    >>> X = np.random.default_rng(0).standard_normal((500, 4))
    >>> graph = gspnl.feature_graph(X, "rbf", sigma=3.0)
    >>> mu = eigsh(gspnl.as_linear_operator(graph, of="core"), k=3, return_eigenvectors=False)
    >>> bool(np.allclose(1 - mu[::-1], graph.spectrum().eigenvalues[:3]))
    True
    """
    graph = single_graph(graph, "as_linear_operator")
    OPERATORS[of]  # raises for an unknown name
    affinity = graph.affinity
    if of == "core":
        affinity.require_core("no core", ", or of='affinity'")
        if affinity.unit is not None:
            raise InputError(
                "of='core' has eigenvalues 1 − λ of a normalised A, and a combinatorial graph has "
                "a symmetric L = D − W; use of='laplacian'"
            )
    return GraphOperator(affinity, of)


class GraphOperator(LinearOperator):
    """A, L or S of a graph as a SciPy operator; it can be pickled and copied, as the graph can.

    Parameters
    ----------
    affinity : Affinity
    of : str
        A name of :data:`OPERATORS`.
    """

    def __init__(self, affinity: Affinity, of: str) -> None:
        self.affinity, self.of = affinity, of
        super().__init__(constant(affinity.left).dtype, affinity.weights.shape)  # type: ignore[call-arg]

    def _matmat(self, X: np.ndarray) -> np.ndarray:
        return self._through(OPERATORS[self.of][0], X)

    def _rmatmat(self, X: np.ndarray) -> np.ndarray:
        return self._through(OPERATORS[self.of][1], X)

    _matvec, _rmatvec = _matmat, _rmatmat

    def _through(self, fn: Map, X: np.ndarray) -> np.ndarray:
        """Apply ``fn`` to signals in NumPy, as arrays of the graph's library."""
        if np.iscomplexobj(X):  # the operator is real
            return self._through(fn, X.real) + 1j * self._through(fn, X.imag)
        affinity = self.affinity
        inner = like(np.ascontiguousarray(X), affinity.left)
        shape = affinity.weights.shape
        return to_numpy(on_signals(lambda Z: fn(affinity, Z), inner, shape, affinity.left))


def _adjoint(affinity: Affinity, Y: Array) -> Array:
    """Compute Aᵀ Y = r∘(Wᵀ (l∘Y)), plus Y on isolated nodes."""
    if affinity.unit is not None:
        return affinity.apply(Y)  # W = Wᵀ
    scaled = scale_rows(affinity.left, Y)
    weights = affinity.weights
    product = weights.matmul(scaled) if affinity.symmetric_core else rmatmul(weights, scaled)
    out = scale_rows(affinity.right, product)
    if affinity.isolated is None:
        return out
    # A node of a directed graph without outgoing edges may have incoming ones.
    return out + namespace(Y).where(affinity.isolated[:, None], Y, 0 * Y)


def _adjoint_laplacian(affinity: Affinity, Y: Array) -> Array:
    """Compute Lᵀ Y."""
    if affinity.unit is not None:
        return affinity.laplacian(Y)
    return Y - _adjoint(affinity, Y)


def _core(affinity: Affinity, Y: Array) -> Array:
    """Compute S Y, and Y on isolated nodes."""
    out = affinity.apply_core(Y)
    if affinity.isolated is None:
        return out
    return namespace(Y).where(affinity.isolated[:, None], Y, out)


OPERATORS.register("affinity")((Affinity.apply, _adjoint))
OPERATORS.register("laplacian")((Affinity.laplacian, _adjoint_laplacian))
OPERATORS.register("core")((_core, _core))
