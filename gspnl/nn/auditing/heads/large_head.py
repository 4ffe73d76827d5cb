"""A large attention head: its products, its stationary distribution and its core."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from gspnl.affinity.stationary.krylov import JumpChain, by_products, refined
from gspnl.errors import ReducibleError
from gspnl.filters.directed.core import Core
from gspnl.nn.auditing.heads.case import HeadCase
from gspnl.nn.auditing.heads.chain import several
from gspnl.nn.auditing.heads.deadline import Deadline
from gspnl.nn.auditing.heads.dense import vanishing
from gspnl.nn.auditing.heads.sweeps import PairSums, RowSums, by_pairs, by_rows
from gspnl.nn.auditing.heads.tiles import Tiles

ROUNDING = 1e-10  # relative residual of π
MOVES = 1e-10  # least 1 − a_ii whose inverse has digits in float64
STEADY = 0.9  # largest a_ii for which it has enough in float32
CYCLES = 2  # restarts of GMRES for π
SURE = 1e-2  # change of π with the rounding of A, above which it counts as unknown
UNSURE = "π is not determined by products: μ = 1 is all but repeated"


class LargeHead:
    """A head with products in O(N) memory.

    Parameters
    ----------
    case : HeadCase
    grid : pair of int, or None
    k : int
        Eigenvalues and singular values to find.
    nodes : int
        The limit that the head exceeds, for reasons.
    deadline : Deadline
    threads : bool
        Whether products take several threads.
    """

    def __init__(
        self,
        case: HeadCase,
        grid: tuple[int, int] | None,
        k: int,
        nodes: int,
        deadline: Deadline,
        threads: bool = True,
    ) -> None:
        self.case, self.grid, self.k, self.nodes = case, grid, k, nodes
        self.deadline = deadline
        self.tiles = Tiles(case, Deadline(None), threads)
        self.rows: RowSums = by_rows(self.tiles, grid, case.value())
        self.tiles.deadline = deadline
        self.fast = self.tiles.single()  # for what is found to a tolerance, or estimated

    @cached_property
    def chain(self) -> tuple[np.ndarray | None, str]:
        """π, or None and the reason."""
        if self.tiles.triangular:
            if self.rows.alone == 1:
                return np.eye(1, self.tiles.n)[0], ""
            return (
                None,
                f"A has {self.rows.alone} closed classes of nodes, each with a π of its own",
            )
        if not self.rows.zeros and self.fast is not self.tiles:
            stay = self.tiles.diagonal()
            if 1 - stay.max() < MOVES:
                stay = 0 * stay
            steady = stay.max() > STEADY  # 1 − a_ii has no digits in float32
            rough = JumpChain(self.tiles if steady else self.fast, stay)
            found = refined(JumpChain(self.tiles, stay), rough, ROUNDING, CYCLES)
            if found is None or found[1] > SURE:
                return None, UNSURE
            pi = found[0] / (1 - stay)
            return pi / pi.sum(), ""
        try:
            pi, agreed = by_products(self.tiles, ROUNDING, irreducible=not self.rows.zeros)
        except ReducibleError as error:
            return None, several(error)
        return (pi, "") if agreed else (None, UNSURE)

    @cached_property
    def core(self) -> tuple[Core | None, str]:
        """B less its constant mode by products, or None and the reason."""
        pi, why = self.chain
        why = why or vanishing(pi)
        if pi is None or why:
            return None, why
        return Core(self.fast, pi), ""

    @cached_property
    def pairs(self) -> PairSums:
        """Sums over pairs of nodes."""
        return by_pairs(self.tiles, self.chain[0], self.case.rounding)
