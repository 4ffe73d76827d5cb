"""Compute the normalised affinity A of the positions of a feature map, by a kernel of the core."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gspnl.affinity.affinity import Affinity
from gspnl.affinity.kernels import Concatenation, Exponential, Kernel
from gspnl.affinity.kernels.declarations import built_in, check_declarations
from gspnl.affinity.weights import Weights, choice
from gspnl.affinity.weights.dense import Dense
from gspnl.affinity.weights.sorted import sort_scalars
from gspnl.errors import InputError, SizeError
from gspnl.nn.attention import LOGARITHMIC, attention
from gspnl.nn.exponentials import check_balanced, embedded
from gspnl.nn.hooked import dtype_of, must_be_called, recompute
from gspnl.nn.normalization import NORMALIZATIONS, Product, Scales, Solve
from gspnl.nn.operators import Factored, Operator, Scaled
from gspnl.nn.pointwise import Pointwise, pointwise
from gspnl.nn.precision import lift, readable, without_autocast
from gspnl.nn.rescale import OutOfRangeError, check_range, rescaled

ENTRY = 240  # operations for one of the N² entries, without its products; measured
SORTED_NODES = 2048  # from here on, sorting is cheaper than N² entries
DENSE_NODES = 1 << 14  # 1 GiB of float32 for each graph
SMALL = 1 << 18  # entries; smaller weights are cheap to concatenate
Points = Tensor | tuple[Tensor, Tensor] | None  # φ and ψ, concatenated or as a pair; None: X itself


@dataclass(frozen=True)
class Load:
    """Widths of Z and F and the order of the series, for the cost model of storages."""

    signals: int
    channels: int
    order: int = 1


class FeatureAffinity(nn.Module):
    r"""Affinity of the positions of a feature map, with :math:`M_{ij} = f(φ_i, ψ_j)` of a kernel.

    Parameters
    ----------
    channels : int
    width : int
        r, of the embeddings.
    kernel : Kernel
    normalization : str
    load : Load
        Sizes that decide ``storage="auto"``.
    storage : {"auto", "dense", "lowrank"}
    bias : bool
    pool : int, tuple of int, or None
        Max-pooling of ψ and of the signal: a size, or one for each spatial dimension.
    isolated : {"self", "zero"}
        A_ii of positions of degree 0: 1 or 0.
    """

    total: Callable[[Tensor], Tensor] | None = None  # adds up a sum over positions across processes

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
        self.unprobed = not built_in(kernel)
        self.project = None
        if kernel.embedding == "matrices":
            self.phi = Pointwise(channels, width, bias)
            self.psi = Pointwise(channels, width, bias)
        elif kernel.embedding == "vectors":
            self.phi = Pointwise(channels, 1, bias)
            # Pooled first and then projected, as in the nonlocal network.
            self.psi = Pointwise(channels, 1 if pool is None else width, bias)
            self.project = None if pool is None else Pointwise(width, 1)

    def forward(self, X: Tensor, spatial: Sequence[int]) -> Operator:
        points: Points = None
        if self.kernel.embedding != "none" and self._concatenates(X.shape[-2]):
            points = lift(concatenated(X, self.phi, self.psi))
        elif self.kernel.embedding != "none":
            points = lift(self.phi(X)), lift(self.psi(X))
        # Degrees are sums over all positions: they would overflow half precision.
        with without_autocast(X.device):
            return self._operator(lift(X), points, spatial)

    def _concatenates(self, nodes: int) -> bool:
        """Return whether to compute φ and ψ in one product: for low rank, or for small weights."""
        if must_be_called(self.phi) or must_be_called(self.psi):
            return False
        if self.pool is None and self.lowrank(nodes, nodes, self.phi.width):
            return True
        return self.load.channels * (self.phi.width + self.psi.width) <= SMALL

    def _operator(self, X: Tensor, points: Points, spatial: Sequence[int]) -> Operator:
        """Return A of features X (B, N, C) and their embeddings."""
        try:
            return self._built(X, points, spatial, scaled=False)
        except OutOfRangeError:
            return self._built(X, points, spatial, scaled=True)

    def _built(
        self, X: Tensor, points: Points, spatial: Sequence[int], *, scaled: bool
    ) -> Operator:
        """Return A; if ``scaled``, of points whose products are in the range."""
        if self.unprobed and not torch.compiler.is_compiling() and X.device.type != "meta":
            self._probe(X)
        if scaled and points is None:
            X, _ = rescaled(self.kernel, X, X)
        if self.pool is not None:
            pool = partial(pooled, size=self.pool, spatial=tuple(spatial))
            found = self._pooled(X, points, pool, scaled)
            return Pooled(self._stored(*found, None, scaled=scaled), pool)
        if points is None:
            phi, psi = embedded(self.kernel, X)
            both = None if phi is psi else torch.cat([phi, psi], -1)
            return self._stored(phi, psi, both, scaled=scaled)
        if isinstance(points, Tensor) and (scaled or not built_in(self.kernel)):
            # A user's kernel may not act entry by entry.
            first, second = torch.split(points, [self.phi.width, self.psi.width], dim=-1)
            points = first, second
        if not isinstance(points, Tensor):
            return self._stored(*self._features(*points, scaled), None, scaled=scaled)
        # Split in memory order, so that gradients have the same layout.
        both = self.kernel.features(points.mT)
        phi, psi = torch.split(both, [self.phi.width, self.psi.width], dim=1)
        return self._stored(phi.mT, psi.mT, both.mT)

    def _probe(self, X: Tensor) -> None:
        """Check the declarations of a user's kernel on the first features that it meets."""
        pair = None
        if self.kernel.embedding != "none" and self.project is None:
            pair = (lift(self.phi.weight).detach().mT, lift(self.psi.weight).detach().mT)
        if pair is not None or self.kernel.embedding == "none":
            check_declarations(self.kernel, X, pair)
        self.unprobed = False

    def _features(self, phi: Tensor, psi: Tensor, scaled: bool) -> tuple[Tensor, Tensor]:
        if scaled:
            phi, psi = rescaled(self.kernel, phi, psi)
        phi, psi = self.kernel.features(phi), self.kernel.features(psi)
        return rescaled(self.kernel, phi, psi) if scaled else (phi, psi)

    def _check_range(self, degrees: Tensor, scaled: bool) -> None:
        """Raise OutOfRangeError where scaled points would give more digits of the degrees."""
        scalable = self.kernel.homogeneous and self.normalization not in ("mean", "none")
        # Processes that share the degrees would have to agree on the factors.
        if scalable and not scaled and self.total is None and readable(degrees):
            check_range(degrees)

    def _pooled(
        self, X: Tensor, points: Points, pool: Callable[[Tensor], Tensor], scaled: bool
    ) -> tuple[Tensor, Tensor]:
        """Return φ of all positions and ψ of the pooled ones."""
        if points is None:
            # Embed both together, so that a kernel that centres its nodes uses one mean.
            both, _ = embedded(self.kernel, torch.cat([X, pool(X)], dim=-2))
            return both[..., : X.shape[-2], :], both[..., X.shape[-2] :, :]
        if isinstance(points, Tensor):
            phi, psi = torch.split(points, [self.phi.width, self.psi.width], dim=-1)
        else:
            phi, psi = points
        psi = pool(psi)
        if self.project is not None:
            psi = self._projected(psi, self.project)
        return self._features(phi, psi, scaled)

    def _projected(self, psi: Tensor, project: Pointwise) -> Tensor:
        if must_be_called(project):
            return lift(project(psi.to(dtype_of(project, psi.dtype))))
        recompute(project)
        return pointwise(psi, lift(project.weight))

    def _stored(
        self, phi: Tensor, psi: Tensor, both: Tensor | None, *, scaled: bool = False
    ) -> Operator:
        """Return A in the storage of its kernel; ``both`` is [φ ψ], if it exists already."""
        kernel, symmetric = self.kernel, NORMALIZATIONS[self.normalization].symmetric_core
        if isinstance(kernel, Exponential) and self.normalization in LOGARITHMIC:
            return attention(*kernel.scores(phi, psi), self.normalization, phi is psi)
        if self.lowrank(phi.shape[-2], psi.shape[-2], phi.shape[-1], same=phi is psi):
            return self._factored(phi, psi, both, symmetric and phi is not psi, scaled)
        return self._scaled(phi, psi, symmetric, scaled)

    def lowrank(self, rows: int, columns: int, width: int, *, same: bool = False) -> bool:
        """Return whether A is stored as two factors, for points of a width; ``same``: φ is ψ."""
        if not self.kernel.bilinear:
            return False
        if self.storage != "auto":
            return self.storage == "lowrank"
        swap = NORMALIZATIONS[self.normalization].symmetric_core and not same
        problem = choice.Problem(rows, columns, width, (2 if swap else 1) * width)
        work = choice.Work(
            max(self.load.order, 1), self.load.signals, self.load.channels, ENTRY, gram=True
        )
        factors, entries = choice.lowrank(problem, work), choice.dense(problem, work)
        return factors.operations <= entries.operations

    def _factored(
        self, phi: Tensor, psi: Tensor, both: Tensor | None, swap: bool, scaled: bool
    ) -> Operator:
        """Return A as two scaled factors; ``swap``: W = B J Bᵀ with B = [φ ψ], else W = φ ψᵀ."""
        if swap:
            phi = psi = torch.cat([phi, psi], -1) if both is None else both
        W = Factored(phi, psi, swap, total=self.total)

        def product(v: Tensor) -> Tensor:
            return W.apply(v[..., None])[..., 0]

        def solve(s: Tensor, v: Tensor) -> Tensor:
            """Return (I + SPQᵀS)⁺ v = v − SP (I + QᵀS²P)⁺ QᵀS v."""
            detached = Factored(W.left.detach(), W.right.detach(), swap)
            SP = s[..., None] * detached.left
            small = detached.heads(s[..., None] * SP)
            eye = torch.eye(small.shape[-1], dtype=v.dtype, device=v.device)
            heads = detached.heads((s * v)[..., None])
            out: Tensor = v - (SP @ (pseudo_inverse(eye + small) @ heads))[..., 0]
            return out

        degrees = W.sums()
        self._check_range(degrees, scaled)
        left, right, isolated = self._scales(degrees, psi.shape[-2], product, solve)
        P = W.left if left is None else left[..., None] * W.left
        Q = W.right
        if right is not None:
            Q = P if W.left is W.right else right[..., None] * W.right
        return Factored(P, Q, swap, isolated, self.total)

    def _scaled(self, phi: Tensor, psi: Tensor, symmetric: bool, scaled: bool) -> Operator:
        """Return A as scaled weights."""
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
        self._check_range(degrees, scaled)
        left, right, isolated = self._scales(degrees, psi.shape[-2], product, solve)
        if isinstance(self.kernel, Exponential) and left is not None and readable(left):
            check_balanced(left, type(self.kernel).__name__)
        return Scaled(Affinity(weights, degrees, left, right, isolated))

    def _weights(self, phi: Tensor, psi: Tensor, symmetric: bool) -> Weights:
        """Return W, or M unless ``symmetric``: sorted if that is cheaper, else dense."""
        kernel, n = self.kernel, phi.shape[-2]
        balanced = self.normalization == "bistochastic"  # solves with all entries
        traced = torch.compiler.is_compiling()
        square = psi.shape[-2] == n  # false where keys are pooled
        sortable = isinstance(kernel, Concatenation) and square and not (balanced or traced)
        if sortable and n >= SORTED_NODES:
            return sort_scalars(phi[..., 0], psi[..., 0], symmetrize=symmetric, self_loops=True)
        if n * psi.shape[-2] > DENSE_NODES**2:
            raise SizeError(
                f"the {type(kernel).__name__} kernel with normalization={self.normalization!r} "
                f"needs all {n} × {psi.shape[-2]} entries, more than {DENSE_NODES}²; sub-sample "
                "the feature map, or use kernel='dot'"
            )
        if isinstance(kernel, Exponential):
            # Balancing is invariant to scales on both sides of W: these keep most rows in range.
            q, k = kernel.scores(phi, psi)
            s = q @ k.mT
            logs = torch.logaddexp(s, s.mT)
            half = torch.logsumexp(logs, -1, keepdim=True).detach() / 2
            return Dense(torch.exp(logs - half - half.mT), symmetric=True)
        M = kernel.affinity(phi, psi)
        return Dense((M + M.mT) / 2 if symmetric and phi is not psi else M, symmetric)

    def _scales(self, degrees: Tensor, columns: int, product: Product, solve: Solve) -> Scales:
        """Return l, r and the isolated positions that keep their signal."""
        scales = NORMALIZATIONS[self.normalization].scales
        left, right, isolated = scales(degrees, columns, product, solve)
        # An isolated position keeps its own signal; after pooling, A has no column for it.
        kept = self.isolated == "self" and self.pool is None
        return left, right, isolated if kept else None


