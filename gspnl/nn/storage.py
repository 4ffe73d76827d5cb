"""How A is held in a block: the cost model behind storage="auto"."""

from __future__ import annotations

from dataclasses import dataclass

ELEMENTWISE = 120  # multiplications' worth of each of N² entries, beside its products; measured
SORTED_NODES = 2048  # from here on, sorting is cheaper than N² entries
DENSE_NODES = 1 << 14  # 1 GiB of float32 for each graph


@dataclass(frozen=True)
class Load:
    """What the stages ask of an operator: widths of signals and of results, and the order."""

    signals: int
    channels: int
    order: int = 1


def lowrank_pays(rows: int, columns: int, width: int, load: Load, swap: bool) -> bool:
    """Whether two tall factors cost fewer multiplications than N × M entries.

    Parameters
    ----------
    rows, columns : int
        N and M, which differ where keys are sub-sampled.
    width : int
        Of φ, and of ψ.
    load : Load
    swap : bool
        Whether W is symmetrised, and its factors are twice as wide.
    """
    rank = (2 if swap else 1) * width
    c, out, order = load.signals, load.channels, max(load.order, 1)
    entries = rows * columns
    dense = entries * (width + ELEMENTWISE + order * c) + order * rows * c * out
    small = rank * c * ((order - 1) * rank + order * out)
    gram = rank * rank * rows if order > 1 else 0
    return rank * (columns * c + rows * out) + small + gram <= dense
