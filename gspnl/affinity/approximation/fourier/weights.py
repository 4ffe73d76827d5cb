"""Gaussian weights whose products are Fourier sums: O(N) time and memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gspnl._base.array import (
    Array,
    carries_gradient,
    constant64,
    detached,
    float64,
    has_float64,
    like,
    namespace,
    ones,
)
from gspnl._base.implicit import once
from gspnl.affinity.approximation.fourier.device import device_sums, on_device
from gspnl.affinity.approximation.fourier.expansion import Expansion
from gspnl.affinity.approximation.fourier.factor import FourierFactor, pays
from gspnl.affinity.approximation.fourier.transform import Transform
from gspnl.affinity.kernels.scores import squared_distances
from gspnl.affinity.weights.base import Weights
from gspnl.affinity.weights.exponential import side_by_side
from gspnl.affinity.weights.no_self_loops import diagonal, widened
from gspnl.affinity.weights.symmetrized import is_symmetric, symmetrized


@dataclass(frozen=True, eq=False)
class FourierSum(Weights):
    r"""W = diag(p) K diag(p), :math:`K_{ij} = \exp(-\|a_i - a_j\|^2 / 2)`, as a Fourier sum.

    Products differ from those of W by at most ``error`` an entry of K. Rows are W's own.

    Parameters
    ----------
    transform : Transform or Expansion
        Of the points a, with their gaps closed; an Expansion in more than three dimensions.
    a : array of shape (N, d)
        In float64 where the library has it.
    log_p : array of shape (N, 1), or None
        log p ≤ 0; None stands for p = 1.
    sample : array
        Of the library, dtype and device of the features.
    error : float
        δ: bound of the error of each entry of K.
    log_factor : float
        See :class:`~gspnl.affinity.weights.base.Weights`.
    """

    transform: Transform | Expansion
    a: Array
    log_p: Array | None
    sample: Array
    error: float
    log_factor: float = 0.0
    _memo: dict[str, Any] = field(default_factory=dict, repr=False)
    factored: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        grid = self.transform
        worth = not isinstance(grid, Expansion) and not carries_gradient(self.a) and pays(grid)
        object.__setattr__(self, "factored", worth)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.a.shape[0], self.a.shape[0])

    @property
    def like(self) -> Array:
        return self.sample

    def matmul(self, Z: Array) -> Array:
        if Z.ndim > 2:
            return side_by_side(self.matmul, Z)
        scale = self.scale
        wide = like(Z, self.a)
        if scale is not None:
            wide = scale * wide
        out = self._sums(wide)
        return like(out if scale is None else scale * out, Z)

    def degrees(self) -> Array:
        if "degrees" not in self._memo or carries_gradient(self.a):
            return super().degrees()
        return self._memo["degrees"]

    def know_degrees(self, degrees: np.ndarray) -> None:
        """Keep W 1, which the check of the sums has computed."""
        self._memo["degrees"] = like(degrees, self.sample)

    def rows(self, index: Array) -> Array:
        xp = namespace(self.a)
        part = xp.exp(squared_distances(xp.take(self.a, index, axis=0), self.a) / -2)
        if self.log_p is not None:
            scale = xp.exp(self.log_p)
            part = xp.take(scale, index, axis=0) * part * scale.mT
        return like(part, self.sample)

    def operations(self, columns: int) -> float:
        return self.transform.operations(columns)

    def gram_factor(self, scale: Array) -> FourierFactor | None:
        grid = self.transform
        if not self.factored or isinstance(grid, Expansion) or carries_gradient(scale):
            return None
        own = constant64(scale)
        if self.log_p is not None:
            own = own * np.exp(constant64(self.log_p)[:, 0])
        return FourierFactor(grid, own)

    @property
    def lanczos_block(self) -> int:
        return 2  # two real columns cost as much as one

    def item(self, index: tuple[int, ...]) -> FourierSum:
        return self

    @property
    def scale(self) -> Array | None:
        """p, (N, 1)."""
        return None if self.log_p is None else namespace(self.log_p).exp(self.log_p)

    def _sums(self, Z: Array) -> Array:
        """Compute K Z, with gradients for Z and the points."""
        transform = self.transform
        if isinstance(transform, Transform) and on_device(Z):
            out = like(device_sums(transform, float64(detached(Z))), Z)
        else:
            out = like(transform.sums(constant64(Z), transform.coefficients), Z)
        change = Z - detached(Z) if carries_gradient(Z) else Z
        if carries_gradient(change):  # nothing does within torch.no_grad()
            _replace_gradient(change, lambda g: self._sums(detached(g)), Z)
            out = out + change
        move = self.a - detached(self.a) if carries_gradient(self.a) else self.a
        if carries_gradient(move):
            out = out + self._moved(Z, move)
        return out

    def _moved(self, Z: Array, move: Array) -> Array:
        r"""Return zeros (N, c) with the gradient of K Z by the points, which ``move`` carries.

        With :math:`(D_t Z)_i = \sum_j ∂_t k(a_i - a_j) z_j`, an odd function of the difference,
        that of :math:`\sum_i g_i^T (K Z)_i` by :math:`a_i` is
        :math:`g_i^T (D_t Z)_i + z_i^T (D_t g)_i`.
        """
        xp = namespace(Z)
        count = Z.shape[1]
        change = xp.broadcast_to(move[:, None, :], (*Z.shape, move.shape[1]))

        def gradient(upstream: Array) -> Array:
            g, z = constant64(upstream[..., 0]), constant64(Z)
            slopes = self.transform.derivatives(np.concatenate([z, g], axis=1))
            parts = g[..., None] * slopes[:, :count] + z[..., None] * slopes[:, count:]
            return like(parts, upstream)

        _replace_gradient(change, gradient, Z[..., None])
        return xp.sum(change, axis=-1)


def _replace_gradient(change: Array, gradient: Callable[[Array], Array], source: Array) -> None:
    """Replace the gradient g of ``change`` by ``gradient(g)``, which depends on ``source``."""

    def replaced(g: Array | None) -> Array | None:
        if g is None:
            return None
        instead = "take approximation='random_features'"
        return once(gradient(g), g + source, "approximation='fourier'", instead)

    change.register_hook(replaced)


@diagonal.register
def _(weights: FourierSum) -> Array:
    scale = weights.scale
    square = ones((weights.shape[0], 1), weights.a) if scale is None else scale * scale
    return like(square, weights.sample)[:, 0]


@widened.register
def _(weights: FourierSum) -> FourierSum:
    if not has_float64(weights.sample):
        return weights
    return replace(weights, sample=float64(weights.sample), _memo={})


@is_symmetric.register
def _(weights: FourierSum) -> bool:
    return True


@symmetrized.register
def _(weights: FourierSum, scale: Array) -> FourierSum:
    half = namespace(scale).log(scale)[:, None] / 2
    log_p = like(half, weights.a) + (0 if weights.log_p is None else weights.log_p)
    return FourierSum(weights.transform, weights.a, log_p, weights.sample, weights.error)
