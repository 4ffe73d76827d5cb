"""Nodes of an attention that take part, and the kind of its mask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gspnl.nn.attention_calls.call import AttentionCall

EXCLUDED = -9999.0  # a float mask at most so large excludes a key: networks add −1e4 and below
ENTRIES = 1 << 22  # of a mask that are looked at together


@dataclass(frozen=True, eq=False)
class Nodes:
    """Queries and keys that take part.

    Attributes
    ----------
    rows, columns : arrays of int
        Indices of queries and keys; the same in self-attention.
    kind : str
        "causal", "padded", "masked" or "".
    full : bool
        Whether each of the rows sees each of the columns.
    remark : str
        Nodes that were removed, and why; "" where there are none.
    """

    rows: np.ndarray
    columns: np.ndarray
    kind: str
    full: bool
    remark: str = ""


def shape_of(call: AttentionCall) -> tuple[int, int, int, int]:
    """Return (B, H, N, M)."""
    if call.weights is not None:
        B, H, N, M = call.weights.shape
    else:
        assert call.q is not None
        assert call.k is not None
        (B, H, N), M = call.q.shape[:3], call.k.shape[2]
    return int(B), int(H), int(N), int(M)


def mask_of(call: AttentionCall, item: int, head: int) -> Tensor | None:
    """Return the mask of one head, (N, M), as a view; or None."""
    if call.mask is None:
        return None
    view: Tensor = call.mask.expand(shape_of(call))[item, head]
    return view


def nodes_of(call: AttentionCall, item: int, head: int) -> Nodes:
    """Find the nodes of one head that take part, from its mask or the zeros of its weights.

    Keys that no query sees are removed, in self-attention with the query of the same node, and so
    are queries that see no key.
    """
    _, heads, n, m = shape_of(call)
    square = n == m and not call.cross
    if call.mask is None and call.weights is None:
        causal = call.causal and m > 1
        return Nodes(np.arange(n), np.arange(m), "causal" if causal else "", not causal)
    # Zeros that all heads of a network share are those of a mask. Weights that were given, or those
    # of a single head, may have zeros of their own: a node that none attends to is no padding then.
    own = call.mask is None and (call.source == "given" or heads == 1)
    pattern = _pattern(call, item, head, own)
    rows, columns, lossy = np.ones(n, bool), np.ones(m, bool), False
    while True:
        sees, seen = np.zeros(n, bool), np.zeros(m, bool)
        for part, block in _blocks(pattern, n, m):
            block = block & rows[part, None] & columns
            sees[part] = block.any(1)
            seen |= block.any(0)
        if own:
            seen = columns
        if (sees == rows).all() and (seen == columns).all():
            break
        lossy |= square and bool((~sees & rows & seen).any())
        rows, columns = (sees & seen, sees & seen) if square else (sees, seen)
    kind, full = _kind(pattern, rows, columns, square, own)
    queries, keys = n - int(rows.sum()), m - int(columns.sum())
    remark = _remark(queries, keys, square, lossy)
    return Nodes(np.flatnonzero(rows), np.flatnonzero(columns), kind, full, remark)


def _remark(queries: int, keys: int, square: bool, lossy: bool) -> str:
    if not queries and not keys:
        return ""
    if not square:
        return f"without {queries:,} queries that see no key and {keys:,} keys that none sees"
    told = f"without {queries:,} nodes of padding, to which none attends or which attend to none"
    return told + ("; rows of A are divided by what is left of their sums" if lossy else "")


def _pattern(call: AttentionCall, item: int, head: int, own: bool) -> Callable[[slice], np.ndarray]:
    """Return a function of a slice of queries: which keys they see, bool (n, M)."""
    m = shape_of(call)[3]
    mask, weights = mask_of(call, item, head), call.weights
    heads = slice(head, head + 1) if own else slice(None)

    def seen(part: slice) -> np.ndarray:
        allowed = torch.ones(part.stop - part.start, m, dtype=torch.bool)
        if mask is not None:
            block = mask[part]
            allowed &= (block if block.dtype == torch.bool else block > EXCLUDED).cpu()
        elif weights is not None:
            allowed &= (weights[item, heads, part] != 0).any(0).cpu()
        if call.causal:
            allowed &= torch.arange(m) <= torch.arange(part.start, part.stop)[:, None]
        array: np.ndarray = allowed.numpy()
        return array

    return seen


def _blocks(
    pattern: Callable[[slice], np.ndarray], n: int, m: int
) -> Iterator[tuple[slice, np.ndarray]]:
    step = max(1, ENTRIES // max(m, 1))
    for start in range(0, n, step):
        part = slice(start, min(start + step, n))
        yield part, pattern(part)


def _kind(
    pattern: Callable[[slice], np.ndarray],
    rows: np.ndarray,
    columns: np.ndarray,
    square: bool,
    own: bool,
) -> tuple[str, bool]:
    """Return the kind of the mask among the nodes that are left, and whether there is none."""
    n, m = len(rows), len(columns)
    full, upper, lower = True, False, False
    for part, block in _blocks(pattern, n, m):
        left = block[rows[part]][:, columns]
        full &= bool(left.all())
        if square:
            places = np.flatnonzero(columns)
            index = np.arange(part.start, part.stop)[rows[part], None]
            upper |= bool((left & (places > index)).any())
            lower |= bool((left & (places < index)).any())
    if square and lower and not upper:
        return "causal", False
    if full or own:
        return ("" if rows.all() and columns.all() else "padded"), full
    return "masked", False
