"""Check many claims on one subject."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from threadpoolctl import threadpool_limits

from gspnl.errors import InputError
from gspnl.theory.claims import CLAIMS, Claim, Verdict
from gspnl.theory.subject import Subject

log = logging.getLogger(__name__)

SLOW = 0.2  # seconds from which a claim is logged


def ordered() -> list[Claim]:
    """Every registered claim, in the order of the paper.

    Examples
    --------
    >>> from gspnl import theory
    >>> theory.ordered()[0].id
    'theorem1-random-walk'
    """
    return sorted((CLAIMS[name] for name in CLAIMS), key=lambda each: each.number)


def verify(subject: Subject, ids: Iterable[str] | None = None) -> list[Verdict]:
    """Check claims on a subject.

    A claim that takes more than 0.2 s is logged when its check ends.

    Parameters
    ----------
    subject : Subject
    ids : iterable of str, optional
        Names of claims, or one name; default: all, in the order of the paper.

    Returns
    -------
    list of Verdict

    Raises
    ------
    InputError
        For an unknown claim, or a ``subject`` that is not a :class:`Subject`.

    Examples
    --------
    >>> from gspnl import theory
    >>> verdict, = theory.verify(theory.Subject.random(), ["theorem1-random-walk"])
    >>> verdict.passed, verdict.value < 1e-12
    (True, True)
    """
    if not isinstance(subject, Subject):
        raise InputError(
            f"claims are verified on a Subject, not a {type(subject).__name__}; make one, "
            "theory.Subject.of(X)"
        )
    names = [ids] if isinstance(ids, str) else ids
    chosen = ordered() if names is None else [CLAIMS[name] for name in names]
    verdicts = []
    for number, each in enumerate(chosen, 1):
        # The matrices are small: on a busy machine BLAS threads cost more than they save.
        with threadpool_limits(1, "blas"):
            verdicts.append(each(subject))
        if verdicts[-1].seconds > SLOW:
            log.info("%3d/%d  %6.2f s  %s", number, len(chosen), verdicts[-1].seconds, each.id)
    return verdicts
