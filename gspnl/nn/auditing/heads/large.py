"""Numbers of a large attention matrix from its products."""

from __future__ import annotations

import numpy as np

from gspnl._base.lanczos import lanczos, largest
from gspnl.filters.directed.core import Core
from gspnl.filters.directed.krylov import by_modulus, leading
from gspnl.nn.auditing.heads.dense import ZEROS, sink, spectral_gap
from gspnl.nn.auditing.heads.large_head import LargeHead
from gspnl.nn.auditing.heads.signals import constant_share, quotient
from gspnl.nn.auditing.heads.steps import Found, Step
from gspnl.nn.auditing.heads.tiles import Tiles

PROBES, STEPS_OF_PROBES = 32, 8  # columns and steps of stochastic Lanczos quadrature
EIGEN_TOL, EIGEN_STEPS = 1e-5, 12  # residual of eigenvectors, and blocks that are tried
PAIR_TOL, PAIR_STEPS = 1e-4, 12  # of symmetric operators, whose values err by its square
SMALL = 64  # probes of powers


def entropy(head: LargeHead) -> Found:
    """Mean entropy of the rows."""
    return {"entropy": head.rows.entropy}, {}


def distance(head: LargeHead) -> Found:
    """Mean distance between a query and what it attends to."""
    return {"distance": head.rows.distance}, {}


def low_frequency_share(head: LargeHead) -> Found:
    """Share of what the head writes in its column means."""
    return constant_share(head.case.written(head.rows.Y), head.case)


def stationary(head: LargeHead) -> Found:
    """π, and its largest entry."""
    pi, why = head.chain
    if pi is None:
        return {}, dict.fromkeys(("stationary", "sink_mass", "sink"), why)
    found, remarks = sink(head.case, pi)
    remarks.pop("reversible", None)
    return found, remarks


def pairs(head: LargeHead) -> Found:
    """Curl, and the flow that does not return."""
    pi, why = head.chain
    found: dict[str, float] = {}
    reasons: dict[str, str] = {}
    if head.tiles.triangular and pi is not None:
        return {"reversible": 0.0}, {
            "reversible": sink(head.case, pi)[1]["reversible"],
            "curl": ZEROS,
        }
    if pi is None:
        reasons["reversible"] = why
    else:
        found["reversible"] = head.pairs.irreversible
    if head.rows.zeros:
        reasons["curl"] = ZEROS
    else:
        found["curl"] = head.pairs.curl
    return found, reasons


def dirichlet(head: LargeHead) -> Found:
    """Dirichlet quotient of the features of the layer."""
    return quotient(head.case, head.fast.apply, *head.chain)


def eigenvalues(head: LargeHead) -> Found:
    """Eigenvalues of largest modulus by block Arnoldi, and the spectral gap."""
    if head.tiles.triangular:
        mu = head.tiles.diagonal().astype(complex)
        return spectral_gap(mu[by_modulus(mu)])
    core, _ = head.core
    k, n = max(2, head.k), head.tiles.n
    if core is None:
        found = leading(head.fast.apply, n, k, tol=EIGEN_TOL, seed=0, steps=EIGEN_STEPS)
        mu = found.eigenvalues
    else:
        found = leading(
            core.apply, n, k - 1, known=core.root, tol=EIGEN_TOL, seed=0, steps=EIGEN_STEPS
        )
        mu = np.append(1.0, found.eigenvalues)
    numbers, remarks = spectral_gap(mu)
    if not found.converged:
        remarks["eigenvalues"] = (
            f"of residuals up to {found.residual:.1e} after {found.products} blocks"
        )
        remarks.setdefault("gap", f"of a μ₂ whose residual is up to {found.residual:.1e}")
    return numbers, remarks


def sigma(head: LargeHead) -> Found:
    """Largest singular values of B, by block Lanczos on BᵀB."""
    core, why = head.core
    if core is None:
        return {}, {"sigma": why}
    rng = np.random.default_rng(0)
    found = largest(
        lambda Z: core.transpose(core.apply(Z)),
        lambda b: rng.standard_normal((core.n, b)),
        core.root,
        room=core.n - 1,
        count=max(1, head.k - 1),
        tolerance=PAIR_TOL,
        steps=PAIR_STEPS,
    )
    values = np.append(1.0, np.sqrt(np.maximum(found.values, 0)))
    return {"sigma": values}, _unsettled("sigma", found.found, found.residuals)


