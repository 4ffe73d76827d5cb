"""Build low-rank weights of exponential kernels, to a rank or to an error bound."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gspnl._base.array import (
    Array,
    check_fits,
    constant,
    constant64,
    eps,
    float64,
    has_float64,
    like,
    namespace,
)
from gspnl._base.effort import Work
from gspnl._base.registry import Registry
from gspnl._base.validate import number, whole_number
from gspnl.affinity.approximation.base import Approximation
from gspnl.affinity.approximation.certificate import change_bound, core_bound, sinkhorn_bound
from gspnl.affinity.approximation.cholesky import PivotedFactor
from gspnl.affinity.approximation.features import orthogonal_directions, positive_features
from gspnl.affinity.approximation.forecast import Forecast, operations
from gspnl.affinity.approximation.fourier import fourier
from gspnl.affinity.approximation.points import (
    check_range,
    points_of,
    roots,
    rough_degrees,
    rounding_error,
    unsupported,
)
from gspnl.affinity.approximation.residual import Residual
from gspnl.affinity.approximation.sample import Estimate, Sample
from gspnl.affinity.approximation.search import Search
from gspnl.affinity.kernels import Exponential, Kernel
from gspnl.affinity.kernels.base import map_pair
from gspnl.affinity.kernels.scores import DIGITS, report
from gspnl.affinity.normalization import NORMALIZATIONS
from gspnl.affinity.normalize import normalize
from gspnl.affinity.weights import LowRank, Weights
from gspnl.affinity.weights.lowrank import core_of
from gspnl.affinity.weights.no_self_loops import without_self_loops
from gspnl.affinity.weights.stacked import Stacked
from gspnl.errors import DegreeError, GspnlError, InputError

METHODS: Registry[Method] = Registry("approximation")
EPS = float(np.finfo(np.float64).eps)
TOLERANCES = {4: 1e-4, 8: 1e-9}  # default tol= by the bytes of the dtype


@dataclass(frozen=True)
class Method:
    """An approximation of W.

    Parameters
    ----------
    build : callable
        ``build(kernel, pair, request, normalization, self_loops, work, X) -> (weights, report)``
        for one graph.
    join : callable
        ``join(list of weights, batch, self_loops) -> weights`` of one graph or a batch.
    storage : str
    nonnegative : bool
        Whether weights are positive where the kernel's are, but for rounding.
    takes : tuple of str
        Which of rank= and tol= it takes.
    covers : bool
        Whether it has a certificate for every normalisation.
    """

    build: Callable[..., tuple[Any, Approximation]]
    join: Callable[..., Weights]
    storage: str = "lowrank"
    nonnegative: bool = False
    takes: tuple[str, ...] = ("rank", "tol")
    covers: bool = False


@dataclass(frozen=True)
class Request:
    """Options of an approximation; one of ``rank`` and ``tol`` is set.

    A tolerance that is forecast to take more than ``seconds`` raises EffortError; where they are
    None, the limits of :class:`Forecast` apply.
    """

    method: str
    rank: int | None
    tol: float | None
    seed: int
    seconds: float | None = None


def make_request(
    rank: Any,
    tol: Any,
    method: str | None,
    seed: Any,
    n_nodes: int,
    storage: str,
    precision: float = EPS,
) -> Request:
    """Check the options of an approximation of features whose dtype has an eps of ``precision``."""
    asked, method = method, "cholesky" if method is None else method
    takes, kind = METHODS[method].takes, METHODS[method].storage
    if storage not in ("auto", kind):
        given = "rank= and tol=" if asked is None else f"approximation={method!r}"
        raise InputError(
            f"{given} have a storage of their own, such as {kind!r}; leave out "
            f"storage={storage!r}"
            + (f", or pass approximation={storage!r}" if storage in METHODS else "")
        )
    if rank is not None and "rank" not in takes:
        raise InputError(f"approximation={method!r} has no rank; pass tol= instead of rank=")
    if tol is not None and "tol" not in takes:
        raise InputError(f"approximation={method!r} has no certificate; pass rank=")
    if tol is None and "rank" not in takes:
        tol = TOLERANCES[4 if precision > 1e-10 else 8]
    if (rank is None) == (tol is None):
        raise InputError("an approximation needs one of rank= and tol=")
    if tol is not None:
        number("tol", tol, above=0)
    if rank is not None:
        rank = whole_number("rank", rank, 1, n_nodes, ", the nodes of the graph")
    seed = 0 if seed is None else whole_number("seed", seed)
    return Request(method, rank, None if tol is None else float(tol), seed)


def basis_of(normalization: str, pair: tuple[Array, Array] | None, request: Request) -> str:
    """Return the normalisation whose certificate holds for this one, or raise.

    Of a symmetric M, "chung" is "random_walk". The π of a directed M that is not ≥ 0, and its
    error, are not known.
    """
    if not NORMALIZATIONS[normalization].directed or request.method == "random_features":
        return normalization
    if pair is None or pair[0] is pair[1]:
        return "random_walk"
    raise InputError(
        f"normalization={normalization!r} of a directed kernel, Φ ≠ Ψ, has no approximation with "
        "an error bound; leave out rank= and tol= (storage='tiled' takes O(N) memory), pass "
        "approximation='random_features' with rank=, or embed=(V, V)"
    )


def approximate(
    kernel: Kernel,
    X: Array,
    pair: tuple[Array, Array] | None,
    request: Request,
    normalization: str,
    self_loops: bool,
) -> tuple[Weights, Approximation]:
    """Approximate W of features X (..., N, C) by low rank, graph by graph, with error bounds."""
    if not isinstance(kernel, Exponential):
        raise InputError(unsupported(kernel))
    paired = pair is not None and pair[0] is not pair[1]
    method = METHODS[request.method]
    covered = method.covers or certified(normalization, paired, self_loops)
    if request.tol is not None and not covered:
        raise InputError(
            f"normalization={normalization!r} has no certificate"
            + (" with Φ ≠ Ψ or without self-loops" if normalization in BOUNDS else "")
            + ", which tol= needs; pass rank=, or use 'random_walk'"
        )
    batch = tuple(X.shape[:-2])
    what = f"the approximation of {X.shape[-2]:,} nodes"
    with Work(what, _operations(X, request.rank), instead="lower rank=") as shown:
        found = [
            method.build(
                kernel.item(index), pair, request, normalization, self_loops, shown,
                X[(*index, ...)],
            )
            for index in np.ndindex(*batch)
        ]  # fmt: skip
    approximation = Approximation.stack([report for _, report in found], batch)
    return method.join([w for w, _ in found], batch, self_loops), approximation


def _one(items: list[LowRank], batch: tuple[int, ...], self_loops: bool) -> Weights:
    """Return the weights of one graph or of a batch, without the diagonal if not ``self_loops``."""
    weights = _stack(items, batch) if batch else items[0]
    return weights if self_loops else without_self_loops(weights)


def _operations(X: Array, rank: int | None) -> float:
    """Count the operations of a factor of some rank and of its certificate, for all graphs."""
    return 0.0 if rank is None else math.prod(X.shape[:-2]) * operations(X.shape[-2], rank)


def _stack(items: list[LowRank], batch: tuple[int, ...]) -> LowRank:
    """Stack factors into a batch, padded with columns of zeros to the largest rank."""
    xp = namespace(items[0].factor)
    paired = bool(constant(items[0].core)[0, 0] == 0)
    halves = 2 if paired else 1
    widest = max(w.factor.shape[-1] for w in items) // halves
    padded = []
    for w in items:
        half = w.factor.shape[-1] // halves
        zeros = xp.zeros((w.factor.shape[0], widest - half), dtype=w.factor.dtype)
        parts = [w.factor[:, i * half : (i + 1) * half] for i in range(halves)]
        padded.append(xp.concat([piece for part in parts for piece in (part, zeros)], axis=-1))
    factor = xp.reshape(xp.stack(padded), (*batch, *padded[0].shape))
    symmetric = not paired or bool(constant(items[0].core).T[0].any())
    core = like(core_of(factor.shape[-1], paired, symmetric), factor)
    return LowRank(factor, core, items[0].approximate)


def _pivoted(
    kernel: Exponential,
    pair: tuple[Array, Array] | None,
    request: Request,
    normalization: str,
    self_loops: bool,
    shown: Work,
    X: Array,
) -> tuple[LowRank, Approximation]:
    """Approximate by randomly pivoted Cholesky, or by Nyström."""
    for part in (X, *(pair or ())):
        if getattr(part, "requires_grad", False):
            raise GspnlError(
                f"approximation={request.method!r} picks its pivots in NumPy and carries no "
                "gradient; detach the features, or take approximation='random_features'"
            )
    pair = map_pair(constant64, pair)
    parts = roots(kernel, constant64(X), pair)
    check_range(parts, X)
    points = points_of(kernel, parts, X)
    n = X.shape[-2]
    # Pivots minimise D^-½ E D^-½, the error of the normalised graph, rather than E.
    root = np.sqrt(rough_degrees(points, n, request.seed))
    root = np.concatenate([root] * len(parts))
    tame = points.bounded and bool(root.min() >= 1)
    scaled = replace(points, h=points.h + np.log(root), bounded=tame)
    grown = PivotedFactor(scaled, request.seed, randomly=request.method == "cholesky")
    total = float(points.diagonal().sum())
    symmetric = NORMALIZATIONS[normalization].symmetrizes

    def rounding(rank: int) -> float:
        return 8 * max(rank, 1) * EPS + 2 * eps(X) * (eps(X) > EPS) + points.error

    def at(rank: int) -> tuple[LowRank, Approximation]:
        F = root[:, None] * grown.factor[:, :rank]
        paired = len(F) > n
        factor = like(np.concatenate([F[:n], F[n:]], axis=1) if paired else F, X)
        core = like(core_of(factor.shape[-1], paired, symmetric), X)
        weights = LowRank(factor, core, approximate=True)
        stored = constant(factor)
        residual = Residual(
            points, [stored[:, i * rank : (i + 1) * rank] for i in range(1 + paired)], self_loops,
            rounding(rank), request.seed,
        )  # fmt: skip
        trace = float(np.maximum(points.diagonal() - np.einsum("ij,ij->i", F, F), 0).sum()) / total
        bound, change = _bounds(kernel, weights, residual, normalization)
        plain = math.sqrt(math.prod(residual.plain_norms))
        return weights, Approximation(
            request.method, rank, request.seed, trace, plain, bound, change_bound=change
        )

    if request.rank is not None:
        grown.grow(request.rank)
        return at(grown.rank)
    tol = float(request.tol or 0)
    sample = Sample(points, n, self_loops, BOUNDS[normalization][1], request.seed)
    estimate = Estimate(grown, root, sample, rounding)

    def certify(rank: int) -> tuple[tuple[LowRank, Approximation], float]:
        found = at(rank)
        return found, found[1].bound

    forecast = Forecast(tol, n * len(parts), shown, request.seconds)
    return Search(grown, estimate, certify, tol, n, forecast).run()


def _bounds(
    kernel: Kernel, weights: LowRank, residual: Residual, normalization: str
) -> tuple[float, float]:
    """Certify ‖S − Ŝ‖_F and the change of T of the normalised graph, or return inf."""
    if not certified(normalization, len(residual.factors) == 2, residual.self_loops):
        return math.inf, math.inf
    fn, unit = BOUNDS[normalization]
    stored = weights if residual.self_loops else without_self_loops(weights)
    try:
        affinity = normalize(stored, kernel, normalization)
    except DegreeError:
        return math.inf, math.inf  # building the graph raises it again, with a remedy
    scale = constant64(affinity.core_scale)
    sums = residual.row_sums(np.ones_like(scale) if unit else scale)
    change = 0.0
    if normalization == "random_walk":
        change = change_bound(affinity, weights, residual, sums)
    return float(fn(affinity, weights, residual, sums)), change


def certified(normalization: str, paired: bool, self_loops: bool) -> bool:
    """Tell whether ‖S − Ŝ‖ has a bound; that of Sinkhorn needs a positive semi-definite W ≥ 0."""
    found = BOUNDS.get(normalization)
    return found is not None and (found[1] or (self_loops and not paired))


BOUNDS: dict[str, tuple[Callable[..., float], bool]] = {
    "random_walk": (core_bound, True),
    "symmetric": (core_bound, True),
    "bistochastic": (sinkhorn_bound, False),
}


def _random(
    kernel: Exponential,
    pair: tuple[Array, Array] | None,
    request: Request,
    normalization: str,
    self_loops: bool,
    shown: Work,
    X: Array,
) -> tuple[LowRank, Approximation]:
    """Approximate by positive random features, which carry gradients."""
    parts = roots(kernel, X, pair)
    check_range(parts, X)
    if not rounding_error(parts) <= DIGITS[eps(X)] and has_float64(X):
        parts = roots(kernel, float64(X), map_pair(float64, pair))
    report(rounding_error(parts), X)
    rank = int(request.rank or 0)
    check_fits((X.shape[-2], rank * len(parts)), X, "the random features", "lower rank=", copies=3)
    omega = orthogonal_directions(rank, parts[0][0].shape[-1], request.seed)
    xp = namespace(X)
    factor = like(xp.concat([positive_features(a, h, omega) for a, h in parts], axis=-1), X)
    symmetric = NORMALIZATIONS[normalization].symmetrizes
    weights = LowRank(factor, like(core_of(factor.shape[-1], len(parts) == 2, symmetric), factor))
    return weights, Approximation(request.method, rank, request.seed, *(math.inf,) * 3)


def _fourier(
    kernel: Exponential,
    pair: tuple[Array, Array] | None,
    request: Request,
    normalization: str,
    self_loops: bool,
    shown: Work,
    X: Array,
) -> tuple[Weights, Approximation]:
    """Approximate by a Fourier sum."""
    tol, seed = float(request.tol or 0), request.seed
    return fourier(kernel, pair, tol, seed, normalization, self_loops, X)


def _several(items: list[Weights], batch: tuple[int, ...], self_loops: bool) -> Weights:
    return Stacked(items, batch) if batch else items[0]


METHODS.register("cholesky")(Method(_pivoted, _one))
METHODS.register("nystrom")(Method(_pivoted, _one))
METHODS.register("random_features")(Method(_random, _one, nonnegative=True, takes=("rank",)))
METHODS.register("fourier")(
    Method(_fourier, _several, "fourier", nonnegative=True, takes=("tol",), covers=True)
)
