"""Gaussian weights whose products are Fourier sums: O(N) time and memory."""

from __future__ import annotations

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
from gspnl.affinity.approximation.fourier.factor import FourierFactor, pays
from gspnl.affinity.approximation.fourier.transform import Transform
from gspnl.affinity.kernels.scores import squared_distances
from gspnl.affinity.weights.base import Weights
from gspnl.affinity.weights.exponential import side_by_side
from gspnl.affinity.weights.no_self_loops import diagonal, widened


@dataclass(frozen=True, eq=False)
class FourierSum(Weights):
    r"""W = diag(p) K diag(p), :math:`K_{ij} = \exp(-\|a_i - a_j\|^2 / 2)`, as a Fourier sum.

    Products differ from those of W by at most ``error`` an entry of K. Rows are W's own.

    Parameters
    ----------
    transform : Transform
        Of the points a, with their gaps closed.
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

    transform: Transform
    a: Array
    log_p: Array | None
    sample: Array
    error: float
    log_factor: float = 0.0
    _memo: dict[str, Any] = field(default_factory=dict, repr=False)
    factored: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        cheap = pays(self.transform) and not carries_gradient(self.a)
        object.__setattr__(self, "factored", cheap)

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
        if not self.factored or carries_gradient(scale):
            return None
        own = constant64(scale)
        if self.log_p is not None:
            own = own * np.exp(constant64(self.log_p)[:, 0])
        return FourierFactor(self.transform, own)

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
        coefficients = self.transform.coefficients
        out = like(self.transform.sums(constant64(Z), coefficients), Z)
        if carries_gradient(Z):
            change = Z - detached(Z)
            change.register_hook(lambda g: once(self._sums(detached(g)), g + Z))
            out = out + change
        if carries_gradient(self.a):
            out = out + self._moved(Z)
        return out

    def _moved(self, Z: Array) -> Array:
        r"""Return zeros (N, c) with the gradient of K Z by the points.

        With :math:`(D_t Z)_i = \sum_j ∂_t k(a_i - a_j) z_j`, an odd function of the difference,
        that of :math:`\sum_i g_i^T (K Z)_i` by :math:`a_i` is
        :math:`g_i^T (D_t Z)_i + z_i^T (D_t g)_i`.
        """
        xp = namespace(Z)
        change = xp.broadcast_to(
            (self.a - detached(self.a))[:, None, :], (*Z.shape, self.a.shape[-1])
        )

        def gradient(upstream: Array) -> Array:
            g, z = constant64(upstream[..., 0]), constant64(Z)
            parts = [
                g * self.transform.derivative(z, axis) + z * self.transform.derivative(g, axis)
                for axis in range(self.a.shape[-1])
            ]
            return once(like(np.stack(parts, axis=-1), upstream), upstream + Z[..., None])

        change.register_hook(gradient)
        return xp.sum(change, axis=-1)


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
