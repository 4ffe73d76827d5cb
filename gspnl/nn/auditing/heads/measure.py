"""Measure the heads of one attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from gspnl._base.blas import on_one_thread
from gspnl._base.rows import PARALLEL_BLOCKS, cores, each_block
from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.auditing.heads.case import HeadCase, place
from gspnl.nn.auditing.heads.deadline import Deadline
from gspnl.nn.auditing.heads.dense import STEPS as DENSE_STEPS
from gspnl.nn.auditing.heads.dense import DenseHead
from gspnl.nn.auditing.heads.large import STEPS as LARGE_STEPS
from gspnl.nn.auditing.heads.large_head import LargeHead
from gspnl.nn.auditing.heads.maps import value_output
from gspnl.nn.auditing.heads.masks import nodes_of, shape_of
from gspnl.nn.auditing.heads.positions import check_grid
from gspnl.nn.auditing.heads.record import NUMBERS, HeadItem, HeadRecord, over_items
from gspnl.nn.auditing.heads.steps import take

SILENT = "every query is masked: the head attends to nothing"


@dataclass(frozen=True)
class Options:
    """Arguments of :func:`measure_heads`, checked."""

    nodes: int
    k: int
    deadline: Deadline
    grid: tuple[int, int] | None
    threads: bool  # of a large head


@torch.no_grad()
def measure_heads(
    call: AttentionCall,
    nodes: int = 1024,
    k: int = 16,
    seconds: float | Deadline | None = None,
    grid: tuple[int, int] | None = None,
) -> tuple[HeadRecord, ...]:
    """Measure every head of an attention on every item of a batch.

    Parameters
    ----------
    call : AttentionCall
        Queries and keys, or weights, as a network computed them.
    nodes : int
        The largest N or M for which dense matrices are made. Above it, numbers come from products
        in O(N) memory, and some of them are estimates, which ``reasons`` tells.
    k : int
        Eigenvalues of largest modulus and singular values that are computed above ``nodes``.
    seconds : float, Deadline or None
        Time after which expensive numbers are left out, with a reason. None: no limit.
    grid : pair of int, optional
        Height and width of the grid that the last tokens form, for ``distance``. Tokens before it
        count with distance 0. Without it, tokens are a sequence.

    Returns
    -------
    tuple of HeadRecord
        One per head. Numbers are means over the items, arrays are those of the first item.

    Raises
    ------
    InputError
        For NaN or ∞ in queries, keys, weights or masks; weights that are negative or whose rows do
        not sum to 1 within the rounding of their dtype; a call in which every query is masked.

    Examples
    --------
    >>> import torch
    >>> from gspnl.nn.attention_calls.call import AttentionCall
    >>> A = torch.tensor([[0.0, 1.0], [0.5, 0.5]], dtype=torch.float64)
    >>> call = AttentionCall("", "given", None, None, None, weights=A[None, None])
    >>> (head,) = measure_heads(call)
    >>> head.stationary.round(4), round(head.gap, 4)
    (array([0.3333, 0.6667]), 0.5)
    """
    nodes, k = whole_number("nodes", nodes, 1), whole_number("k", k, 1)
    deadline = seconds if isinstance(seconds, Deadline) else Deadline(seconds)
    batch, heads, n, m = shape_of(call)
    grid = check_grid(grid, n)
    if min(batch, heads, n, m) == 0:
        raise InputError(f"{place(call)}: the attention is empty, {(batch, heads, n, m)}")
    maps = [value_output(call, head) for head in range(heads)]
    pairs = [(item, head) for item in range(batch) for head in range(heads)]

    large = max(n, m) > nodes
    options = Options(nodes, k, deadline, grid, threads=len(pairs) < cores())

    def measured(pair: tuple[int, int]) -> HeadItem:
        return _item(call, *pair, maps[pair[1]], options)

    # Heads share the threads; large ones that are fewer than these have their products do so.
    least = cores() if large else PARALLEL_BLOCKS
    found = dict(zip(pairs, each_block(measured, pairs, least), strict=True))
    if all(item.nodes == 0 for item in found.values()):
        raise InputError(
            f"{place(call)}: every query of every head is masked; look at the mask (bool masks are "
            "True where a key takes part)"
        )
    return tuple(
        _record(call, head, tuple(found[item, head] for item in range(batch)))
        for head in range(heads)
    )


@on_one_thread
def _item(
    call: AttentionCall,
    item: int,
    head: int,
    maps: tuple[dict[str, Any], dict[str, str]],
    options: Options,
) -> HeadItem:
    kept = nodes_of(call, item, head)
    _, _, n, m = shape_of(call)
    size: dict[str, Any] = {"nodes": len(kept.rows), "keys": len(kept.columns), "masked": kept.kind}
    reasons = {"nodes": kept.remark} if kept.remark else {}
    if not len(kept.rows):
        why = reasons | dict.fromkeys(NUMBERS, SILENT)
        for name in ("value_output", "value_output_eigenvalues"):
            why.pop(name)
        return HeadItem(**size, **maps[0], reasons=why | maps[1])
    case = HeadCase(call, item, head, kept, n == m and not call.cross)
    numbers, why = _numbers(case, options)
    return HeadItem(**size, **numbers, **maps[0], reasons=reasons | why | maps[1])


def _numbers(case: HeadCase, options: Options) -> tuple[dict[str, Any], dict[str, str]]:
    if max(len(case.nodes.rows), len(case.nodes.columns)) <= options.nodes:
        dense = DenseHead(case, options.grid)
        return take(dense, DENSE_STEPS, case.square, options.deadline)
    large = LargeHead(
        case, options.grid, options.k, options.nodes, options.deadline, options.threads
    )
    return take(large, LARGE_STEPS, case.square, options.deadline)


def _record(call: AttentionCall, head: int, items: tuple[HeadItem, ...]) -> HeadRecord:
    _, heads, n, m = shape_of(call)
    keys = heads if call.k is None else int(call.k.shape[1])
    return HeadRecord(
        layer=call.layer,
        head=head,
        nodes=n,
        keys=m,
        cross=call.cross or n != m,
        groups=heads // keys,
        source=call.source,
        items=items,
        **over_items(items),
    )
