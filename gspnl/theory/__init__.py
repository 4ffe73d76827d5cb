"""The claims of the paper and of gspnl, each a check that prints its number.

``gspnl verify`` runs them all. A claim is a registered function that measures one number on a
:class:`Subject`, by means of its own, and compares it with a tolerance; an erratum measures the
printed reading beside the corrected one.
"""

import importlib

from gspnl.theory.claims import CLAIMS, Claim, Measured, Verdict, claim
from gspnl.theory.reading import read_subject
from gspnl.theory.subject import Subject
from gspnl.theory.verifying import ordered, verify

# Claims are numbered as they are registered: in this order.
for _part in (
    "theorem",
    "eigenvalues",
    "largest",
    "operators",
    "polynomials",
    "lowrank",
    "fullrank",
    "affinities",
    "depth",
    "steps",
    "errata",
    "asymmetry",
    "hypothesis",
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
