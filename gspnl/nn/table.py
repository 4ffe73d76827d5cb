"""Table of the registered blocks: the paper's Table 1, extended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields

from gspnl.nn.attention_responses import ATTENTION_RESPONSES, AttentionRow

HEADS = {
    "block": "block",
    "nodes": "nodes",
    "affinity": "affinity A, by default",
    "symmetric": "A similar to a symmetric matrix",
    "response": "response at λ",
    "condition": "as a Chebyshev series",
    "across": "A joins channels",
    "cost": "multiplications of A in an item",
    "parameters": "parameters",
}

ATTENTION_HEADS = {
    "response": "response",
    "operator": "in place of A V",
    "gain": "as a filter: gain at an eigenvalue μ = 1 − λ of A",
    "products": "products with N × N",
    "parameters": "parameters",
    "start": "at insertion",
    "source": "source",
}


@dataclass(frozen=True)
class Row:
    """Properties of a block at its defaults, with one unit and batch norm.

    C channels, Cs = inner, r the width of φ and ψ, N positions, G groups, K and M the order.
    """

    block: str
    nodes: str
    affinity: str
    symmetric: str
    response: str
    condition: str
    across: str
    cost: str
    parameters: str


_PAIR = "2·C·r"
_LOW = "2·N·r·(Cs + C)"

TABLE: tuple[Row, ...] = (
    Row("linear", "N", "I", "yes", "W₁", "order 0", "no", "0", "2·C·Cs + 2·C"),
    Row(
        "nl",
        "N",
        "softmax over j of ⟨φᵢ, ψⱼ⟩",
        "no",
        "(1 − λ) W",
        "order 1, θ₀ = 0",
        "no",
        "N²·(r + Cs), in O(N) memory",
        f"{_PAIR} + 2·C·Cs + 2·C",
    ),
    Row(
        "ns",
        "N",
        "softmax over j of ⟨φᵢ, ψⱼ⟩",
        "no",
        "−λ W",
        "order 1, θ₀ = −θ₁",
        "no",
        "N²·(r + Cs), in O(N) memory",
        f"{_PAIR} + 2·C·Cs + 2·C",
    ),
    Row(
        "snl",
        "N",
        "D⁻¹·½(ΦΨᵀ + ΨΦᵀ), Φ, Ψ ≥ 0",
        "yes",
        "W₁ + (1 − λ) W₂",
        "order 1, θ₀ and θ₁ free",
        "no",
        _LOW,
        f"{_PAIR} + 3·C·Cs + 2·C",
    ),
    Row(
        "gsnl",
        "N",
        "D⁻¹·½(ΦΨᵀ + ΨΦᵀ), Φ, Ψ ≥ 0",
        "yes",
        "W₁ + (1 − λ) W₂ + (1 − 2λ) W₃",
        "order 1, θ₀ and θ₁ free (E1)",
        "no",
        _LOW,
        f"{_PAIR} + 4·C·Cs + 2·C",
    ),
    Row(
        "chebyshev",
        "N",
        "D⁻¹·½(ΦΨᵀ + ΨΦᵀ), Φ, Ψ ≥ 0",
        "yes",
        "Σ Tₖ(λ − 1) Wₖ",
        "order K, all θ free",
        "no",
        f"{_LOW} + 4·N·r² + 4·K·r²·Cs + 2·K·r·Cs·C",
        f"{_PAIR} + (K + 2)·C·Cs + 2·C",
    ),
    Row(
        "spectral",
        "N",
        "D⁻¹·½(ΦΨᵀ + ΨΦᵀ), Φ, Ψ ≥ 0",
        "yes",
        "Σ exp(−τₘ λ) Wₘ, τ trained",
        "every order, to rounding",
        "no",
        f"{_LOW} + 4·N·r² + 220·r²·Cs + 2·M·r·Cs·C",
        f"{_PAIR} + (M + 1)·C·Cs + 2·C + M",
    ),
    Row(
        "cgnl",
        "N·Cs, in G groups",
        "t pᵀ in each group",
        "yes, unless pᵀt = 0",
        "(1 − λ) W",
        "order 1, θ₀ = 0",
        "yes",
        "2·N·Cs",
        "3·C·Cs + C·Cs/G + 2·C",
    ),
    Row(
        "a2",
        "N",
        "V Bᵀ: softmax over channels, over positions",
        "no",
        "(1 − λ) W",
        "order 1, θ₀ = 0",
        "no",
        "N·r·(Cs + C)",
        f"{_PAIR} + 2·C·Cs + 2·C",
    ),
    Row(
        "cc",
        "N",
        "softmax of ⟨φᵢ, ψⱼ⟩ over row and column of i",
        "no",
        "(1 − λ) W",
        "order 1, θ₀ = 0",
        "no",
        "N·(H + W)·(r + Cs)",
        f"{_PAIR} + 2·C·Cs + 2·C",
    ),
)


def table() -> str:
    """Return the table of blocks in Markdown.

    Examples
    --------
    >>> from gspnl import nn as gnn
    >>> print(gnn.table().splitlines()[4])
    | ns | N | softmax over j of ⟨φᵢ, ψⱼ⟩ | no | −λ W | order 1, θ₀ = −θ₁ | no | N²·(r + Cs), ...
    """
    return _markdown([HEADS[f.name] for f in fields(Row)], map(astuple, TABLE))


def attention_table() -> str:
    """Return the table of the responses of attention in Markdown.

    Examples
    --------
    >>> from gspnl import nn as gnn
    >>> print(gnn.attention_table().splitlines()[2])
    | nl | A V | μ | 1 | 0 | itself | Vaswani et al. 2017 |
    """
    names = sorted(ATTENTION_RESPONSES, key=lambda name: (name != "nl", name))
    heads = [ATTENTION_HEADS[f.name] for f in fields(AttentionRow)]
    return _markdown(heads, (astuple(ATTENTION_RESPONSES[name].row) for name in names))


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
