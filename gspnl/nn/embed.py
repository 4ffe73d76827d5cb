"""From a feature map to its affinity: embeddings, kernel and normalisation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gspnl.affinity.affinity import Affinity
from gspnl.affinity.kernels import Concatenation, Exponential, Kernel
from gspnl.affinity.weights import Weights
from gspnl.affinity.weights.dense import Dense
from gspnl.affinity.weights.sorted import sort_scalars
from gspnl.errors import InputError, SizeError
from gspnl.nn.exponential import LOGARITHMIC, attention
from gspnl.nn.fused import without_autocast
from gspnl.nn.operators import Factored, Operator, Scaled
from gspnl.nn.pointwise import Pointwise, pointwise
from gspnl.nn.scales import SYMMETRIZED, scales
from gspnl.nn.storage import DENSE_NODES, SORTED_NODES, Load, lowrank_pays

HALVES = (torch.float16, torch.bfloat16)
SMALL = 1 << 18  # entries of weights that are put side by side in no time
Points = Tensor | tuple[Tensor, Tensor] | None  # φ and ψ side by side, or apart; None: X itself


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
        points: Points = None
        if self.kernel.embedding != "none" and self._joined(X.shape[-2]):
            points = lift(stacked(X, self.phi, self.psi))
        elif self.kernel.embedding != "none":
            pair = (pointwise(X, each.weight, each.bias) for each in (self.phi, self.psi))
            points = lift(next(pair)), lift(next(pair))
        # Degrees are sums over all positions: in half precision they would leave its range.
        with without_autocast(X.device):
            return self._operator(lift(X), points, spatial)

    def _joined(self, nodes: int) -> bool:
        """Whether φ and ψ are made side by side: for low rank, or where the weights are small."""
        if self.pool is None and self.lowrank(nodes, nodes, self.phi.width):
            return True
        return self.phi.weight.numel() + self.psi.weight.numel() <= SMALL

    def _operator(self, X: Tensor, points: Points, spatial: Sequence[int]) -> Operator:
        if self.pool is not None:
            pool = partial(pooled, size=self.pool, spatial=tuple(spatial))
            return Pooled(self._held(*self._pooled(X, points, pool), None), pool)
        if points is None:
            phi, psi = self.kernel.embed(X, None)
            return self._held(phi, psi, None if phi is psi else torch.cat([phi, psi], -1))
        if not isinstance(points, Tensor):
            phi, psi = (self.kernel.features(each) for each in points)
            return self._held(phi, psi, None)
        # Mapped and split as they lie in memory, so that their gradients lie so too.
        both = self.kernel.features(points.mT)
        phi, psi = torch.split(both, [self.phi.width, self.psi.width], dim=1)
        return self._held(phi.mT, psi.mT, both.mT)

    def _pooled(
        self, X: Tensor, points: Points, pool: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """φ of all positions, and ψ of those that projections are pooled to."""
        if points is None:
            # Embedded together: what a kernel takes from all nodes, a mean, is then one for both.
            both, _ = self.kernel.embed(torch.cat([X, pool(X)], dim=-2), None)
            return both[..., : X.shape[-2], :], both[..., X.shape[-2] :, :]
        if isinstance(points, Tensor):
            phi, psi = torch.split(points, [self.phi.width, self.psi.width], dim=-1)
        else:
            phi, psi = points
        psi = pool(psi)
        if self.project is not None:
            psi = pointwise(psi, lift(self.project.weight))
        return self.kernel.features(phi), self.kernel.features(psi)

    def _held(self, phi: Tensor, psi: Tensor, both: Tensor | None) -> Operator:
        kernel, symmetric = self.kernel, SYMMETRIZED[self.normalization]
        if isinstance(kernel, Exponential) and self.normalization in LOGARITHMIC:
            return attention(*kernel.scores(phi, psi), self.normalization, phi is psi)
        if self.lowrank(phi.shape[-2], psi.shape[-2], phi.shape[-1], same=phi is psi):
            return self._factored(phi, psi, both, symmetric and phi is not psi)
        return self._scaled(phi, psi, symmetric)

    def lowrank(self, rows: int, columns: int, width: int, *, same: bool = False) -> bool:
        """Whether A of points φ and ψ of one width is held by two tall factors; same: φ is ψ."""
        if not self.kernel.bilinear:
            return False
        if self.storage != "auto":
            return self.storage == "lowrank"
        swap = SYMMETRIZED[self.normalization] and not same
        return lowrank_pays(rows, columns, width, self.load, swap)

    def _factored(self, phi: Tensor, psi: Tensor, both: Tensor | None, swap: bool) -> Operator:
        if swap and both is None:
            both = torch.cat([phi, psi], -1)
        P, Q, swap = (both, both, True) if swap and both is not None else (phi, psi, False)
        plain = Factored(P, Q, swap, total=self.total)

        def product(v: Tensor) -> Tensor:
            return plain.apply(v[..., None])[..., 0]

        def solve(s: Tensor, v: Tensor) -> Tensor:
            """(I + SPQᵀS)⁺ v = v − SP (I + QᵀS²P)⁺ QᵀS v."""
            fixed = Factored(plain.left.detach(), plain.right.detach(), plain.swap)
            tall = s[..., None] * fixed.left
            small = fixed.heads(s[..., None] * tall)
            eye = torch.eye(small.shape[-1], dtype=v.dtype, device=v.device)
            heads = fixed.heads((s * v)[..., None])
            out: Tensor = v - (tall @ (pseudo_inverse(eye + small) @ heads))[..., 0]
            return out

        left, right, isolated = self._scales(plain.sums(), psi.shape[-2], product, solve)
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
            core = eye + s[..., None] * weights.like.detach() * s[..., None, :]
            out: Tensor = (pseudo_inverse(core) @ v[..., None])[..., 0]
            return out

        if isinstance(weights, Dense):
            degrees = weights.matrix.sum(-1)
        else:
            degrees = product(torch.ones_like(psi[..., 0]))
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
        if n * psi.shape[-2] > DENSE_NODES**2:
            raise SizeError(
                f"the {type(kernel).__name__} kernel with normalization={self.normalization!r} "
                f"needs all {n} × {psi.shape[-2]} entries, more than {DENSE_NODES}²; sub-sample "
                "the feature map, or use kernel='dot'"
            )
        if isinstance(kernel, Exponential):
            # Balancing does not see W scaled on both sides, so no row need underflow.
            q, k = kernel.scores(phi, psi)
            s = q @ k.mT
            logs = torch.logaddexp(s, s.mT)
            half = torch.logsumexp(logs, -1, keepdim=True).detach() / 2
            return Dense(torch.exp(logs - half - half.mT), symmetric=True)
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
        # Pooled columns are no positions: a row without an edge has none of its own to keep.
        kept = self.isolated == "self" and self.pool is None
        return left, right, isolated if kept else None


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


def pseudo_inverse(x: Tensor) -> Tensor:
    """Of a matrix known to the tolerance of Sinkhorn; singular where W is bipartite."""
    out: Tensor = torch.linalg.pinv(x, rtol=1e4 * torch.finfo(x.dtype).eps)
    return out


def lift(x: Tensor) -> Tensor:
    """Half precision to float32; float32 and float64 as they are."""
    return x.float() if x.dtype in HALVES else x


def pooled(Z: Tensor, size: int | tuple[int, ...], spatial: tuple[int, ...]) -> Tensor:
    """Max-pooling of (B, N, c) over the spatial dimensions of N."""
    sizes = size if isinstance(size, (tuple, list)) else (size,) * len(spatial)
    if len(sizes) != len(spatial) or any(a > b for a, b in zip(sizes, spatial, strict=True)):
        raise InputError(
            f"sub_sample={size} leaves nothing of a feature map of {spatial} positions, or is not "
            "one size for each spatial dimension; use a smaller one"
        )
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(spatial) - 1]
    return pool(Z.mT.reshape(*Z.mT.shape[:2], *spatial), size).flatten(2).mT
