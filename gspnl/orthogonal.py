"""Orthonormal bases of tall matrices, and of their complements, without N × N arrays."""

from __future__ import annotations

from dataclasses import dataclass

from gspnl._array import Array, namespace, transpose
from gspnl._rows import map_rows


@dataclass(frozen=True, eq=False)
class Reflection:
    r"""The orthogonal H = I − K (I + Π)⁻¹ Kᵀ that takes V (n × m) to its first m axes.

    With the polar decomposition :math:`V_{1:m} = -P Π` and K = V − E P, H V = E P: the last n − m
    axes then span the complement of V, without a vector of it ever being stored. A complete V
    (n = m) needs no reflection: H = I and P = V.
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
        inner = transpose(right) @ (right / (1 + singular)[:, None])
        return cls(wide, inner, turn)

    def apply(self, y: Array) -> Array:
        """H y, which is also H⁻¹ y."""
        if self.wide is None:
            return y
        small = self.inner @ (transpose(self.wide) @ y)
        return (
            map_rows(lambda k, z: z - k @ small, self.wide, y)
            if y.ndim == 2
            else (y - self.wide @ small)
        )


def tall_qr(B: Array, block: int = 1024) -> tuple[Array, Array]:
    """Thin QR of a tall matrix (n, m), block by block: stable at any rank, half the memory."""
    xp = namespace(B)
    n, m = B.shape
    block = max(block, 4 * m)
    whole = n // block
    if whole < 2:
        Q, R = xp.linalg.qr(B, mode="reduced")
        return Q, R
    Qs, Rs = xp.linalg.qr(xp.reshape(B[: whole * block, :], (whole, block, m)), mode="reduced")
    stacked = xp.reshape(Rs, (whole * m, m))
    if n > whole * block:
        stacked = xp.concat([stacked, B[whole * block :, :]], axis=0)
    top, R = tall_qr(stacked, block)
    head = xp.reshape(Qs @ xp.reshape(top[: whole * m, :], (whole, m, m)), (whole * block, m))
    return (xp.concat([head, top[whole * m :, :]], axis=0) if n > whole * block else head), R
