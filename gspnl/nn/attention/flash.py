r"""Flash attention on a CPU with the gradient of a symmetrised kernel.

With :math:`r_i = \log\sum_j e^{s_{ij}}`, :math:`c_i = \log\sum_j e^{s_{ji}}` of two flash passes,
:math:`A v = w ∘ \mathrm{softmax}(qk^T) v + (1-w) ∘ \mathrm{softmax}(kq^T) v` with
:math:`w = \mathrm{sigmoid}(r - c)`. Backward, both passes take the joint output and the joint
log-sum :math:`\log(e^r + e^c)`, which makes them exact.

The backward pass recomputes weights as :math:`e^{s - ℓ}` from one number ℓ of a row, so that
rounding of ℓ multiplies them by :math:`1 ± |ℓ| ε`, and rows no longer sum to 1. Where some |ℓ|
exceeds :data:`LARGEST`, what depends on ℓ is computed in float64, in two to three times the time.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

LARGEST = 64.0  # |ℓ| up to which its rounding in float32, 4e-6, is below that of a row of scores
JIT: Any = torch.jit  # untyped
# Private: torch's public attention does not return the log-sums, which give the degrees. Where
# these operators are missing, public operators replace them.
FORWARD: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
BACKWARD: Any = getattr(
    torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu_backward", None
)


def available(q: Tensor) -> bool:
    """Return whether the flash operators run here; exported programs avoid them."""
    return (
        FORWARD is not None and BACKWARD is not None and q.device.type == "cpu" and not exporting()
    )


def exporting() -> bool:
    """Return whether a program is being exported or traced, to run elsewhere."""
    export: Any = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)
    return bool(export() or JIT.is_tracing() or torch.onnx.is_in_onnx_export())


def attend(q: Tensor, k: Tensor, v: Tensor, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Return A v and the log-sums of the rows, of points (B, 1, N, c) of one width.

    Parameters
    ----------
    q, k, v : tensors of shape (B, 1, N, c), (B, 1, M, c), (B, 1, M, c)
    symmetric : bool
        Whether the weights are exp(q kᵀ), rather than exp(q kᵀ) + exp(k qᵀ).
    """
    if torch.compiler.is_compiling():
        run = _forward_operator
    else:
        # Private: torch.func has no public function that returns whether a transform is active.
        run = (_Transformed if torch._C._are_functorch_transforms_active() else _Plain).apply
    out: tuple[Tensor, Tensor] = run(q, k, v, symmetric)
    return out


def large(logs: Tensor) -> bool:
    """Return whether log-sums have lost digits that their weights need; reads the values."""
    if logs.dtype == torch.float64:
        return False
    return not float(torch.linalg.vector_norm(logs.detach(), math.inf)) <= LARGEST  # NaN is large


def _passes(q: Tensor, k: Tensor, v: Tensor, symmetric: bool) -> tuple[Tensor, Tensor]:
    out, log_sums = FORWARD(q, k, v, scale=1.0)
    if symmetric:
        return out, log_sums
    other, columns = FORWARD(k, q, v, scale=1.0)
    share = torch.sigmoid(log_sums - columns)[..., None].to(out.dtype)
    return torch.lerp(other, out, share), torch.logaddexp(log_sums, columns)


def _forward(q: Tensor, k: Tensor, v: Tensor, symmetric: bool) -> tuple[Tensor, Tensor]:
    """(A v, log Σ_j) of exp(q kᵀ), plus exp(k qᵀ) unless it is symmetric; all (B, 1, N, c)."""
    out, log_sums = _passes(q, k, v, symmetric)
    if symmetric or not large(log_sums):  # the softmax alone is divided by its own sum
        return out, log_sums
    fine, fine_logs = _passes(q.double(), k.double(), v.double(), symmetric)
    return fine.to(out.dtype), fine_logs.to(log_sums.dtype)


