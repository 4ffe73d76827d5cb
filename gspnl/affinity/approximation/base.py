"""Report of a low-rank approximation: its method, rank and error bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Approximation:
    r"""Error bounds of an approximate graph; numbers, or arrays over a batch.

    :math:`\hat W` are the weights of the graph, :math:`\hat S` the symmetric core of its affinity,
    normalised by its own degrees; W and S are those of the kernel.

    Attributes
    ----------
    method : str
        "cholesky", "nystrom", "random_features" or "fourier"; "exact" where exact weights cost
        less than any approximation within the tolerance: their errors are rounding.
    rank : int
        Columns of the factor F; :math:`\hat W = F F^T`, or ½(F_φ F_ψᵀ + F_ψ F_φᵀ) where Φ ≠ Ψ.
        The product of ``modes`` for "fourier".
    seed : int
    trace_error : float
        :math:`\operatorname{tr} E` of the residual E = K − F Fᵀ ≥ 0, relative to the trace of the
        kernel; exact. K is the kernel of the N nodes, or where Φ ≠ Ψ that of the
        2N stacked points [Φ; Ψ]. inf for random features, whose residual has both signs.
    weights_bound : float
        Certified: :math:`\|W - \hat W\|_F ≤` it; the spectral norm is no larger.
    bound : float
        Certified: :math:`\|S - \hat S\|_F ≤` it. So for a response with
        :math:`|g(λ) - g(λ')| ≤ c\,|λ - λ'|` where the two spectra lie,
        :math:`\|g(I - S) - g(I - \hat S)\|_F ≤ c` times it. inf where there is none: random
        features, softmax, and bistochastic graphs with Φ ≠ Ψ or without self-loops. "fourier" has a
        bound for all: for "combinatorial" that of L/s, s the largest degree.
    modes : tuple or None
        Fourier modes along each axis, for "fourier"; in four and five dimensions those along three
        axes, and the number of functions along the others.
    change_bound : float
        Certified: :math:`\|T^{-1}\hat T - I\|` and its inverse's are at most it, for
        T = D^-½ of "random_walk"; 0 for normalisations with T = I.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.random.default_rng(0).standard_normal((2000, 2))
    >>> graph = gspnl.feature_graph(X, kernel="rbf", sigma=1.0, tol=1e-3)
    >>> graph.approximation.bound <= 1e-3
    True
    """

    method: str
    rank: Any
    seed: int
    trace_error: Any
    weights_bound: Any
    bound: Any
    modes: Any = None
    change_bound: Any = 0.0

    @property
    def errors(self) -> np.ndarray | None:
        """``bound`` and ``change_bound``, (..., 2); None where one is infinite."""
        both = np.stack(np.broadcast_arrays(self.bound, self.change_bound), axis=-1)
        return both if np.isfinite(both).all() else None

    def item(self, index: tuple[int, ...]) -> Approximation:
        """Return the report of one graph of a batch."""
        parts = (self.trace_error, self.weights_bound, self.bound)
        trace, weights, bound = (float(part[index]) for part in parts)
        change = float(np.broadcast_to(self.change_bound, np.shape(self.bound))[index])
        return Approximation(
            self.method, int(self.rank[index]), self.seed, trace, weights, bound, self.modes, change
        )  # fmt: skip

    @classmethod
    def stack(cls, items: list[Approximation], batch: tuple[int, ...]) -> Approximation:
        """Stack the reports of a batch, in the order of ``np.ndindex(*batch)``."""
        if not batch:
            return items[0]
        names = ("rank", "trace_error", "weights_bound", "bound", "change_bound")
        rank, *others = (np.reshape([getattr(i, name) for i in items], batch) for name in names)
        trace, weights, bound, change = others
        first = items[0]
        return cls(first.method, rank, first.seed, trace, weights, bound, first.modes, change)

    def __repr__(self) -> str:
        bound = float(np.max(self.bound))
        certificate = f"‖S − Ŝ‖ ≤ {bound:.2g}" if math.isfinite(bound) else "no certificate"
        if self.modes is not None:
            modes = " × ".join(map(str, self.modes))
            return f"Approximation({self.method}, {modes} modes, {certificate})"
        trace = float(np.max(self.trace_error))
        share = f"trace error {trace:.2g}, " if math.isfinite(trace) else ""
        return f"Approximation({self.method}, rank {int(np.max(self.rank))}, {share}{certificate})"
