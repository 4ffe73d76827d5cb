r"""Solve the equations of inpainting by conjugate gradients, or by elimination where they fail.

With v the constant mode of S, S v = v, and y = v∘x, both equations are
:math:`(diag(\tilde W 1 + κ) - \tilde W)\,x = κ∘p` for :math:`\tilde W = diag(v) S diag(v) ≥ 0`: a
Laplacian that is grounded at the known values p.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gspnl._base.array import Array, carries_gradient, constant64, fits, is_numpy, like, namespace
from gspnl._base.conjugate_gradients import conjugate_gradients
from gspnl._base.effort import counted, work
from gspnl._base.elimination import BLOCK, eliminate, eliminate_banded, in_band
from gspnl.affinity.affinity import Affinity
from gspnl.errors import ConvergenceError
from gspnl.filters.relative import unit_of

COLUMN = 1.5e6  # operations in whose time one node is eliminated beside the products, measured
FEWEST, MOST = 40, 1000  # steps of conjugate gradients before elimination, or at all
LARGEST = 20_000  # nodes up to which a dense W is eliminated
STRICT, LOOSE = (1e-8, 1e-5), (1e-4, 1e-2)  # relative errors in float64 and in float32


@dataclass(frozen=True, eq=False)
class Equations:
    """A system M y = b on the symmetric core, and the same as a grounded Laplacian.

    Parameters
    ----------
    affinity : Affinity
    operator : callable
        M.
    b : array of shape (..., N, c)
    diagonal : array of shape (..., N, 1)
        Similar to the diagonal of M.
    known : array of bool of shape (..., N, 1)
    data : array of shape (..., N, c)
        Known values of y, 0 elsewhere.
    strength : float or None
        τ of Tikhonov's equations on all nodes; None for Dirichlet's on the unknown nodes.
    """

    affinity: Affinity
    operator: Callable[[Array], Array]
    b: Array
    diagonal: Array
    known: Array
    data: Array
    strength: float | None


def solve(equations: Equations, tol: float, max_steps: int | None) -> Array:
    """Compute y to about ``tol``, or raise ConvergenceError where its digits are not certain."""
    affinity, xp = equations.affinity, namespace(equations.b)
    cost, direct = _elimination(equations) or (math.inf, None)
    # One column more bounds the least eigenvalue of M, and so the error of all others.
    mode = affinity.core_mode[..., None]
    unknown = xp.zeros_like(equations.known) if equations.strength else equations.known
    mode = xp.where(unknown, xp.zeros_like(mode), mode)
    mode = xp.broadcast_to(mode, (*equations.b.shape[:-1], 1))
    b = xp.concat([equations.b, mode], axis=-1)
    strict, loose = LOOSE if affinity.eps > 1e-10 else STRICT
    steps = MOST if max_steps is None else max_steps
    if direct is not None and max_steps is None:
        product = affinity.weights.operations(b.shape[-1])
        steps = min(MOST, max(FEWEST, int(cost / product)))
    goal = tol
    for _ in range(2):
        try:
            least = FEWEST * affinity.weights.operations(b.shape[-1]) * is_numpy(b)
            with work(f"inpainting of {affinity.n_nodes:,} nodes", least) as shown:
                y = conjugate_gradients(
                    counted(equations.operator, shown), b, equations.diagonal,
                    tol=goal, max_steps=steps,
                )  # fmt: skip
        except ConvergenceError:
            if direct is None or max_steps is not None:
                raise
            return direct()
        error = _error(equations, b, y)
        if error <= max(strict, 10 * tol):
            return y[..., :-1]
        if direct is not None:
            return direct()
        if error <= loose:
            return y[..., :-1]
        goal *= loose / error / 4
        if goal < 8 * affinity.eps:
            break
    raise ConvergenceError(
        f"the values at unknown nodes are certain to {error:.0e} of the known ones only: some "
        "nodes are joined to known ones by tiny weights; mark a node known in each cluster, widen "
        "the kernel (sigma=), or use float64"
    )


def _error(equations: Equations, b: Array, y: Array) -> float:
    """Bound ‖y − M⁻¹ b‖ relative to ‖y‖ and the known values, over all columns.

    M is an M-matrix, so its least eigenvalue is at least min_i (M h)_i / h_i for any h > 0
    (Collatz and Wielandt); h is the solution for the constant mode, the last column.
    """
    image, solution = equations.operator(y), constant64(y)
    h, at_h = solution[..., -1], constant64(image)[..., -1]
    on = constant64(b)[..., -1] > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(on, np.where(h > 0, at_h / h, -1.0), np.inf)
    least = ratio.min(-1)
    if not (least > 0).all():
        return math.inf
    size = np.abs(constant64(b)).max(initial=0) or 1.0
    gap = np.linalg.norm((constant64(b) - constant64(image))[..., :-1] / size, axis=-2)
    scale = np.abs(constant64(equations.data)).max(initial=0) or 1.0
    known = np.linalg.norm(constant64(equations.data) / scale, axis=-2) * (scale / size)
    whole = np.linalg.norm(solution[..., :-1] / size, axis=-2) + known
    share = gap / np.where(whole > 0, whole, 1.0) / np.where(least < np.inf, least, 1.0)[..., None]
    return float(share.max(initial=0.0))


def _elimination(equations: Equations) -> tuple[float, Callable[[], Array]] | None:
    """Return the operations of elimination and a function that runs it, or None if too large."""
    affinity = equations.affinity
    if any(carries_gradient(x) for x in (affinity.left, equations.b)):
        return None
    n, stored = affinity.n_nodes, affinity.weights.sparse
    width = n if stored is None else min(n, in_band(stored)[2] + BLOCK)
    cost = n * (COLUMN + (2 / 3 if stored is None else 2) * float(width) ** 2)
    if (stored is None and n > LARGEST) or not fits((n, width), affinity.left, copies=6):
        return None
    if cost > LARGEST**3:
        return None

    def run() -> Array:
        batch = affinity.weights.shape[:-2]
        data, known = constant64(equations.data), np.asarray(constant64(equations.known * 1.0))
        front = data.shape[:-2]
        out = np.empty(data.shape)
        for index in np.ndindex(*front):
            # Signals may have batch dimensions that the graph has not.
            one = affinity.item(index) if batch else affinity
            mask = np.broadcast_to(known[..., 0], (*front, n))[index] > 0
            with work(f"elimination of {n:,} nodes", cost):
                out[index] = _one(one, data[index], mask, equations.strength)
        return like(out, equations.b)

    return cost, run


def _one(
    affinity: Affinity, data: np.ndarray, known: np.ndarray, strength: float | None
) -> np.ndarray:
    """Solve the equations of one graph, (N, c)."""
    v = constant64(affinity.core_mode)
    live = v > 0
    values = np.where(live[:, None], data / np.where(live, v, 1.0)[:, None], 0.0)
    nodes = np.nonzero(live if strength is not None else live & ~known)[0]
    sources = np.nonzero(live & known)[0] if strength is None else nodes[:0]
    W, joined = _laplacian(affinity, v, nodes, sources)
    ground = np.asarray(joined.sum(1)).reshape(-1)
    load = np.asarray(joined @ values[sources])
    if strength is not None:
        ground = np.where(known[nodes], v[nodes] ** 2 / (strength * unit_of(affinity)), 0.0)
        load = ground[:, None] * values[nodes]
    out = np.where(known[:, None], data, 0.0)
    if isinstance(W, np.ndarray):
        out[nodes] = v[nodes, None] * eliminate(W, ground, load)
        return out
    order, sorted_W, width = in_band(W)
    x = np.empty_like(load)
    x[order] = eliminate_banded(sorted_W.tocsr(), width, ground[order], load[order])
    out[nodes] = v[nodes, None] * x
    return out


def _laplacian(
    affinity: Affinity, v: np.ndarray, nodes: np.ndarray, sources: np.ndarray
) -> tuple[Any, Any]:
    """Return W̃ ≥ 0 among some nodes and from them to the sources, sparse if W is."""
    scale = constant64(affinity.core_scale) * v
    stored = affinity.weights.sparse
    if stored is not None:
        rows = stored[nodes].astype(np.float64).tocsc()
        inner, joined = (
            _scaled(rows[:, part], scale[nodes], scale[part]) for part in (nodes, sources)
        )
        return inner, joined
    W = constant64(affinity.weights.rows(affinity.xp.asarray(nodes)))
    W = np.maximum(W, 0.0)  # ≥ 0 but for rounding
    W *= scale[nodes, None]
    W *= scale
    joined = W[:, sources]
    return (W if len(nodes) == W.shape[1] else W[:, nodes]), joined


def _scaled(entries: Any, left: np.ndarray, right: np.ndarray) -> Any:
    """Compute diag(left) M diag(right) of a sparse M."""
    out = entries.tocoo()
    out.data = out.data * left[out.row] * right[out.col]
    return out.tocsr()
