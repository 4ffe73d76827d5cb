r"""A unit on the low-rank graph of dot products, from features to F, as one differentiable step.

Autograd would hold, read and add up tensors of the size of φ in a dozen nodes. Here
φ, ψ and Z lie in one tensor, a part of the batch at a time, and so do their gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gspnl.nn.embed import AT_ONCE
from gspnl.nn.fused import without_autocast
from gspnl.nn.operators import Parts
from gspnl.nn.pointwise import pointwise, pointwise_weight
from gspnl.nn.scales import inverted, marked


@dataclass(frozen=True)
class Small:
    """Small matrices of a polynomial of A, see :func:`series_parts`, of its tensors."""

    order: int
    parts: Callable[..., Parts]  # (tensors, QᵀZ, QᵀP)


class Step(torch.autograd.Function):
    r"""F = flat Z + tallᵀ Pᵀ of A = P Qᵀ, from [φ; ψ] = relu(W_φψ X) and Z = W_g X.

    P = D⁻¹H and Q = H J. Symmetrised, H = [φ; ψ] and J swaps its halves and halves them; else
    P = D⁻¹φ and Q = ψ. Only orders up to 1 are known to the latter.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        phi: Tensor,
        psi: Tensor,
        g: Tensor,
        small: Small,
        symmetric: bool,
        kept: bool,
        *tensors: Tensor,
    ) -> Tensor:
        W = torch.cat([phi, psi, g])
        width = phi.shape[0] + psi.shape[0]
        size = max(1, AT_ONCE // (width * x.shape[-1] * x.element_size()))
        results, saved, inner = [], [], []
        for part in _pieces(x, size):
            U = pointwise(part.mT, W).mT
            H, Z = U[:, :width].relu_(), U[:, width:]
            P, Q = _sides(H, symmetric)
            s = _swapped(Q.sum(-1, keepdim=True), symmetric)
            d = s.mT @ P
            isolated = marked(d)
            e = inverted(d, isolated)
            given = [*tensors, _swapped(Q @ Z.mT, symmetric)]
            if small.order > 1:
                given.append(_swapped(Q @ (P * e).mT, symmetric))
                with torch.set_grad_enabled(any(ctx.needs_input_grad)):
                    given = [each.detach().requires_grad_() for each in given]
                    found = small.parts(given[:-2], *given[-2:])
                inner.append((given, found))
            else:
                found = small.parts(tensors, given[-1], None)
            flat, tall, alone = found
            assert tall is not None
            F = torch.bmm(tall.detach().mT, P).mul_(e)
            if flat is not None:
                _add(F, flat.detach(), Z)
            if isolated is not None and kept:
                extra = alone if flat is None else alone - flat
                _add(F, extra.detach(), Z * isolated)
            results.append(F)
            saved += [U, s, e, given[len(tensors)].detach(), isolated if kept else None]
        ctx.small, ctx.inner, ctx.size, ctx.width = small, inner, size, width
        ctx.symmetric, ctx.kept, ctx.count = symmetric, kept, len(tensors)
        ctx.save_for_backward(x, phi, psi, g, W, *tensors, *saved)
        return results[0] if len(results) == 1 else torch.cat(results)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        with without_autocast(grad.device):
            return Step.gradients(ctx, grad)

    @staticmethod
    def gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Of all that the step was given."""
        x, phi, psi, g, W, *rest = ctx.saved_tensors
        tensors, saved = rest[: ctx.count], rest[ctx.count :]
        if torch.is_grad_enabled():  # to be differentiated again
            return _twice(ctx, grad, x, phi, psi, g, tensors)
        xs: list[Tensor] = []
        total: list[Tensor | None] = []
        pieces = zip(_pieces(x, ctx.size), _pieces(grad, ctx.size), strict=True)
        for k, (part, G) in enumerate(pieces):
            U, s, e, heads, isolated = saved[5 * k : 5 * k + 5]
            H, Z = U[:, : ctx.width], U[:, ctx.width :]
            P, Q = _sides(H, ctx.symmetric)
            given: list[Tensor] | None = None
            if ctx.inner:
                given, parts = ctx.inner[k]
            else:
                parts = ctx.small.parts(tensors, heads, None)
            flat, tall, alone = parts
            dU = torch.empty_like(U)
            dH, dZ = dU[:, : ctx.width], dU[:, ctx.width :]
            dP, dQ = _sides(dH, ctx.symmetric)

            scaled = G * e
            dtall = P @ scaled.mT
            dflat = None if flat is None else pointwise_weight(Z, G)
            lone = None if isolated is None else G * isolated
            dextra = None if lone is None else pointwise_weight(Z, lone)
            dtensors: list[Tensor | None]
            if given is None:
                dtensors, dheads = _first_order(tensors, heads, dtall, dflat, dextra)
            else:
                dtensors, dheads, dgram = _by_autograd(given, parts, dtall, dflat, dextra)
            dheads = _swapped(dheads, ctx.symmetric)

            torch.bmm(tall, scaled, out=dP)
            dd = torch.mul(P, dP).sum(1, keepdim=True)
            if given is not None:  # Q (P e)ᵀ, where P = Q
                D = _swapped(dgram, ctx.symmetric)
                both = torch.bmm(D + D.mT, H).mul_(e)
                dH.add_(both)
                dd.add_(both.mul_(H).sum(1, keepdim=True), alpha=0.5)
            dd.mul_(e).neg_()
            ds = _swapped(P @ dd.mT, ctx.symmetric)
            dP.baddbmm_(s, dd)
            dQ.baddbmm_(dheads, Z, beta=int(ctx.symmetric)).add_(ds)
            dH.mul_(H.sign())
            torch.bmm(dheads.mT, Q, out=dZ)
            if flat is not None:
                _add(dZ, flat.mT, G)
            if lone is not None:
                _add(dZ, (alone if flat is None else alone - flat).mT, lone)
            sums = [pointwise_weight(part, dU), *dtensors]
            total = sums if not total else [_sum(a, b) for a, b in zip(total, sums, strict=True)]
            if ctx.needs_input_grad[0]:
                xs.append(pointwise(dU.mT, W.mT).mT)
        dx = None if not xs else xs[0] if len(xs) == 1 else torch.cat(xs)
        dW, *dtensors = total
        assert dW is not None
        return dx, *torch.split(dW, [len(phi), len(psi), len(g)]), None, None, None, *dtensors


def _first_order(
    tensors: Sequence[Tensor],
    heads: Tensor,
    dtall: Tensor,
    dflat: Tensor | None,
    dextra: Tensor | None,
) -> tuple[list[Tensor | None], Tensor]:
    """Gradients of V₀ (where it is) and V₁, and of QᵀZ: tall = QᵀZ V₁ᵀ, flat = V₀."""
    dsloped = pointwise_weight(heads.mT, dtall.mT)
    if dextra is not None:
        dsloped = dsloped + dextra
    return [dsloped] if dflat is None else [dflat, dsloped], dtall @ tensors[-1]


def _by_autograd(
    given: Sequence[Tensor],
    parts: Parts,
    dtall: Tensor,
    dflat: Tensor | None,
    dextra: Tensor | None,
) -> tuple[list[Tensor | None], Tensor, Tensor]:
    """Gradients of the tensors of a polynomial, of QᵀZ and of QᵀP."""
    flat, tall, alone = parts
    assert tall is not None
    outputs, grads = [tall], [dtall]
    if dextra is not None:
        dflat = None if dflat is None else dflat - dextra
        outputs.append(alone)
        grads.append(dextra)
    if flat is not None and dflat is not None:
        outputs.append(flat)
        grads.append(dflat)
    found = torch.autograd.grad(outputs, given, grads, retain_graph=True, allow_unused=True)
    dtensors: list[Tensor | None] = [*found[:-2]]
    return dtensors, found[-2], found[-1]


def _twice(
    ctx: Any, grad: Tensor, x: Tensor, phi: Tensor, psi: Tensor, g: Tensor, tensors: list[Tensor]
) -> tuple[Tensor | None, ...]:
    """The gradient by plain operations, which autograd can follow."""
    P, Q = _sides(torch.relu(torch.cat([phi, psi]) @ x), ctx.symmetric)
    Z = g @ x
    d = _swapped(Q.sum(-1, keepdim=True), ctx.symmetric).mT @ P
    isolated = marked(d)
    P = P * inverted(d, isolated)
    gram = _swapped(Q @ P.mT, ctx.symmetric) if ctx.small.order > 1 else None
    flat, tall, alone = ctx.small.parts(tensors, _swapped(Q @ Z.mT, ctx.symmetric), gram)
    F = tall.mT @ P
    if flat is not None:
        F = F + flat @ Z
    if isolated is not None and ctx.kept:
        F = F + (alone if flat is None else alone - flat) @ (Z * isolated)
    given: list[Any] = [x, phi, psi, g, None, None, None, *tensors]
    wanted = [k for k, needed in enumerate(ctx.needs_input_grad) if needed]
    grads = torch.autograd.grad(F, [given[k] for k in wanted], grad, create_graph=True)
    found = dict(zip(wanted, grads, strict=True))
    return tuple(found.get(k) for k in range(len(given)))


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return None if a is None or b is None else a + b


def _pieces(x: Tensor, size: int) -> tuple[Tensor, ...]:
    return (x,) if size >= x.shape[0] else torch.split(x, size)


def _sides(H: Tensor, symmetric: bool) -> tuple[Tensor, Tensor]:
    """P and Q, views of H."""
    if symmetric:
        return H, H
    P, Q = H.chunk(2, dim=1)
    return P, Q


def _swapped(small: Tensor, symmetric: bool) -> Tensor:
    """J times heads (B, m, c)."""
    if not symmetric:
        return small
    first, second = small.chunk(2, dim=1)
    return torch.cat([second, first], dim=1) / 2


def _add(total: Tensor, weight: Tensor, X: Tensor) -> None:
    """Add W X to a tensor that is nobody else's yet."""
    total.baddbmm_(weight.expand(len(X), *weight.shape), X)
