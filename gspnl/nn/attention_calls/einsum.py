"""Products of weights and values written as an einsum equation."""

from __future__ import annotations

import string

from torch import Tensor


def as_product(
    equation: str, weights: Tensor, values: Tensor, first: bool, result: Tensor
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return (..., N, M), (..., M, c) and (..., N, c): the product that an equation computes.

    Parameters
    ----------
    equation : str
        Of two factors.
    weights, values : Tensor
        The factor with the weights, and the other one.
    first : bool
        Whether the weights are the first factor of the equation.
    result : Tensor
        Of the equation.

    Returns
    -------
    tuple of Tensor, or None
        None where the equation is no product of a matrix (queries, keys) and values: without an
        axis of keys that is summed, or of queries that values lack.
    """
    pair = (weights, values) if first else (values, weights)
    parsed = letters_of(equation, pair)
    if parsed is None:
        return None
    ours, theirs, out = parsed if first else (parsed[1], parsed[0], parsed[2])
    keys = [a for a in ours if a in theirs and a not in out]
    queries = [a for a in ours if a in out and a not in theirs]
    batch = [a for a in ours if a in out and a in theirs]
    channels = [a for a in theirs if a in out and a not in ours]
    apart = len(keys) + len(queries) + len(batch) != len(ours)
    if apart or len(batch) + len(keys) + len(channels) != len(theirs):
        return None
    if len(keys) != 1 or not queries or len(set(ours)) != len(ours):
        return None
    A = weights.permute([ours.index(a) for a in batch + queries + keys])
    A = A.flatten(len(batch), -2)
    V = values.permute([theirs.index(a) for a in batch + keys + channels])
    V = V.flatten(len(batch) + 1) if channels else V.unsqueeze(-1)
    Y = result.permute([out.index(a) for a in batch + queries + channels])
    return A, V, Y.reshape(*A.shape[:-1], V.shape[-1])


def letters_of(equation: str, factors: tuple[Tensor, Tensor]) -> tuple[str, str, str] | None:
    """Return the letters of both factors and of the result, ellipses replaced by letters."""
    left, arrow, out = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != 2:
        return None
    free = [a for a in string.ascii_letters if a not in equation]
    widths = [f.ndim - len(p.replace("...", "")) for p, f in zip(parts, factors, strict=True)]
    dots = "".join(free[: max([0, *(w for p, w in zip(parts, widths, strict=True) if "..." in p)])])
    if not arrow:
        once = sorted(a for a in set(left) - set(".,") if left.count(a) == 1)
        out = ("..." if "..." in left else "") + "".join(once)
    letters = [
        part.replace("...", dots[len(dots) - width :] if width else "")
        for part, width in zip(parts, widths, strict=True)
    ]
    if any(len(word) != factor.ndim for word, factor in zip(letters, factors, strict=True)):
        return None
    return letters[0], letters[1], out.replace("...", dots)
