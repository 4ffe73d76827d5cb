"""Claims: a statement, its place in the paper, a check, and the verdict of the check."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gspnl._base.registry import Registry
from gspnl.errors import GspnlError
from gspnl.theory.subject import Subject


@dataclass(frozen=True)
class Measured:
    """The number that a check measured.

    Parameters
    ----------
    value : float
        A number that is at most the tolerance if the claim holds; for an erratum, the error of the
        corrected reading.
    nodes : int
        The number of nodes of the graph.
    printed : float, optional
        For an erratum, the error of the printed reading.
    """

    value: float
    nodes: int
    printed: float | None = None


@dataclass(frozen=True)
class Verdict:
    """The result of checking a claim on a subject.

    Attributes
    ----------
    id, claim, source : str
        Name of the claim, its statement, and the place of the statement in the paper.
    value, tolerance : float
        The measured number, and its upper limit; the value is NaN where the check could not run.
    passed : bool or None
        Whether the claim holds; None where these features cannot decide it.
    nodes : int
        Number of nodes on which it was measured.
    seconds : float
        Time of the check.
    reason : str
        Why the claim is undecided, or "".
    erratum : str
        "E1" to "E10" for the paper's errata, else "".
    printed, corrected : (str, float) or None
        For an erratum, each reading with its error.
    holds : str
        For an erratum, the reading that holds: "corrected", "printed", "both" or "neither".
    """

    id: str
    claim: str
    source: str
    value: float
    tolerance: float
    passed: bool | None
    nodes: int = 0
    seconds: float = 0.0
    reason: str = ""
    erratum: str = ""
    printed: tuple[str, float] | None = None
    corrected: tuple[str, float] | None = None
    holds: str = ""


Check = Callable[..., Measured]


@dataclass(frozen=True)
class Claim:
    r"""A statement with its check.

    Attributes
    ----------
    id, claim, source : str
        Name, statement, and the place of the statement in the paper.
    equation : str
        The statement in LaTeX.
    tolerance : float
        Upper limit of the measured number.
    because : str
        Reason for that limit.
    check : callable
        ``check(subject, **formulas) -> Measured``. The formulas under test are keyword arguments,
        whose defaults are the correct ones.
    number : int
        Position in the order of the paper.
    erratum : str
        "E1" to "E10", or "".
    printed, corrected : str
        Both readings of an erratum.
    apart : float
        A printed reading is refuted if its error exceeds this many tolerances.
    """

    id: str
    claim: str
    source: str
    equation: str
    tolerance: float
    because: str
    check: Check
    number: int
    erratum: str = ""
    printed: str = ""
    corrected: str = ""
    apart: float = 1e3

    @property
    def section(self) -> str:
        """Heading of the claim in tables: the first line of its module."""
        return (sys.modules[self.check.__module__].__doc__ or "").partition("\n")[0]

    def __call__(self, subject: Subject, **formulas: Any) -> Verdict:
        """Check the claim on a subject, with other formulas if they are given."""
        start = time.perf_counter()
        try:
            found = self.check(subject, **formulas)
        except (GspnlError, np.linalg.LinAlgError) as error:
            reason = " ".join(str(error).split())
            found = Measured(math.nan, 0)
        else:
            reason = ""
        seconds = time.perf_counter() - start
        passed: bool | None = bool(found.value <= self.tolerance)
        if reason:
            passed = None
        printed = corrected = None
        holds = ""
        if self.erratum and not reason:
            assert found.printed is not None
            printed, corrected = (self.printed, found.printed), (self.corrected, found.value)
            as_printed = found.printed <= self.apart * self.tolerance
            holds = _HOLDS[bool(passed), as_printed]
            if passed and as_printed:
                passed = None
                reason = "here both readings agree, so nothing tells them apart"
        return Verdict(
            self.id, self.claim, self.source, float(found.value), self.tolerance, passed,
            found.nodes, seconds, reason, self.erratum, printed, corrected, holds,
        )  # fmt: skip


_HOLDS = {
    (True, True): "both",
    (True, False): "corrected",
    (False, True): "printed",
    (False, False): "neither",
}

CLAIMS: Registry[Claim] = Registry("claim")


def claim(
    name: str,
    text: str,
    *,
    source: str,
    equation: str,
    tolerance: float,
    because: str,
    erratum: str = "",
    printed: str = "",
    corrected: str = "",
    apart: float = 1e3,
) -> Callable[[Check], Check]:
    """Register a check as the claim ``name``; see :class:`Claim` for the parameters."""

    def register(check: Check) -> Check:
        entry = Claim(
            name, text, source, equation, tolerance, because, check, len(CLAIMS), erratum,
            printed, corrected, apart,
        )  # fmt: skip
        CLAIMS.register(name)(entry)
        return check

    return register
