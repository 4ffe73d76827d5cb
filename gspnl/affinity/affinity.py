"""Normalised affinity A = diag(l) W diag(r), its symmetric core S and its Laplacian L."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gspnl._base.array import Array, constant, eps, like, namespace
from gspnl._base.warn import warn
from gspnl.affinity.weights import AddedLoops, LowRank, Weights, low_rank
from gspnl.affinity.weights.base import GramFactor
from gspnl.errors import NonsymmetricError, PrecisionWarning

# Amplified rounding above which a warning is given, by the eps of the dtype.
SPREAD = {float(np.finfo(np.float32).eps): 1e-3, float(np.finfo(np.float64).eps): 1e-7}


def scale_rows(scale: Array | None, Z: Array) -> Array:
    """Compute diag(scale) Z; None stands for ones."""
    return Z if scale is None else scale[..., None] * Z


@dataclass(frozen=True, eq=False)
class Affinity:
    r"""A = diag(l) W diag(r) + diag(isolated).

    A node of degree 0 is isolated: its row of W is 0 and A_ii = 1.

    With :math:`S = diag(√(lr))\,W\,diag(√(lr))` and :math:`T = diag(√(l/r))`,
    :math:`A = T S T^{-1}`: spectra and filters are computed on S and transformed by T.

    The Laplacian is :math:`L = s (I - A)`, s = 1 but for "combinatorial". There s is the largest
    degree, and W has self-loops added until every degree is s, so that L = D − W for the degrees
    and weights of the graph, and λ/s lies in [0, 2] as for all others.

    Parameters
    ----------
    weights : Weights
    degrees : array of shape (..., N)
        W 1.
    left, right : arrays of shape (..., N)
        l and r; None stands for ones.
    isolated : array of bool of shape (..., N), or None
        True at isolated nodes; None where there are none.
    symmetric_core : bool
        Whether W is symmetric, so that S exists.
    nonnegative : bool
        Whether W ≥ 0, so that λ lies in [0, 2].
    row_stochastic : bool
        Whether A 1 = 1; else S √(1/lr) = √(1/lr), as for l = r = d^-½.
    unit : array of float64 of shape (...), or None
        s, with the factor exp(log_factor) of W; None stands for 1.
    errors : array of float64 of shape (..., 2), or None
        Bounds of ‖S − Ŝ‖ and of ‖T⁻¹ T̂ − I‖ of an approximate graph, where both are finite.
    """

    weights: Weights
    degrees: Array
    left: Array
    right: Array | None
    isolated: Array | None
    symmetric_core: bool = True
    nonnegative: bool = True
    row_stochastic: bool = True
    unit: np.ndarray | None = None
    errors: np.ndarray | None = None

    @cached_property
    def n_nodes(self) -> int:
        """N."""
        return self.weights.shape[-1]

    @cached_property
    def xp(self) -> Any:
        """Array API namespace of the graph's arrays."""
        return namespace(self.left)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "xp"}  # a module

    @cached_property
    def eps(self) -> float:
        """Spacing of 1.0 in the dtype of the graph's arrays."""
        return eps(self.left)

    @cached_property
    def low_rank(self) -> LowRank | None:
        """W = B J Bᵀ where it is stored as such, else None."""
        return low_rank(self.weights)

    @cached_property
    def factor(self) -> GramFactor | None:
        """S = F Fᵀ of one graph where products of FᵀF are much cheaper than those of S."""
        if not (self.weights.factored and self.symmetric_core):
            return None
        return self.weights.gram_factor(self.core_scale)

    @cached_property
    def limits(self) -> tuple[float, float]:
        """Interval in which every λ/s lies: [0, 2] for non-negative weights."""
        return (0.0, 2.0) if self.nonnegative else (-math.inf, math.inf)

    def require_core(self, lacking: str, remedy: str = "") -> None:
        """Raise NonsymmetricError, naming what is ``lacking``, where A has no symmetric core."""
        if not self.symmetric_core:
            raise NonsymmetricError(
                "normalization='softmax' gives a graph that is not similar to a symmetric one, so "
                f"it has {lacking}; use normalization='random_walk', which symmetrises the "
                "weights, or 'chung', which averages the walk with its time reversal" + remedy
            )

    def apply(self, Z: Array) -> Array:
        """Compute A Z, or W Z where L = D − W."""
        if isinstance(self.weights, AddedLoops):
            return self._factor(Z) * self.weights.full.matmul(Z)
        out = scale_rows(self.left, self.weights.matmul(scale_rows(self.right, Z)))
        if self.isolated is None:
            return out
        return namespace(Z).where(self.isolated[..., None], Z, out)

    def apply_core(self, Y: Array) -> Array:
        """Compute S Y; rows of isolated nodes become 0."""
        scale = self.core_scale[..., None]
        return scale * self.weights.matmul(scale * Y)

    def laplacian(self, Z: Array) -> Array:
        """Compute L Z."""
        if isinstance(self.weights, AddedLoops):
            flow = scale_rows(self.degrees, Z) - self.weights.full.matmul(Z)
            return self._factor(Z) * flow
        return Z - self.apply(Z)

    def _factor(self, Z: Array) -> Array:
        """The factor exp(log_factor) of W, which products with D and W need."""
        return like(np.exp(np.asarray(self.weights.log_factor))[..., None, None], Z)

    def rows(self, index: Array) -> Array:
        """Return k rows of A, or of W where L = D − W, (..., k, N)."""
        xp = namespace(self.left)
        if isinstance(self.weights, AddedLoops):
            part = self.weights.full.rows(index)
            return self._factor(part) * part
        part = xp.take(self.left, index, axis=-1)[..., None] * self.weights.rows(index)
        if self.right is not None:
            part = part * self.right[..., None, :]
        if self.isolated is None:
            return part
        on = index[:, None] == xp.arange(self.n_nodes)
        alone = xp.take(self.isolated, index, axis=-1)[..., None]
        return xp.where(alone & on, xp.ones_like(part), part)

    @cached_property
    def core_scale(self) -> Array:
        """√(l r), (..., N)."""
        right = 1 if self.right is None else self.right
        return self.xp.sqrt(self.left * right)

    @cached_property
    def change(self) -> Array:
        """Diagonal of T = √(l / r), 1 on isolated nodes; warns where A is far from symmetric."""
        xp = self.xp
        if self.right is None:
            ratio = self.left
        else:
            ratio = self.left / xp.where(self.right > 0, self.right, xp.ones_like(self.right))
        change = xp.sqrt(xp.where(self.left > 0, ratio, xp.ones_like(ratio)))
        if self.right is None:
            values = change if type(change) is np.ndarray else constant(change)
            if not values.max() * 1e-3 <= values.min():
                self._check_change(values)
        return change

    def _check_change(self, values: np.ndarray) -> None:
        """Warn where T, which multiplies results in the basis of S, multiplies rounding too much.

        Results are accurate to rounding in ‖T⁻¹ · ‖. Entry by entry, rounding at the nodes of
        large degree reaches those of small degree times the ratio of T.
        """
        values, live = values.astype(np.float64), constant(self.left) > 0
        ends = np.where(live, values, 0.0).max(-1), np.where(live, values, np.inf).min(-1)
        spread = float(np.max(ends[0] / ends[1], initial=0.0))
        if not spread * self.eps <= SPREAD.get(self.eps, 1e-3):
            warn(
                f"degrees of this graph span a factor of {spread * spread:.0e}: at its nodes of "
                f"small degree, filters and spectra have errors of up to {spread * self.eps:.0e} "
                "of the signal; use normalization='symmetric', or a larger sigma= or temperature=",
                PrecisionWarning,
            )

    @cached_property
    def stationary(self) -> Array:
        """The unit vector along :attr:`core_mode`, (..., N)."""
        xp, mode = self.xp, self.core_mode
        norm = xp.sqrt(xp.sum(mode * mode, axis=-1, keepdims=True))
        return mode / xp.where(norm > 0, norm, xp.ones_like(norm))

    @property
    def core_mode(self) -> Array:
        """Mode v > 0 of S, S v = v, (..., N): T⁻¹ m of :attr:`constant_mode`; 0 where isolated."""
        inverse, live = self._inverse_core_mode
        return self.xp.where(live, 1 / inverse, self.xp.zeros_like(inverse))

    @property
    def core_mass(self) -> Array:
        """Squares v² of :attr:`core_mode`, (..., N): d, or 1 for bistochastic; 0 where isolated."""
        inverse, live = self._inverse_core_mode
        return self.xp.where(live, 1 / (inverse * inverse), self.xp.zeros_like(inverse))

    @property
    def _inverse_core_mode(self) -> tuple[Array, Array]:
        """1/v, with 1 at isolated nodes, and the mask of the nodes that are not isolated."""
        live = self.core_scale > 0
        source = self.change if self.row_stochastic else self.core_scale
        return self.xp.where(live, source, self.xp.ones_like(source)), live

    @property
    def constant_mode(self) -> Array:
        """Mode m > 0 of L, L m = 0, (..., N): 1, or √d for symmetric; 1 where isolated."""
        one = self.xp.ones_like(self.left)
        if self.row_stochastic:
            return one
        return self.xp.where(self.core_scale > 0, self.core_mode, one)

    def item(self, index: tuple[int, ...]) -> Affinity:
        """Return one graph of a batch."""
        isolated = None if self.isolated is None else self.isolated[(*index, ...)]
        if isolated is not None and not bool(namespace(isolated).any(isolated)):
            isolated = None
        return Affinity(
            self.weights.item(index),
            self.degrees[(*index, ...)],
            self.left[(*index, ...)],
            None if self.right is None else self.right[(*index, ...)],
            isolated,
            self.symmetric_core,
            self.nonnegative,
            self.row_stochastic,
            None if self.unit is None else self.unit[index],
            None if self.errors is None else self.errors[index],
        )
