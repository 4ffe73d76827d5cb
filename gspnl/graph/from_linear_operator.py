"""Build a graph from a SciPy LinearOperator that computes products with W."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from gspnl._base.array import Array
from gspnl._base.blas import one_thread
from gspnl.affinity.normalization import NORMALIZATIONS
from gspnl.affinity.weights import Weights
from gspnl.affinity.weights.adjoint import rmatmul
from gspnl.errors import InputError
from gspnl.graph.build import graph_of
from gspnl.graph.from_weights import Precomputed, check_degrees
from gspnl.graph.graph import FeatureGraph
from gspnl.graph.operator_products import (
    check_adjoint,
    check_declared,
    check_linear,
    check_nonnegative,
    product,
)
from gspnl.graph.symmetry import probe_symmetry


@dataclass(frozen=True, eq=False)
class Operator(Weights):
    """W as an operator that computes products.

    Parameters
    ----------
    operator : LinearOperator
    symmetric : bool
        Whether W = Wᵀ, so that rows are columns.
    sample : array
        Any array of the dtype of W.
    """

    operator: Any
    symmetric: bool
    sample: Array
    adjoint_checked: list[bool] = field(default_factory=list, repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.operator.shape)

    @property
    def like(self) -> Array:
        return self.sample

    def matmul(self, Z: Array) -> Array:
        columns = np.moveaxis(Z, -2, 0)
        with one_thread.lifted():  # the operator is the user's, whose products may be large
            out = product(
                self.operator.matmat, columns.reshape(len(columns), -1), "matvec or matmat"
            )
        return np.moveaxis(out.astype(Z.dtype, copy=False).reshape(columns.shape), 0, -2)

    def rows(self, index: Array) -> Array:
        unit = np.zeros((self.shape[0], len(index)), self.sample.dtype)
        unit[index, np.arange(len(index))] = 1
        return self.matmul(unit).T if self.symmetric else rmatmul(self, unit).T

    def item(self, index: tuple[int, ...]) -> Operator:
        return self


@rmatmul.register
def _(weights: Operator, Z: Array) -> Array:
    back = weights.operator.rmatmat
    if not weights.adjoint_checked:
        try:
            weights.operator.rmatvec(Z[:, 0].copy())  # raises NotImplementedError, unlike rmatmat
        except NotImplementedError:
            raise InputError(
                "rows and adjoints of a nonsymmetric operator need its rmatvec; give it one"
            ) from None
        except Exception:
            pass  # named below
        n = weights.shape[0]
        forward = weights.matmul
        check_adjoint(
            lambda z: forward(z.astype(weights.sample.dtype)),
            lambda z: product(back, z.astype(weights.sample.dtype), "rmatvec or rmatmat"),
            n,
            0,
        )
        weights.adjoint_checked.append(True)
    return product(back, Z, "rmatvec or rmatmat")


def from_linear_operator(
    operator: Any,
    normalization: str = "random_walk",
    *,
    nonnegative: bool = False,
    seed: int = 0,
) -> FeatureGraph:
    r"""Build a graph of weights W from an operator that computes products with W.

    Chebyshev filters need products only; rows cost a product with unit vectors, and an exact
    spectrum N of them.

    Parameters
    ----------
    operator : scipy.sparse.linalg.LinearOperator
        W, (N, N), N ≥ 2, real; symmetric, except for "softmax" and "chung". "chung" needs its
        adjoint, rmatvec.
    normalization : str
        "random_walk", "symmetric", "bistochastic", "softmax", "chung" or "combinatorial".
        See :func:`gspnl.graph_from_weights`.
    nonnegative : bool
        True states that W ≥ 0, which products cannot show: then λ lies in [0, 2] and nodes of
        degree 0 are allowed. "bistochastic", "chung" and "combinatorial" require it.
    seed : int
        Seed of the random probes for symmetry.

    Returns
    -------
    FeatureGraph

    Raises
    ------
    InputError
        For an operator that is not square, not real, or found to be nonsymmetric, not linear,
        random, negative where ``nonnegative`` is stated, or of another dtype than it declares.
    DegreeError
        If degrees are not positive.

    Notes
    -----
    Symmetry is tested by ⟨x, W y⟩ = ⟨W x, y⟩ for three random pairs, up to a rounding τ of 64 eps
    (‖x‖ ‖W y‖ + ‖y‖ ‖W x‖). An operator with ‖W − Wᵀ‖₂ = τ/t passes with probability at most t³:
    10⁻¹² where the difference is 10⁴ τ.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> from scipy.sparse.linalg import aslinearoperator
    >>> W = aslinearoperator(np.ones((4, 4)))
    >>> gspnl.from_linear_operator(W, nonnegative=True).spectrum().eigenvalues.round(12)
    array([0., 1., 1., 1.])
    """
    scheme = NORMALIZATIONS[normalization]
    if not isinstance(operator, LinearOperator):
        raise InputError(
            f"operator is a {type(operator).__name__}; wrap it by "
            "scipy.sparse.linalg.LinearOperator(shape, matvec), or use graph_from_weights"
        )
    n = operator.shape[0]
    if operator.shape != (n, n) or n < 2:
        raise InputError(f"operator has shape {operator.shape}; W is square, (N, N) with N ≥ 2")
    dtype = np.dtype(operator.dtype)
    if dtype.kind not in "biuf":
        raise InputError(f"operator has dtype {dtype}; pass a real one, float32 or float64")
    sample = np.ones(1, dtype if dtype == np.float32 else np.float64)
    weights = Operator(operator, scheme.symmetrizes, sample)
    kernel = Precomputed(signed=not nonnegative)
    if scheme.nonnegative and not nonnegative:
        raise InputError(
            f"normalization={normalization!r} needs non-negative weights; pass nonnegative=True if "
            "they are, or use normalization='symmetric'"
        )

    def matmul(Z: np.ndarray) -> np.ndarray:
        out: np.ndarray = weights.matmul(Z.astype(sample.dtype))
        return out

    check_declared(operator, seed)
    check_linear(matmul, n, seed)
    if scheme.symmetrizes:
        probe_symmetry(matmul, n, normalization, seed)
    if nonnegative:
        check_nonnegative(matmul, n, seed)
    check_degrees(weights, kernel)
    return graph_of(weights, kernel, "operator", normalization)
