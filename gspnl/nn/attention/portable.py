"""Apply a symmetrised exponential kernel by public operators alone, for export and any device."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from gspnl.nn.attention.softmax import softmax_attention
from gspnl.nn.precision import common_dtype, without_autocast

CHUNK = 2**22  # scores in memory at a time in stacked_log_degrees
JIT: Any = torch.jit


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
    if torch.compiler.is_compiling() or exporting():
        return _log_sum(q, k)
    step = max(1, CHUNK // (math.prod(q.shape[:-2]) * k.shape[-2] or 1))
    chunks = (
        checkpoint(_log_sum, part, k, use_reentrant=False, preserve_rng_state=False)
        for part in torch.split(q, step, dim=-2)
    )
    return torch.cat(list(chunks), dim=-1)


def _log_sum(q: Tensor, k: Tensor) -> Tensor:
    return torch.logsumexp(q @ k.mT, dim=-1)


def exporting() -> bool:
    """Return whether a program is being exported or traced, to run elsewhere."""
    export: Any = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)
    return bool(export() or JIT.is_tracing() or torch.onnx.is_in_onnx_export())
