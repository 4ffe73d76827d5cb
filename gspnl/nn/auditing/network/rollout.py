"""Attention rollout: the share of each input token in the mean output token."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.auditing.heads.masks import shape_of
from gspnl.nn.auditing.network.mixing import Mixing, cases, is_square


def rollout(
    calls: Sequence[AttentionCall], item: int = 0, nodes: int = 1024
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    r"""Return the row of the mean token of the attention rollout of one item.

    .. math:: r^T = \tfrac1N 1^T \tilde A_L \cdots \tilde A_1, \quad \tilde A = ½(\bar A + I)

    with :math:`\bar A` the mean over heads. It is computed from the last layer to the first by
    products with :math:`\bar A^T`, in O(N) memory above the limit of dense matrices.

    Parameters
    ----------
    calls : sequence of AttentionCall
        In the order of execution. Layers that are no self-attention on all N tokens and items
        (cross-attention, windows, other N) are left out.
    item : int
    nodes : int
        The largest N for which matrices are made.

    Returns
    -------
    row : array of shape (N,), or None
        ≥ 0, with sum 1. None where no layer is left, with the reason in ``notes``.
    notes : tuple of str
        The layers that were left out, and why.

    References
    ----------
    .. [1] S. Abnar and W. Zuidema, Quantifying attention flow in transformers, ACL 2020.

    Examples
    --------
    >>> import torch
    >>> from gspnl.nn.attention_calls.call import AttentionCall
    >>> A = torch.tensor([[[[1.0, 0.0], [0.5, 0.5]]]])
    >>> call = AttentionCall("", "given", None, None, None, weights=A)
    >>> rollout([call])[0]  # mean of the rows (1, 0) and (0.25, 0.75)
    array([0.625, 0.375])
    """
    if not calls:
        return None, ()
    batch, _, size, _ = shape_of(max(calls, key=_common(calls)))
    kept, notes = [], []
    for call in calls:
        B, _, n, m = shape_of(call)
        why = ""
        if not is_square(call):
            why = f"its {m:,} keys are other nodes than its {n:,} queries"
        elif (B, n) != (batch, size):
            why = f"it has {B:,} × {n:,} tokens (windows, or another layout), others {size:,}"
        if why:
            notes.append(f"rollout leaves out {call.layer or 'the network'}: {why}")
        else:
            kept.append(call)
    if not kept:
        return None, (*notes, "rollout: no layer attends to all tokens")
    row: np.ndarray | None = None
    for call in reversed(kept):
        heads = list(cases(call, item))
        if not heads:
            notes.append(f"rollout leaves out {call.layer or 'the network'}: all is masked")
            continue
        if row is None:
            row = np.zeros((size, 1))
            rows = heads[0].nodes.rows
            row[rows] = 1 / len(rows)
        back = np.zeros((size, 1))
        for case in heads:
            back += Mixing(case, nodes).transpose(row)
        row = (row + back / len(heads)) / 2
    if row is None:
        return None, tuple(notes)
    return row[:, 0] / row.sum(), tuple(notes)


def _common(calls: Sequence[AttentionCall]) -> Callable[[AttentionCall], int]:
    """Return a key by which the layout that most square calls have is the greatest."""
    counts: dict[tuple[int, int], int] = {}
    for call in calls:
        if is_square(call):
            B, _, n, _ = shape_of(call)
            counts[B, n] = counts.get((B, n), 0) + 1

    def key(call: AttentionCall) -> int:
        B, _, n, _ = shape_of(call)
        return counts.get((B, n), 0) if is_square(call) else -1

    return key
