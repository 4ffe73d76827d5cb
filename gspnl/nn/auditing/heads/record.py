"""Records of attention heads: the numbers of one item, and their means over a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False, kw_only=True)
class HeadNumbers:
    r"""Numbers of an attention matrix A, (N, M) with rows that sum to 1.

    :math:`π^T A = π^T`, :math:`Π = \mathrm{diag}(π)`, :math:`B = Π^{1/2} A Π^{-1/2}`. A number that
    does not exist is None, with a sentence in ``reasons``; the definitions and what is good and bad
    are in the documentation, "Numbers of an attention head".

    Attributes
    ----------
    eigenvalues : complex array, or None
        Eigenvalues μ of A itself (not of I − A), by descending modulus, the first 1: all N where A
        is dense, the k of largest modulus otherwise.
    gap : float or None
        1 − \|μ₂\|, in [0, 1].
    stationary : array of shape (N,), or None
        π, 0 at nodes that were removed.
    sink_mass, sink : float and int, or None
        The largest entry of π, and its index.
    sigma : array, or None
        Singular values of B, descending, the first 1.
    spectral_norm : float or None
        The largest singular value of A in the plain norm.
    chung_gap : float or None
        1 − the second largest eigenvalue of :math:`½(A + Π^{-1} A^T Π)`, in [0, 2].
    dobrushin : float or None
        :math:`\max_{ij} ½\|a_i - a_j\|_1` over rows, in [0, 1].
    entropy : float or None
        Mean over rows of :math:`-\sum_j a_{ij} \log a_{ij}` in nats, in [0, log M].
    effective_rank : float or None
        Exponential of the entropy of σ(A)/Σσ(A) in the plain norm, in [1, min(N, M)].
    distance : float or None
        Mean over rows of :math:`\sum_j a_{ij} |i - j|` in tokens, or of distances in a grid.
    defect : array of shape (3,), or None
        :math:`\|A^k - A\|_F / \|A\|_F` for k = 2, 3, 4.
    low_frequency_share : float or None
        Share of ‖Y‖² in its column means, Y = A V W_O (A V where W_O is unknown), in [0, 1].
    reversible : float or None
        :math:`½ \sum_{ij} |π_i a_{ij} - π_j a_{ji}|`, in [0, 1]: 0 for a reversible A.
    curl : float or None
        Share of ‖K‖² that is no gradient, K = s − sᵀ with s = log A, in [0, 1].
    value_output : array, or None
        Singular values of W_V W_O, descending.
    value_output_eigenvalues : complex array, or None
        Eigenvalues of W_V W_O, by descending modulus.
    dirichlet : float or None
        :math:`⟨y, (I - A) y⟩_π / ⟨y, y⟩_π` of the features x of the layer, y = x less its mean
        under π, summed over channels, in [0, 2].
    reasons : mapping of str to str
        By the name of a number: why it is None, or a remark on it. "nodes" has remarks on nodes.
    """

    eigenvalues: np.ndarray | None = None
    gap: float | None = None
    stationary: np.ndarray | None = None
    sink_mass: float | None = None
    sink: int | None = None
    sigma: np.ndarray | None = None
    spectral_norm: float | None = None
    chung_gap: float | None = None
    dobrushin: float | None = None
    entropy: float | None = None
    effective_rank: float | None = None
    distance: float | None = None
    defect: np.ndarray | None = None
    low_frequency_share: float | None = None
    reversible: float | None = None
    curl: float | None = None
    value_output: np.ndarray | None = None
    value_output_eigenvalues: np.ndarray | None = None
    dirichlet: float | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)


NUMBERS = tuple(each.name for each in fields(HeadNumbers) if each.name != "reasons")
OF_THE_FIRST = (  # arrays, and an index
    "eigenvalues",
    "stationary",
    "sink",
    "sigma",
    "defect",
    "value_output",
    "value_output_eigenvalues",
)


@dataclass(frozen=True, eq=False, kw_only=True)
class HeadItem(HeadNumbers):
    """Numbers of a head on one entry of the batch.

    Attributes
    ----------
    nodes, keys : int
        Queries and keys that take part: those of the head without the ones that were removed.
    masked : str
        "causal", "padded", "masked", or "" where every query sees every key.
    """

    nodes: int
    keys: int
    masked: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class HeadRecord(HeadNumbers):
    """Numbers of an attention head on a batch: means over its items, and arrays of the first one.

    Attributes
    ----------
    layer : str
        Qualified name of the module that computed the attention.
    head : int
    nodes, keys : int
        N queries and M keys.
    masked : str
        "causal", "padded" (nodes were removed), "masked" (otherwise), or "" without a mask.
    cross : bool
        Whether keys come from other nodes than queries.
    groups : int
        Query heads per key head; 1 unless it is grouped-query attention.
    source : str
        What was seen, as :class:`gspnl.nn.attention_calls.call.AttentionCall` has it.
    items : tuple of HeadItem
        One per entry of the batch; windows folded into the batch are entries.
    """

    layer: str
    head: int
    nodes: int
    keys: int
    masked: str = ""
    cross: bool = False
    groups: int = 1
    source: str = ""
    items: tuple[HeadItem, ...] = ()


def over_items(items: Sequence[HeadItem]) -> dict[str, Any]:
    """Return means of the numbers over items, arrays of the first item, and reasons."""
    found: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for name in NUMBERS:
        values = [getattr(item, name) for item in items]
        known = [value for value in values if value is not None]
        if name in OF_THE_FIRST:
            found[name] = values[0]
        else:
            found[name] = float(np.mean(known)) if known else None
        lacking = [item for item, value in zip(items, values, strict=True) if value is None]
        if known and found[name] is not None and lacking:
            why = lacking[0].reasons.get(name, "unknown")
            reasons[name] = f"{len(lacking)} of {len(items)} items have none: {why}"
        elif told := next((each.reasons[name] for each in items if name in each.reasons), None):
            reasons[name] = told
    if told := next((item.reasons["nodes"] for item in items if "nodes" in item.reasons), None):
        reasons["nodes"] = told
    kinds = {item.masked for item in items}
    found["masked"] = next((kind for kind in ("causal", "masked", "padded") if kind in kinds), "")
    return found | {"reasons": reasons}
