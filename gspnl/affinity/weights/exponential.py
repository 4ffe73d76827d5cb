r"""Tiled storage of W = exp(s) by logarithms: exact, O(N) memory, scores of any size."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gspnl._base.array import Array, eps, like, namespace, ones
from gspnl.affinity.kernels.scores import Scores
from gspnl.affinity.weights.base import Weights
from gspnl.affinity.weights.logsums import averages
from gspnl.affinity.weights.tiles import Pattern, set_diagonal, strips, threaded, tile_products
from gspnl.errors import DegreeError


@dataclass(frozen=True, eq=False)
class TiledExponential(Weights):
    r"""Weights of an exponential kernel, recomputed tile by tile in each product.

    Once :math:`ℓ = \log d` is known (one sweep), :math:`W = e^{c}\,diag(p)\,\hat W\,diag(p)` with
    :math:`p = e^{(ℓ - c)/2}` and :math:`\hat W_{ij} = e^{s_{ij} - (ℓ_i + ℓ_j)/2} ≤ 1`: no score
    overflows, and a tile needs one exponential a pair. c is 0 unless degrees would leave the range
    of the dtype.

    Parameters
    ----------
    scores : Products or Differences
        q kᵀ, or in general s, in float64 where float32 is too coarse.
    sample : array
        Of the library, device and dtype of the features.
    pattern : Pattern
        Relation of W to :math:`M = e^{s}`.
    self_loops : bool
    bounded : bool
        Whether scores are ≤ 0, with 0 on the diagonal, so that p = 1 suffices.
    """

    scores: Scores
    sample: Array
    pattern: Pattern
    self_loops: bool = True
    bounded: bool = False
    _memo: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.scores.shape

    @property
    def like(self) -> Array:
        return self.sample

    @property
    def lazy(self) -> bool:
        return True

    @property
    def log_factor(self) -> float:
        return 0.0 if self._tame else self._balance[2]

    def log_degrees(self) -> Array | None:
        return None if self._tame else like(self._logs, self.sample)

    def averages(self, Z: Array) -> Array:
        if self._tame:
            return super().averages(Z)
        if Z.ndim > 2:
            return side_by_side(self.averages, Z)
        wide = like(Z, self.scores.sample)
        out, logs = averages(self.scores, wide, self.pattern, self.self_loops)
        self._memo["logs"] = logs
        return like(out, Z)

    def matmul(self, Z: Array) -> Array:
        if Z.ndim > 2:
            return side_by_side(self.matmul, Z)
        if not threaded(self.scores.sample, Z):
            return strips(lambda nodes: self.rows(nodes) @ Z, self.shape[0], Z)
        scores, left, right = self._scaled
        out = self._sums(scores, Z if right is None else right[:, None] * Z)
        return out if left is None else left[:, None] * out

    def rmatmul(self, Z: Array) -> Array:
        """Compute Wᵀ Z of one graph, (N, c), for a W that is not symmetrised."""
        scores, left, right = self._scaled
        scaled = Z if left is None else left[:, None] * Z
        if threaded(scores.sample, Z):
            out = self._sums(scores.transposed, scaled)
        else:
            other = TiledExponential(scores.transposed, self.sample, self.pattern, self.self_loops)
            other._memo["scaled"] = (other.scores, None, None)
            out = strips(lambda nodes: other.rows(nodes) @ scaled, self.shape[1], Z)
        return out if right is None else right[:, None] * out

    def _sums(self, scores: Scores, Z: np.ndarray) -> np.ndarray:
        """Compute exp(s) Z, or ½(exp(s) + exp(s)ᵀ) Z, by tiles."""
        coarse = scores.sample.dtype == Z.dtype

        def fill(rows: slice, cols: slice, tile: np.ndarray) -> None:
            if coarse:
                scores.tile(rows, cols, tile)
            else:
                with np.errstate(over="ignore"):  # a score of −∞ is a weight of 0
                    tile[...] = scores.tile(rows, cols)
            if not self.self_loops:  # before exp, which may overflow on the diagonal
                set_diagonal(tile, rows, cols, -np.inf)
            np.exp(tile, out=tile)

        return tile_products(fill, Z, self.pattern)

    def rows(self, index: Array) -> Array:
        xp = namespace(self.sample)
        scores, left, right = self._scaled
        parts = [scores.strip(index)]
        if self.pattern is Pattern.BOTH:
            parts.append(scores.columns(index))
        if not self.self_loops:
            on = index[:, None] == xp.arange(self.shape[-1])
            parts = [xp.where(on, -xp.inf * xp.ones_like(s), s) for s in parts]
        with np.errstate(over="ignore"):  # a score of −∞ is a weight of 0
            part = sum(xp.exp(like(s, self.sample)) for s in parts) / len(parts)
        if left is None:
            return part
        scale = xp.take(left, index, axis=0)[:, None]
        # The scales are multiplied first: with a small one alone, the entry could underflow.
        return part * (scale if right is None else scale * right)

    def operations(self, columns: int) -> float:
        return self.pattern.operations(self.shape, self.scores.sample.shape[-1], columns)

    def item(self, index: tuple[int, ...]) -> TiledExponential:
        return self

    @property
    def _tame(self) -> bool:
        """Whether 1 ≤ d ≤ N, so that W needs no scaling."""
        return self.bounded and self.self_loops

    @property
    def _logs(self) -> np.ndarray:
        """Compute ℓ = log d, in float64."""
        if "logs" not in self._memo:
            self.averages(0 * ones((self.shape[0], 0), self.sample))
        logs: np.ndarray = self._memo["logs"]
        return logs

    @property
    def _balance(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Scale W by its degrees: (ℓ/2 or ℓ, p, c)."""
        if "balance" not in self._memo:
            logs = self._logs
            largest = math.log(float(namespace(self.sample).finfo(self.sample.dtype).max))
            low, high = float(logs.min()), float(logs.max())
            # Entries that underflow must be negligible even for the node of least degree.
            room = 2 * min(0.9 * largest, largest - math.log(len(logs) / eps(self.sample)))
            if high - low > room:
                raise DegreeError(
                    f"degrees span a factor of exp({high - low:.0f}), and {self.sample.dtype} "
                    f"carries exp({room:.0f}) through a change of basis; apply() of a tiled graph "
                    "still works, filters and spectra need smaller features, a larger "
                    "temperature= or sigma=, self-loops, or float64"
                )
            factor = 0.0 if max(-low, high) <= 0.9 * largest else (low + high) / 2
            share = 1.0 if self.pattern is Pattern.PLAIN else 0.5
            self._memo["balance"] = (share * logs, np.exp(share * (logs - factor)), factor)
        found: tuple[np.ndarray, np.ndarray, float] = self._memo["balance"]
        return found

    @property
    def _scaled(self) -> tuple[Scores, Array | None, Array | None]:
        """Return (s', left, right) with W = diag(left) exp(s') diag(right), exp(s') ≤ 1."""
        if self._tame:
            return self.scores, None, None
        if "scaled" not in self._memo:
            shift, p, _ = self._balance
            u = like(-shift[:, None], self.scores.sample)
            scale = like(p, self.sample)
            plain = self.pattern is Pattern.PLAIN
            shifted = self.scores.shifted(u, 0 * u if plain else u)
            self._memo["scaled"] = (shifted, scale, None if plain else scale)
        found: tuple[Scores, Array | None, Array | None] = self._memo["scaled"]
        return found


def side_by_side(fn: Any, Z: Array) -> Array:
    """Apply ``fn`` to signals (..., N, c) of one graph as columns side by side."""
    xp = namespace(Z)
    front = Z.shape[:-2]
    flat = xp.reshape(Z, (math.prod(front), *Z.shape[-2:]))  # not −1: there may be no columns
    wide = xp.reshape(xp.permute_dims(flat, (1, 0, 2)), (Z.shape[-2], -1))
    out = xp.reshape(fn(wide), (Z.shape[-2], flat.shape[0], Z.shape[-1]))
    return xp.reshape(xp.permute_dims(out, (1, 0, 2)), (*front, *Z.shape[-2:]))
