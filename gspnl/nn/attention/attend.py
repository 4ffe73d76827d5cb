"""Autograd forms of flash attention: eager, under torch.func, and compiled."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gspnl._base.warn import warn
from gspnl.errors import PrecisionWarning
from gspnl.nn.attention import flash


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
        output = flash.forward(q, k, v, symmetric)
        _setup(ctx, (q, k, v, symmetric), output)
        return output

    backward = staticmethod(_backward_by(flash.gradients))


class _Gradients(torch.autograd.Function):
    """The backward pass, of which no derivative is known."""

    forward = staticmethod(flash.gradients)

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

    forward = staticmethod(flash.forward)
    setup_context = staticmethod(_setup)
    backward = staticmethod(_backward_by(_Gradients.apply))


for _function in (_Gradients, _Transformed):
    setattr(_function, "vmap", _batched(_function))  # noqa: B010  # mypy takes it for a method


def _contiguous_gradients(*inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    dq, dk, dv = flash.gradients(*inputs)
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
    flash.forward,
    mutates_args=(),
    schema="(Tensor q, Tensor k, Tensor v, bool symmetric) -> (Tensor, Tensor)",
)
_forward_operator.register_fake(flash.passes)
_forward_operator.register_autograd(_backward_by(_gradient_operator), setup_context=_setup)


def _warned(logs: Tensor) -> Tensor:
    if flash.large(logs):
        warn(
            "normalization='symmetric' in a compiled program computes differences of scores and "
            f"log-degrees beyond {flash.LARGEST:g} in {logs.dtype}, so weights lose digits; run "
            "the block without torch.compile, scale the features down, or use float64",
            PrecisionWarning,
        )
    return logs.clone()


def _same(ctx: Any, grad: Tensor) -> Tensor:
    return grad


warn_operator: Any = torch.library.custom_op(
    "gspnl::warn_of_large_log_degrees", _warned, mutates_args=(), schema="(Tensor logs) -> Tensor"
)
warn_operator.register_fake(torch.empty_like)
warn_operator.register_autograd(_same)
