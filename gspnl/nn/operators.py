"""Apply the affinity A of a feature map, and polynomials of it, to signals.

A block creates an operator in every forward pass. Autograd differentiates all of it; torch.compile
and torch.export can trace it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce

import torch
from torch import Tensor

from gspnl.affinity.affinity import Affinity
from gspnl.affinity.weights.lowrank import swap_halves
from gspnl.chebyshev.recurrence import small_terms, terms
from gspnl.nn.pointwise import channels_last, pointwise

Maps = Sequence[Tensor | None]  # V₀ … V_K of T_k(A), each (C, Cs); None for zero
Parts = tuple[Tensor | None, Tensor | None, Tensor]  # flat, tall and alone, see series_parts


class Operator(ABC):
    """A normalised affinity A of the N positions of each item of a batch."""

    @abstractmethod
    def apply(self, Z: Tensor) -> Tensor:
        """Return A Z, (B, N, c) → (B, N, c)."""

    def series(self, Z: Tensor, maps: Maps, bias: Tensor | None = None) -> Tensor:
        """Return Σ_k T_k(A) Z V_kᵀ + b, (B, N, C), by K applications for order K."""
        total: Tensor | None = None
        for term, V in zip(terms(self.apply, Z, len(maps) - 1), maps, strict=True):
            total = add_product(total, term, V, bias)
        assert total is not None
        return total

    def filters(
        self, Z: Tensor, theta: Tensor, maps: Sequence[Tensor], bias: Tensor | None = None
    ) -> Tensor:
        """Return Σ_m [Σ_k θ_mk T_k(−A) Z] W_mᵀ + b; θ (M, K + 1) may be trained."""
        out: Tensor | None = None
        for total, W in zip(self.responses(Z, list(theta)), maps, strict=True):
            out = add_product(out, total, W, bias)
        assert out is not None
        return out

    def responses(self, Z: Tensor, theta: Sequence[Sequence[float] | Tensor]) -> list[Tensor]:
        """Return Σ_k θ_mk T_k(−A) Z of each row m of θ, (B, N, c); rows may differ in length."""
        sums: list[Tensor] = [torch.zeros_like(Z)] * len(theta)
        for k, term in enumerate(terms(self.apply, Z, max(map(len, theta)) - 1)):
            sums = [
                total + (-1) ** k * row[k] * term if k < len(row) else total
                for row, total in zip(theta, sums, strict=True)
            ]
        return sums


def add_product(
    total: Tensor | None, Z: Tensor, V: Tensor | None, bias: Tensor | None = None
) -> Tensor | None:
    """Return total + Z Vᵀ, where either may be None; the first product includes the bias."""
    if V is None:
        return total
    return pointwise(Z, V, bias) if total is None else total + pointwise(Z, V)


@dataclass(frozen=True, eq=False)
class Scaled(Operator):
    """Scaled weights of the core: A = diag(l) W diag(r), and A_ii = 1 on isolated positions."""

    affinity: Affinity

    def apply(self, Z: Tensor) -> Tensor:
        # The weights may be float64 where the signal is not.
        out: Tensor = self.affinity.apply(Z.to(self.affinity.weights.like.dtype))
        return out.to(Z.dtype)


@dataclass(frozen=True, eq=False)
class Factored(Operator):
    r"""A low-rank A = P Qᵀ: a series in one pass, :math:`T_k(-A) = t_k I + P R_k Q^T`.

    Parameters
    ----------
    left, right : tensors of shape (B, N, m), (B, M, m)
        P and Q, scaled.
    swap : bool
        Whether :math:`A = P J Q^T` with :math:`J = ½ [[0, I], [I, 0]]`, as in the core's low rank.
    isolated : tensor of bool of shape (B, N), or None
    total : callable or None
        Adds up sums over positions across processes.
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
        """Return Qᵀ Z, (B, m, c); J Qᵀ Z if ``swap``."""
        return self._core_sum(self.right.mT @ Z)

    def sums(self) -> Tensor:
        """Return A 1, (B, N): cheaper than :meth:`apply` to ones, also in the backward pass."""
        small = self._core_sum(self.right.sum(-2)[..., None])
        return (small.mT @ self.left.mT)[..., 0, :]

    def _core_sum(self, small: Tensor) -> Tensor:
        """Return J times a sum over positions, added up across processes."""
        if self.total is not None:
            small = self.total(small)
        return swap_halves(small) if self.swap else small

    def series(self, Z: Tensor, maps: Maps, bias: Tensor | None = None) -> Tensor:
        return self.polynomial(Z, len(maps) - 1, partial(series_parts, maps), bias)

    def filters(
        self, Z: Tensor, theta: Tensor, maps: Sequence[Tensor], bias: Tensor | None = None
    ) -> Tensor:
        return self.polynomial(Z, theta.shape[1] - 1, partial(filter_parts, theta, maps), bias)

    def polynomial(
        self,
        Z: Tensor,
        order: int,
        parts: Callable[[Tensor, Tensor | None], Parts],
        bias: Tensor | None = None,
    ) -> Tensor:
        """Return F + b of a polynomial of A, by its small matrices.

        Parameters
        ----------
        Z : tensor of shape (B, N, c)
        order : int
        parts : callable
            ``parts(QᵀZ, QᵀP) -> flat, tall, alone``, see :func:`series_parts`; QᵀP is None for
            orders up to 1.
        bias : tensor of shape (C,), optional
        """
        gram = self.heads(self.left) if order > 1 else None
        return self._expand(Z, *parts(self.heads(Z), gram), bias)

    def _expand(
        self,
        Z: Tensor,
        flat: Tensor | None,
        tall: Tensor | None,
        alone: Tensor,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Return Z flatᵀ + P tall + b, and Z aloneᵀ + b on isolated positions, where P is 0."""
        out = None if flat is None else pointwise(Z, flat, bias)
        if tall is not None:
            if channels_last(Z):
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
    """Return start + left right, where ``start`` may be None."""
    return left @ right if start is None else torch.baddbmm(start, left, right)


def series_parts(maps: Maps, heads: Tensor, G: Tensor | None) -> Parts:
    r"""Return the small matrices of a series in A = P Qᵀ.

    :math:`F = Z\,\mathrm{flat}^T + P\,\mathrm{tall}`.

    Parameters
    ----------
    maps : sequence of tensors or None
        V₀ … V_K.
    heads : tensor of shape (B, m, c)
        QᵀZ.
    G : tensor of shape (B, m, m)
        QᵀP, for orders above 1.

    Returns
    -------
    flat, tall, alone
        Of shapes (C, c), (B, m, C), (C, c); on isolated positions A = 1, hence every
        T_k(A) = 1 and F = Z aloneᵀ.
    """
    flat, tall = maps[0], None
    for k, (t, small) in enumerate(_small_terms(heads, G, len(maps) - 1, -1.0), 1):
        V = maps[k]
        if V is not None:
            tall = small @ V.mT if tall is None else tall + small @ V.mT
            if t:
                flat = t * V if flat is None else flat + t * V
    return flat, tall, sum_of(V for V in maps if V is not None)


def filter_parts(theta: Tensor, maps: Sequence[Tensor], heads: Tensor, G: Tensor | None) -> Parts:
    """Return the small matrices of Σ_m [Σ_k θ_mk T_k(−A) Z] W_mᵀ; θ is (M, K + 1)."""
    order = theta.shape[1] - 1
    weights = torch.stack(list(maps))  # (M, C, Cs)
    # All terms at once: traced one by one, the sums would be most of the program.
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
    """Yield (t_k, R_k QᵀZ) of T_k(−slope A), k = 1 … K."""

    def product(R: Tensor) -> Tensor:
        assert G is not None
        return G @ R

    return small_terms(product, heads, order, slope=slope)


def sum_of(parts: Iterable[Tensor]) -> Tensor:
    """Add up at least one tensor, without an initial zero."""
    return reduce(torch.add, parts)
