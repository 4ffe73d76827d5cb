"""Record of the spectral numbers of a directed A."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class DirectedSpectrum:
    r"""Spectral numbers of a row-stochastic A that need not be symmetric; or of A^p.

    With the stationary distribution π > 0, Π = diag(π) and :math:`B = Π^{½} A Π^{-½}`, norms of B
    are norms of A in :math:`\|x\|_π^2 = \sum_i π_i x_i^2`. Eigenvalues tell what depth does in the
    end, singular values what one step does.

    Attributes
    ----------
    eigenvalues : complex array of shape (k,)
        Eigenvalues μ of A of largest modulus, by descending modulus, first 1. Those of L = I − A
        are λ = 1 − μ. A conjugate pair is never cut: where the k-th and the next one are a pair,
        there are k + 1.
    sigma : array of shape (k,), or None
        Singular values of B, descending; σ₁ = 1, and σ₂ bounds ‖A x − mean‖_π / ‖x − mean‖_π.
    departure : float, or None
        Departure from normality, :math:`\sqrt{\sum_i σ_i^2 - |μ_i|^2}`: Henrici's
        :math:`\sqrt{\|B\|_F^2 - \sum |μ|^2}` where :attr:`complete`, else over the leading k of
        both; ≥ 0 by Weyl's inequality, 0 for a normal B.
    numerical_range : complex array of shape (64,), or None
        Boundary points of :math:`W = \{x^* B x : x^* \sqrt π = 0, \|x\| = 1\}`, anticlockwise from
        the rightmost one.
    numerical_radius : float, or None
        The largest \|z\| in W.
    stationary : array of shape (N,), or None
        π with πᵀA = πᵀ and sum 1; None where it is not unique.
    gap : float
        1 − \|μ₂\|, in [0, 1].
    chung_gap : float, or None
        Second least eigenvalue of Chung's Laplacian, I − ½(B + Bᵀ), in [0, 2].
    power : int
        p.
    complete : bool
        Whether all N eigenvalues were computed.
    residual : float
        The largest ‖A x − μ x‖ of the unit eigenvectors of B (of A where there is no B).
    reasons : dict
        Why an attribute is None, or of which accuracy it is, by its name.
    """

    eigenvalues: np.ndarray
    sigma: np.ndarray | None
    departure: float | None
    numerical_range: np.ndarray | None
    numerical_radius: float | None
    stationary: np.ndarray | None
    gap: float
    chung_gap: float | None
    power: int = 1
    complete: bool = False
    residual: float = 0.0
    reasons: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        of = "A" if self.power == 1 else f"A^{self.power}"
        parts = [f"{len(self.eigenvalues)} eigenvalues of {of}", f"gap {self.gap:.4g}"]
        if self.sigma is not None and len(self.sigma) > 1:
            parts.append(f"σ₂ {self.sigma[1]:.4g}")
        if self.numerical_radius is not None:
            parts.append(f"numerical radius {self.numerical_radius:.4g}")
        if self.chung_gap is not None:
            parts.append(f"Chung gap {self.chung_gap:.4g}")
        if self.sigma is None:
            parts.append("no stationary norm")
        return f"DirectedSpectrum({', '.join(parts)})"
