"""From a feature map to its affinity: embeddings, kernel and normalisation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gspnl.affinity import Affinity
from gspnl.errors import SizeError
from gspnl.kernels import Concatenation, Exponential, Kernel
from gspnl.nn.exponential import LOGARITHMIC, Attention
from gspnl.nn.operators import Factored, Operator, Scaled
from gspnl.nn.pointwise import Pointwise, pointwise
from gspnl.nn.scales import scales, symmetrized
from gspnl.nn.storage import DENSE_NODES, SORTED_NODES, Load, lowrank_pays
from gspnl.weights import Weights
from gspnl.weights.dense import Dense
from gspnl.weights.sorted import sort_scalars


class FeatureAffinity(nn.Module):
    r"""A of the positions of a feature map, :math:`M_{ij} = f(φ_i, ψ_j)`, by a kernel of the core.

    Parameters
    ----------
    channels : int
    width : int
        Of the embeddings: r.
    kernel : Kernel
    normalization : str
    load : Load
    storage : {"auto", "dense", "lowrank"}
    bias : bool
    pool : int, tuple of int, or None
        Max-pooling of ψ and of the signal: a size, or one for each spatial dimension.
    isolated : {"self", "zero"}
        A_ii of positions of degree 0: 1, or 0.
    """

    total: Callable[[Tensor], Tensor] | None = None  # of sums over positions, where they are split

    def __init__(
        self,
        channels: int,
        width: int,
        kernel: Kernel,
        normalization: str,
        load: Load,
        storage: str = "auto",
        bias: bool = False,
        pool: int | tuple[int, ...] | None = None,
        isolated: str = "self",
    ) -> None:
        super().__init__()
        self.kernel, self.normalization, self.load = kernel, normalization, load
        self.storage, self.pool, self.isolated = storage, pool, isolated
        self.project = None
        if kernel.embedding == "matrices":
            self.phi = Pointwise(channels, width, bias)
            self.psi = Pointwise(channels, width, bias)
        elif kernel.embedding == "vectors":
            self.phi = Pointwise(channels, 1, bias)
            # Pooled first, projected afterwards: the nonlocal network's order.
            self.psi = Pointwise(channels, 1 if pool is None else width, bias)
            self.project = None if pool is None else Pointwise(width, 1)

    def forward(self, X: Tensor, spatial: Sequence[int]) -> Operator:
        points = None if self.kernel.embedding == "none" else stacked(X, self.phi, self.psi)
        # Degrees are sums over all positions: in half precision they would leave its range.
        with torch.autocast(X.device.type, enabled=False):
            return self._operator(lift(X), None if points is None else lift(points), spatial)

    def _operator(self, X: Tensor, points: Tensor | None, spatial: Sequence[int]) -> Operator:
        if points is None:
            phi, psi = self.kernel.embed(X, None)
            both = None if phi is psi else torch.cat([phi, psi], -1)
        else:
            both = self.kernel.features(points)
            phi, psi = both.split([self.phi.width, self.psi.width], dim=-1)
        if self.pool is None:
            return self._held(phi, psi, both)
        pool = partial(pooled, size=self.pool, spatial=tuple(spatial))
        psi = pool(psi)
        if self.project is not None:
            psi = pointwise(psi, lift(self.project.weight))
        return Pooled(self._held(phi, psi, None), pool)

    def _held(self, phi: Tensor, psi: Tensor, both: Tensor | None) -> Operator:
        kernel, symmetric = self.kernel, symmetrized(self.normalization)
        if isinstance(kernel, Exponential) and self.normalization in LOGARITHMIC:
            return Attention(*kernel.scores(phi, psi), self.normalization)
        swap = symmetric and phi is not psi
        if kernel.bilinear and self._lowrank(phi, psi, swap):
            return self._factored(phi, psi, both, swap)
        return self._scaled(phi, psi, symmetric)

    def _lowrank(self, phi: Tensor, psi: Tensor, swap: bool) -> bool:
        if self.storage != "auto":
            return self.storage == "lowrank"
        return lowrank_pays(phi.shape[-2], psi.shape[-2], phi.shape[-1], self.load, swap)

    def _factored(self, phi: Tensor, psi: Tensor, both: Tensor | None, swap: bool) -> Operator:
        P, Q, swap = (both, both, True) if swap and both is not None else (phi, psi, False)
        plain = Factored(P, Q, swap, total=self.total)

        def product(v: Tensor) -> Tensor:
            return plain.apply(v[..., None])[..., 0]

        def solve(s: Tensor, v: Tensor) -> Tensor:
            """(I + SPQᵀS)⁻¹ v = v − SP (I + QᵀS²P)⁻¹ QᵀS v."""
            tall = s[..., None] * plain.left
            small = plain.heads(s[..., None] * tall)
            eye = torch.eye(small.shape[-1], dtype=v.dtype, device=v.device)
            heads = plain.heads((s * v)[..., None])
            out: Tensor = v - (tall @ torch.linalg.solve(eye + small, heads))[..., 0]
            return out

        degrees = product(torch.ones_like(psi[..., 0]))
        left, right, isolated = self._scales(degrees, psi.shape[-2], product, solve)
        tall = plain.left if left is None else left[..., None] * plain.left
        if right is None:
            return Factored(tall, plain.right, swap, isolated, self.total)
        wide = tall if plain.left is plain.right else right[..., None] * plain.right
        return Factored(tall, wide, swap, isolated, self.total)

    def _scaled(self, phi: Tensor, psi: Tensor, symmetric: bool) -> Operator:
        weights = self._weights(phi, psi, symmetric)

        def product(v: Tensor) -> Tensor:
            out: Tensor = weights.matmul(v[..., None])[..., 0]
            return out

        def solve(s: Tensor, v: Tensor) -> Tensor:
            eye = torch.eye(v.shape[-1], dtype=v.dtype, device=v.device)
            core = eye + s[..., None] * weights.like * s[..., None, :]
            out: Tensor = torch.linalg.solve(core, v[..., None])[..., 0]
            return out

        degrees = product(torch.ones_like(psi[..., 0]))  # pooled keys: fewer columns than rows
        left, right, isolated = self._scales(degrees, psi.shape[-2], product, solve)
        return Scaled(Affinity(weights, degrees, left, right, isolated))

    def _weights(self, phi: Tensor, psi: Tensor, symmetric: bool) -> Weights:
        kernel, n = self.kernel, phi.shape[-2]
        whole = self.normalization == "bistochastic"  # which solves with all entries
        traced = torch.compiler.is_compiling()
        square = psi.shape[-2] == n  # not where keys are pooled
        sortable = isinstance(kernel, Concatenation) and square and not (whole or traced)
        if sortable and n >= SORTED_NODES:
            return sort_scalars(phi[..., 0], psi[..., 0], symmetrize=symmetric, self_loops=True)
        if n > DENSE_NODES:
            raise SizeError(
                f"the {type(kernel).__name__} kernel with normalization={self.normalization!r} "
                f"needs all N² entries, and {n} positions are more than {DENSE_NODES}; sub-sample "
                "the feature map, or use kernel='dot'"
            )
        if isinstance(kernel, Exponential):  # a common factor is lost in the scales
            q, k = kernel.scores(phi, psi)
            s = q @ k.mT
            M = torch.exp(s - s.detach().amax((-2, -1), keepdim=True))
        else:
            M = kernel.affinity(phi, psi)
        return Dense((M + M.mT) / 2 if symmetric and phi is not psi else M, symmetric)

    def _scales(
        self,
        degrees: Tensor,
        columns: int,
        product: Callable[[Tensor], Tensor],
        solve: Callable[[Tensor, Tensor], Tensor],
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        left, right, isolated = scales(self.normalization, degrees, columns, product, solve)
        return left, right, isolated if self.isolated == "self" else None


@dataclass(frozen=True, eq=False)
class Pooled(Operator):
    """An operator whose columns are sub-sampled positions: A Z takes the pooled signal."""

    operator: Operator
    pool: Callable[[Tensor], Tensor]

    def apply(self, Z: Tensor) -> Tensor:
        return self.operator.apply(self.pool(Z))


def stacked(X: Tensor, *maps: Pointwise) -> Tensor:
    """Several maps of the same features in one product, their results side by side."""
    biases: list[Tensor] = [m.bias for m in maps if m.bias is not None]
    bias = torch.cat(biases) if biases else None
    return pointwise(X, torch.cat([m.weight for m in maps]), bias)


def lift(x: Tensor) -> Tensor:
    """Half precision to float32; float32 and float64 as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def pooled(Z: Tensor, size: int | tuple[int, ...], spatial: tuple[int, ...]) -> Tensor:
    """Max-pooling of (B, N, c) over the spatial dimensions of N."""
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(spatial) - 1]
    return pool(Z.mT.reshape(*Z.mT.shape[:2], *spatial), size).flatten(2).mT
