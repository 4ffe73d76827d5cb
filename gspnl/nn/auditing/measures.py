"""Measure a block's affinity on one feature map: eigenvalues, spectral gap, idempotence defect."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gspnl._base.array import constant
from gspnl._base.blas import on_one_thread
from gspnl.affinity.normalization import NORMALIZATIONS
from gspnl.errors import ConvergenceError, DegreeError, SizeError
from gspnl.graph.build import feature_graph
from gspnl.graph.graph import FeatureGraph
from gspnl.nn.affinity import FeatureAffinity, Pooled
from gspnl.nn.operators import Factored, Operator
from gspnl.nn.pointwise import Pointwise
from gspnl.nn.structured import Grouped, Unconnected
from gspnl.signals.stability import idempotence_defect, spectral_gap
from gspnl.signals.stability.depth import matrix_defect, mode_gap
from gspnl.signals.stability.modes import modes, nonconstant

COMPLEX = "A is not similar to a symmetric matrix, so λ is complex in general"
JOINED = "nodes are pairs of a position and a channel, which A joins"


@dataclass(frozen=True, eq=False)
class AffinityAudit:
    r"""The affinity A of a block on one item of a batch.

    Attributes
    ----------
    nodes : int
        N, positions; for "cgnl" the pairs of a position and an inner channel.
    modes : array of shape (m,), or None
        The eigenvalues μ of A; complex where A is not similar to a symmetric matrix.
    counts : array of int of shape (m,), or None
        The multiplicity of each; they sum to N.
    gap : float or None
        1 − \|μ₂\|, as :func:`gspnl.stability.spectral_gap` defines it.
    defect : float or None
        Of the stable hypothesis, as :func:`gspnl.stability.idempotence_defect` defines it.
    reasons : mapping of str to str
        For "eigenvalues", "gap" and "defect": why the value is None, or a remark on it.
    graph : FeatureGraph or None
        The same affinity as a graph of the core, where the core has it.
    """

    nodes: int
    modes: np.ndarray | None = None
    counts: np.ndarray | None = None
    gap: float | None = None
    defect: float | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    graph: FeatureGraph | None = None

    @property
    def eigenvalues(self) -> np.ndarray | None:
        """λ = 1 − μ, N values, ascending by real part; or None."""
        if self.modes is None:
            return None
        assert self.counts is not None
        lam = 1 - np.repeat(self.modes, self.counts)
        return lam[np.argsort(lam.real, kind="stable")]


def size_limit(n: int, most: int) -> str:
    """Return the reason why a value that needs N × N entries is missing."""
    return f"N = {n:,} is more than nodes={most:,}, beyond which N × N matrices are not made"


@on_one_thread
def audit_affinity(
    affinity: nn.Module, X: Tensor, spatial: tuple[int, ...], most: int
) -> AffinityAudit:
    """Measure the affinity of features X (N, C) in float64; N × N entries up to ``most`` nodes."""
    try:
        if isinstance(affinity, FeatureAffinity) and _in_core(affinity, len(X)):
            return _core_audit(affinity, X, most)
        return _operator_audit(affinity, X, spatial, most)
    except (ConvergenceError, DegreeError, SizeError) as error:
        return _unknown(len(X), str(error))


def _unknown(nodes: int, reason: str) -> AffinityAudit:
    return AffinityAudit(nodes, reasons=dict.fromkeys(("eigenvalues", "gap", "defect"), reason))


def _in_core(affinity: FeatureAffinity, nodes: int) -> bool:
    """Return whether the core has this graph, in low rank where the block has it so."""
    if affinity.normalization not in NORMALIZATIONS or affinity.pool is not None or nodes < 2:
        return False
    return NORMALIZATIONS[affinity.normalization].symmetric_core or not affinity.kernel.bilinear


def _core_audit(affinity: FeatureAffinity, X: Tensor, most: int) -> AffinityAudit:
    """Measure the affinity as a graph of the core."""
    n, isolated = len(X), 0
    graph = _core_graph(affinity, X.numpy(), most)
    if affinity.isolated == "zero":  # the core has A_ii = 1 there: take the graph of the others
        live = np.isfinite(constant(graph.log_degrees))
        isolated = n - int(live.sum())
        if isolated > n - 2:
            return _unknown(n, "all but a position or none are isolated")
        if isolated:
            graph = _core_graph(affinity, X.numpy()[live], most)
    symmetric = NORMALIZATIONS[affinity.normalization].symmetric_core
    if n > most and graph.storage != "lowrank":
        reason = size_limit(n, most)
        if not symmetric:
            return _unknown(n, reason)
        reasons = {"eigenvalues": reason, "defect": reason}
        return AffinityAudit(n, gap=spectral_gap(graph), reasons=reasons, graph=graph)
    mu, multiplicities = modes(graph)
    counts = multiplicities.astype(int)
    gap = spectral_gap(graph) if symmetric else _gap(mu, counts)
    defect = idempotence_defect(graph)
    reasons = {} if symmetric else {"eigenvalues": COMPLEX}
    if isolated:
        mu, counts = np.append(mu, 0.0), np.append(counts, isolated)
        reasons["gap"] = (
            f"without {isolated:,} isolated positions, of which isolated='zero' has μ = 0"
        )
    return AffinityAudit(n, mu, counts, gap, defect, reasons, graph)


def _core_graph(affinity: FeatureAffinity, X: np.ndarray, most: int) -> FeatureGraph:
    """Return the core's graph of X; biases of embeddings become weights of a column of ones."""
    kernel = affinity.kernel
    embed: Any = None
    if kernel.embedding != "none":
        if affinity.phi.bias is not None:
            X = np.concatenate([X, np.ones((len(X), 1))], axis=-1)
        pair = [_embedding(each) for each in (affinity.phi, affinity.psi)]
        embed = tuple(w[:, 0] if kernel.embedding == "vectors" else w for w in pair)
    storage = "lowrank" if kernel.bilinear and len(X) > most else "auto"
    return feature_graph(X, kernel, embed, affinity.normalization, storage)


