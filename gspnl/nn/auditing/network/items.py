"""Reduce the arrays of a head, of which its record has those of the first item, over all items."""

from __future__ import annotations

import numpy as np

from gspnl.nn.auditing.heads.record import HeadItem, HeadRecord


def parts(record: HeadRecord) -> tuple[HeadItem | HeadRecord, ...]:
    """Return the items of a record, or the record itself where it has none."""
    return record.items or (record,)


def second_sigma(record: HeadRecord) -> float | None:
    """Return σ₂ of B, mean over the items that have one; None where none has."""
    sigmas = [part.sigma for part in parts(record)]
    known = [float(sigma[1]) for sigma in sigmas if sigma is not None and len(sigma) > 1]
    return float(np.mean(known)) if known else None


def defects(record: HeadRecord) -> np.ndarray | None:
    """Return ‖A^k − A‖/‖A‖ for k = 2, 3, 4, (3,), mean over items; None where none has them."""
    known = [part.defect for part in parts(record) if part.defect is not None]
    return np.mean(known, axis=0) if known else None


def largest_lambda(record: HeadRecord) -> tuple[float, bool] | None:
    """Return the largest Re λ of I − A over items, and whether all eigenvalues are known.

    Otherwise it is a bound: those that were not computed have at most the modulus of the last one
    that was.
    """
    found, complete = [], True
    for part in parts(record):
        mu = part.eigenvalues
        if mu is None:
            continue
        top = -float(mu.real.min())
        if len(mu) < part.nodes:
            complete, top = False, max(top, float(abs(mu[-1])))
        found.append(1 + top)
    return (max(found), complete) if found else None
