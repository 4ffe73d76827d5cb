"""The eigenvalues of a block's affinity on one feature map, and what follows from them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

import gspnl.signals.stability as stability
from gspnl._base.array import constant
from gspnl.affinity.normalization import NORMALIZATIONS
from gspnl.errors import ConvergenceError, DegreeError, SizeError
from gspnl.graph.build import feature_graph
from gspnl.graph.graph import FeatureGraph
from gspnl.nn.affinity import FeatureAffinity, Pooled
from gspnl.nn.auditing.tall import Tall
from gspnl.nn.operators import Factored, Operator
from gspnl.nn.pointwise import Pointwise
from gspnl.nn.structured import Grouped, Unconnected

COMPLEX = "A is not similar to a symmetric matrix, so λ is complex in general"
JOINED = "nodes are pairs of a position and a channel, which A joins"


@dataclass(frozen=True, eq=False)
class Reading:
    r"""A of one item of a batch.

    Attributes
    ----------
    nodes : int
        N, positions; for "cgnl" the pairs of a position and an inner channel.
    modes : array of shape (m,), or None
        The eigenvalues μ of A, each once or as often as ``counts`` says; complex where A is not
        similar to a symmetric matrix.
    counts : array of int of shape (m,), or None
        They sum to N.
    gap : float or None
        1 − \|μ₂\|, as :func:`gspnl.stability.spectral_gap` has it.
    defect : float or None
        Of the stable hypothesis, as :func:`gspnl.stability.idempotence_defect` has it.
    reasons : mapping of str to str
        Of "eigenvalues", "gap", "defect": why there is none, or what is unusual.
    graph : FeatureGraph or None
        Of the core, where it has this affinity.
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
        """λ = 1 − μ, N of them, ascending by their real part; or None."""
        if self.modes is None:
            return None
        lam = 1 - np.repeat(self.modes, self.counts)  # type: ignore[arg-type]
        return lam[np.argsort(lam.real, kind="stable")]


def too_many(n: int, most: int) -> str:
    """Why nothing that needs N × N entries is known."""
    return f"N = {n:,} is more than nodes={most:,}, beyond which N × N matrices are not made"


def read(affinity: nn.Module, X: Tensor, spatial: tuple[int, ...], most: int) -> Reading:
    """Reading of features X (N, C) in float64; all N² entries only up to ``most`` nodes."""
    try:
        if isinstance(affinity, FeatureAffinity) and _in_core(affinity, len(X)):
            return _of_core(affinity, X, most)
        return _of_operator(affinity, X, spatial, most)
    except (ConvergenceError, DegreeError, SizeError) as error:
        return _nothing(len(X), str(error))


def _nothing(nodes: int, why: str) -> Reading:
    return Reading(nodes, reasons=dict.fromkeys(("eigenvalues", "gap", "defect"), why))


def _in_core(affinity: FeatureAffinity, nodes: int) -> bool:
    """Whether the core has this graph, and does not need N² entries where it need not."""
    known = affinity.normalization in NORMALIZATIONS and affinity.pool is None and nodes > 1
    if not known or not affinity.kernel.bilinear:
        return known
    return NORMALIZATIONS[affinity.normalization].symmetric_core


def _of_core(affinity: FeatureAffinity, X: Tensor, most: int) -> Reading:
    n = len(X)
    graph = _graph(affinity, X.numpy(), most)
    alone = 0
    if affinity.isolated == "zero":  # the core has A_ii = 1 there: without them, A is the same
        live = np.isfinite(constant(graph.log_degrees))
        alone = n - int(live.sum())
        if alone > n - 2:
            return _nothing(n, "all but a position or none are isolated")
        if alone:
            graph = _graph(affinity, X.numpy()[live], most)
    symmetric = NORMALIZATIONS[affinity.normalization].symmetric_core
    if n > most and graph.storage != "lowrank":
        why = too_many(n, most)
        if not symmetric:
            return _nothing(n, why)
        ends = stability.spectral_gap(graph)
        return Reading(n, gap=ends, reasons={"eigenvalues": why, "defect": why}, graph=graph)
    reasons: dict[str, str] = {}
    gap: float | None
    if symmetric:
        spectrum = graph.spectrum()
        mu, counts = 1 - constant(spectrum.eigenvalues), spectrum.multiplicities
        gap = stability.spectral_gap(graph)
    else:
        mu = np.linalg.eigvals(constant(graph.dense()))
        counts, reasons["eigenvalues"] = np.ones(len(mu), dtype=int), COMPLEX
        gap = gap_of(mu, counts)
    defect = stability.idempotence_defect(graph)
    if alone:
        mu, counts = np.append(mu, 0.0), np.append(counts, alone)
        reasons["gap"] = f"without {alone:,} isolated positions, of which isolated='zero' has μ = 0"
    return Reading(n, mu, counts, gap, defect, reasons, graph)


