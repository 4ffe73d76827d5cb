r"""A of a feature map, by its products, and series in it.

An operator is made anew in every forward pass, from points of that pass; all of it is traced by
autograd, and can be traced by torch.compile and torch.export.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from gspnl.affinity.affinity import Affinity
from gspnl.chebyshev.recurrence import small_terms, terms
from gspnl.nn.pointwise import pointwise, positional

Maps = Sequence[Tensor | None]  # V₀ … V_K of T_k(A), each (C, Cs); None for zero


class Operator(ABC):
    """A normalised affinity A of the N positions of each item of a batch."""

    @abstractmethod
    def apply(self, Z: Tensor) -> Tensor:
        """A Z, (B, N, c) → (B, N, c)."""

    def series(self, Z: Tensor, maps: Maps, bias: Tensor | None = None) -> Tensor:
        """Σ_k T_k(A) Z V_kᵀ + b, (B, N, C): K applications for order K."""
        total: Tensor | None = None
        for term, V in zip(terms(self.apply, Z, len(maps) - 1), maps, strict=True):
            total = add_product(total, term, V, bias)
        assert total is not None
        return total

    def filters(
        self, Z: Tensor, theta: Tensor, maps: Sequence[Tensor], bias: Tensor | None = None
    ) -> Tensor:
        """Σ_m [Σ_k θ_mk T_k(−A) Z] W_mᵀ + b, of a θ (M, K + 1) that may be trained."""
        sums: list[Tensor] = [torch.zeros_like(Z)] * len(maps)
        for k, term in enumerate(terms(self.apply, Z, theta.shape[1] - 1)):
            sums = [total + (-1) ** k * theta[m, k] * term for m, total in enumerate(sums)]
        out: Tensor | None = None
        for total, W in zip(sums, maps, strict=True):
            out = add_product(out, total, W, bias)
        assert out is not None
        return out


def add_product(
    total: Tensor | None, Z: Tensor, V: Tensor | None, bias: Tensor | None = None
) -> Tensor | None:
    """Total + Z Vᵀ, where either may be absent; the first product takes the bias along."""
    if V is None:
        return total
    return pointwise(Z, V, bias) if total is None else total + pointwise(Z, V)


@dataclass(frozen=True, eq=False)
class Scaled(Operator):
    """Weights of the core, scaled: A = diag(l) W diag(r), and A_ii = 1 on isolated positions."""

    affinity: Affinity

    def apply(self, Z: Tensor) -> Tensor:
        out: Tensor = self.affinity.apply(Z)
        return out


@dataclass(frozen=True, eq=False)
class Factored(Operator):
    r"""A low-rank A = P Qᵀ: any series in one pass, :math:`T_k(-A) = t_k I + P R_k Q^T`.

    Parameters
    ----------
    left, right : tensors of shape (B, N, m), (B, M, m)
        P and Q, scaled; with ``swap`` Q holds its two halves in the order of those of P, and
        :math:`A = P J Q^T` with :math:`J = ½ [[0, I], [I, 0]]`.
    swap : bool
    isolated : tensor of bool of shape (B, N), or None
    total : callable or None
        Sums over the positions of other processes too.
    """

    left: Tensor
    right: Tensor
    swap: bool
    isolated: Tensor | None = None
    total: Callable[[Tensor], Tensor] | None = None

    def apply(self, Z: Tensor) -> Tensor:
        out = (self.heads(Z).mT @ self.left.mT).mT
        return out if self.isolated is None else torch.where(self.isolated[..., None], Z, out)

    def heads(self, Z: Tensor) -> Tensor:
        """Qᵀ Z, (B, m, c)."""
        return self._whole(self.right.mT @ Z)

    def sums(self) -> Tensor:
        """A 1, (B, N): as :meth:`apply`, at a backward pass that only adds."""
        small = self._whole(self.right.sum(-2)[..., None])
        return (small.mT @ self.left.mT)[..., 0, :]

    def _whole(self, small: Tensor) -> Tensor:
        """J times a sum over positions."""
        if self.total is not None:
            small = self.total(small)
        if not self.swap:
            return small
        first, second = small.chunk(2, dim=-2)
        return torch.cat([second, first], dim=-2) / 2

    def series(self, Z: Tensor, maps: Maps, bias: Tensor | None = None) -> Tensor:
        small = series_parts(maps, *self._small(Z, len(maps) - 1))
        return self._expand(Z, *small, bias)

    def filters(
        self, Z: Tensor, theta: Tensor, maps: Sequence[Tensor], bias: Tensor | None = None
    ) -> Tensor:
        small = filter_parts(theta, maps, *self._small(Z, theta.shape[1] - 1))
        return self._expand(Z, *small, bias)

    def _small(self, Z: Tensor, order: int) -> tuple[Tensor, Tensor | None]:
        """QᵀZ, and QᵀP where the order asks for it."""
        return self.heads(Z), self.heads(self.left) if order > 1 else None

    def _expand(
        self,
        Z: Tensor,
        flat: Tensor | None,
        tall: Tensor | None,
        alone: Tensor,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Z flatᵀ + P tall + b; Z aloneᵀ + b on isolated positions, whose rows of P are zero."""
        out = None if flat is None else pointwise(Z, flat, bias)
        if tall is not None:
            if positional(Z):
                out = product_sum(bias if out is None else out, self.left, tall)
            else:
                column = None if bias is None else bias[:, None]
                start = column if out is None else out.mT
                out = product_sum(start, tall.mT, self.left.mT).mT
        assert out is not None
        if self.isolated is None:
            return out
        extra = alone if flat is None else alone - flat
        return out + pointwise(Z * self.isolated[..., None], extra)


