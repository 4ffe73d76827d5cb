"""Choose the cheapest certified way to products with W for a tolerance alone.

Three ways are compared by the operations of a build and of one filter, as storages are
(:mod:`gspnl.affinity.weights.choice`):

- a Fourier sum, whose grid and tolerance follow from estimated degrees;
- low rank by Cholesky, whose rank is that at which the eigenvalues of a sample of nodes leave less
  than the tolerance;
- the exact storages, dense and tiled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from gspnl._base.array import Array, carries_gradient, constant64, eps
from gspnl._base.effort import rate, seconds_allowed
from gspnl._base.extras import older, spec
from gspnl.affinity.approximation.base import Approximation
from gspnl.affinity.approximation.build import Request, certified
from gspnl.affinity.approximation.forecast import operations as cholesky_operations
from gspnl.affinity.approximation.fourier.build import (
    DIMENSIONS,
    planned_for,
    scaled_points,
)
from gspnl.affinity.approximation.fourier.device import check_device
from gspnl.affinity.approximation.fourier.factor import pays
from gspnl.affinity.approximation.fourier.transform import OLDEST, Transform
from gspnl.affinity.approximation.points import points_of, roots
from gspnl.affinity.kernels import Exponential, Kernel
from gspnl.affinity.kernels.base import map_pair
from gspnl.affinity.kernels.scores import DIGITS
from gspnl.affinity.weights.choice import (
    FILTER,
    Work,
    cheapest,
    lowrank,
    problem_of,
    storage_costs,
)
from gspnl.errors import DegreeError, EffortError, GspnlError, ToleranceError

SAMPLE = 512  # nodes whose eigenvalues predict the rank
MOST = 0.4  # share of them up to which the prediction is trusted
STEPS = 2.0  # time of the search for a rank, in that of the rank it ends with
GRAM = Work(gram=True)


@dataclass(frozen=True)
class Way:
    """The ways to W that are left, of which the cheapest is taken.

    Parameters
    ----------
    costs : dict
        Operations of a filter by "exact", "fourier" and "cholesky".
    said : dict
        What is said of each, also of one that cannot be taken.
    report : Approximation
        Of the exact graph.
    exact : float
        Operations of a filter on the exact graph, also where it is not certified.
    """

    costs: dict[str, float]
    said: dict[str, str]
    report: Approximation
    exact: float

    @property
    def name(self) -> str:
        """The cheapest way."""
        return min(self.costs, key=lambda name: self.costs[name])

    @property
    def method(self) -> str | None:
        """Name of an approximation; None for the exact graph."""
        return None if self.name == "exact" else self.name

    @property
    def reason(self) -> str:
        """The costs that were compared."""
        others = "; ".join(text for name, text in self.said.items() if name != self.name)
        beside = f" (beside {others})" if others else ""
        return self.said[self.name] + beside

    @property
    def seconds(self) -> float:
        """Time after which a search for a rank is given up: three exact filters, at least 20 s."""
        return max(20.0, 3 * self.exact / rate())

    def after(self, error: EffortError | ToleranceError) -> Way:
        """Return the ways that are left after one failed; raises ``error`` if they take long."""
        costs, said = dict(self.costs), dict(self.said)
        del costs[self.name]
        said[self.name] = f"{said[self.name]}, given up: {error}"
        left = replace(self, costs=costs, said=said)
        if not costs or costs[left.name] / rate() > seconds_allowed():
            raise error
        return left


def choose_way(
    kernels: Kernel,
    X: Array,
    pair: tuple[Array, Array] | None,
    request: Request,
    normalization: str,
    *,
    self_loops: bool,
) -> Way:
    """Return the cheapest way to features X (..., N, C) for the tolerance of ``request``."""
    batch = tuple(X.shape[:-2])
    first = (0,) * len(batch)
    assert isinstance(kernels, Exponential)  # others have no approximation
    x, kernel = X[(*first, ...)], cast(Exponential, kernels.item(first))
    tol, seed = float(request.tol or 0), request.seed
    problem = problem_of(kernel, x, pair)
    storages = storage_costs(kernel, problem, self_loops=self_loops)
    storage = cheapest(storages)
    exact = storages[storage].operations
    entry = _rounding(kernels, X, pair)
    bound, size = 2 * entry * math.sqrt(problem.rows), problem.rows if kernels.bounded else math.inf
    report = Approximation.stack(
        [Approximation("exact", problem.rows, seed, entry, entry * size, bound)] * math.prod(batch),
        batch,
    )
    costs: dict[str, float] = {}
    said = {"exact": f"{storage}, exact: {exact:.1e} operations a filter"}
    if bound <= tol:
        costs["exact"] = exact
    else:
        said["exact"] += f", certified to {bound:.1e} in {X.dtype}"
    grid = _fourier(kernel, x, pair, tol, normalization, self_loops, seed)
    if isinstance(grid, str):
        said["fourier"] = grid
    elif grid is not None:
        cost, modes = grid
        said["fourier"] = f"fourier: {modes} modes, {cost:.1e} operations a filter"
        if spec("finufft") is None or older("finufft", OLDEST) is not None:
            said["fourier"] += ", which needs finufft: pip install 'gspnl[fourier]'"
        else:
            costs["fourier"] = cost
    paired = pair is not None and pair[0] is not pair[1]
    if certified(normalization, paired, self_loops) and not any(
        carries_gradient(part) for part in (x, *(pair or ()))
    ):
        rank = _rank(kernel, x, pair, tol, seed)
        if rank is not None:
            work = lowrank(replace(problem, rank=rank), GRAM).operations
            costs["cholesky"] = work + STEPS * cholesky_operations(problem.rows, rank)
            said["cholesky"] = (
                f"lowrank: about rank {rank:,}, {costs['cholesky']:.1e} operations a filter"
            )
    if not costs:
        raise ToleranceError(
            f"tol={tol:g} is below what can be certified here: {'; '.join(said.values())}; raise "
            "tol=, use float64, or leave tol= out for exact weights"
        )
    return Way(costs, said, report, exact)


def _rounding(kernel: Exponential, X: Array, pair: tuple[Array, Array] | None) -> float:
    """Bound the relative rounding error of the entries of W, of all graphs; ‖S‖_F ≤ √N."""
    with np.errstate(over="ignore", invalid="ignore"):  # the exact build tells
        phi, psi = kernel.embed(X, pair)
        q, k = kernel.scores(phi, psi)
        error = kernel.score_error(q, k, same=psi is phi)
    return min(error, DIGITS[eps(X)]) + 8 * eps(X)


def _fourier(
    kernel: Kernel,
    X: Array,
    pair: tuple[Array, Array] | None,
    tol: float,
    normalization: str,
    self_loops: bool,
    seed: int,
) -> tuple[float, str] | str | None:
    """Return the cost of a Fourier sum and its modes, or why there is none; None for Φ ≠ Ψ."""
    if pair is not None and pair[0] is not pair[1]:
        return None
    scaled = scaled_points(kernel, X, pair)
    if scaled.values.shape[1] > DIMENSIONS:
        return f"no Fourier sum in {scaled.values.shape[1]} dimensions"
    try:
        check_device(X)
        sums = planned_for(scaled, tol, normalization, self_loops, seed)
    except GspnlError as error:  # a GPU, too many modes, or functions of the last axes
        return f"no Fourier sum: {error}"
    if sums is None:
        return "no Fourier sum within the tolerance"
    # Filters on the Gram matrix of the modes take its table and two halves of a product.
    factored = isinstance(sums, Transform) and pays(sums) and self_loops
    products = 3 if factored else FILTER.products
    cost = products * sums.operations(FILTER.signals) + 4 * sums.operations(2)
    return cost, " × ".join(map(str, sums.modes))


def _rank(
    kernel: Exponential, X: Array, pair: tuple[Array, Array] | None, tol: float, seed: int
) -> int | None:
    """Predict the rank of a tolerance; None where a sample of nodes shows no low rank."""
    n = X.shape[-2]
    count = min(n, SAMPLE)
    nodes = np.random.default_rng([seed, 6]).choice(n, count, replace=False)
    part = constant64(X)[nodes]
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            points = points_of(kernel, roots(kernel, part, map_pair(constant64, pair)), part)
    except DegreeError:  # scores without digits, or beyond the range
        return None
    last = len(points.a) - count  # rows of Ψ where it differs
    K = points.block(np.arange(count), np.arange(count) + last)
    K = (K + K.T) / 2
    loops = K.diagonal().copy()
    d = loops + (n - 1) / max(count - 1, 1) * (K.sum(1) - loops)
    if not (np.isfinite(d).all() and (d > 0).all()):
        return None
    S = K / np.sqrt(d[:, None] * d) * (n / count)
    left = np.cumsum(np.abs(np.linalg.eigvalsh(S)))  # ascending: what smaller ranks leave
    rank = max(int((left > tol).sum()), 1)
    return rank if rank <= MOST * count and rank < n - 1 else None
