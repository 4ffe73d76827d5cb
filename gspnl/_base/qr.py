"""Thin QR of tall matrices, and reflections onto their complements, without N × N arrays."""

from __future__ import annotations

from dataclasses import dataclass

from gspnl._base.array import Array, constant, namespace
from gspnl._base.rows import map_rows, sum_rows


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
        small = self.inner @ (self.wide.mT @ y)
        return (
            map_rows(lambda k, z: z - k @ small, self.wide, y)
            if y.ndim == 2
            else (y - self.wide @ small)
        )


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
    Qs, Rs = xp.linalg.qr(xp.reshape(B[: whole * block, :], (whole, block, m)), mode="reduced")
    stacked = xp.reshape(Rs, (whole * m, m))
    if n > whole * block:
        stacked = xp.concat([stacked, B[whole * block :, :]], axis=0)
    top, R = blocked_qr(stacked, block)
    head = xp.reshape(Qs @ xp.reshape(top[: whole * m, :], (whole, m, m)), (whole * block, m))
    return (xp.concat([head, top[whole * m :, :]], axis=0) if n > whole * block else head), R
