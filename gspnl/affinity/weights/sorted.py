r"""Sorted storage for the concatenation kernel: exact products in O(N log N)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gspnl._base.array import Array, float64, like, namespace
from gspnl.affinity.kernels import Concatenation, Kernel
from gspnl.affinity.kernels.maps import relu
from gspnl.affinity.weights.base import STORAGES, Storage, Weights
from gspnl.affinity.weights.no_self_loops import diagonal, widened, without_self_loops
from gspnl.affinity.weights.stacked import stacked


@dataclass(frozen=True, eq=False)
class Ramps:
    r"""Sums :math:`F(t_i) = \sum_j \mathrm{relu}(b_j - t_i)\,v_j`, once b is sorted.

    With b descending and :math:`C_k = \sum_{j ≤ k} v_j`, F is linear between the b's:
    :math:`F(b_{k+1}) = F(b_k) + (b_k - b_{k+1})\,C_k`, and :math:`F(t) = F(b_k) + (b_k - t)\,C_k`
    where b_k is the least b above t. All terms are sums of products that are not negative: nothing
    cancels, as it would in :math:`\sum b_j v_j - t \sum v_j`.
    """

    order: Array  # of b, descending
    gaps: Array  # b_k − b_{k+1}, (N, 1)
    last: Array  # index k − 1 of the least b above t_i
    lift: Array  # b_k − t_i, (N, 1); 0 where no b lies above t_i

    @classmethod
    def of(cls, b: Array, t: Array) -> Ramps:
        xp = namespace(b)
        ascending = xp.argsort(b)
        order = xp.flip(ascending)
        falling = xp.take(b, order)
        above = b.shape[0] - xp.searchsorted(xp.take(b, ascending), t, side="right")
        last = xp.where(above > 0, above - 1, xp.zeros_like(above))
        lift = xp.take(falling, last) - t
        gaps = xp.concat([falling[:-1] - falling[1:], 0 * falling[:1]])
        lift = xp.where(above > 0, lift, xp.zeros_like(lift))
        return cls(order, gaps[:, None], last, lift[:, None])

    def sums(self, V: Array) -> Array:
        """Compute F(t), (N, c), for values V in float64."""
        xp = namespace(V)
        counts = xp.cumulative_sum(xp.take(V, self.order, axis=0), axis=0)
        steps = xp.cumulative_sum(self.gaps * counts, axis=0)
        at = xp.concat([xp.zeros_like(steps[:1, :]), steps[:-1, :]], axis=0)
        # Where no b is above t, F = 0, which is the first of the sums.
        return xp.take(at, self.last, axis=0) + self.lift * xp.take(counts, self.last, axis=0)


@dataclass(frozen=True, eq=False)
class Sorted(Weights):
    """Weights ½(M + Mᵀ), or M, with M_ij = relu(a_i + b_j).

    Parameters
    ----------
    a, b : arrays of shape (N,)
    ramps : tuple of Ramps
        Sums of M and, where W is symmetrised, of Mᵀ.
    log_factor : float
        See :class:`~gspnl.affinity.weights.base.Weights`.
    """

    a: Array
    b: Array
    ramps: tuple[Ramps, ...]
    log_factor: float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.a.shape[0], self.b.shape[0])

    @property
    def like(self) -> Array:
        return self.a

    def matmul(self, Z: Array) -> Array:
        xp = namespace(Z)
        columns = xp.reshape(xp.moveaxis(Z, -2, 0), (self.shape[0], -1))
        total = sum(ramp.sums(float64(columns)) for ramp in self.ramps) / len(self.ramps)
        shape = (self.shape[0], *Z.shape[:-2], Z.shape[-1])
        return xp.moveaxis(xp.reshape(like(total, Z), shape), 0, -2)

    def rows(self, index: Array) -> Array:
        xp = namespace(self.a)
        part = relu(xp.take(self.a, index)[:, None] + self.b)
        if len(self.ramps) == 1:
            return part
        return (part + relu(xp.take(self.b, index)[:, None] + self.a)) / 2

    def operations(self, columns: int) -> float:
        return 40.0 * self.shape[0] * columns * len(self.ramps)

    def item(self, index: tuple[int, ...]) -> Sorted:
        return self


@diagonal.register
def _(weights: Sorted) -> Array:
    return relu(weights.a + weights.b)


@widened.register
def _(weights: Sorted) -> Sorted:
    return replace(weights, a=float64(weights.a), b=float64(weights.b))


def build_sorted(
    kernel: Kernel,
    X: Array,
    embed: tuple[Array, Array] | None,
    *,
    symmetrize: bool,
    self_loops: bool,
) -> Weights:
    """Sort the scalars of features X (..., N, C); see :class:`~.base.Storage`."""
    a, b = (p[..., 0] for p in kernel.embed(X, embed))
    return sort_scalars(a, b, symmetrize=symmetrize, self_loops=self_loops)


def sort_scalars(phi: Array, psi: Array, *, symmetrize: bool, self_loops: bool) -> Weights:
    """Build W from scalars a and b, each (..., N)."""

    def one(index: tuple[int, ...]) -> Weights:
        a, b = phi[(*index, ...)], psi[(*index, ...)]
        ramps = [Ramps.of(float64(b), -float64(a))]
        if symmetrize:
            ramps.append(Ramps.of(float64(a), -float64(b)))
        weights = Sorted(a, b, tuple(ramps))
        return weights if self_loops else without_self_loops(weights)

    return stacked(one, tuple(phi.shape[:-1]))


STORAGES.register("sorted")(
    Storage(build_sorted, supports=lambda kernel: isinstance(kernel, Concatenation))
)
