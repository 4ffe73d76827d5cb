"""Cost model of the storages of W, and the choice of the cheapest for storage="auto".

A cost is the floating-point operations of a build and of the products that follow, in units of the
machine's matrix product; by default :data:`PRODUCTS` products with :data:`SIGNALS` signals, about
one Chebyshev filter. An exponential counts as :data:`EXP` operations: 2.6·10⁹ of them a second and
thread were measured, beside 150·10⁹ operations of products. Dense storage is excluded beyond
:data:`DENSE_BYTES`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gspnl._base.array import Array, namespace
from gspnl.affinity.kernels import Kernel
from gspnl.affinity.weights.base import STORAGES

PRODUCTS = 12
SIGNALS = 16
EXP = 60
DENSE_BYTES = 256 << 20
DENSE_SPECTRUM = 4096  # nodes up to which W without self-loops is dense, for exact spectra


@dataclass(frozen=True)
class Problem:
    """Sizes of one graph, and the number of graphs in a batch.

    Parameters
    ----------
    rows, columns : int
        Shape of W; not square where a block pools its keys.
    width : int
        Multiplications to compute one entry of M.
    rank : int
        Columns of a low-rank factor.
    symmetric : bool
        Whether M is symmetric, so that each pair is computed once.
    graphs : int
    itemsize : int
        Bytes of one number.
    """

    rows: int
    columns: int
    width: int
    rank: int
    symmetric: bool = True
    graphs: int = 1
    itemsize: int = 4


@dataclass(frozen=True)
class Work:
    """Products to make with W.

    Parameters
    ----------
    products, signals : int
        Number of products, and columns that each is applied to.
    outputs : int
        Channels to which the signals are mapped after each product; 0 where they are not.
    elementwise : float
        Operations of one entry of W besides those of its inner product.
    gram : bool
        Whether low rank needs one pass over its factor for all products together, the rest being
        done on its Gram matrix.
    """

    products: int = PRODUCTS
    signals: int = SIGNALS
    outputs: int = 0
    elementwise: float = EXP
    gram: bool = False


FILTER = Work()  # one Chebyshev filter


@dataclass(frozen=True)
class Cost:
    """Bytes stored by a batch of graphs, and operations of its build and products."""

    bytes: float
    operations: float


def dense(p: Problem, w: Work = FILTER) -> Cost:
    """Count N² entries, each computed once, and products of 2 operations an entry and signal."""
    pairs = p.graphs * p.rows * p.columns
    evaluations = 1 if p.symmetric else 2
    build = pairs * evaluations * (2 * p.width + w.elementwise)
    mapped = 2 * p.graphs * p.rows * w.signals * w.outputs
    return Cost(pairs * p.itemsize, build + w.products * (2 * w.signals * pairs + mapped))


def tiled(p: Problem, w: Work = FILTER) -> Cost:
    """Count all entries once more for every product; only points are stored."""
    pairs = p.graphs * p.rows * p.columns / (2 if p.symmetric else 1)
    each = pairs * (2 * p.width + w.elementwise + 4 * w.signals)
    return Cost(p.graphs * p.rows * p.width * p.itemsize, (w.products + 1) * each)


def lowrank(p: Problem, w: Work = FILTER) -> Cost:
    """Count two passes over the factor per product, or in all where ``gram`` holds."""
    outputs = w.outputs or w.signals
    passes = 2 * p.graphs * p.rank * (p.columns * w.signals + p.rows * outputs)
    size = p.graphs * p.rows * p.rank * p.itemsize
    if not w.gram:
        return Cost(size, w.products * passes)
    small = p.rank * w.signals * ((w.products - 1) * p.rank + w.products * outputs)
    gram = p.rank**2 * p.rows if w.products > 1 else 0
    return Cost(size, passes + 2 * p.graphs * (small + gram))


def sorted_(p: Problem, w: Work = FILTER) -> Cost:
    """Count a sort, then running sums."""
    n = p.graphs * p.rows
    return Cost(80 * n, n * (60 * math.log2(p.rows) + w.products * 40 * w.signals))


MODELS = {"dense": dense, "lowrank": lowrank, "sorted": sorted_, "tiled": tiled}


def problem_of(kernel: Kernel, X: Array, embed: tuple[Array, Array] | None) -> Problem:
    """Return the sizes of the graphs of features X (..., N, C)."""
    with np.errstate(over="ignore", invalid="ignore"):  # for the widths alone
        phi, psi = kernel.embed(X if kernel.nodewise else X[..., :1, :], embed)
    columns = phi.shape[-1] * (1 if psi is phi else 2)
    n, graphs = X.shape[-2], math.prod(X.shape[:-2])
    itemsize = 8 if X.dtype == namespace(X).float64 else 4
    return Problem(n, n, columns, columns, psi is phi, graphs, itemsize)


def storage_costs(kernel: Kernel, problem: Problem, *, self_loops: bool) -> dict[str, Cost]:
    """Return the costs of the storages that can hold the kernel."""
    costs = {
        name: model(problem) for name, model in MODELS.items() if STORAGES[name].supports(kernel)
    }
    if problem.rank >= problem.rows or (not self_loops and problem.rows <= DENSE_SPECTRUM):
        costs.pop("lowrank", None)
    return costs


def cheapest(costs: dict[str, Cost]) -> str:
    """Return the storage of the fewest operations, dense only if it is small."""
    fitting = {k: c for k, c in costs.items() if k != "dense" or c.bytes <= DENSE_BYTES}
    return min(fitting, key=lambda name: fitting[name].operations)


def choose(
    kernel: Kernel, X: Array, embed: tuple[Array, Array] | None, *, self_loops: bool
) -> tuple[str, str]:
    """Return the cheapest storage for features X (..., N, C), and the costs that were compared."""
    costs = storage_costs(kernel, problem_of(kernel, X, embed), self_loops=self_loops)
    best = cheapest(costs)
    others = "; ".join(_describe(name, c) for name, c in costs.items() if name != best)
    return best, _describe(best, costs[best]) + (f" (beside {others})" if others else "")


def _describe(name: str, cost: Cost) -> str:
    size = cost.bytes / 2**20
    stored = f"{size / 1024:.1f} GiB" if size > 1024 else f"{size:.2g} MiB"
    return f"{name}: {stored}, {cost.operations:.1e} operations a filter"