def product_sum(start: Tensor | None, left: Tensor, right: Tensor) -> Tensor:
    """Start + left right, where the former may be absent."""
    return left @ right if start is None else torch.baddbmm(start, left, right)


Parts = tuple[Tensor | None, Tensor | None, Tensor]  # flat, tall and alone


def series_parts(maps: Maps, heads: Tensor, G: Tensor | None) -> Parts:
    r"""Small matrices of :math:`F = Z\,\mathrm{flat}^T + P\,\mathrm{tall}` of a series in A = P Qᵀ.

    Parameters
    ----------
    maps : sequence of tensors or None
        V₀ … V_K.
    heads : tensor of shape (B, m, c)
        QᵀZ.
    G : tensor of shape (B, m, m)
        QᵀP, from order 2 on.

    Returns
    -------
    flat, tall, alone
        Of shapes (C, c), (B, m, C), (C, c); F = Z aloneᵀ where A = 1, and so is every T_k(A).
    """
    flat, tall = maps[0], None
    for k, (t, small) in enumerate(_small_terms(heads, G, len(maps) - 1, -1.0), 1):
        V = maps[k]
        if V is not None:
            tall = small @ V.mT if tall is None else tall + small @ V.mT
            if t:
                flat = t * V if flat is None else flat + t * V
    return flat, tall, sum_of(V for V in maps if V is not None)


def filter_parts(
    theta: Tensor, maps: Sequence[Tensor], heads: Tensor, G: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor]:
    """The same of Σ_m [Σ_k θ_mk T_k(−A) Z] W_mᵀ, of a θ (M, K + 1)."""
    order = theta.shape[1] - 1
    weights = torch.stack(list(maps))  # (M, C, Cs)
    # All terms at once: traced step by step, sums would be most of the program.
    steps = list(_small_terms(heads, G, order, 1.0))
    signs = [1.0, *(t for t, _ in steps)], [(-1.0) ** k for k in range(order + 1)]
    at_zero, at_one = (
        theta @ torch.tensor(s, dtype=theta.dtype, device=theta.device) for s in signs
    )
    tall: Tensor | None = None
    if steps:
        small = torch.stack([term for _, term in steps])  # (K, B, m, Cs)
        tall = torch.einsum("mk,kbpi,moi->bpo", theta[:, 1:], small, weights)
    flat, alone = (torch.einsum("m,moi->oi", v, weights) for v in (at_zero, at_one))
    return flat, tall, alone


def _small_terms(
    heads: Tensor, G: Tensor | None, order: int, slope: float
) -> Iterator[tuple[float, Tensor]]:
    """(t_k, R_k QᵀZ) of T_k(−slope A), k = 1 … K."""

    def product(R: Tensor) -> Tensor:
        assert G is not None
        return G @ R

    return small_terms(product, heads, order, slope=slope)


def sum_of(parts: Iterable[Tensor]) -> Tensor:
    """The sum of at least one tensor, without a zero to begin with."""
    return reduce(torch.add, parts)
