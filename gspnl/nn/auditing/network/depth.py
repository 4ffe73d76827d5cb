"""Measure what the layers of a network leave of the differences between tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.auditing.heads.case import as_float64
from gspnl.nn.auditing.heads.record import HeadRecord
from gspnl.nn.auditing.network.identity import IdentityShare


@dataclass(frozen=True, eq=False)
class LayerDepth:
    r"""One attention of a network, in the order of execution.

    Attributes
    ----------
    layer : str
        Qualified name of the module.
    call : int
        Number of this attention among those of the same layer.
    nodes : int
        N queries.
    off_mean : float or None
        Share of the features that reach the layer off their token mean,
        :math:`\|X - 1\bar x^T\|^2 / \|X\|^2`, mean over items, in [0, 1]; None where the input of
        the layer is not known.
    dirichlet : float or None
        Mean over heads of the Dirichlet quotient of the features.
    identity : IdentityShare or None
        Shares of what the layer writes that are explained by I, A and both; None where unknown.
    reasons : tuple of str
        Why a number is None.
    """

    layer: str
    call: int
    nodes: int
    off_mean: float | None
    dirichlet: float | None
    identity: IdentityShare | None = None
    reasons: tuple[str, ...] = ()


def off_mean(call: AttentionCall) -> float | None:
    r"""Return the share of features X off their token mean, mean over items.

    .. math:: \|X - 1 \bar x^T\|_F^2 / \|X\|_F^2

    None where the input is not known, is not finite or is 0.

    Examples
    --------
    >>> import torch
    >>> from gspnl.nn.attention_calls.call import AttentionCall
    >>> X = torch.tensor([[[1.0, 0.0], [1.0, 2.0]]])  # mean (1, 1): ‖X − mean‖² = 2 of 6
    >>> round(off_mean(AttentionCall("", "given", None, None, None, inputs=X)), 4)
    0.3333
    """
    return None if call.inputs is None or call.inputs.ndim != 3 else off_mean_of(call.inputs)


def off_mean_of(features: Tensor) -> float | None:
    """Return the share off the token mean of features (B, N, C), mean over items."""
    shares = [share_off_mean(as_float64(x)) for x in features]
    known = [share for share in shares if share is not None]
    return float(np.mean(known)) if known else None


def share_off_mean(X: np.ndarray) -> float | None:
    """Return ‖X − mean‖² / ‖X‖² of features (N, C); None where they are 0 or not finite."""
    peak = float(np.abs(X).max(initial=0.0))
    if not 0 < peak < np.inf:
        return None
    X = X / peak
    return min(1.0, float(((X - X.mean(0)) ** 2).sum() / (X**2).sum()))


def depth(
    calls: Sequence[AttentionCall],
    records: Sequence[Sequence[HeadRecord]],
    shares: Sequence[tuple[IdentityShare | None, str]],
) -> tuple[LayerDepth, ...]:
    """Return one entry an attention, in the order of execution.

    Parameters
    ----------
    calls : sequence of AttentionCall
    records : sequence of sequence of HeadRecord
        Of the heads of each call.
    shares : sequence of pairs
        The share of the identity in each call, or None with the reason.
    """
    out = []
    for call, heads, (share, why) in zip(calls, records, shares, strict=True):
        known = [each.dirichlet for each in heads if each.dirichlet is not None]
        off, reasons = off_mean(call), []
        if off is None:
            reasons.append("off_mean: the input of the layer is not known as tokens")
        if share is None:
            reasons.append(f"identity: {why}")
        out.append(
            LayerDepth(
                call.layer, call.call, heads[0].nodes, off,
                float(np.mean(known)) if known else None, share, tuple(reasons),
            )
        )  # fmt: skip
    return tuple(out)
