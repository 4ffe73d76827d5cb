"""Affinities other than kernels between positions: CGNL, double and criss-cross attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gspnl.nn.affinity import concatenated
from gspnl.nn.operators import Factored, Operator
from gspnl.nn.pointwise import Pointwise
from gspnl.nn.precision import lift, without_autocast

TAYLOR_GAMMA = 1e-4  # γ of the Taylor-expanded rbf kernel


class StructuredAffinity(nn.Module):
    """An affinity of embeddings φ and ψ; subclasses define :meth:`between`.

    Parameters
    ----------
    channels, width : int
        C, and the width of the embeddings.
    bias : bool
    """

    def __init__(self, channels: int, width: int, bias: bool = False) -> None:
        super().__init__()
        self.phi = Pointwise(channels, width, bias)
        self.psi = Pointwise(channels, width, bias)

    def forward(self, X: Tensor, spatial: Sequence[int]) -> Operator:
        points = concatenated(X, self.phi, self.psi)
        with without_autocast(X.device):
            phi, psi = lift(points).chunk(2, dim=-1)
            return self.between(phi, psi, tuple(spatial))

    def between(self, phi: Tensor, psi: Tensor, spatial: tuple[int, ...]) -> Operator:
        """Return the operator of points φ and ψ, each (B, N, r)."""
        raise NotImplementedError


class NoEdges(nn.Module):
    """A graph without edges: every position is isolated, so A = I."""

    def forward(self, X: Tensor, spatial: Sequence[int]) -> Operator:
        return Unconnected()


class Unconnected(Operator):
    """A = I."""

    def apply(self, Z: Tensor) -> Tensor:
        return Z


class GatherDistribute(StructuredAffinity):
    r"""A2: :math:`A = V B^T`, with V a softmax over channels and B a softmax over positions."""

    def between(self, phi: Tensor, psi: Tensor, spatial: tuple[int, ...]) -> Operator:
        return Factored(phi.softmax(-1), psi.softmax(-2), swap=False)


class Generalized(StructuredAffinity):
    r"""CGNL: the nodes are the N·Cs pairs of a position and a channel, in groups of channels.

    Each node has one scalar feature: the affinity of a group is :math:`t p^T`, or, by a Taylor
    expansion of the rbf kernel, :math:`\sum_k c_k^2\, t^k (p^k)^T` with
    :math:`c_k^2 = (2γ)^k e^{-2γ} / k!`.

    Parameters
    ----------
    channels, width : int
    bias : bool
    groups : int
    order : int or None
        Order of the expansion; None for the dot product.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        bias: bool = False,
        groups: int = 1,
        order: int | None = None,
    ) -> None:
        super().__init__(channels, width, bias)
        self.groups, self.order = groups, order

    def between(self, phi: Tensor, psi: Tensor, spatial: tuple[int, ...]) -> Operator:
        t, p = (nodes_of(part, self.groups) for part in (phi, psi))
        if self.order is not None:
            t, p = (powers(part, self.order) for part in (t, p))
        return Grouped(Factored(t, p, swap=False), self.groups)


@dataclass(frozen=True, eq=False)
class Grouped(Operator):
    """An operator on the pairs (position, channel) of each group."""

    operator: Operator
    groups: int

    def apply(self, Z: Tensor) -> Tensor:
        out = self.operator.apply(nodes_of(Z, self.groups))
        return out.reshape(Z.mT.shape).mT


def nodes_of(Z: Tensor, groups: int) -> Tensor:
    """Reshape (B, N, c) to (B, groups, c·N/groups, 1)."""
    return Z.mT.reshape(Z.shape[0], groups, Z.shape[1] * Z.shape[2] // groups, 1)


def powers(t: Tensor, order: int) -> Tensor:
    """Return columns √((2γ)^k/k!·e^(−2γ)) t^k, k = 0 … order, of one column (..., n, 1)."""
    scale = [
        math.sqrt((2 * TAYLOR_GAMMA) ** k / math.factorial(k) * math.exp(-2 * TAYLOR_GAMMA))
        for k in range(order + 1)
    ]
    return torch.cat([c * t**k for k, c in enumerate(scale)], dim=-1)


class CrissCross(StructuredAffinity):
    """Criss-cross attention: positions that share all coordinates but one, under one softmax."""

    def between(self, phi: Tensor, psi: Tensor, spatial: tuple[int, ...]) -> Operator:
        scores = []
        for axis, length in enumerate(spatial):
            s = lines(phi, spatial, axis) @ lines(psi, spatial, axis).mT
            if axis < len(spatial) - 1:  # a position is its own neighbour on the last axis only
                own = torch.eye(length, dtype=torch.bool, device=s.device)
                s = s.masked_fill(own, -math.inf)
            scores.append(torch.movedim(s, -2, axis + 1))
        joint = torch.cat(scores, dim=-1).softmax(-1)
        return Crossed(torch.split(joint, list(spatial), dim=-1), spatial)


@dataclass(frozen=True, eq=False)
class Crossed(Operator):
    """Weights along each axis: (B, *spatial, length) for each of them."""

    weights: Sequence[Tensor]
    spatial: tuple[int, ...]

    def apply(self, Z: Tensor) -> Tensor:
        total: Tensor | None = None
        for axis, weights in enumerate(self.weights):
            part = torch.movedim(weights, axis + 1, -2) @ lines(Z, self.spatial, axis)
            part = torch.movedim(part, -2, axis + 1)
            total = part if total is None else total + part
        assert total is not None
        return total.reshape(Z.shape)


def lines(Z: Tensor, spatial: tuple[int, ...], axis: int) -> Tensor:
    """Reshape (B, N, c) to (B, other axes, length, c)."""
    return torch.movedim(Z.reshape(Z.shape[0], *spatial, Z.shape[2]), axis + 1, -2)