def _graph(affinity: FeatureAffinity, X: np.ndarray, most: int) -> FeatureGraph:
    """The core's graph of the block's embeddings; their biases are weights of a column of ones."""
    kernel, embed = affinity.kernel, None
    if kernel.embedding != "none":
        if affinity.phi.bias is not None:
            X = np.concatenate([X, np.ones((len(X), 1))], axis=-1)
        pair = [_columns(each) for each in (affinity.phi, affinity.psi)]
        embed = tuple(w[:, 0] if kernel.embedding == "vectors" else w for w in pair)
    storage = "lowrank" if kernel.bilinear and len(X) > most else "auto"
    return feature_graph(X, kernel, embed, affinity.normalization, storage)  # type: ignore[arg-type]


def _columns(embedding: Pointwise) -> np.ndarray:
    """(C, r), or (C + 1, r) with the bias."""
    parts = [embedding.weight.detach().double().cpu().numpy().T]
    if embedding.bias is not None:
        parts.append(embedding.bias.detach().double().cpu().numpy()[None])
    return np.concatenate(parts)


def _of_operator(affinity: nn.Module, X: Tensor, spatial: tuple[int, ...], most: int) -> Reading:
    """What the core does not have: A by its own products."""
    n, exact = len(X), copy.deepcopy(affinity).cpu().double()
    if isinstance(exact, FeatureAffinity) and exact.kernel.bilinear and n > 1:
        exact.storage = "lowrank"
    operator = exact(X[None], spatial)
    if isinstance(operator, Unconnected):
        why = {"gap": "there are no edges, and all modes are constant"}
        return Reading(n, np.ones(1), np.array([n]), None, 0.0, why)
    if isinstance(operator, Pooled):
        return _nothing(n, "keys are max-pooled: A takes fewer positions than it gives")
    grouped = isinstance(operator, Grouped)
    inner = operator.operator if isinstance(operator, Grouped) else operator
    if isinstance(inner, Factored) and not inner.swap:
        tall = Tall.of(inner)
        mu, counts = tall.modes()
        n, defect = tall.nodes, tall.defect()
    elif n <= most:
        A = operator.apply(torch.eye(n, dtype=X.dtype)[None])[0].numpy()
        mu, counts = np.linalg.eigvals(A), np.ones(n, dtype=int)
        size = float(np.linalg.norm(A))
        defect = float(np.linalg.norm(A @ A - A)) / size if size else 0.0
    else:
        return _nothing(n, f"N = {n:,} is more than nodes={most:,}, and A has no low rank")
    reasons = {"eigenvalues": COMPLEX + (f"; {JOINED}" if grouped else "")}
    if grouped or not _averages(operator, X):
        reasons["gap"] = "rows of A do not sum to 1: it has no constant mode"
        return Reading(n, mu, counts, None, defect, reasons)
    return Reading(n, mu, counts, gap_of(mu, counts), defect, reasons)


def _averages(operator: Operator, X: Tensor) -> bool:
    """Whether A 1 = 1, to rounding."""
    ones = torch.ones(1, len(X), 1, dtype=X.dtype)
    return bool((operator.apply(ones) - 1).abs().max() < 1e-9)


def gap_of(mu: np.ndarray, counts: np.ndarray) -> float | None:
    """1 − |μ₂|, of all modes but one constant one."""
    left = counts - (np.arange(len(mu)) == np.argmin(np.abs(mu - 1)))
    others = np.abs(mu[left > 0])
    return float(max(0.0, 1 - others.max())) if others.size else None
