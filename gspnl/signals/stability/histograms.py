"""Histograms of the entries of A, A², …, as in the paper's figure 2, and the matrix distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gspnl._base.array import as_floats, check_finite, check_fits, constant64
from gspnl._base.blas import on_one_thread
from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.graph.graph import FeatureGraph
from gspnl.signals.stability.modes import require_normalized


@dataclass(frozen=True, eq=False)
class Strengths:
    r"""Histograms of the entries of powers of A, and the distances of the powers from the first.

    Attributes
    ----------
    powers : tuple of int
        The k of each A^k.
    edges : array of shape (bins + 1,)
        Ends of the bins, the same for every power.
    counts : array of int of shape (len(powers), bins)
        Entries of A^k in each bin.
    distances : array of shape (len(powers),)
        Total variation distance between the histogram of A^k and the first one, in [0, 1].
    defects : array of shape (len(powers),)
        :math:`\|A^k - A^{k_0}\|_F / \|A^{k_0}\|_F` with k₀ the first power; 0 if A^k = A.
    """

    powers: tuple[int, ...]
    edges: np.ndarray
    counts: np.ndarray
    distances: np.ndarray
    defects: np.ndarray


@on_one_thread
def strengths(
    graph: FeatureGraph | Any, powers: Sequence[int] = (1, 2, 3, 4), bins: int = 50
) -> Strengths:
    r"""Compute histograms of the entries of A, A², A³, A⁴, as in figure 2 of the paper.

    Equal histograms do not imply equal matrices: a permutation of order 2 has the histogram of its
    square, and is far from it. So the result has the distances of the matrices too.

    Parameters
    ----------
    graph : FeatureGraph, or array of shape (N, N)
        One graph, any normalisation; N × N matrices are computed.
    powers : sequence of int
        Each k ≥ 1.
    bins : int
        Number of bins ≥ 1, of equal width from the smallest to the largest entry of all powers.

    Returns
    -------
    Strengths

    Raises
    ------
    SizeError
        Where the matrices do not fit in memory.
    InputError
        For a batch, no powers, or powers below 1.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> swap = np.kron(np.eye(8), [[0.0, 1.0], [1.0, 0.0]])
    >>> figure = gspnl.stability.strengths(swap, powers=[1, 2])
    >>> figure.distances, figure.defects.round(3)
    (array([0., 0.]), array([0.   , 1.414]))
    """
    if np.ndim(powers) != 1:
        raise InputError(f"powers={powers!r} must be a sequence, for example (1, 2, 3, 4)")
    chosen = tuple(whole_number("powers", k, 1) for k in powers)
    if not chosen:
        raise InputError("powers is empty; pass for example (1, 2, 3, 4)")
    bins = whole_number("bins", bins, 1)
    A = _matrix(graph, copies=len(chosen) + 2)
    each = [np.linalg.matrix_power(A, k) for k in chosen]
    low, high = float(min(map(np.min, each))), float(max(map(np.max, each)))
    if high - low <= 1e-12 * max(abs(low), abs(high)):  # equal to rounding: one bin for all
        half = max(abs(low), abs(high)) / 2 or 0.5
        low, high = low - half, high + half
    edges = np.linspace(low, high, bins + 1)
    counts = np.array([np.histogram(matrix, edges)[0] for matrix in each])
    size = float(np.linalg.norm(each[0])) or 1.0
    return Strengths(
        chosen,
        edges,
        counts,
        np.abs(counts - counts[0]).sum(1) / (2 * counts[0].sum()),
        np.array([float(np.linalg.norm(matrix - each[0])) / size for matrix in each]),
    )


def _matrix(graph: FeatureGraph | Any, copies: int) -> np.ndarray:
    if isinstance(graph, FeatureGraph):
        require_normalized(graph)
        shape, sample = graph.shape, graph.affinity.left
        check_fits(shape, sample, "powers of A", "take a sample of the nodes", copies=copies)
        values = graph.dense()
    else:
        values = as_floats(graph, "graph")
        check_finite(values, "graph")
    A = constant64(values)
    if A.ndim != 2 or A.shape[0] != A.shape[1] or not A.size:
        raise InputError(f"graph has shape {A.shape}; pass one graph, or one (N, N) matrix")
    return A
