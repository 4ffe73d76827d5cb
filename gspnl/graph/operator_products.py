"""Products of a user's linear operator: checks of what it returns, that it is linear, and ≥ 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gspnl.errors import GspnlError, InputError

ROUNDING = 64  # units of rounding of the norms involved


def product(fn: Callable[[Any], Any], X: np.ndarray, called: str) -> np.ndarray:
    """Return ``fn(X)``, (N, c), in the dtype of X, or raise an error that names the method."""
    try:
        out = fn(X.copy())  # which it may overwrite
        values = np.asarray(out)
    except GspnlError:
        raise
    except Exception as error:
        raise InputError(
            f"the operator's {called} raised {type(error).__name__}: {error}; it must take arrays "
            f"of shape {X.shape} and dtype {X.dtype}"
        ) from error
    if values.shape != X.shape or values.dtype.kind not in "biuf":
        kind = f"{type(out).__name__} of shape {values.shape} and dtype {values.dtype}"
        raise InputError(
            f"the operator's {called} returned a {kind} for {X.shape}; return real numbers of the "
            "same shape"
        )
    if not np.isfinite(values).all():
        raise InputError(
            f"the operator's {called} returned {int((~np.isfinite(values)).sum())} value(s) that "
            "are not finite for finite signals; mend the operator, or scale it down"
        )
    return values.astype(X.dtype, copy=False)


def check_declared(operator: Any, seed: int) -> None:
    """Raise where a product with a random vector has fewer digits than the operator declares."""
    n, declared = operator.shape[0], np.dtype(operator.dtype)
    if declared != np.float64:
        return
    x = np.random.default_rng([seed, 1]).standard_normal((n, 1))
    try:
        out = np.asarray(operator.matmat(x))
    except Exception:
        return  # the next product names it
    if out.dtype in (np.float32, np.float16):
        raise InputError(
            f"the operator declares dtype float64 and returns {out.dtype}; pass dtype={out.dtype} "
            "to LinearOperator, or compute in float64"
        )


def check_linear(matmul: Callable[[np.ndarray], np.ndarray], n: int, seed: int) -> None:
    """Raise where W (x + 2 y) ≠ W x + 2 W y for random x and y."""
    x, y = np.random.default_rng([seed, 2]).standard_normal((2, n, 1))
    parts = matmul(x), matmul(y)
    both = matmul(x + 2 * y)
    gap = float(np.linalg.norm(both - parts[0] - 2 * parts[1]))
    size = sum(float(np.linalg.norm(p)) for p in (both, *parts))
    if not gap <= ROUNDING * np.sqrt(n) * np.finfo(both.dtype).eps * size:
        raise InputError(
            f"the operator is not linear, or changes between calls: W (x + 2 y) and W x + 2 W y "
            f"differ by {gap:.3g} for random x and y, of norms around {size / 3:.3g}; return W x "
            "alone, the same at every call, in a new array"
        )


def check_adjoint(
    matmul: Callable[[np.ndarray], np.ndarray],
    rmatmul: Callable[[np.ndarray], np.ndarray],
    n: int,
    seed: int,
) -> None:
    """Raise where ⟨x, W y⟩ ≠ ⟨Wᵀ x, y⟩ for random x and y."""
    x, y = np.random.default_rng([seed, 3]).standard_normal((2, n, 1))
    forward, back = matmul(y), rmatmul(x)
    gap = abs(float((x * forward).sum() - (back * y).sum()))
    pairs = ((x, forward), (y, back))
    size = sum(float(np.linalg.norm(a) * np.linalg.norm(b)) for a, b in pairs)
    if not gap <= ROUNDING * np.finfo(forward.dtype).eps * size:
        raise InputError(
            f"the operator's rmatvec is not the transpose of its matvec: ⟨x, W y⟩ and ⟨Wᵀ x, y⟩ "
            f"differ by {gap:.3g} for random x and y; mend rmatvec, or leave it out"
        )


def check_nonnegative(matmul: Callable[[np.ndarray], np.ndarray], n: int, seed: int) -> None:
    """Raise where some columns of W have negative entries."""
    nodes = np.random.default_rng([seed, 4]).choice(n, min(n, 3), replace=False)
    units = np.zeros((n, len(nodes)))
    units[nodes, np.arange(len(nodes))] = 1
    columns = matmul(units)
    least = columns.min()
    if least < -ROUNDING * np.finfo(columns.dtype).eps * np.abs(columns).max():
        row, column = (int(k) for k in np.unravel_index(columns.argmin(), columns.shape))
        raise InputError(
            f"nonnegative=True, but W[{row}, {int(nodes[column])}] = {least:.6g}; leave "
            "nonnegative=False, or pass an operator without negative weights"
        )
