"""Apply a row-normalised exponential kernel in O(N) memory, forward and backward."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gspnl.nn.attention import flash
from gspnl.nn.attention.attend import attend
from gspnl.nn.attention.points import check_points, fused_layout, fused_width, original_layout
from gspnl.nn.precision import common_dtype, without_autocast


def softmax_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    r"""Apply the rows of a normalised exponential kernel: :math:`\mathrm{softmax}(q k^T)\,v`.

    .. math:: o_i = \frac{\sum_j e^{s_{ij}} v_j}{\sum_j e^{s_{ij}}}, \qquad s_{ij} = q_i^T k_j,

    the affinity named "softmax" (:math:`W` not symmetrised). No N × M matrix is stored, forward or
    backward.

    Parameters
    ----------
    q : Tensor of shape (..., N, r)
        Queries; any strides, any floating dtype, any device.
    k : Tensor of shape (..., M, r)
        Keys; M may differ from N (pooled nodes).
    v : Tensor of shape (..., M, c)
        Values; c may differ from r.

    Returns
    -------
    Tensor of shape (..., N, c)
        In the widest dtype of the three. Scores are summed in float32 at least, so that none
        overflows in half precision. Autocast is not applied: float32 input is computed in float32.

    Raises
    ------
    InputError
        Where shapes, dtypes or devices do not fit each other.

    Notes
    -----
    PyTorch's fused kernel needs four dimensions, contiguous rows and one width; otherwise it
    silently computes the N × M matrix. So the narrower of (q, k) and v is padded with zeros, which
    changes no score. Gradients of large scores are computed in float64 on a CPU, see
    :mod:`gspnl.nn.attention.flash`. They cannot be differentiated again.

    References
    ----------
    Dao, Fu, Ermon, Rudra, Ré. FlashAttention: fast and memory-efficient exact attention with
    IO-awareness. NeurIPS 2022.

    Examples
    --------
    >>> import torch
    >>> points = torch.tensor([[0.0], [1.0]])
    >>> softmax_attention(points, points, torch.eye(2))
    tensor([[0.5000, 0.5000],
            [0.2689, 0.7311]])
    """
    check_points(q, k, v)
    with without_autocast(q.device):
        dtype, width = common_dtype(q, k, v), fused_width(q, v)
        queries = fused_layout(q, width, dtype)
        keys = queries if k is q else fused_layout(k, width, dtype)
        values = fused_layout(v, width, dtype)
        recorded = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
        if recorded and flash.available(q):
            out, _ = attend(queries, keys, values, True)
        else:
            out = F.scaled_dot_product_attention(queries, keys, values, scale=1.0)
        return original_layout(out, q, v)
