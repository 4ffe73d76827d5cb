"""Apply a symmetrised exponential kernel, and compute its degrees, in O(N) memory."""

from __future__ import annotations

import math
from typing import Literal, overload

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from gspnl.errors import InputError
from gspnl.nn.attention import flash
from gspnl.nn.attention.attend import attend
from gspnl.nn.attention.points import check_points, fused_layout, fused_width, original_layout
from gspnl.nn.attention.softmax import softmax_attention
from gspnl.nn.precision import common_dtype, without_autocast

CHUNK = 2**22  # scores in memory at a time in stacked_log_degrees


@overload
def joint_attention(
    q: Tensor, k: Tensor, v: Tensor, log_degrees: Literal[False] = ..., *, symmetric: bool = ...
) -> Tensor: ...
@overload
def joint_attention(
    q: Tensor, k: Tensor, v: Tensor, log_degrees: Literal[True], *, symmetric: bool = ...
) -> tuple[Tensor, Tensor]: ...
def joint_attention(
    q: Tensor, k: Tensor, v: Tensor, log_degrees: bool = False, *, symmetric: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Apply the random-walk affinity of an exponential kernel: :math:`A\,v`.

    .. math::
        A = D^{-1} W, \quad W = \tfrac12 (E + E^T), \quad E_{ij} = e^{s_{ij}}, \quad
        s_{ij} = q_i^T k_j.

    Parameters
    ----------
    q, k : Tensor of shape (..., N, r)
        Points whose inner products are the scores; any strides, floating dtype and device.
    v : Tensor of shape (..., N, c)
        Signals.
    log_degrees : bool
        Whether to return the log-degrees too.
    symmetric : bool
        Whether scores are known to be symmetric, as those of an rbf of one set of points. Then
        W = E, at half the cost. ``k is q`` implies it.

    Returns
    -------
    out : Tensor of shape (..., N, c)
        A v, in the widest dtype of the three; autocast is not applied.
    log_degrees : Tensor of shape (..., N)
        :math:`ℓ_i = \log\sum_j W_{ij}`, float32 at least, if asked for. Gradients flow through it.

    Raises
    ------
    InputError
        Where shapes, dtypes or devices do not fit each other.

    Notes
    -----
    On a CPU, see :mod:`gspnl.nn.attention.flash`; on other devices, and in exported programs,
    :func:`stacked_attention` is used. A score is rounded by some :math:`|s| ε`, which is the
    relative error of its weight. The gradient cannot be differentiated again.

    Examples
    --------
    >>> import torch
    >>> q, k = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]])
    >>> out, log_degrees = joint_attention(q, k, torch.eye(2), log_degrees=True)
    >>> out  # e^s is [[1, 1], [e, e²]]
    tensor([[0.3498, 0.6502],
            [0.2010, 0.7990]])
    >>> log_degrees.exp()
    tensor([2.8591, 9.2482])
    """
    check_points(q, k, v)
    if q.shape[-2] != k.shape[-2]:
        raise InputError(
            f"q has {q.shape[-2]} nodes and k {k.shape[-2]}; a symmetrised kernel needs as many"
        )
    symmetric = symmetric or k is q
    if symmetric and not log_degrees:
        return softmax_attention(q, k, v)
    if not flash.available(q):
        out = softmax_attention(q, k, v) if symmetric else stacked_attention(q, k, v)
        return (out, stacked_log_degrees(q, k, symmetric=symmetric)) if log_degrees else out
    with without_autocast(q.device):
        dtype, width = common_dtype(q, k, v), fused_width(q, v)
        queries = fused_layout(q, width, dtype)
        keys = queries if k is q else fused_layout(k, width, dtype)
        values = fused_layout(v, width, dtype)
        rows, log_sums = attend(queries, keys, values, symmetric)
        out = original_layout(rows, q, v)
        if not log_degrees:
            return out
        logs = log_sums if symmetric else log_sums - math.log(2)
        return out, logs.reshape(q.shape[:-1])


def stacked_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    r"""Compute :math:`A\,v` of :func:`~.symmetric.joint_attention` by one softmax attention.

    Queries :math:`[q, k]`, keys :math:`[[k, 0], [0, q]]` and values :math:`[v; v]`: a softmax over
    2N keys is the row normalisation of :math:`E + E^T`. O(N) memory, 1.7 times the cost.

    Parameters
    ----------
    q, k : Tensor of shape (..., N, r)
        Points.
    v : Tensor of shape (..., N, c)
        Signals.

    Returns
    -------
    Tensor of shape (..., N, c)
        A v.

    Examples
    --------
    >>> import torch
    >>> q, k = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]])
    >>> stacked_attention(q, k, torch.eye(2))
    tensor([[0.3498, 0.6502],
            [0.2010, 0.7990]])
    """
    return stacked_rows(q, k, q, k, v)


def stacked_rows(q: Tensor, k: Tensor, every_q: Tensor, every_k: Tensor, v: Tensor) -> Tensor:
    """Compute the rows of A v of points (q, k), (..., n, r), among all points, (..., N, r)."""
    width = q.shape[-1]
    keys = torch.cat([F.pad(every_k, (0, width)), F.pad(every_q, (width, 0))], dim=-2)
    return softmax_attention(torch.cat([q, k], dim=-1), keys, torch.cat([v, v], dim=-2))


def stacked_log_degrees(q: Tensor, k: Tensor, *, symmetric: bool = False) -> Tensor:
    r"""Compute log-degrees :math:`\log\sum_j W_{ij}` by public operators.

    Rows are taken in chunks, which the backward pass recomputes: O(N) memory. A compiled or
    exported program has one chunk, hence N × N scores; compiled under autocast, its gradient is
    rounded to half precision.

    Parameters
    ----------
    q, k : Tensor of shape (..., N, r)
        Points.
    symmetric : bool
        Whether scores are symmetric, so that W = E.

    Returns
    -------
    Tensor of shape (..., N)
        ℓ, float32 at least.

    Examples
    --------
    >>> import torch
    >>> q, k = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]])
    >>> stacked_log_degrees(q, k).exp()
    tensor([2.8591, 9.2482])
    """
    with without_autocast(q.device):
        dtype = torch.promote_types(common_dtype(q, k), torch.float32)
        q, k = q.to(dtype), k.to(dtype)
        rows = _log_sums(q, k)
        if symmetric:
            return rows
        return torch.logaddexp(rows, _log_sums(k, q)) - math.log(2)


def _log_sums(q: Tensor, k: Tensor) -> Tensor:
    """Log Σ_j exp(q_i·k_j)."""
    if torch.compiler.is_compiling() or flash.exporting():
        return _log_sum(q, k)
    step = max(1, CHUNK // (math.prod(q.shape[:-2]) * k.shape[-2] or 1))
    chunks = (
        checkpoint(_log_sum, part, k, use_reentrant=False, preserve_rng_state=False)
        for part in torch.split(q, step, dim=-2)
    )
    return torch.cat(list(chunks), dim=-1)


def _log_sum(q: Tensor, k: Tensor) -> Tensor:
    return torch.logsumexp(q @ k.mT, dim=-1)
