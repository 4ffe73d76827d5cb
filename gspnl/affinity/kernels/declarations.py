"""Check on a few nodes that a user's kernel keeps what it declares: symmetry, sign, blocks.

Storages evaluate W in different blocks and orders, and rely on the declarations: a kernel that
breaks one has another W in each storage, and certificates that do not hold.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl._base.array import Array, constant64, detached, float64, namespace
from gspnl.affinity.kernels.base import Kernel, map_pair
from gspnl.affinity.kernels.calls import Difference, Entries, Probe, named
from gspnl.affinity.kernels.exponential import Exponential
from gspnl.affinity.kernels.maps import FEATURE_MAPS
from gspnl.errors import KernelError

ROWS, COLUMNS = 32, 256  # nodes between which f is evaluated, both ways
FIRST = 8  # columns of X whose least and greatest entries are among these nodes
HOME = "gspnl.affinity.kernels."
SYMMETRIC = (
    "declares that W is symmetric (embed returns one array twice), but {what}({i}, {j}) = {first} "
    "and {what}({j}, {i}) = {second}; make {method} symmetric, or let embed return two arrays, "
    "(phi, phi + 0), and W is symmetrised, ½(M + Mᵀ)"
)


def built_in(kernel: Kernel) -> bool:
    """Tell whether a kernel is one of the package's, with one of its feature maps."""
    chosen = FEATURE_MAPS[getattr(kernel, "feature_map", None) or "identity"]
    homes = (type(kernel).__module__, getattr(chosen, "__module__", None) or "")
    return all(home.startswith(HOME) for home in homes)


def fit_checked(kernel: Kernel, X: Array, pair: tuple[Array, Array] | None) -> Kernel:
    """Fit a kernel to features X (..., N, C) and check its declarations; raises KernelError."""
    if built_in(kernel):
        return kernel.fit(X)
    fitted: Any = kernel
    if type(kernel).fit is not Kernel.fit:
        with named(kernel, "fit"):
            fitted = kernel.fit(X + 0)  # a copy, which fit may overwrite
    if not isinstance(fitted, Kernel):
        raise KernelError(
            f"{type(kernel).__name__}.fit returned a {type(fitted).__name__}; return a fitted "
            "kernel, such as dataclasses.replace(self, ...)"
        )
    check_declarations(fitted, X, pair)
    return fitted


def check_declarations(kernel: Kernel, X: Array, pair: tuple[Array, Array] | None) -> None:
    """Raise KernelError where a few nodes of X (..., N, C) show a declaration to be false.

    The nodes are random, and those with the least and the greatest entries. The work is that of
    some 20,000 entries of W, and of two embeddings of X.
    """
    if built_in(kernel) or kernel.nodewise:  # whose points of a few nodes say nothing
        return
    X = detached(X)
    try:
        _check(kernel, X, pair)
    except Difference as found:
        if _holds_in_float64(kernel, X, pair):
            return
        raise KernelError(str(found)) from None


def _holds_in_float64(kernel: Kernel, X: Array, pair: tuple[Array, Array] | None) -> bool:
    """Tell whether a difference in float32 is one of rounding, as float64 does not show it."""
    if X.dtype == namespace(X).float64:
        return False
    try:
        _check(kernel, float64(X), map_pair(lambda w: float64(detached(w)), pair))
    except Exception:  # a false declaration, or a kernel that does not work in float64
        return False
    return True


