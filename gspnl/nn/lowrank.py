r"""A unit on the low-rank graph of dot products, from features to F, as one differentiable step.

Autograd would hold, read and add up tensors of the size of φ in a dozen nodes. Here
φ, ψ and Z lie in one tensor, a part of the batch at a time, and so do their gradients.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from gspnl.kernels import Dot
from gspnl.nn.embed import AT_ONCE, FeatureAffinity
from gspnl.nn.pointwise import Pointwise, pointwise, pointwise_weight
from gspnl.nn.scales import SYMMETRIZED, inverted, marked
from gspnl.nn.stage import Stage, combined

ROWS = ("random_walk", "softmax")  # normalisations that divide each row by its degree


def filtered(affinity: nn.Module, stage: nn.Module, x: Tensor) -> Tensor | None:
    """F (B, C, N) of features (B, C, N), or None where the step does not stand for these modules.

    It is taken where nothing could tell the difference: not where a hook or a parametrisation would
    be passed over, nor where something else than autograd transforms the program.
    """
    if not (isinstance(affinity, FeatureAffinity) and isinstance(stage, Stage)):
        return None
    if not (_eager(x) and _divides_rows(affinity) and affinity.lowrank(x.shape[-1])):
        return None
    maps = affinity.phi, affinity.psi, stage.g, *stage.outputs
    if not (_plain(affinity, FeatureAffinity) and _plain(stage, Stage)):
        return None
    if not all(_plain(each, Pointwise) and _linear(each) for each in maps):
        return None
    assert stage.g is not None
    flat, sloped = combined(stage.terms, [output.weight for output in stage.outputs])
    weights = affinity.phi.weight, affinity.psi.weight, stage.g.weight
    symmetric = SYMMETRIZED[affinity.normalization]
    out: Tensor = Step.apply(  # type: ignore[no-untyped-call]  # as torch leaves it
        x, *weights, flat, sloped, symmetric, affinity.isolated == "self"
    )
    return out


def _divides_rows(affinity: FeatureAffinity) -> bool:
    """Whether A is a graph of rectified dot products, each row divided by its degree."""
    kernel = affinity.kernel
    if not (type(kernel) is Dot and kernel.feature_map == "relu" and affinity.load.order == 1):
        return False
    return affinity.normalization in ROWS and affinity.pool is None


def _eager(x: Tensor) -> bool:
    """Whether plain autograd runs this, on a CPU at full precision."""
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
        return False
    if torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
        return False
    return not (torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0)


def _plain(module: nn.Module | None, kind: type[nn.Module]) -> bool:
    """Whether a module is as it was made: nobody follows its calls or has replaced them."""
    if type(module) is not kind or "forward" in vars(module):
        return False
    hooks = module._forward_hooks, module._forward_pre_hooks
    backward = module._backward_hooks, module._backward_pre_hooks
    return not any(map(len, (*hooks, *backward)))


def _linear(map_: Pointwise | None) -> bool:
    """Whether a map is its weight and nothing else."""
    return map_ is not None and map_.bias is None and map_.groups == 1


class Step(torch.autograd.Function):
    r"""F = V₀ Z + V₁ (A Zᵀ)ᵀ of A = D⁻¹ P J Qᵀ, with [P; Z] = [relu(W_φψ X); W_g X].

    Symmetrised, P = Q = [φ; ψ] and J swaps its halves and halves them; else P = φ, Q = ψ and J = I.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        phi: Tensor,
        psi: Tensor,
        g: Tensor,
        flat: Tensor | None,
        sloped: Tensor,
        symmetric: bool,
        kept: bool,
    ) -> Tensor:
        W = torch.cat([phi, psi, g])
        width = phi.shape[0] + psi.shape[0]
        size = max(1, AT_ONCE // (width * x.shape[-1] * x.element_size()))
        results, saved = [], []
        for part in _parts(x, size):
            U = pointwise(part.mT, W).mT
            H, Z = U[:, :width], U[:, width:]
            P, Q = _sides(H.relu_(), symmetric)
            s = _swapped(Q.sum(-1, keepdim=True), symmetric)
            d = s.mT @ P
            isolated = marked(d)
            e = inverted(d, isolated)
            heads = _swapped(Q @ Z.mT, symmetric)
            tall = sloped @ heads.mT
            F = torch.bmm(tall, P).mul_(e)
            if flat is not None:
                _add(F, flat, Z)
            if isolated is not None and kept:
                _add(F, sloped, Z * isolated)
            results.append(F)
            saved += [U, s, e, heads, tall, isolated if kept else None]
        ctx.size, ctx.width, ctx.symmetric, ctx.kept = size, width, symmetric, kept
        ctx.save_for_backward(x, phi, psi, g, flat, sloped, W, *saved)
        return results[0] if len(results) == 1 else torch.cat(results)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, phi, psi, g, flat, sloped, W, *saved = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again
            return _twice(ctx, grad, (x, phi, psi, g, flat, sloped))
        xs: list[Tensor] = []
        total: list[Tensor] = []
        for k, (part, G) in enumerate(
            zip(_parts(x, ctx.size), _parts(grad, ctx.size), strict=True)
        ):
            U, s, e, heads, tall, isolated = saved[6 * k : 6 * k + 6]
            H, Z = U[:, : ctx.width], U[:, ctx.width :]
            P, Q = _sides(H, ctx.symmetric)
            dU = torch.empty_like(U)
            dH, dZ = dU[:, : ctx.width], dU[:, ctx.width :]
            dP, dQ = _sides(dH, ctx.symmetric)
            scaled = G * e
            dtall = torch.bmm(scaled, P.mT)
            dheads = _swapped(dtall.mT @ sloped, ctx.symmetric)
            torch.bmm(tall.mT, scaled, out=dP)
            dd = torch.mul(P, dP).sum(1, keepdim=True).mul_(e).neg_()
            ds = _swapped(P @ dd.mT, ctx.symmetric)
            dP.baddbmm_(s, dd)
            dQ.baddbmm_(dheads, Z, beta=int(ctx.symmetric)).add_(ds)
            dH.mul_(H.sign())
            torch.bmm(dheads.mT, Q, out=dZ)
            if flat is not None:
                _add(dZ, flat.mT, G)
            dsloped = pointwise_weight(heads.mT, dtall)
            if isolated is not None:
                alone = G * isolated
                _add(dZ, sloped.mT, alone)
                dsloped = dsloped + pointwise_weight(Z, alone)
            sums = [pointwise_weight(part, dU), dsloped]
            if flat is not None:
                sums.append(pointwise_weight(Z, G))
            total = sums if not total else [a + b for a, b in zip(total, sums, strict=True)]
            if ctx.needs_input_grad[0]:
                xs.append(pointwise(dU.mT, W.mT).mT)
        dx = None if not xs else xs[0] if len(xs) == 1 else torch.cat(xs)
        dphi, dpsi, dg = torch.split(total[0], [len(phi), len(psi), len(g)])
        return dx, dphi, dpsi, dg, total[2] if flat is not None else None, total[1], None, None


def _twice(ctx: Any, grad: Tensor, given: tuple[Any, ...]) -> tuple[Tensor | None, ...]:
    """The gradient by plain operations, which autograd can follow."""
    x, phi, psi, g, flat, sloped = given
    P, Q = _sides(torch.relu(torch.cat([phi, psi]) @ x), ctx.symmetric)
    Z = g @ x
    d = _swapped(Q.sum(-1, keepdim=True), ctx.symmetric).mT @ P
    isolated = marked(d)
    F = (sloped @ _swapped(Q @ Z.mT, ctx.symmetric).mT) @ P * inverted(d, isolated)
    if flat is not None:
        F = F + flat @ Z
    if isolated is not None and ctx.kept:
        F = F + sloped @ (Z * isolated)
    wanted = [k for k, needed in enumerate(ctx.needs_input_grad[:6]) if needed]
    grads = torch.autograd.grad(F, [given[k] for k in wanted], grad, create_graph=True)
    found = dict(zip(wanted, grads, strict=True))
    return *(found.get(k) for k in range(6)), None, None


def _parts(x: Tensor, size: int) -> tuple[Tensor, ...]:
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


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return None if a is None or b is None else a + b
