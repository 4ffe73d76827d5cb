"""Numbers of a dense attention matrix in float64."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from gspnl.filters.directed.krylov import by_modulus
from gspnl.nn.auditing.heads.case import HeadCase, log_weights
from gspnl.nn.auditing.heads.chain import stationary
from gspnl.nn.auditing.heads.positions import coordinates, distances
from gspnl.nn.auditing.heads.signals import constant_share, quotient
from gspnl.nn.auditing.heads.steps import Found, Step
from gspnl.signals.stability.contraction import coefficient

ZERO = np.finfo(float).eps  # share of its largest entry up to which an entry of π counts as 0
FIRST = "causal: all flow ends in the first node that takes part, π is 1 there and 0 elsewhere"
LOOP = "causal: the stationary flow is the loop at one node"
ZEROS = "A has zeros, so log A is not defined"
UNIT = 1e-10  # distance from the unit circle, and from 1, that counts as none
SINGLE = "one node: there is no second eigenvalue"


class DenseHead:
    """A head with its N × M matrix.

    Parameters
    ----------
    case : HeadCase
    grid : pair of int, or None
        Height and width, for distances.
    """

    def __init__(self, case: HeadCase, grid: tuple[int, int] | None) -> None:
        self.case, self.grid = case, grid
        self.log_A = log_weights(case)
        self.A: np.ndarray = np.exp(self.log_A)
        self.exact_zeros = bool(np.isneginf(self.log_A).any())

    @cached_property
    def chain(self) -> tuple[np.ndarray | None, str]:
        """π, or None and the reason."""
        return stationary(self.A)

    @cached_property
    def B(self) -> tuple[np.ndarray | None, str]:
        """Π^½ A Π^-½, or None and the reason."""
        pi, why = self.chain
        why = why or vanishing(pi)
        if pi is None or why:
            return None, why
        root = np.sqrt(pi)
        return root[:, None] * self.A / root, ""


def vanishing(pi: np.ndarray | None) -> str:
    """Tell of zeros of π; "" where there are none."""
    if pi is None:
        return ""
    zeros = int((pi <= ZERO * pi.max()).sum())
    return f"π is 0 at {zeros:,} of {len(pi):,} nodes, to rounding" if zeros else ""


def entropy(head: DenseHead) -> Found:
    """Mean entropy of the rows."""
    terms = np.where(head.A > 0, head.A * np.where(head.A > 0, head.log_A, 0), 0)
    return {"entropy": max(0.0, float(-terms.sum(1).mean()))}, {}


def distance(head: DenseHead) -> Found:
    """Mean distance between a query and what it attends to."""
    nodes, n = head.case.nodes, head.case.total
    D = distances(*(coordinates(each, head.grid, n) for each in (nodes.rows, nodes.columns)))
    return {"distance": float((head.A * D).sum(1).mean())}, {}


def low_frequency_share(head: DenseHead) -> Found:
    """Share of what the head writes in its column means."""
    V = head.case.value()
    return constant_share(head.case.written(None if V is None else head.A @ V), head.case)


def stationary_flow(head: DenseHead) -> Found:
    """π, its largest entry, and the flow that does not return."""
    pi, why = head.chain
    if pi is None:
        return {}, dict.fromkeys(("stationary", "sink_mass", "sink", "reversible"), why)
    flow = pi[:, None] * head.A
    found, remarks = sink(head.case, pi)
    found["reversible"] = min(1.0, float(np.abs(flow - flow.T).sum() / 2))
    return found, remarks


def sink(case: HeadCase, pi: np.ndarray) -> Found:
    """π at all nodes, and its largest entry."""
    full = np.zeros(case.total)
    full[case.nodes.rows] = pi
    found = {"stationary": full, "sink": int(full.argmax()), "sink_mass": float(full.max())}
    if case.nodes.kind != "causal":
        return found, {}
    return found, {"stationary": FIRST, "reversible": LOOP}


def dirichlet(head: DenseHead) -> Found:
    """Dirichlet quotient of the features of the layer."""
    return quotient(head.case, lambda y: head.A @ y, *head.chain)


def curl(head: DenseHead) -> Found:
    """Share of the antisymmetric part of log A that is no gradient."""
    if head.exact_zeros:
        return {}, {"curl": ZEROS}
    s = head.log_A
    K = s - s.T
    size = float(np.linalg.norm(K))
    if size <= head.case.rounding * len(K) * max(1.0, float(np.abs(s).max())):
        return {"curl": 0.0}, {}
    h = K.mean(1)
    rest = float(np.linalg.norm(K - h[:, None] + h))
    return {"curl": min(1.0, (rest / size) ** 2)}, {}


def plain_sigma(head: DenseHead) -> Found:
    """σ₁(A), and the effective rank."""
    sigma = np.linalg.svd(head.A, compute_uv=False)
    share = sigma[sigma > 0] / sigma.sum()
    rank = float(np.exp(-(share * np.log(share)).sum()))
    return {"spectral_norm": float(sigma[0]), "effective_rank": rank}, {}


def spectral_gap(mu: np.ndarray) -> Found:
    """Eigenvalues and 1 − |μ₂|, and why it is 0: μ = 1 repeated, or a period."""
    if len(mu) == 1:
        return {"eigenvalues": mu}, {"gap": SINGLE}
    found = {"eigenvalues": mu, "gap": float(np.clip(1 - abs(mu[1]), 0, 1))}
    on = mu[np.abs(mu) > 1 - UNIT]
    if len(on) <= 1:  # none by products that have not converged
        return found, {}
    if (ones := int((np.abs(on - 1) < UNIT).sum())) > 1:
        told = f"μ = 1 is repeated {ones} times: parts of the nodes exchange nothing"
    else:
        told = f"A has period {len(on)}: its powers do not converge"
    return found, {"gap": told}


def eigenvalues(head: DenseHead) -> Found:
    """Eigenvalues of A, and the spectral gap."""
    causal = head.case.nodes.kind == "causal"  # A is triangular
    mu = (np.diag(head.A) if causal else np.linalg.eigvals(head.A)).astype(complex)
    mu = mu[by_modulus(mu)]
    return spectral_gap(mu)


def chung_gap(head: DenseHead) -> Found:
    """1 − λ₂ of the symmetric part of B."""
    B, why = head.B
    if B is None or len(B) == 1:
        return {}, {"chung_gap": why or SINGLE}
    lam = np.linalg.eigvalsh((B + B.T) / 2)
    return {"chung_gap": max(0.0, float(1 - lam[-2]))}, {}


def sigma(head: DenseHead) -> Found:
    """Singular values of B."""
    B, why = head.B
    if B is None:
        return {}, {"sigma": why}
    return {"sigma": np.linalg.svd(B, compute_uv=False)}, {}


def defect(head: DenseHead) -> Found:
    """Distances of A², A³, A⁴ from A."""
    A = head.A
    square = A @ A
    size = np.linalg.norm(A)
    powers = (square, square @ A, square @ square)
    return {"defect": np.array([np.linalg.norm(P - A) for P in powers]) / size}, {}


def dobrushin(head: DenseHead) -> Found:
    """Largest total variation between two rows."""
    found = coefficient(lambda nodes: head.A[nodes], len(head.A))
    return {"dobrushin": min(1.0, found)}, {}


STEPS: tuple[Step[DenseHead], ...] = (
    Step(("entropy",), entropy, square=False),
    Step(("low_frequency_share",), low_frequency_share, square=False),
    Step(("distance",), distance),
    Step(("stationary", "sink_mass", "sink", "reversible"), stationary_flow),
    Step(("dirichlet",), dirichlet),
    Step(("curl",), curl),
    Step(("spectral_norm", "effective_rank"), plain_sigma, square=False, cheap=False),
    Step(("chung_gap",), chung_gap, cheap=False),
    Step(("eigenvalues", "gap"), eigenvalues, cheap=False),
    Step(("sigma",), sigma, cheap=False),
    Step(("defect",), defect, cheap=False),
    Step(("dobrushin",), dobrushin, square=False, cheap=False),
)
