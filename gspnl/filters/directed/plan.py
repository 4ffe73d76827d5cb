"""Plan filters of a directed graph: region, order and certificate."""

from __future__ import annotations

import math

import numpy as np

from gspnl._base.blas import on_one_thread
from gspnl.chebyshev.certificate import resolve
from gspnl.chebyshev.target import make_target
from gspnl.errors import NonsymmetricError
from gspnl.filters.directed.expansions import EPS, Expansion, evaluate_series, expand
from gspnl.filters.directed.filter import DirectedFilter
from gspnl.filters.directed.regions import DirectedGraph
from gspnl.filters.directed.spectrum import DENSE
from gspnl.responses import Response
from gspnl.responses.evaluate import evaluate

GOOD = 1e-6  # bound, relative to the response, below which no sharper region is looked for
FINE = 1e-13  # the same where the graph is small, so that the numerical range is cheap
ROOM = 100.0  # ratio of bounds, all of rounding, at which an exact filter takes fewer terms
SHORT = 64  # order below which that of an exact filter or of a tolerance is short enough


@on_one_thread
def directed_filter(
    graph: DirectedGraph,
    response: Response,
    order: int | None = None,
    tol: float | None = None,
) -> DirectedFilter:
    """Plan the filter of a given order, of the least order certified to ``tol``, or exact.

    Raises
    ------
    NonsymmetricError
        Where π has zeros or is not unique, the response is not analytic on any region that bounds
        the graph, or the bound is not below the size of the response.
    """
    at_one, moved = (float(v) for v in evaluate(response, np.array([0.0, graph.rounding])))
    slack = abs(moved - at_one)  # rows of A sum to 1 up to rounding
    first = _plan(graph, expand(response, graph.disc, at_one), at_one, slack, order, tol)
    good = GOOD if graph.core.n > DENSE else FINE
    if first is not None and _enough(first, order, tol, good):
        return _checked(graph, first, response, order, tol)
    plans = [first]
    for region in graph.sharper:
        plans.append(_plan(graph, expand(response, region, at_one), at_one, slack, order, tol))
    found = [plan for plan in plans if plan is not None]
    if not found:
        evaluate(response, 1 - np.linspace(-1, 1, 65) * graph.disc.across)  # its own error first
        raise NonsymmetricError(
            f"{response!r} is not analytic at the complex λ of this directed graph, or too sharp: "
            f"in |1 − λ| ≤ σ₂ = {graph.sigma:.4g} and in the numerical range it jumps, has poles "
            "or kinks, or takes real λ only; use a smooth response such as gspnl.responses.heat, "
            "or normalization='chung' or 'random_walk', whose λ are real"
        )
    if order is not None:
        best = min(found, key=lambda plan: plan.error_bound)
    else:  # the shortest of those that are accurate enough
        least = min(plan.error_bound for plan in found)
        limit = max(tol, least) if tol is not None else ROOM * least
        best = min((p for p in found if p.error_bound <= limit), key=lambda plan: plan.order)
    return _checked(graph, best, response, order, tol)


def linear(response: Response) -> tuple[float, float] | None:
    """Return (a, b) of a response a + b (1 − λ) on [0, 2], whose filter needs no certificate."""
    found = resolve(make_target(response, (0.0, 2.0), None))
    if found is None or len(found.coefficients) > 2:
        return None
    c = np.append(found.coefficients, [0.0, 0.0])
    return float(c[0]), -float(c[1])


def _enough(plan: DirectedFilter, order: int | None, tol: float | None, good: float) -> bool:
    """Return whether the disc of σ₂ serves, so that the numerical range is not computed."""
    if order is not None:
        return plan.error_bound <= good * max(abs(plan.gain), EPS)
    return plan.order <= SHORT and (tol is None or plan.error_bound <= tol)


def _plan(
    graph: DirectedGraph,
    found: Expansion | None,
    at_one: float,
    slack: float,
    order: int | None,
    tol: float | None,
) -> DirectedFilter | None:
    """Cut an expansion to an order, the least one within ``tol``, or not at all."""
    if found is None:
        return None
    most = len(found.coefficients) - 1
    noise = slack + _rounding(graph, found, at_one, most)
    if order is not None:
        cut = min(order, most)
    elif tol is None:
        cut = most
    else:
        sums = found.region.constant * found.tails() + noise
        below = np.nonzero(sums <= tol)[0]
        cut = int(below[0]) if len(below) else most
        while cut > 0 and found.region.constant * found.tail(cut - 1) + noise <= tol:
            cut -= 1
    noise = min(noise, slack + _rounding(graph, found, at_one, cut))
    bound = found.region.constant * found.tail(cut) + noise
    return DirectedFilter(
        found.coefficients[: cut + 1],
        found.region,
        bound,
        at_one,
        graph.stationary,
        graph.affinity,
    )


def _rounding(graph: DirectedGraph, found: Expansion, at_one: float, order: int) -> float:
    r"""Bound the rounding of the terms of a series, and the effect of that of A and π on g(A).

    A term F_k passes the error of one product on by the others, k times at most: k(k + 1)/2
    products of size (1 + \|c\|)/s. The derivative of g(A) is at most that of the series on C, and
    between the constant mode and C it is (g(0) − g) / (1 − C).
    """
    region = found.region
    k = np.arange(len(found.coefficients))
    sizes = np.abs(found.coefficients)
    spread = (1 + abs(region.centre)) / region.scale
    growth = k if region.skew == 0 and region.constant == 1 else k * (k + 1) * region.constant**2
    slope = spread * float((sizes * growth).sum())
    passed = spread * float((sizes * growth)[: order + 1].sum())
    across = 2 * region.constant * (abs(at_one) + found.size) / graph.mixing
    sums = 4 * region.constant * (float(sizes.sum()) + abs(at_one))
    return graph.rounding * (slope + passed + across + sums)


def _checked(
    graph: DirectedGraph,
    plan: DirectedFilter,
    response: Response,
    order: int | None,
    tol: float | None,
) -> DirectedFilter:
    """Return the plan, or raise where its bound misses the tolerance or says nothing."""
    if tol is not None and plan.error_bound > tol:
        raise NonsymmetricError(
            f"tol={tol:g} is below what is certified on this directed graph (best bound "
            f"{plan.error_bound:.1e} at order {plan.order}, on {plan.region}); ask for less, use "
            "float64 features, or normalization='chung' or 'random_walk'"
        )
    size = max(abs(plan.gain), float(np.abs(_values(plan)).max()))
    if not plan.error_bound < size and plan.error_bound > 64 * EPS:
        raise NonsymmetricError(
            f"the best bound of the error of {response!r}, {plan.error_bound:.2g} (on "
            f"{plan.region}; σ₂ = {graph.sigma:.4g}), is not below the response itself, "
            f"{size:.2g}; use a higher order=, a smoother response, or normalization='chung' or "
            "'random_walk'"
        )
    if not math.isfinite(plan.error_bound):
        raise NonsymmetricError(f"no finite bound of {response!r} on this directed graph")
    return plan


def _values(plan: DirectedFilter) -> np.ndarray:
    """Return the polynomial on the boundary of its region."""
    w = np.exp(1j * np.linspace(0, 2 * math.pi, 256, endpoint=False))
    return evaluate_series(plan.coefficients, plan.region, plan.region.at(w))
