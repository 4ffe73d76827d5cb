r"""Eigenvalues of :math:`A = P Q^T + E` that is not symmetric, by small matrices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gspnl.nn.operators import Factored


@dataclass(frozen=True, eq=False)
class Tall:
    """Diagonal blocks P Qᵀ, with A_ii = 1 where P has a zero row of an isolated node.

    Parameters
    ----------
    left, right : arrays of shape (G, n, m)
        P and Q of G blocks.
    alone : array of bool of shape (n,)
        The isolated nodes; with several blocks there are none.
    """

    left: np.ndarray
    right: np.ndarray
    alone: np.ndarray

    @classmethod
    def of(cls, operator: Factored) -> Tall:
        """Blocks of an operator on one item."""
        P, Q = (t.reshape(-1, *t.shape[-2:]).numpy() for t in (operator.left, operator.right))
        isolated = operator.isolated
        return cls(P, Q, np.zeros(P.shape[1], bool) if isolated is None else isolated[0].numpy())

    @property
    def nodes(self) -> int:
        """Of all blocks."""
        return int(np.prod(self.left.shape[:2]))

    def modes(self) -> tuple[np.ndarray, np.ndarray]:
        """(μ, multiplicities): those of QᵀP, 1 of isolated nodes, 0 of all others."""
        small = np.linalg.eigvals(self.right.mT @ self.left)
        live: int = self.left.shape[1] - int(self.alone.sum())
        if small.shape[1] > live:  # what is more is 0
            order = np.argsort(-np.abs(small), axis=1)[:, :live]
            small = np.take_along_axis(small, order, axis=1)
        mu = small.reshape(-1)
        counts = np.ones(len(mu), dtype=int)
        others = (1.0, int(self.alone.sum())), (0.0, small.shape[0] * (live - small.shape[1]))
        for value, count in others:
            if count:
                mu, counts = np.append(mu, value), np.append(counts, count)
        return mu, counts

    def defect(self) -> float:
        """‖A² − A‖ / ‖A‖ (Frobenius): A² − A = P (Q (QᵀP − I)ᵀ + E Q)ᵀ, as E P = 0."""
        turned = self.right @ ((self.right.mT @ self.left) - np.eye(self.left.shape[-1])).mT
        turned = turned + self.alone[:, None] * self.right
        size = np.hypot(_norm(self.left, self.right), np.sqrt(self.alone.sum()))
        return float(_norm(self.left, turned) / size) if size else 0.0


def _norm(P: np.ndarray, Q: np.ndarray) -> float:
    """‖P Qᵀ‖ (Frobenius) of all blocks; by QR, since Gram matrices would leave half the digits."""
    R, S = (np.asarray(np.linalg.qr(tall, mode="r")) for tall in (P, Q))
    return float(np.linalg.norm(R @ S.mT))
