"""Kernels that are inner products or sums of embedded features: dot, cosine, concatenation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from gspnl._base.array import Array, namespace, ones
from gspnl.affinity.kernels.base import KERNELS, Kernel
from gspnl.affinity.kernels.maps import FEATURE_MAPS, relu


@KERNELS.register("dot")
@dataclass(frozen=True)
class Dot(Kernel):
    r"""Dot product of non-negative features, :math:`\langle h(W_φ^T x_i), h(W_ψ^T x_j)\rangle`.

    Parameters
    ----------
    feature_map : str or None
        h: "relu", "softplus", "elu1", "square", "exp"; None or "identity" for raw dot products.
    """

    embedding: ClassVar[Literal["matrices"]] = "matrices"
    feature_map: str | None = "relu"

    def __post_init__(self) -> None:
        FEATURE_MAPS[self.feature_map or "identity"]

    @property
    def nonnegative(self) -> bool:
        return self.feature_map not in (None, "identity")

    @property
    def positive(self) -> bool:
        return self.feature_map in ("softplus", "elu1", "exp")

    @property
    def homogeneous(self) -> int:
        return {None: 2, "identity": 2, "relu": 2, "square": 4}.get(self.feature_map, 0)

    def features(self, points: Array) -> Array:
        return FEATURE_MAPS[self.feature_map or "identity"](points)


@KERNELS.register("cosine")
@dataclass(frozen=True)
class Cosine(Kernel):
    r"""Cosine shifted to [0, 1], :math:`(1 + \cos(x_i, x_j))/2`; a zero vector has cosine 0."""

    def embed(self, X: Array, weights: tuple[Array, Array] | None) -> tuple[Array, Array]:
        xp = namespace(X)
        # Scaled by the largest entry first: squares of huge or tiny features leave the range.
        largest = xp.max(xp.abs(X), axis=-1, keepdims=True)
        scaled = X / xp.where(largest > 0, largest, xp.ones_like(largest))
        squares = xp.sum(scaled * scaled, axis=-1, keepdims=True)
        unit = scaled / xp.sqrt(xp.where(squares > 0, squares, xp.ones_like(squares)))
        points = xp.concat([ones((*X.shape[:-1], 1), X), unit], axis=-1) / 2**0.5
        return points, points


@KERNELS.register("concatenation")
@dataclass(frozen=True)
class Concatenation(Kernel):
    r""":math:`\mathrm{relu}(a_i + b_j)` with scalars :math:`a = X w_a`, :math:`b = X w_b`."""

    embedding: ClassVar[Literal["vectors"]] = "vectors"
    embedding_required: ClassVar[bool] = True

    @property
    def homogeneous(self) -> int:
        return 1

    def affinity(self, phi: Array, psi: Array) -> Array:
        return relu(phi + psi.mT)
