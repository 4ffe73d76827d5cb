"""The kernels that compare two nodes by their features alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from gspnl._array import Array, namespace, ones, transpose
from gspnl.kernels.base import KERNELS, Kernel, positive
from gspnl.kernels.maps import FEATURE_MAPS, relu


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

    def features(self, points: Array) -> Array:
        return FEATURE_MAPS[self.feature_map or "identity"](points)


@KERNELS.register("gaussian")
@dataclass(frozen=True)
class Gaussian(Kernel):
    r"""The nonlocal network's Gaussian, :math:`\exp\langle x_i, x_j\rangle`."""

    def affinity(self, phi: Array, psi: Array) -> Array:
        return namespace(phi).exp(super().affinity(phi, psi))


@KERNELS.register("embedded_gaussian")
@dataclass(frozen=True)
class EmbeddedGaussian(Kernel):
    r""":math:`\exp(\langle φ_i, ψ_j\rangle / τ)`, the affinity of softmax attention.

    Parameters
    ----------
    temperature : float
        τ > 0; √r for scaled attention.
    """

    embedding: ClassVar[Literal["matrices"]] = "matrices"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        positive(self.temperature, "temperature")

    def affinity(self, phi: Array, psi: Array) -> Array:
        return namespace(phi).exp(super().affinity(phi, psi) / self.temperature)


@KERNELS.register("rbf")
@dataclass(frozen=True)
class RBF(Kernel):
    r""":math:`\exp(-\|x_i - x_j\|^2 / 2σ^2)`.

    Parameters
    ----------
    sigma : float
        σ > 0, in the units of the features.
    """

    sigma: float = 1.0

    def __post_init__(self) -> None:
        positive(self.sigma, "sigma")

    def embed(self, X: Array, weights: tuple[Array, Array] | None) -> tuple[Array, Array]:
        # Distances do not see the mean, but their rounding does.
        points = (X - namespace(X).mean(X, axis=-2, keepdims=True)) / self.sigma
        return points, points

    def affinity(self, phi: Array, psi: Array) -> Array:
        xp = namespace(phi)
        half_phi = xp.sum(phi * phi, axis=-1)[..., :, None] / 2
        half_psi = xp.sum(psi * psi, axis=-1)[..., None, :] / 2
        return xp.exp(xp.clip(super().affinity(phi, psi) - half_phi - half_psi, max=0))


@KERNELS.register("cosine")
@dataclass(frozen=True)
class Cosine(Kernel):
    r"""Cosine shifted to [0, 1], :math:`(1 + \cos(x_i, x_j))/2`; a zero vector has cosine 0."""

    def embed(self, X: Array, weights: tuple[Array, Array] | None) -> tuple[Array, Array]:
        xp = namespace(X)
        # Scaled by the largest entry first: squares of huge or tiny features leave the range.
        largest = xp.max(xp.abs(X), axis=-1, keepdims=True)
        scaled = X / xp.where(largest > 0, largest, xp.ones_like(largest))
        norm = xp.sqrt(xp.sum(scaled * scaled, axis=-1, keepdims=True))
        unit = scaled / xp.where(norm > 0, norm, xp.ones_like(norm))
        points = xp.concat([ones((*X.shape[:-1], 1), X), unit], axis=-1) / 2**0.5
        return points, points


@KERNELS.register("concatenation")
@dataclass(frozen=True)
class Concatenation(Kernel):
    r""":math:`\mathrm{relu}(a_i + b_j)` with scalars :math:`a = X w_a`, :math:`b = X w_b`."""

    embedding: ClassVar[Literal["vectors"]] = "vectors"
    embedding_required: ClassVar[bool] = True

    def affinity(self, phi: Array, psi: Array) -> Array:
        return relu(phi + transpose(psi))
