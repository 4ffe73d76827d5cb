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

from gspnl.nn.fused import without_autocast
from gspnl.nn.layouts import add, features, pieces, put
from gspnl.nn.operators import Parts
from gspnl.nn.pointwise import NARROW, channel_first, pointwise_weight
from gspnl.nn.scales import inverted, marked

AT_ONCE = 4 << 20  # bytes of φ and ψ: above, an allocator takes fresh pages each time; measured


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
        g: Tensor | None,
        inward: Tensor | None,
        outward: Tensor | None,
        small: Small,
        symmetric: bool,
        kept: bool,
        *tensors: Tensor,
    ) -> Tensor:
        W = torch.cat([phi, psi] if g is None else [phi, psi, g])
        width = phi.shape[0] + psi.shape[0]
        size = max(1, AT_ONCE // (width * x.shape[-1] * x.element_size()))
        whole, saved = torch.empty_like(x), []  # F, in the layout of x
        for part, F in zip(pieces(x, size), pieces(whole, size), strict=True):
            U = channel_first(part.mT, W, inward).mT
            H, Z = U[:, :width].relu_(), part if g is None else U[:, width:]
            P, Q = _sides(H, symmetric)
            s = _swapped(Q.sum(-1, keepdim=True), symmetric)
            d = s.mT @ P
            isolated = marked(d)
            e = inverted(d, isolated)
            left = P * e
            heads, gram = _swapped(Q @ Z.mT, symmetric), None
            if small.order > 1:
                gram = _swapped(Q @ left.mT, symmetric)
                flat, tall, extra = _values(small.parts(tensors, heads, gram))
            else:
                flat, tall, extra = _first_order(tensors, heads)
            put(F, tall.mT, left)
            if flat is not None:
                add(F, flat, Z)
            if isolated is not None and kept:
                add(F, extra, Z * isolated)
            if outward is not None:
                F.add_(outward[:, None])
            saved += [U, s, e, heads, gram, tall, isolated if kept else None]
        ctx.small, ctx.size, ctx.width = small, size, width
        ctx.symmetric, ctx.kept = symmetric, kept
        ctx.save_for_backward(x, phi, psi, g, inward, outward, W, *tensors, *saved)
        ctx.count = len(tensors)
        return whole

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        with without_autocast(grad.device):
            return Step.gradients(ctx, grad)

    @staticmethod
    def gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Of all that the step was given."""
        x, phi, psi, g, inward, outward, W, *rest = ctx.saved_tensors
        tensors, saved = rest[: ctx.count], rest[ctx.count :]
        if torch.is_grad_enabled():  # to be differentiated again
            return _twice(ctx, grad, x, phi, psi, g, inward, outward, *tensors)
        xs: list[Tensor] = []
        narrow = max(x.shape[1], len(phi), len(psi), 0 if g is None else len(g)) <= NARROW
        # In the layout of x; but what convolutions give is not copied again.
        whole = torch.empty_like(x) if narrow and ctx.needs_input_grad[0] else None
        total: list[Tensor | None] = []
        pairs = zip(pieces(x, ctx.size), pieces(grad, ctx.size), strict=True)
        for k, (part, G) in enumerate(pairs):
            U, s, e, heads, gram, tall, isolated = saved[7 * k : 7 * k + 7]
            H, Z = U[:, : ctx.width], part if g is None else U[:, ctx.width :]
            P, Q = _sides(H, ctx.symmetric)
            scaled = G * e
            dtall = P @ scaled.mT
            lone = None if isolated is None else G * isolated
            dextra = None if lone is None else pointwise_weight(Z, lone)
            dtensors: list[Tensor | None]
            if gram is not None:
                given = [each.detach().requires_grad_() for each in (*tensors, heads, gram)]
                with torch.enable_grad():
                    parts = ctx.small.parts(given[:-2], *given[-2:])
                flat, _, extra = _values(parts)
                dflat = None if flat is None else pointwise_weight(Z, G)
                dtensors, dheads, dgram = _by_autograd(given, parts, dtall, dflat, dextra)
            else:
                flat, extra = (tensors[0] if len(tensors) > 1 else None), tensors[-1]
                dsloped = pointwise_weight(heads.mT, dtall.mT)
                dtensors = [dsloped if dextra is None else dsloped + dextra]
                if flat is not None:
                    dtensors.insert(0, pointwise_weight(Z, G))
                dheads = dtall @ extra
            dheads = _swapped(dheads, ctx.symmetric)

            # Sums are taken in place, in tensors of their own: in views, products are slow.
            dP = torch.bmm(tall, scaled)
            dd = torch.mul(P, dP).sum(1, keepdim=True)
            if gram is not None:  # Q (P e)ᵀ, where P = Q
                D = _swapped(dgram, ctx.symmetric)
                both = torch.bmm(D + D.mT, H).mul_(e)
                dP.add_(both)
                dd.add_(both.mul_(H).sum(1, keepdim=True), alpha=0.5)
            dd.mul_(e).neg_()
            ds = _swapped(P @ dd.mT, ctx.symmetric)
            dP.baddbmm_(s, dd)
            dQ = dP.baddbmm_(dheads, Z) if ctx.symmetric else torch.bmm(dheads, Z)
            dQ.add_(ds).mul_(Q.sign())
            if not ctx.symmetric:
                dP.mul_(P.sign())
            dZ = torch.bmm(dheads.mT, Q)
            if flat is not None:
                add(dZ, flat.mT, G)
            if lone is not None:
                add(dZ, extra.mT, lone)
            found = [dP] if ctx.symmetric else [dP, dQ]
            if g is not None:
                found.append(dZ)
            dW = torch.cat([pointwise_weight(part, each) for each in found])
            dinward = None if inward is None else torch.cat([each.sum((0, 2)) for each in found])
            doutward = None if outward is None else G.sum((0, 2))
            sums = [dW, dinward, doutward, *dtensors]
            total = sums if not total else [_sum(a, b) for a, b in zip(total, sums, strict=True)]
            if ctx.needs_input_grad[0]:
                shares = torch.split(W, [each.shape[1] for each in found])
                piece = None if whole is None else whole[k * ctx.size :][: len(part)]
                xs.append(features(found, shares, dZ if g is None else None, piece))
        if xs and whole is None:
            whole = xs[0] if len(xs) == 1 else torch.cat(xs)
        whole_weight, *others = total
        assert whole_weight is not None
        dphi, dpsi, dg = torch.tensor_split(whole_weight, (len(phi), ctx.width))
        dbiases, dtensors = others[:2], others[2:]
        return (
            whole, dphi, dpsi, None if g is None else dg, *dbiases, None, None, None, *dtensors
        )  # fmt: skip


def _first_order(tensors: Sequence[Tensor], heads: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
    """flat, tall and alone − flat of V₀ (where it is) and V₁, without the detour of all orders."""
    return tensors[0] if len(tensors) > 1 else None, heads @ tensors[-1].mT, tensors[-1]


def _values(parts: Parts) -> tuple[Tensor | None, Tensor, Tensor]:
    """flat, tall and alone − flat, as numbers."""
    flat, tall, alone = (None if each is None else each.detach() for each in parts)
    assert tall is not None
    assert alone is not None
    return flat, tall, alone if flat is None else alone - flat


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
    found = torch.autograd.grad(outputs, given, grads, allow_unused=True)
    heads, gram = given[-2:]
    dheads, dgram = (
        torch.zeros_like(each) if grad is None else grad
        for each, grad in zip((heads, gram), found[-2:], strict=True)
    )
    return [*found[:-2]], dheads, dgram


def _twice(
    ctx: Any,
    grad: Tensor,
    x: Tensor,
    phi: Tensor,
    psi: Tensor,
    g: Tensor | None,
    inward: Tensor | None,
    outward: Tensor | None,
    *tensors: Tensor,
) -> tuple[Tensor | None, ...]:
    """The gradient by plain operations, which autograd can follow."""
    # Aliases: what is differentiated here must not be made of each other, as it may be outside.
    x, phi, psi, g, inward, outward, *tensors = (  # type: ignore[assignment]
        None if each is None else each.view_as(each)
        for each in (x, phi, psi, g, inward, outward, *tensors)
    )
    W = torch.cat([phi, psi] if g is None else [phi, psi, g])
    U = W @ x if inward is None else W @ x + inward[:, None]
    P, Q = _sides(torch.relu(U[:, : ctx.width]), ctx.symmetric)
    Z = x if g is None else U[:, ctx.width :]
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
    if outward is not None:
        F = F + outward[:, None]
    given: list[Any] = [x, phi, psi, g, inward, outward, None, None, None, *tensors]
    wanted = [k for k, needed in enumerate(ctx.needs_input_grad) if needed]
    grads = torch.autograd.grad(F, [given[k] for k in wanted], grad, create_graph=True)
    found = dict(zip(wanted, grads, strict=True))
    return tuple(found.get(k) for k in range(len(given)))


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return None if a is None or b is None else a + b


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
    return small.roll(small.shape[1] // 2, 1) / 2