def _embedding(layer: Pointwise) -> np.ndarray:
    """Return the weights (C, r), or (C + 1, r) with the bias."""
    parts = [layer.weight.detach().double().cpu().numpy().T]
    if layer.bias is not None:
        parts.append(layer.bias.detach().double().cpu().numpy()[None])
    return np.concatenate(parts)


def _operator_audit(
    affinity: nn.Module, X: Tensor, spatial: tuple[int, ...], most: int
) -> AffinityAudit:
    """Measure an affinity that the core does not have, by its factors or as a dense matrix."""
    n, exact = len(X), copy.deepcopy(affinity).cpu().double()
    if isinstance(exact, FeatureAffinity) and exact.kernel.bilinear and n > 1:
        exact.storage = "lowrank"
    operator = exact(X[None], spatial)
    if isinstance(operator, Unconnected):
        reasons = {"gap": "there are no edges, and all modes are constant"}
        return AffinityAudit(n, np.ones(1), np.array([n]), None, 0.0, reasons)
    if isinstance(operator, Pooled):
        return _unknown(n, "keys are max-pooled: A takes fewer positions than it gives")
    grouped = isinstance(operator, Grouped)
    inner = operator.operator if isinstance(operator, Grouped) else operator
    if isinstance(inner, Factored) and not inner.swap:
        mu, counts, defect = _factored_modes(inner)
    elif n <= most:
        A = operator.apply(torch.eye(n, dtype=X.dtype)[None])[0].numpy()
        mu, counts, defect = np.linalg.eigvals(A), np.ones(n, dtype=int), matrix_defect(A)
    else:
        return _unknown(n, f"N = {n:,} is more than nodes={most:,}, and A has no low rank")
    nodes = int(counts.sum())
    reasons = {"eigenvalues": COMPLEX + (f"; {JOINED}" if grouped else "")}
    if grouped or not _keeps_constants(operator, X):
        reasons["gap"] = "rows of A do not sum to 1: it has no constant mode"
        return AffinityAudit(nodes, mu, counts, None, defect, reasons)
    return AffinityAudit(nodes, mu, counts, _gap(mu, counts), defect, reasons)


def _factored_modes(operator: Factored) -> tuple[np.ndarray, np.ndarray, float]:
    r"""Return μ, multiplicities and defect of :math:`A = P Q^T + E` without N × N entries.

    A may have several diagonal blocks. E is 1 on isolated nodes, whose rows of P are zero, and has
    them only if there is one block. Eigenvalues are those of QᵀP, 1 for E, and 0; the defect is
    ‖A² − A‖ / ‖A‖ (Frobenius) with :math:`A^2 - A = P (Q (Q^T P - I)^T + E Q)^T`, as E P = 0.
    """
    P, Q = (t.reshape(-1, *t.shape[-2:]).numpy() for t in (operator.left, operator.right))
    blocks, n, rank = P.shape
    marks = operator.isolated
    E = np.zeros(n, bool) if marks is None else marks[0].numpy()
    isolated = int(E.sum())
    small = Q.mT @ P
    change = Q @ (small - np.eye(rank)).mT + E[:, None] * Q
    size = np.hypot(_product_norm(P, Q), np.sqrt(isolated))
    defect = float(_product_norm(P, change) / size) if size else 0.0
    mu, live = np.linalg.eigvals(small), n - isolated
    if rank > live:  # the others are 0
        mu = np.take_along_axis(mu, np.argsort(-np.abs(mu), axis=1)[:, :live], axis=1)
    zeros = blocks * (live - mu.shape[1])
    mu, extra = mu.reshape(-1), [(1.0, isolated)] * bool(isolated) + [(0.0, zeros)] * bool(zeros)
    values = np.concatenate([mu, [value for value, _ in extra]])
    counts = np.array([1] * len(mu) + [count for _, count in extra])
    return values, counts, defect


def _product_norm(P: np.ndarray, Q: np.ndarray) -> float:
    """Return ‖P Qᵀ‖ (Frobenius) of all blocks, by QR: Gram matrices lose half the digits."""
    R, S = (np.asarray(np.linalg.qr(tall, mode="r")) for tall in (P, Q))
    return float(np.linalg.norm(R @ S.mT))


def _keeps_constants(operator: Operator, X: Tensor) -> bool:
    """Return whether A 1 = 1, to rounding."""
    ones = torch.ones(1, len(X), 1, dtype=X.dtype)
    return bool((operator.apply(ones) - 1).abs().max() < 1e-9)


def _gap(mu: np.ndarray, counts: np.ndarray) -> float | None:
    """Return 1 − |μ₂|, or None if there is only the constant mode."""
    others = nonconstant(mu, counts)
    return mode_gap(others) if others.size else None
