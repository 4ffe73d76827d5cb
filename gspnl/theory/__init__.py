"""Check the claims of the paper and of gspnl numerically.

``gspnl verify`` checks them all. A claim is a registered function that measures one number on a
:class:`Subject`, independently of the code it checks, and compares it with a tolerance. For an
erratum, both the printed and the corrected reading are measured.
"""

import importlib

from gspnl.theory.claims import CLAIMS, Claim, Measured, Verdict, claim
from gspnl.theory.files import read_subject
from gspnl.theory.runner import ordered, verify
from gspnl.theory.subject import Subject

# Claims are numbered in the order of registration, hence of this list.
for _part in (
    "theorem1",
    "eigenvalues",
    "largest_eigenvalue",
    "nonlocal_operators",
    "chebyshev_filters",
    "lowrank_filters",
    "kernels",
    "powers",
    "step_size",
    "errata_operators",
    "errata_affinity",
    "errata_stability",
):
    importlib.import_module(f"gspnl.theory.{_part}")

__all__ = [
    "CLAIMS",
    "Claim",
    "Measured",
    "Subject",
    "Verdict",
    "claim",
    "ordered",
    "read_subject",
    "verify",
]