def _check(kernel: Kernel, X: Array, pair: tuple[Array, Array] | None) -> None:
    xp = namespace(X)
    graph = X[(*(0,) * (X.ndim - 2), ...)]  # the first one of a batch
    nodes = _nodes(constant64(graph))
    chosen = xp.asarray(nodes)
    probe = Probe(kernel, nodes, 1e-9 if X.dtype == xp.float64 else 3e-5)
    sample = xp.take(graph, chosen, axis=0)
    phi, psi = probe.embed(sample, pair)
    if kernel.bilinear:  # embedded by blocks of rows
        for block in (slice(0, 1), slice(len(nodes) // 2, None)):
            parts = probe.embed(sample[block, :], pair)
            for part, whole in zip(parts, (phi, psi), strict=True):
                probe.equal(part, whole[block, :], "embed", "the other rows it is called with")
    if X.ndim > 2:
        batch = xp.take(xp.reshape(X, (-1, *X.shape[-2:]))[:2, :, :], chosen, axis=1)
        parts = probe.embed(batch, pair)
        firsts = [*parts, probe.affinity(*parts)]
        alone = [phi, psi, probe.affinity(phi, psi)]
        for part, whole, method in zip(firsts, alone, ("embed", "embed", "affinity"), strict=True):
            probe.equal(part[0, :, :], whole, method, "the other graphs of its batch")
    if not kernel.bilinear:  # embedded at once: points may depend on all nodes
        both = probe.embed(graph, pair)
        phi = xp.take(both[0], chosen, axis=0)
        psi = phi if both[1] is both[0] else xp.take(both[1], chosen, axis=0)
    entries: Entries = probe.scores if isinstance(kernel, Exponential) else probe.affinity
    _check_entries(probe, entries, phi, psi)


def _check_entries(probe: Probe, entries: Entries, phi: Array, psi: Array) -> None:
    """Check f, or its scores, between the first nodes of the probe and all of them."""
    kernel, few = probe.kernel, min(ROWS, len(probe.nodes) - 1)
    first = phi[:few, :]
    values = constant64(entries(first, psi))
    method = "scores" if isinstance(kernel, Exponential) else "affinity"
    probe.equal(entries(first, psi), values, method, "how often it has been called")
    one, tail, half = slice(0, 1), slice(few // 2, few), slice(len(probe.nodes) // 2, None)
    for rows, columns in ((slice(few), half), (tail, slice(None)), (one, one)):
        part = entries(phi[rows, :], psi[columns, :])
        probe.equal(part, values[rows, columns], method, "the block it is called with")
    if psi is phi:
        mirrored = constant64(entries(phi, first)).T
        what = "the score of " if isinstance(kernel, Exponential) else "f"
        text = SYMMETRIC.replace("{what}", what).replace("{method}", method)
        probe.compare(values, mirrored, text)
    if isinstance(kernel, Exponential):
        _check_exponential(probe, kernel, first, psi, values)
        return
    if kernel.nonnegative:
        probe.compare(
            values, np.maximum(values, 0),
            "declares f ≥ 0 (its property nonnegative), but f({i}, {j}) = {first}; make f ≥ 0, or "
            "let nonnegative return False",
        )  # fmt: skip
    if kernel.bilinear and type(kernel).affinity is not Kernel.affinity:
        probe.compare(
            values, constant64(first @ psi.mT),
            "declares f = ⟨φ_i, ψ_j⟩ (its property bilinear), but affinity({i}, {j}) = {first} and "
            "the inner product is {second}; leave out bilinear, or affinity",
        )  # fmt: skip


def _check_exponential(
    probe: Probe, kernel: Exponential, first: Array, psi: Array, s: np.ndarray
) -> None:
    """Check the bound and the root of scores s, and that affinity is their exponential."""
    if kernel.bounded:
        diagonal = np.arange(len(s))[:, None] == np.arange(s.shape[1])
        probe.compare(
            s, np.where(diagonal, 0, np.minimum(s, 0)),
            "declares f ≤ f(x, x) = 1 (its property bounded), but log f({i}, {j}) = {first}; let "
            "bounded return False",
            floor=1.0,
        )  # fmt: skip
    if type(kernel).affinity is not Exponential.affinity:
        with np.errstate(over="ignore"):
            exponentials = np.exp(s)
        probe.compare(
            constant64(probe.affinity(first, psi)), exponentials,
            "declares f = exp(q kᵀ) by its scores, but affinity({i}, {j}) = {first} and the "
            "exponential is {second}; leave affinity out, or subclass Kernel",
        )  # fmt: skip
    rooted = probe.root(first, psi)
    if rooted is not None:
        probe.compare(
            s, rooted,
            "declares log f = ⟨a, a⟩ − h − h by its root, but the score of ({i}, {j}) is {first} "
            "and the root gives {second}; let root return None",
            floor=1.0,
        )  # fmt: skip


def _nodes(X: np.ndarray) -> np.ndarray:
    """Return up to COLUMNS nodes: the extremes of the first columns of X, then random ones."""
    columns = X[:, :FIRST]
    extremes = np.concatenate([columns.argmin(0), columns.argmax(0)])
    order = np.random.default_rng(0).choice(len(X), min(len(X), COLUMNS), replace=False)
    _, first = np.unique(both := np.concatenate([extremes, order]), return_index=True)
    return both[np.sort(first)][:COLUMNS]
