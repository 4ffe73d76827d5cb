"""Products with the attention matrices of a layer on one item, in float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.auditing.heads.case import HeadCase, log_weights
from gspnl.nn.auditing.heads.deadline import Deadline
from gspnl.nn.auditing.heads.masks import nodes_of, shape_of
from gspnl.nn.auditing.heads.tiles import Tiles


def is_square(call: AttentionCall) -> bool:
    """Return whether queries and keys of an attention are the same nodes."""
    _, _, n, m = shape_of(call)
    return n == m and not call.cross


def cases(call: AttentionCall, item: int) -> Iterator[HeadCase]:
    """Yield the heads of an attention on one item; those without a query that sees a key not."""
    for head in range(shape_of(call)[1]):
        nodes = nodes_of(call, item, head)
        if len(nodes.rows):
            yield HeadCase(call, item, head, nodes, is_square(call))


class Dense:
    """Products with an array A (n, m)."""

    def __init__(self, A: np.ndarray) -> None:
        self.A = A

    def apply(self, Z: np.ndarray) -> np.ndarray:
        """Compute A Z."""
        out: np.ndarray = self.A @ Z
        return out

    def transpose(self, Z: np.ndarray) -> np.ndarray:
        """Compute Aᵀ Z."""
        out: np.ndarray = self.A.T @ Z
        return out


class Mixing:
    """Products with one head's A, on nodes of which some may have been removed.

    Parameters
    ----------
    case : HeadCase
    nodes : int
        The largest N or M for which A is an array; above it, products compute its entries again,
        in O(N) memory.
    """

    def __init__(self, case: HeadCase, nodes: int) -> None:
        self.case = case
        self.operator: Dense | Tiles
        if max(shape_of(case.call)[2:]) > nodes:
            self.operator = Tiles(case, Deadline(None))
            for rows in self.operator.row_blocks():
                self.operator.scaled_rows(rows)
        else:
            self.operator = Dense(np.exp(log_weights(case)))

    def apply(self, Z: np.ndarray) -> np.ndarray:
        """Compute A Z, (M, c) → (N, c); 0 at removed nodes."""
        nodes = self.case.nodes
        out = np.zeros((self.case.total, Z.shape[1]))
        out[nodes.rows] = self.operator.apply(Z[nodes.columns])
        return out

    def transpose(self, Z: np.ndarray) -> np.ndarray:
        """Compute Aᵀ Z, (N, c) → (M, c); 0 at removed nodes."""
        nodes = self.case.nodes
        out = np.zeros((shape_of(self.case.call)[3], Z.shape[1]))
        out[nodes.columns] = self.operator.transpose(Z[nodes.rows])
        return out
