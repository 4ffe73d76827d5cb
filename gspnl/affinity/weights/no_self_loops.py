"""Storage of weights without their diagonal: self_loops=False without N² entries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np

from gspnl._base.array import Array, constant, constant64, device, eps, has_float64, like, namespace
from gspnl._base.warn import warn
from gspnl.affinity.weights.base import Weights
from gspnl.errors import DegreeError, PrecisionWarning

# Errors of a row, relative to its degree, from which W is widened, warned of, and refused.
DIGITS = {float(np.finfo(np.float32).eps): 1e-5, float(np.finfo(np.float64).eps): 1e-10}
NO_DIGITS = 1e-3
CHECKED = 1 << 22  # entries of rows that are computed to tell degrees of 0 from rounding


@dataclass(frozen=True, eq=False)
class NoSelfLoops(Weights):
    """W − diag(W) for W in another storage.

    Parameters
    ----------
    full : Weights
        W; in float64 where the difference of the two would cancel digits of float32.
    diagonal : array of shape (..., N)
        In the dtype of ``full``.
    template : array
        Of the library, dtype and device of the products.
    live : array of shape (..., N), or None
        0 at nodes without edges, of which rounding would leave some, else 1.
    """

    full: Weights
    diagonal: Array
    template: Array
    live: Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.full.shape

    @property
    def like(self) -> Array:
        return self.template

    @property
    def log_factor(self) -> Any:
        return self.full.log_factor

    @property
    def signed(self) -> bool:
        return self.full.signed

    def matmul(self, Z: Array) -> Array:
        wide = like(Z, self.diagonal)
        return like(self._live(self.full.matmul(wide) - self.diagonal[..., None] * wide), Z)

    def rmatmul(self, Z: Array, product: Any) -> Array:
        """Compute Wᵀ Z by ``product(full, Z)``, that of the transpose of W with its diagonal."""
        wide = self._live(like(Z, self.diagonal))
        return like(product(self.full, wide) - self.diagonal[..., None] * wide, Z)

    def _live(self, Z: Array) -> Array:
        return Z if self.live is None else Z * self.live[..., None]

    def rows(self, index: Array) -> Array:
        xp = namespace(self.diagonal)
        part = like(self.full.rows(index), self.template)
        return xp.where(index[:, None] == xp.arange(self.shape[-1]), xp.zeros_like(part), part)

    def operations(self, columns: int) -> float:
        return self.full.operations(columns)

    @property
    def lanczos_block(self) -> int:
        return self.full.lanczos_block

    def item(self, index: tuple[int, ...]) -> NoSelfLoops:
        live = None if self.live is None else self.live[(*index, ...)]
        diagonal = self.diagonal[(*index, ...)]
        return NoSelfLoops(self.full.item(index), diagonal, self.template[(*index, ...)], live)


@singledispatch
def widened(weights: Weights) -> Weights:
    """Return the same weights with products in float64; default: themselves."""
    return weights


@singledispatch
def diagonal(weights: Weights) -> Array:
    """Return the diagonal of W, (..., N)."""
    raise NotImplementedError(type(weights).__name__)


def without_self_loops(weights: Weights) -> Weights:
    """Return W − diag(W), accurate where a node's self-loop outweighs its other edges.

    The relative error of a degree is eps times the share of the self-loop in it. Where that is too
    much for float32, W is converted to float64; where it is too much for float64, a warning is
    given, or a DegreeError.
    """
    template = weights.like
    hollow = NoSelfLoops(weights, diagonal(weights), template)
    error = _errors(hollow).max()
    if error <= DIGITS[eps(template)]:
        return hollow
    if eps(hollow.diagonal) > np.finfo(np.float64).eps and has_float64(template):
        wide = widened(weights)
        hollow = NoSelfLoops(wide, diagonal(wide), template)
    hollow, errors = _without_isolated(hollow)
    error = errors.max()
    if error <= DIGITS[eps(template)] or np.isnan(error) or weights.signed:
        return hollow  # what overflowed or is negative is reported by the check of degrees
    message = (
        "self_loops=False: all edges of some node together are smaller than its self-loop, which "
        f"is subtracted, by more digits than {hollow.diagonal.dtype} has to spare: its degree has "
        f"a relative error of up to {error:.0e}; "
    )
    remedy = "pass storage='dense', or scale the large features down"
    if error > NO_DIGITS:
        raise DegreeError(message + remedy)
    warn(message + remedy, PrecisionWarning)
    return hollow


def _errors(hollow: NoSelfLoops, wide: bool = False) -> np.ndarray:
    """Bound the relative errors of the degrees, (..., N); if ``wide``, 0 for degrees of 0."""
    loops = np.abs(constant64(hollow.diagonal))
    ones = namespace(hollow.diagonal).ones_like(hollow.diagonal)[..., None]
    rest = constant64(hollow.matmul(ones))[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(loops > 0, loops / np.maximum(rest, 0), 0.0)
    if wide:  # a product of positive points that is lost is found by the check of underflow
        share[rest == 0] = 0.0
    return share * eps(hollow.diagonal)


def _without_isolated(hollow: NoSelfLoops) -> tuple[NoSelfLoops, np.ndarray]:
    """Find nodes without edges among those whose degree may be rounding, by rows of W.

    Returns the weights that are left with the bounds of their :func:`_errors`.
    """
    errors = _errors(hollow, wide=True)
    doubtful = np.argwhere(errors > NO_DIGITS)
    if not len(doubtful) or len(doubtful) * hollow.shape[-1] > CHECKED:
        return hollow, errors
    live = np.ones(hollow.shape[:-1])
    for *index, node in doubtful.tolist():
        item = hollow.item(tuple(index)) if index else hollow
        at = namespace(item.diagonal).asarray([node], device=device(item.diagonal))
        live[(*index, node)] = float(constant(item.rows(at)).any())
    if live.all():
        return hollow, errors
    rest = NoSelfLoops(hollow.full, hollow.diagonal, hollow.template, like(live, hollow.diagonal))
    return rest, _errors(rest, wide=True)
