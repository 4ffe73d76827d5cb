"""Which storage is the cheapest for a graph: the cost model behind storage="auto".

Costs are counted in floating-point operations of the machine's matrix product, for a build and
:data:`PRODUCTS` products with :data:`SIGNALS` signals, about one Chebyshev filter. An exponential
counts as :data:`EXP` operations: 2.6·10⁹ of them a second and thread were measured, beside
150·10⁹ operations of products. Dense storage is passed over beyond :data:`DENSE_BYTES`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gspnl._base.array import Array, namespace
from gspnl.affinity.kernels import Kernel
from gspnl.affinity.weights.base import STORAGES

PRODUCTS = 12
SIGNALS = 16
EXP = 60
DENSE_BYTES = 256 << 20
HOLLOW_NODES = 4096  # a low-rank W without self-loops has an exact spectrum only as a dense matrix


@dataclass(frozen=True)
class Problem:
    """What a graph asks of its storage: sizes, per graph of a batch."""

    graphs: int
    nodes: int
    points: int  # columns of φ and of ψ together, or of φ where they are the same
    symmetric: bool  # whether M is
    itemsize: int


@dataclass(frozen=True)
class Cost:
    """Bytes held and operations of a build and its products, of the whole batch."""

    bytes: float
    operations: float


def dense(p: Problem) -> Cost:
    """N² entries, each made once; then products at 2 operations an entry."""
    pairs = p.graphs * p.nodes**2
    ways = 1 if p.symmetric else 2
    made = pairs * ways * (2 * p.points + EXP)
    return Cost(pairs * p.itemsize, made + PRODUCTS * 2 * SIGNALS * pairs)


def tiled(p: Problem) -> Cost:
    """Nothing held but the points; every product makes all entries again."""
    pairs = p.graphs * p.nodes**2 / (2 if p.symmetric else 1)
    each = pairs * (2 * p.points + EXP + 4 * SIGNALS)
    return Cost(p.graphs * p.nodes * p.points * p.itemsize, (PRODUCTS + 1) * each)


def lowrank(p: Problem) -> Cost:
    """Two passes over the factor a product."""
    entries = p.graphs * p.nodes * p.points
    return Cost(entries * p.itemsize, PRODUCTS * 4 * SIGNALS * entries)


def sorted_(p: Problem) -> Cost:
    """A sort, then running sums."""
    n = p.graphs * p.nodes
    return Cost(80 * n, n * (60 * math.log2(p.nodes) + PRODUCTS * 40 * SIGNALS))


MODELS = {"dense": dense, "lowrank": lowrank, "sorted": sorted_, "tiled": tiled}


def choose(
    kernel: Kernel, X: Array, embed: tuple[Array, Array] | None, *, self_loops: bool
) -> tuple[str, str]:
    """The cheapest storage of features X (..., N, C), and why it is."""
    phi, psi = kernel.embed(X[..., :1, :], embed)
    columns = phi.shape[-1] * (1 if psi is phi else 2)
    n, graphs = X.shape[-2], math.prod(X.shape[:-2])
    itemsize = 8 if X.dtype == namespace(X).float64 else 4
    problem = Problem(graphs, n, columns, psi is phi, itemsize)
    costs = {
        name: model(problem) for name, model in MODELS.items() if STORAGES[name].supports(kernel)
    }
    if columns >= n or (not self_loops and n <= HOLLOW_NODES):
        costs.pop("lowrank", None)
    fitting = {k: c for k, c in costs.items() if k != "dense" or c.bytes <= DENSE_BYTES}
    best = min(fitting, key=lambda name: fitting[name].operations)
    others = "; ".join(_said(name, c) for name, c in costs.items() if name != best)
    return best, _said(best, costs[best]) + (f" (beside {others})" if others else "")


def _said(name: str, cost: Cost) -> str:
    size = cost.bytes / 2**20
    held = f"{size / 1024:.1f} GiB" if size > 1024 else f"{size:.2g} MiB"
    return f"{name}: {held}, {cost.operations:.1e} operations a filter"
