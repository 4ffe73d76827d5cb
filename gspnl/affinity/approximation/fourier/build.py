"""Build Fourier sums of exponential kernels to an error bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from gspnl._base.array import Array, constant64, eps, float64, has_float64, namespace
from gspnl.affinity.approximation.base import Approximation
from gspnl.affinity.approximation.fourier.certificate import (
    CORE,
    Nodes,
    change_bound,
    forecast,
    sinkhorn_bound,
)
from gspnl.affinity.approximation.fourier.device import check_device
from gspnl.affinity.approximation.fourier.expansion import Expansion
from gspnl.affinity.approximation.fourier.sums import SLACK, gaussian_sums
from gspnl.affinity.approximation.fourier.transform import FINEST, Transform, check_installed
from gspnl.affinity.approximation.fourier.weights import FourierSum
from gspnl.affinity.approximation.points import unsupported
from gspnl.affinity.kernels import Exponential, Kernel
from gspnl.affinity.kernels.base import map_pair
from gspnl.affinity.normalize import normalize
from gspnl.affinity.weights import Weights
from gspnl.affinity.weights.no_self_loops import NoSelfLoops, diagonal, widened
from gspnl.errors import DegreeError, GspnlError, InputError, ToleranceError

DIMENSIONS = 5
LEAST = {4: 1e-6, 8: 0.0}  # least tolerances by the bytes of the dtype
SAMPLE, OTHERS = 256, 1024  # nodes whose degrees are estimated, from the edges to others
RARE = 0.05  # least degree that is planned for, in that of a median node
CHECKED = 200_000  # entries of the rows that are compared with exact sums, at least 2 rows
SIGNS = 6.5  # Hoeffding: sums of random signs exceed this many norms once in 10⁹ times
TRIES = 4
WIDE = 3e3  # widths over which the rounding of positions is what is in the way
SHARE = 0.7  # of the tolerance, for which the first try is planned


@dataclass(frozen=True, eq=False)
class Scaled:
    """Points in units of σ, and their part of the rounding error.

    Parameters
    ----------
    a : array of shape (N, d)
        Points with K_ij = exp(−‖a_i − a_j‖²/2), in the library of the features.
    values : array of shape (N, d)
        The same in NumPy and float64.
    log_p : array of shape (N, 1), or None
    log_factor : float
    """

    a: Array
    values: np.ndarray
    log_p: Array | None
    log_factor: float

    @property
    def p(self) -> np.ndarray:
        """p, (N,)."""
        if self.log_p is None:
            return np.ones(len(self.values))
        out: np.ndarray = np.exp(constant64(self.log_p)[:, 0])
        return out


def fourier(
    kernel: Kernel,
    pair: tuple[Array, Array] | None,
    tol: float,
    seed: int,
    normalization: str,
    self_loops: bool,
    X: Array,
) -> tuple[Weights, Approximation]:
    """Build W of features X (N, C) as a Fourier sum whose certified bound is at most ``tol``."""
    check_installed()
    check_device(X)
    if tol < LEAST[4 if eps(X) > 1e-10 else 8]:
        raise InputError(
            f"tol={tol:g} is below what {X.dtype} can give, 1e-06; pass float64 features, or raise "
            "tol="
        )
    scaled = scaled_points(kernel, X, pair)
    if scaled.values.shape[1] > DIMENSIONS:
        raise InputError(
            f"approximation='fourier' takes features of up to {DIMENSIONS} dimensions, and these "
            f"have {scaled.values.shape[1]}; take approximation='cholesky', storage='tiled', a "
            f"projection to {DIMENSIONS} columns, or gspnl.neighbor_graph"
        )
    sample = _sample(scaled, self_loops, seed)
    error = SHARE * tol / forecast(normalization, sample)
    best, seen, rounding = math.inf, sample, 0.0
    for _ in range(TRIES):
        found = _built(scaled, X, error, seed)
        if found is None:
            break
        weights, nodes = found
        stored: Weights = weights
        nodes = Nodes(nodes.p, nodes.degrees - (not self_loops) * nodes.p**2, self_loops)
        bound, seen = math.inf, nodes
        if (nodes.degrees > 0).all():
            stored = weights if self_loops else _without_loops(weights)
            bound = _bound(stored, kernel, normalization, weights.error, nodes)
            rounding = 8 * eps(X) * math.sqrt(max(1.0, float((nodes.p**2 / nodes.degrees).sum())))
            bound += rounding
        best = min(best, bound)
        if bound <= tol:
            modes = weights.transform.modes
            with np.errstate(over="ignore"):  # inf where W itself leaves the range
                plain = float(np.exp(weights.log_factor)) * float((nodes.p**2).sum())
            return stored, Approximation(
                "fourier", math.prod(modes), seed, weights.error, weights.error * plain, bound,
                modes, change_bound(weights.error, nodes) * (normalization == "random_walk"),
            )  # fmt: skip
        if weights.transform.eps <= FINEST:
            break
        error *= 0.5 * tol / bound if bound < math.inf else 1e-2
    size = float(np.ptp(scaled.values, axis=0).max())
    raise ToleranceError(_out_of_reach(tol, best, seen, self_loops, size, rounding, X.dtype))


def scaled_points(kernel: Kernel, X: Array, pair: tuple[Array, Array] | None) -> Scaled:
    r"""Write the kernel as :math:`p_i p_j \exp(-\|a_i - a_j\|^2 / 2)`, up to a factor."""
    if not isinstance(kernel, Exponential):
        raise InputError(unsupported(kernel))
    wide = X
    if has_float64(X):
        wide, pair = float64(X), map_pair(float64, pair)
    phi, psi = kernel.embed(wide, pair)
    with np.errstate(over="ignore", invalid="ignore"):
        root = kernel.root(phi)
    if root is None:
        raise InputError(unsupported(kernel))
    if psi is not phi:
        raise InputError(
            "approximation='fourier' needs one embedding for both sides; pass the same matrix "
            "twice in embed=, or take approximation='cholesky'"
        )
    a, h = root
    values, largest = constant64(a), 0.0
    log_p = None  # of a bounded kernel, as f(x, x) = 1
    if not kernel.bounded:
        with np.errstate(over="ignore", invalid="ignore"):  # refused below
            log_p = namespace(a).sum(a * a, axis=-1, keepdims=True) / 2 - h
        largest = float(constant64(log_p).max())
        log_p = log_p - largest
    if not np.isfinite(values).all() or not math.isfinite(largest):
        raise DegreeError(
            "scores leave the range of float64; scale the features down, or take a larger sigma="
        )
    return Scaled(a, values, log_p, 2 * largest)


def _sample(scaled: Scaled, self_loops: bool, seed: int) -> Nodes:
    """Estimate the degrees of a sample of nodes from a larger sample."""
    n = len(scaled.values)
    order = np.random.default_rng([seed, 4]).choice(n, min(n, OTHERS), replace=False)
    rows = order[:SAMPLE]
    a, p = scaled.values, scaled.p
    K = np.exp(cdist(a[rows], a[order], "sqeuclidean") / -2)
    np.fill_diagonal(K, 0.0)
    others = p[rows] * (n - 1) / max(len(order) - 1, 1) * (K @ p[order])
    # A node that is alone among these has some neighbour; the first build shows the outliers.
    others = np.maximum(others, RARE * float(np.median(others)))
    own = p[rows] ** 2
    degrees = others + own if self_loops else np.maximum(others, 1e-3 * own)
    return Nodes(p[rows], degrees, self_loops, n / len(rows))


def planned_for(
    scaled: Scaled, tol: float, normalization: str, self_loops: bool, seed: int
) -> Transform | Expansion | None:
    """Return the sums that a tolerance will need, by a sample of degrees; None below rounding."""
    each = forecast(normalization, _sample(scaled, self_loops, seed))
    found = gaussian_sums(scaled.values, SHARE * tol / each)
    # The forecast is on the safe side; the build has the bound itself.
    return found[0] if found is not None and found[1] * each <= SLACK * tol else None


def _built(scaled: Scaled, X: Array, error: float, seed: int) -> tuple[FourierSum, Nodes] | None:
    """Build the sum with each entry of K within about ``error``; None where rounding forbids it."""
    found = gaussian_sums(scaled.values, error)
    if found is None:
        return None
    transform, total = found
    p = scaled.p
    weights = FourierSum(transform, scaled.a, scaled.log_p, 0 * X[:1, :1], total, scaled.log_factor)
    degrees = _checked(weights, scaled, p, seed)
    weights.know_degrees(degrees)
    return weights, Nodes(p, degrees, True)


def _checked(weights: FourierSum, scaled: Scaled, p: np.ndarray, seed: int) -> np.ndarray:
    """Return the degrees; raise where sums differ from exact ones at random nodes."""
    rng = np.random.default_rng([seed, 5])
    n = len(p)
    signs = 1.0 - 2.0 * rng.integers(0, 2, n, dtype=np.int8)
    signals = np.stack([p, p * signs], axis=1)
    sums = weights.transform.sums(signals, weights.transform.coefficients)
    nodes = rng.integers(0, n, max(2, min(8, CHECKED // n)))
    exact = np.exp(cdist(scaled.values[nodes], scaled.values, "sqeuclidean") / -2) @ signals
    allowed = weights.error * np.array([p.sum(), min(SIGNS * np.linalg.norm(p), p.sum())])
    off = np.abs(sums[nodes] - exact)
    if not (off <= allowed).all():
        raise GspnlError(
            f"finufft's sums are off by {(off / allowed).max():.1e} times what its tolerance "
            f"{weights.transform.eps:.0e} allows, at {len(nodes)} random nodes; reinstall finufft, "
            "or take approximation='cholesky' or storage='tiled'"
        )
    degrees: np.ndarray = p * sums[:, 0]
    return degrees


def _without_loops(weights: FourierSum) -> NoSelfLoops:
    """Return W − diag(W), in float64; the certificate refuses what cancels."""
    wide = widened(weights)
    return NoSelfLoops(wide, diagonal(wide), weights.like)


def _bound(
    stored: Weights, kernel: Kernel, normalization: str, error: float, nodes: Nodes
) -> float:
    if normalization != "bistochastic":
        return CORE[normalization](error, nodes)
    affinity = normalize(stored, kernel, normalization)
    scale = constant64(affinity.core_scale)
    off = scale * constant64(stored.matmul(affinity.core_scale[:, None]))[:, 0] - 1
    return sinkhorn_bound(error, nodes, scale, float(np.linalg.norm(off)))


def _out_of_reach(
    tol: float,
    best: float,
    nodes: Nodes,
    self_loops: bool,
    size: float,
    rounding: float,
    dtype: Any,
) -> str:
    """Explain why a tolerance cannot be reached, for features over ``size`` widths."""
    said = f"the best bound is {best:.1e}" if best < math.inf else "there is no bound"
    low, high = float(nodes.degrees.min()), float(nodes.degrees.max())
    if rounding > tol / 2:
        why = f"rounding in {dtype} alone adds {rounding:.1e} (pass float64 where that is float32)"
    elif size > WIDE:
        why = f"features extend over {size:.1e} widths (sigma) of the kernel, which costs digits"
    elif 2 * low > high:
        why = "that is its rounding"
    elif low > 1e-12 * high:
        why = f"degrees span a factor of {high / low:.1e}, and errors are relative to the largest"
    else:
        why = "some nodes have no neighbours to within rounding"
    loops = "" if self_loops else "keep the self-loops, "
    return (
        f"tol={tol:g} is below what a Fourier sum can certify here: {said}, since "
        f"{why}; raise tol= or sigma=, {loops}or take storage='tiled'"
    )
