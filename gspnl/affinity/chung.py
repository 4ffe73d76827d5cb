r"""Weights of the Laplacian of a directed graph by Chung [1]_.

For the walk A = D⁻¹M of a directed M ≥ 0, with πᵀA = πᵀ and Π = diag(π), W = ½(ΠA + AᵀΠ) is
symmetric and has degrees π. Its walk is ½(A + A*): A averaged with its time reversal A* = Π⁻¹AᵀΠ.
As W = ½(diag(π/d) M + Mᵀ diag(π/d)), it is stored as M is, with rows scaled.

For a symmetric M, π = d/Σd, and the graph is that of normalization="random_walk". Several closed
classes are components of W. Transient nodes have π = 0, which Chung's Laplacian divides by: they
are an error.

References
----------
.. [1] F. Chung, Laplacians and the Cheeger inequality for directed graphs, Annals of Combinatorics
   9, 2005.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np
import scipy.sparse

from gspnl._base.array import Array, carries_gradient, constant, constant64, like, namespace
from gspnl.affinity.affinity import Affinity
from gspnl.affinity.degrees import checked_degrees
from gspnl.affinity.kernels import Kernel
from gspnl.affinity.normalization import inverse
from gspnl.affinity.stationary import stationary_of
from gspnl.affinity.stationary.closed_classes import named
from gspnl.affinity.stationary.distribution import stationary_distribution
from gspnl.affinity.stationary.entries import ELIMINATED
from gspnl.affinity.weights import TiledExponential, Weights
from gspnl.affinity.weights.stacked import Stacked
from gspnl.affinity.weights.symmetrized import is_symmetric, symmetrized
from gspnl.affinity.weights.tiles import Pattern
from gspnl.errors import GspnlError, ReducibleError

SPLIT = ELIMINATED  # nodes up to which all classes of a W that is not sparse are known


@singledispatch
def chung_weights(weights: Weights, kernel: Kernel) -> Weights:
    """Return ½(ΠA + AᵀΠ) of the weights M of one graph or a batch.

    Raises
    ------
    DegreeError
        Where a degree of M is not a normal number.
    ReducibleError
        Where nodes are transient.
    """
    degrees = checked_degrees(weights, kernel)
    inverses = inverse(degrees)
    xp = namespace(degrees)
    if is_symmetric(weights):
        total = xp.sum(degrees, axis=-1, keepdims=True)
        return symmetrized(weights, 0 * degrees + inverse(total))
    pi = []
    for key in np.ndindex(*weights.shape[:-2]):
        walk = _walk(weights.item(key), degrees[(*key, ...)], inverses[(*key, ...)])
        pi.append(_mass(walk, kernel.positive))
    return symmetrized(weights, xp.reshape(xp.stack(pi), degrees.shape) * inverses)


@chung_weights.register
def _(weights: Stacked, kernel: Kernel) -> Stacked:
    return Stacked([chung_weights(item, kernel) for item in weights.items], weights.batch)


@chung_weights.register
def _(weights: TiledExponential, kernel: Kernel) -> TiledExponential:
    """Add log(π/d) to the scores of the rows; degrees of M may leave the range of the dtype."""
    logs, scores, sample = _log_degrees(weights), weights.scores, weights.sample
    wide = scores.sample
    if weights.pattern is Pattern.HALF:
        half = like(0 * logs - np.logaddexp.reduce(logs) / 2, wide)[:, None]
        out = TiledExponential(scores.shifted(half, half), sample, Pattern.HALF, weights.self_loops)
        if not carries_gradient(wide):
            return out
        xp = namespace(wide)
        half = half - like(xp.log(xp.sum(out.degrees())), wide) / 2  # 0, with a gradient
        scores = scores.shifted(half, half)
        return TiledExponential(scores, sample, Pattern.HALF, weights.self_loops)
    down = like(-logs, wide)[:, None]
    steps = TiledExponential(
        scores.shifted(down, 0 * down), sample, weights.pattern, weights.self_loops, bounded=True
    )
    sums = steps.degrees()  # 1, with the gradient of log d
    pi = _mass(_walk(steps, sums, inverse(sums)), kernel.positive)
    xp = namespace(pi)
    shift = down + like(xp.log(pi) - xp.log(sums), wide)[:, None]
    scores = scores.shifted(shift, 0 * shift)
    return TiledExponential(scores, sample, Pattern.BOTH, weights.self_loops)


def _log_degrees(weights: TiledExponential) -> Array:
    """Return log d, (N,), in float64 where W is not bounded, with no gradient."""
    logs = weights.log_degrees()
    return np.log(constant64(weights.degrees())) if logs is None else constant64(logs)


def _walk(weights: Weights, degrees: Array, inverses: Array) -> Affinity:
    xp = namespace(degrees)
    isolated = degrees == 0
    return Affinity(
        weights, degrees, inverses, None, isolated if bool(xp.any(isolated)) else None,
        symmetric_core=False,
    )  # fmt: skip


def _refuse_transient(walk: Affinity, classes: list[np.ndarray], positive: bool) -> None:
    """Raise where π vanishes, which Chung's Laplacian divides by."""
    transient = np.ones(walk.n_nodes, dtype=bool)
    transient[np.concatenate(classes)] = False
    if not transient.any():
        return
    nodes = np.nonzero(transient)[0]
    dead = [part[0] for part in classes if len(part) == 1 and constant(walk.degrees)[part[0]] == 0]
    ends = f", as to node {dead[0]}, which has no outgoing edges" if dead else ""
    cause = "nodes without incoming edges, or under a causal mask all but the first"
    remedy = "use a kernel without zeros (feature_map='softplus')"
    if positive:
        cause = "weights that are positive underflow"
        remedy = "raise temperature= or sigma=, or scale the features down"
    raise ReducibleError(
        f"normalization='chung' needs a walk that can return to every node, and {len(nodes)} of "
        f"{walk.n_nodes} nodes have π = 0: the walk leaves {named(nodes)} for good{ends} "
        f"({cause}); {remedy}, keep the nodes of a closed class (in .classes of this error), or "
        "use normalization='random_walk', which symmetrises the weights",
        classes,
    )


def _mass(walk: Affinity, positive: bool) -> Array:
    """Return π > 0, (N,), 0 at isolated nodes; the sizes of several closed classes weigh theirs."""
    try:
        pi = stationary_of(walk)
    except ReducibleError as error:
        if walk.n_nodes > SPLIT and walk.weights.sparse is None:
            raise
        _refuse_transient(walk, error.classes, positive)
        if carries_gradient(walk.left):
            raise GspnlError(
                f"normalization='chung' has no gradient for a graph of {len(error.classes)} closed "
                "classes; take them as graphs of their own, or detach the features"
            ) from error
        return like(_of_classes(walk, error.classes), walk.left)
    _refuse_transient(walk, [np.nonzero(constant(pi) > 0)[0]], positive)
    return pi


def _of_classes(walk: Affinity, classes: list[np.ndarray]) -> np.ndarray:
    """Return the mean of the π of each class, (N,), weighted by their sizes."""
    sparse = walk.weights.sparse
    if sparse is None:
        A: Any = constant64(walk.rows(walk.xp.arange(walk.n_nodes)))
    else:
        A = (scipy.sparse.diags_array(constant64(walk.left)) @ sparse).tocsr()
    mass = np.zeros(walk.n_nodes)
    for nodes in classes:
        if len(nodes) > 1 or constant64(walk.degrees)[nodes[0]] > 0:
            part = stationary_distribution(A[nodes][:, nodes])
            mass[nodes] = part * (len(nodes) / walk.n_nodes)
    return mass