def _gradients(
    grad: Tensor,
    grad_log: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    log_sums: Tensor,
    symmetric: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of q, k and v."""
    dtype, width = q.dtype, q.shape[-1]
    if large(log_sums):
        q, k, v, grad = q.double(), k.double(), v.double(), grad.double()
        out, log_sums = _passes(q, k, v, symmetric)
    if grad_log is not None:
        # The gradient of the scores depends on `out` by Σ_c grad ∘ out alone: a column of zeros in
        # v subtracts the gradient of the log-sum from it, and changes nothing else.
        q, k, v = (F.pad(x, (0, 1)) for x in (q, k, v))
        grad = F.pad(grad, (0, 1), value=1.0)
        out = torch.cat([out, -grad_log[..., None].to(out.dtype)], dim=-1)
    dq, dk, dv = BACKWARD(grad, q, k, v, out, log_sums, 0.0, False, scale=1.0)
    if not symmetric:
        more = BACKWARD(grad, k, q, v, out, log_sums, 0.0, False, scale=1.0)
        dq, dk, dv = dq + more[1], dk + more[0], dv + more[2]
    dq, dk, dv = (x[..., :width].to(dtype) for x in (dq, dk, dv))
    return dq, dk, dv


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, ctx.symmetric = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(q, k, v, *output)


def _backward_by(gradients: Any) -> Any:
    """Return a backward function that calls ``gradients``."""

    def backward(ctx: Any, grad: Tensor | None, grad_log: Tensor | None) -> tuple[Any, ...]:
        if grad is None and grad_log is None:
            return None, None, None, None
        q, k, v, out, log_sums = ctx.saved_tensors
        grad = torch.zeros_like(out) if grad is None else grad
        return *gradients(grad, grad_log, q, k, v, out, log_sums, ctx.symmetric), None

    return backward


def _batched(function: Any) -> Any:
    """Return a rule of torch.vmap: the dimension joins B, so that values can be read."""

    def rule(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
        flat = [
            x
            if not isinstance(x, Tensor)
            else (
                x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)
            ).flatten(0, 1)
            for x, dim in zip(inputs, in_dims, strict=True)
        ]
        out = function.apply(*flat)
        split = tuple(x.unflatten(0, (info.batch_size, -1)) for x in out)
        return split, (0,) * len(split)

    return staticmethod(rule)


class _Plain(torch.autograd.Function):
    """The form without torch.func, whose calls cost a tenth of a millisecond less."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, symmetric: bool
    ) -> tuple[Tensor, Tensor]:
        output = _forward(q, k, v, symmetric)
        _setup(ctx, (q, k, v, symmetric), output)
        return output

    backward = staticmethod(_backward_by(_gradients))


class _Gradients(torch.autograd.Function):
    """The backward pass, of which no derivative is known."""

    forward = staticmethod(_gradients)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise RuntimeError(
            "the derivative of attention_backward is not implemented: gradients of attention "
            "cannot be differentiated again; use a kernel that is not an exponential"
        )


class _Transformed(torch.autograd.Function):
    """The form that torch.func can transform."""

    forward = staticmethod(_forward)
    setup_context = staticmethod(_setup)
    backward = staticmethod(_backward_by(_Gradients.apply))


for _function in (_Gradients, _Transformed):
    setattr(_function, "vmap", _batched(_function))  # noqa: B010  # mypy takes it for a method


def _contiguous_gradients(*inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    dq, dk, dv = _gradients(*inputs)
    return dq.contiguous(), dk.contiguous(), dv.contiguous()


def _like_points(
    grad: Tensor, grad_log: Tensor | None, q: Tensor, k: Tensor, v: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


# torch.compile sees an operator as one opaque call, in which values can be read.
_gradient_operator: Any = torch.library.custom_op(
    "gspnl::joint_attention_backward",
    _contiguous_gradients,
    mutates_args=(),
    schema="(Tensor grad, Tensor? grad_log, Tensor q, Tensor k, Tensor v, Tensor out, "
    "Tensor log_sums, bool symmetric) -> (Tensor, Tensor, Tensor)",
)
_gradient_operator.register_fake(_like_points)
_forward_operator: Any = torch.library.custom_op(
    "gspnl::joint_attention",
    _forward,
    mutates_args=(),
    schema="(Tensor q, Tensor k, Tensor v, bool symmetric) -> (Tensor, Tensor)",
)
_forward_operator.register_fake(_passes)
_forward_operator.register_autograd(_backward_by(_gradient_operator), setup_context=_setup)
