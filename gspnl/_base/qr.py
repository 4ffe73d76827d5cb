"""Thin QR of tall matrices, and reflections onto their complements, without N × N arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from gspnl._base.array import Array, constant, is_numpy, like, namespace
from gspnl._base.rows import BLOCK_BYTES, PARALLEL_BLOCKS, map_rows, on_cores, sum_rows


@dataclass(frozen=True, eq=False)
class Reflection:
    r"""Orthogonal H = I − K (I + Π)⁻¹ Kᵀ that maps the columns of V (n × m) to the first m axes.

    With E the first m axes, :math:`V_{1:m} = -P Π` a polar decomposition and K = V − E P,
    H V = E P. H maps the last n − m axes to an orthonormal basis of the complement of V, which is
    never stored. A complete V (n = m) needs no reflection: H = I and P = V.
    """

    wide: Array | None
    inner: Array | None
    turn: Array

    @classmethod
    def onto_first_axes(cls, V: Array) -> Reflection:
        xp = namespace(V)
        n, m = V.shape
        if n == m:
            return cls(None, None, V)
        left, singular, right = xp.linalg.svd(V[:m, :], full_matrices=False)
        turn = -(left @ right)
        wide = xp.concat([V[:m, :] - turn, V[m:, :]], axis=0)
        inner = right.mT @ (right / (1 + singular)[:, None])
        return cls(wide, inner, turn)

    def apply(self, y: Array) -> Array:
        """Compute H y, which is also H⁻¹ y."""
        if self.wide is None:
            return y
        if y.ndim > 2:
            return y - self.wide @ (self.inner @ (self.wide.mT @ y))
        (heads,) = sum_rows(lambda k, z: (k.mT @ z,), self.wide, y)
        small = self.inner @ like(heads, y)
        return map_rows(lambda k, z: z - k @ small, self.wide, y)


@dataclass(frozen=True, eq=False)
class TallQR:
    """diag(s) B = Q R, thin; Q is ``tall`` itself, or diag(s) B times a small matrix."""

    tall: Array
    scale: Array | None
    small: Array | None
    R: Array

    def times(self, W: Array) -> Array:
        """Compute Q W."""
        if self.scale is None:
            return map_rows(lambda q: q @ W, self.tall)
        turned = self.small @ W
        return map_rows(lambda b, s: s * (b @ turned), self.tall, self.scale[:, None])


WELL_CONDITIONED = 1e3  # condition number up to which Q = B R⁻¹ is orthonormal to 1e-13


def tall_qr(B: Array, scale: Array) -> TallQR:
    """Factor the tall diag(s) B, B (n, m), by Cholesky QR twice, or by blocks if ill-conditioned.

    References
    ----------
    .. [1] Y. Yamamoto, Y. Nakatsukasa, Y. Yanagisawa and T. Fukaya, Roundoff error analysis of the
       CholeskyQR2 algorithm, ETNA 44, 2015.
    """
    xp = namespace(B)
    column = scale[:, None]
    if B.shape[0] > B.shape[1] and B.dtype == xp.float64:
        (G,) = sum_rows(lambda b, s: (b.mT @ (s * s * b),), B, column)
        e = constant(xp.linalg.eigvalsh(G))
        if 0 < e[-1] < WELL_CONDITIONED**2 * e[0]:
            first = xp.linalg.cholesky(G).mT
            inverse = xp.linalg.inv(first)
            (G,) = sum_rows(lambda b, s: (_gram(s * (b @ inverse)),), B, column)
            second = xp.linalg.cholesky(G).mT
            return TallQR(B, scale, inverse @ xp.linalg.inv(second), second @ first)
    Q, R = blocked_qr(map_rows(lambda b, s: s * b, B, column))
    return TallQR(Q, None, None, R)


def _gram(q: Array) -> Array:
    return q.mT @ q


def blocked_qr(B: Array, block: int = 1024) -> tuple[Array, Array]:
    """Factor a tall matrix (n, m) into Q R block by block: stable at any rank, half the memory."""
    xp = namespace(B)
    n, m = B.shape
    block = max(block, 4 * m)
    whole = n // block
    if whole < 2:
        Q, R = xp.linalg.qr(B, mode="reduced")
        return Q, R
    pieces = xp.reshape(B[: whole * block, :], (whole, block, m))
    Qs, Rs = _on_cores(partial(xp.linalg.qr, mode="reduced"), pieces)
    stacked = xp.reshape(Rs, (whole * m, m))
    if n > whole * block:
        stacked = xp.concat([stacked, B[whole * block :, :]], axis=0)
    top, R = blocked_qr(stacked, block)
    (head,) = _on_cores(lambda q, t: (q @ t,), Qs, xp.reshape(top[: whole * m, :], (whole, m, m)))
    head = xp.reshape(head, (whole * block, m))
    return (xp.concat([head, top[whole * m :, :]], axis=0) if n > whole * block else head), R


def _on_cores(fn: Callable[..., tuple[Array, ...]], *stacks: Array) -> tuple[Array, ...]:
    """Apply ``fn`` to stacks of matrices (k, ·, ·): in NumPy one by one, on all cores."""
    if not is_numpy(stacks[0]) or stacks[0].nbytes < PARALLEL_BLOCKS * BLOCK_BYTES:
        return tuple(fn(*stacks))
    count, first = len(stacks[0]), fn(*[stack[:1] for stack in stacks])
    outs = [np.empty((count, *part.shape[1:]), part.dtype) for part in first]

    def share(worker: int, workers: int) -> None:
        for i in range(worker, count, workers):
            for out, part in zip(outs, fn(*[stack[i : i + 1] for stack in stacks]), strict=True):
                out[i] = part[0]

    on_cores(share)
    return tuple(outs)