@dataclass(frozen=True, eq=False)
class Pooled(Operator):
    """An affinity between positions and pooled positions: it pools the signal, then applies A."""

    operator: Operator
    pool: Callable[[Tensor], Tensor]

    def apply(self, Z: Tensor) -> Tensor:
        return self.operator.apply(self.pool(Z))


def concatenated(X: Tensor, *maps: Pointwise) -> Tensor:
    """Apply several maps to the same features in one product, and concatenate the results."""
    if any(map(must_be_called, maps)):
        return torch.cat([m(X).mT for m in maps], dim=-2).mT
    for m in maps:
        recompute(m)
    biases: list[Tensor] = [m.bias for m in maps if m.bias is not None]
    bias = torch.cat(biases) if biases else None
    return pointwise(X, torch.cat([m.weight for m in maps]), bias)


def pseudo_inverse(x: Tensor) -> Tensor:
    """Invert I + SWS, which is singular for a bipartite W, up to the tolerance of Sinkhorn."""
    out: Tensor = torch.linalg.pinv(x, rtol=1e4 * torch.finfo(x.dtype).eps)
    return out


def pooled(Z: Tensor, size: int | tuple[int, ...], spatial: tuple[int, ...]) -> Tensor:
    """Max-pool (B, N, c) over the spatial dimensions of N."""
    sizes = size if isinstance(size, (tuple, list)) else (size,) * len(spatial)
    if len(sizes) != len(spatial) or any(a > b for a, b in zip(sizes, spatial, strict=True)):
        raise InputError(
            f"sub_sample={size} leaves nothing of a feature map of {spatial} positions, or is not "
            "one size for each spatial dimension; use a smaller one"
        )
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(spatial) - 1]
    return pool(Z.mT.reshape(*Z.mT.shape[:2], *spatial), size).flatten(2).mT
