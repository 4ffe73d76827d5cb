"""Apply a symmetrised exponential kernel, and compute its degrees, in O(N) memory."""

from __future__ import annotations

import math
from typing import Any, Literal, overload

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from gspnl.errors import InputError
from gspnl.nn.attention.softmax import (
    check_points,
    fused_layout,
    fused_width,
    original_layout,
    softmax_attention,
)
from gspnl.nn.precision import common_dtype, without_autocast

CHUNK = 2**22  # scores in memory at a time in stacked_log_degrees
JIT: Any = torch.jit  # untyped
# Private: torch's public attention does not return the log-sums, which give the degrees. Where
# these operators are missing, the stacked form below, of public operators, replaces them.
FORWARD: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
BACKWARD: Any = getattr(
    torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu_backward", None
)


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
    With :math:`r_i = \log\sum_j e^{s_{ij}}`, :math:`c_i = \log\sum_j e^{s_{ji}}` of two flash
    passes, :math:`A v = w ∘ \mathrm{softmax}(qk^T) v + (1-w) ∘ \mathrm{softmax}(kq^T) v` with
    :math:`w = \mathrm{sigmoid}(r - c)`. Backward, both passes take the joint output and the joint
    log-sum :math:`\log(e^r + e^c)`, which makes them exact. On other devices than a CPU, and in
    exported programs, :func:`stacked_attention` is used. A score is rounded by some :math:`|s| ε`,
    which is the relative error of its weight. The gradient cannot be differentiated again.

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
    if not _fused(q):
        out = softmax_attention(q, k, v) if symmetric else stacked_attention(q, k, v)
        return (out, stacked_log_degrees(q, k, symmetric=symmetric)) if log_degrees else out
    with without_autocast(q.device):
        dtype, width = common_dtype(q, k, v), fused_width(q, v)
        queries = fused_layout(q, width, dtype)
        keys = queries if k is q else fused_layout(k, width, dtype)
        values = fused_layout(v, width, dtype)
        run = _operator if torch.compiler.is_compiling() else _eager
        rows, log_sums = run(queries, keys, values, symmetric)
        out = original_layout(rows, q, v)
        if not log_degrees:
            return out
        logs = log_sums if symmetric else log_sums - math.log(2)
        return out, logs.reshape(q.shape[:-1])


def _forward(q: Tensor, k: Tensor, v: Tensor, symmetric: bool) -> tuple[Tensor, Tensor]:
    """(A v, log Σ_j) of exp(q kᵀ), plus exp(k qᵀ) unless it is symmetric; all (B, 1, N, c)."""
    out, log_sums = FORWARD(q, k, v, scale=1.0)
    if symmetric:
        return out, log_sums
    other, columns = FORWARD(k, q, v, scale=1.0)
    share = torch.sigmoid(log_sums - columns)[..., None].to(out.dtype)
    return torch.lerp(other, out, share), torch.logaddexp(log_sums, columns)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, ctx.symmetric = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(q, k, v, *output)


def _backward(
    ctx: Any, grad: Tensor | None, grad_log: Tensor | None
) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
    q, k, v, out, log_sums = ctx.saved_tensors
    if grad is None and grad_log is None:
        return None, None, None, None
    grad = torch.zeros_like(out) if grad is None else grad
    width = q.shape[-1]
    if grad_log is not None:
        # The gradient of the scores depends on `out` by Σ_c grad ∘ out alone: a column of zeros in
        # v subtracts the gradient of the log-sum from it, and changes nothing else.
        q, k, v = (F.pad(x, (0, 1)) for x in (q, k, v))
        grad = F.pad(grad, (0, 1), value=1.0)
        out = torch.cat([out, -grad_log[..., None].to(out.dtype)], dim=-1)
    dq, dk, dv = BACKWARD(grad, q, k, v, out, log_sums, 0.0, False, scale=1.0)
    if not ctx.symmetric:
        more = BACKWARD(grad, k, q, v, out, log_sums, 0.0, False, scale=1.0)
        dq, dk, dv = dq + more[1], dk + more[0], dv + more[2]
    return dq[..., :width], dk[..., :width], dv[..., :width], None


class _Joint(torch.autograd.Function):
    """The eager form, which torch.func can transform."""

    generate_vmap_rule = True
    forward = staticmethod(_forward)
    setup_context = staticmethod(_setup)
    backward = staticmethod(_backward)


# torch.compile sees an operator as one opaque call.
_operator: Any = torch.library.custom_op(
    "gspnl::joint_attention",
    _forward,
    mutates_args=(),
    schema="(Tensor q, Tensor k, Tensor v, bool symmetric) -> (Tensor, Tensor)",
)
_operator.register_fake(_forward)
_operator.register_autograd(_backward, setup_context=_setup)
_eager: Any = _Joint.apply


def _fused(q: Tensor) -> bool:
    """Return whether the flash operators with log-sums run here; exported programs avoid them."""
    available = FORWARD is not None and BACKWARD is not None
    return available and q.device.type == "cpu" and not exporting()


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