def _unsettled(name: str, found: bool, residuals: np.ndarray) -> dict[str, str]:
    if found:
        return {}
    return {
        name: f"lower bounds, with residuals up to {residuals.max():.1e}: they lie close together"
    }


def chung_gap(head: LargeHead) -> Found:
    """1 − λ₂ of the symmetric part of B, by block Lanczos."""
    core, why = head.core
    if core is None:
        return {}, {"chung_gap": why}
    rng = np.random.default_rng(0)
    found = largest(
        lambda Z: symmetric(core, head.fast, Z),
        lambda b: rng.standard_normal((core.n, b)),
        core.root,
        room=core.n - 1,
        count=1,
        tolerance=PAIR_TOL,
        steps=PAIR_STEPS,
    )
    value = max(0.0, float(1 - found.values[0]))
    return {"chung_gap": value}, _unsettled("chung_gap", found.found, found.residuals)


def symmetric(core: Core, tiles: Tiles, Z: np.ndarray) -> np.ndarray:
    """Compute ½(C + Cᵀ) Z with one pass over the entries."""
    Z = core.project(Z)
    there, back = tiles.both(Z / core.root, core.root * Z)
    return core.project(core.root * there + back / core.root) / 2


def plain_sigma(head: LargeHead) -> Found:
    """σ₁(A), and the effective rank by stochastic Lanczos quadrature on AᵀA."""
    tiles = head.fast
    size = min(tiles.n, tiles.m)

    def gram(Z: np.ndarray) -> np.ndarray:
        if tiles.n < tiles.m:
            return tiles.apply(tiles.transpose(Z))
        return tiles.transpose(tiles.apply(Z))

    start = np.random.default_rng(0).standard_normal((size, PROBES))
    found = lanczos(
        gram,
        start,
        np.zeros((size, 0)),
        done=lambda values, residuals: False,
        steps=STEPS_OF_PROBES,
    )
    values = np.sqrt(np.maximum(found.values, 0))
    live = values > 0
    s, weight = values[live], size * found.weights[live]
    total = float(weight @ s)
    rank = float(np.exp(np.log(total) - (weight * s) @ np.log(s) / total))
    told = (
        f"estimated by stochastic Lanczos quadrature ({PROBES} probes, {STEPS_OF_PROBES} steps), "
        "which gives up to a fifth too much"
    )
    numbers = {"spectral_norm": float(values.max()), "effective_rank": rank}
    return numbers, {"effective_rank": told}


def defect(head: LargeHead) -> Found:
    """Distances of A², A³, A⁴ from A, by Hutchinson's estimator."""
    Z = np.random.default_rng(0).choice([-1.0, 1.0], (head.tiles.n, SMALL))
    first = power = head.fast.apply(Z)
    found, errors = [], []
    for _ in range(3):
        power = head.fast.apply(power)
        squares = ((power - first) ** 2).sum(0)
        found.append(np.sqrt(squares.mean() / head.rows.squares))
        errors.append(squares.std(ddof=1) / squares.mean() / 2 / np.sqrt(SMALL))
    told = f"estimated from {SMALL} random signs, to about {max(errors):.1%} (one standard error)"
    return {"defect": np.array(found)}, {"defect": told}


def dobrushin(head: LargeHead) -> Found:
    """No number: pairs of rows take O(N³)."""
    most = max(head.tiles.n, head.tiles.m)
    why = f"N = {most:,} is more than nodes={head.nodes:,}, and pairs of rows take O(N³)"
    return {}, {"dobrushin": why}


STEPS: tuple[Step[LargeHead], ...] = (
    Step(("entropy",), entropy, square=False),
    Step(("low_frequency_share",), low_frequency_share, square=False),
    Step(("distance",), distance),
    Step(("dobrushin",), dobrushin, square=False),
    Step(("stationary", "sink_mass", "sink"), stationary, cheap=False),
    Step(("reversible", "curl"), pairs, cheap=False),
    Step(("chung_gap",), chung_gap, cheap=False),
    Step(("eigenvalues", "gap"), eigenvalues, cheap=False),
    Step(("sigma",), sigma, cheap=False),
    Step(("spectral_norm", "effective_rank"), plain_sigma, square=False, cheap=False),
    Step(("defect",), defect, cheap=False),
    Step(("dirichlet",), dirichlet, cheap=False),
)
