r"""Stability of repeated nonlocal units, from the spectrum of a graph.

With μ = 1 − λ the eigenvalues of A: the stable hypothesis A^p = A requires every μ to be 0 or 1;
the variation of a signal decays as \|μ₂\|^k with depth k; a unit with step h maps mode μ by
I + h H(μ).
"""

from gspnl.signals.stability.channels import Damping, damping
from gspnl.signals.stability.contraction import dobrushin
from gspnl.signals.stability.depth import idempotence_defect, memory, spectral_gap
from gspnl.signals.stability.histograms import Strengths, strengths
from gspnl.signals.stability.units import CFL, cfl

__all__ = [
    "CFL",
    "Damping",
    "Strengths",
    "cfl",
    "damping",
    "dobrushin",
    "idempotence_defect",
    "memory",
    "spectral_gap",
    "strengths",
]
