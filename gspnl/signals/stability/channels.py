"""Compute the damping of a nonlocal block from the eigenvalues of its channel weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gspnl._base.array import as_floats, check_finite, constant64
from gspnl._base.blas import on_one_thread
from gspnl.errors import InputError


@dataclass(frozen=True, eq=False)
class Damping:
    r"""Result of :func:`damping`.

    Attributes
    ----------
    eigenvalues : array of shape (C,)
        Eigenvalues of the symmetric part, descending.
    negative : float
        Share of eigenvalues below 0 (up to rounding), in [0, 1].
    rank : int
        Number of eigenvalues that differ from 0 (up to rounding).
    """

    eigenvalues: np.ndarray
    negative: float
    rank: int

    @property
    def n_negative(self) -> int:
        """The number of eigenvalues below 0 (up to rounding)."""
        return round(self.negative * len(self.eigenvalues))

    def top(self, k: int = 32) -> np.ndarray:
        """The k eigenvalues of largest magnitude, descending: the paper's figure 5."""
        chosen = np.argsort(-np.abs(self.eigenvalues), kind="stable")[:k]
        return np.asarray(self.eigenvalues[np.sort(chosen)])


@on_one_thread
def damping(W_g: Any, W: Any) -> Damping:
    r"""Compute the eigenvalues of the symmetric part of a block's channel weights.

    .. math:: \tfrac12 \bigl( W_g W + (W_g W)^\top \bigr)

    The energy of a signal X with A X = X grows by :math:`\langle X, X W_g W \rangle`, which depends
    on the symmetric part only: the block damps a signal along an eigenvector of a negative
    eigenvalue.

    Parameters
    ----------
    W_g : array of shape (C, c)
        Weights from the C channels of the block to its c inner channels.
    W : array of shape (c, C)
        Weights from the inner channels back; for SNL the paper takes W₂.

    Returns
    -------
    Damping

    Raises
    ------
    InputError
        For matrices that are not finite or whose product is not square.

    References
    ----------
    .. [1] Y. Tao, Q. Sun, Q. Du and W. Liu, Nonlocal neural networks, nonlocal diffusion and
       nonlocal modeling, NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> W_g = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    >>> W = np.array([[2.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    >>> verdict = gspnl.stability.damping(W_g, W)
    >>> verdict.eigenvalues, round(verdict.negative, 3), verdict.rank
    (array([ 2.,  0., -1.]), 0.333, 2)
    """
    first, second = _matrix(W_g, "W_g"), _matrix(W, "W")
    if first.shape != second.shape[::-1]:
        raise InputError(
            f"W_g has shape {first.shape} and W {second.shape}; pass (C, c) and (c, C), "
            "for layers that store (out, in) their transposes"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        product = first @ second
    check_finite(product, "W_g W")
    values = np.linalg.eigvalsh((product + product.T) / 2)[::-1]
    # A product of rank c < C has zero eigenvalues, which are computed to rounding of its norm.
    noise = len(values) * np.finfo(float).eps * float(np.linalg.norm(product))
    return Damping(values, float((values < -noise).mean()), int((np.abs(values) > noise).sum()))


def _matrix(W: Any, name: str) -> np.ndarray:
    values = as_floats(W, name)
    check_finite(values, name)
    if values.ndim != 2 or 0 in values.shape:
        raise InputError(f"{name} has shape {tuple(values.shape)}; pass a matrix, (C, c) or (c, C)")
    return constant64(values)
