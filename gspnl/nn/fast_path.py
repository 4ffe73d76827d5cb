r"""Compute F of one unit on a low-rank graph as a single differentiable function.

Autograd would store, read and add up tensors of the size of φ in a dozen nodes. Here φ, ψ and Z
share one tensor, for a part of the batch at a time, and so do their gradients.

The fast path bypasses the modules: it reads their weights and calls none of them. It may be taken
only where that cannot be observed. It is not taken if a hook is registered, globally or on a
module; if a module is parametrised, is a subclass, or has a replaced method; while torch.compile,
torch.export, torch.jit or ONNX trace the program; under torch.func transforms and forward-mode
differentiation, which need a rule for each function; for tensor subclasses; and for half precision
and devices other than CPUs, where it saves no time. Set :data:`ENABLED` to False to switch it off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as module_registry

from gspnl.affinity.kernels import Dot
from gspnl.affinity.weights.lowrank import swap_halves
from gspnl.nn.affinity import FeatureAffinity
from gspnl.nn.normalization import NORMALIZATIONS, inverse, isolated_positions
from gspnl.nn.operators import Parts, sum_of
from gspnl.nn.pointwise import NARROW, Pointwise, channel_first, pointwise, pointwise_weight
from gspnl.nn.precision import HALVES, lift, without_autocast

ENABLED = True
JIT: Any = torch.jit  # untyped
BYTES = 4 << 20  # of φ and ψ at a time: allocators take fresh pages for more; measured

# Hooks on all modules and on one. Private: torch has no public functions that list them.
GLOBAL_HOOKS = (
    module_registry._global_forward_hooks,
    module_registry._global_forward_pre_hooks,
    module_registry._global_backward_hooks,
    module_registry._global_backward_pre_hooks,
)
COVERED: set[type[nn.Module]] = {FeatureAffinity, Pointwise, nn.BatchNorm1d}
METHODS = {"forward", "filtered", "series", "polynomial", "added", "total", "_operator", "_scales"}
M = TypeVar("M", bound=nn.Module)


def covered(cls: type[M]) -> type[M]:
    """Register a class whose computation the fast path replaces; subclasses are not included."""
    COVERED.add(cls)
    return cls


def usable(x: Tensor, *modules: nn.Module) -> bool:
    """Return whether plain autograd runs, and no hook or override affects the modules."""
    return ENABLED and _plain_autograd(x) and all(map(_unobserved, modules))


def _plain_autograd(x: Tensor) -> bool:
    if x.device.type != "cpu" or torch.compiler.is_compiling() or JIT.is_tracing():
        return False
    if any(map(len, GLOBAL_HOOKS)) or (x.is_inference() and torch.is_grad_enabled()):
        return False
    if x.dtype in HALVES and not torch.is_autocast_enabled("cpu"):
        return False
    # Private: torch.func has no public function that tells whether a transform is active.
    return not torch._C._are_functorch_transforms_active() and _ordinary(x)


def _unobserved(module: nn.Module) -> bool:
    if type(module) not in COVERED or not METHODS.isdisjoint(vars(module)):
        return False
    forward = module._forward_hooks or module._forward_pre_hooks
    return not (forward or module._backward_hooks or module._backward_pre_hooks)


def _ordinary(x: Tensor) -> bool:
    """Return whether ``x`` is no subclass and carries no tangent."""
    tangent = forward_ad.unpack_dual(x).tangent  # type: ignore[no-untyped-call]  # untyped in torch
    return type(x) in (Tensor, nn.Parameter) and tangent is None


@dataclass(frozen=True)
class Polynomial:
    """A polynomial of A in small matrices, see :func:`~gspnl.nn.operators.series_parts`."""

    order: int
    parts: Callable[..., Parts]  # (tensors, QᵀZ, QᵀP)


def filtered(
    x: Tensor,
    affinity: nn.Module,
    g: Pointwise | None,
    outputs: Sequence[Pointwise],
    polynomial: Callable[[torch.dtype], tuple[Polynomial, list[Tensor]]],
) -> Tensor | None:
    """Return F (B, C, N) of features (B, C, N), or None where this graph needs the plain path.

    Parameters
    ----------
    x : tensor of shape (B, C, N)
    affinity : Module
    g, outputs : Pointwise
        Maps into and out of the unit.
    polynomial : callable
        The polynomial of A in a dtype, and the tensors that it is a function of.
    """
    if not (isinstance(affinity, FeatureAffinity) and _divides_rows(affinity)):
        return None
    if not affinity.lowrank(x.shape[-1], x.shape[-1], affinity.phi.width):
        return None
    inward = [affinity.phi, affinity.psi] if g is None else [affinity.phi, affinity.psi, g]
    features = lift(x)
    if not all(_takes(each, features.dtype) for each in (*inward, *outputs)):
        return None
    with without_autocast(x.device):
        series, tensors = polynomial(features.dtype)
        outward = [each.bias for each in outputs if each.bias is not None]
        inputs = (
            features, affinity.phi.weight, affinity.psi.weight, None if g is None else g.weight,
            _joined_bias(inward), sum_of(outward) if outward else None,
        )  # fmt: skip
        ordinary = all(_ordinary(each) for each in (*inputs, *tensors) if each is not None)
        if series.order < 1 or not ordinary:
            return None
        symmetric = NORMALIZATIONS[affinity.normalization].symmetric_core
        keep = affinity.isolated == "self"
        out: Tensor = FastUnit.apply(*inputs, series, symmetric, keep, *tensors)  # type: ignore[no-untyped-call]  # untyped in torch
    return out


def _divides_rows(affinity: FeatureAffinity) -> bool:
    """Return whether A is a graph of rectified dot products whose rows are divided by degrees."""
    kernel = affinity.kernel
    rectified = type(kernel) is Dot and kernel.feature_map == "relu" and affinity.pool is None
    return rectified and affinity.normalization in ("random_walk", "softmax")


def _takes(layer: Pointwise, dtype: torch.dtype) -> bool:
    return _unobserved(layer) and layer.groups == 1 and layer.weight.dtype == dtype


def _joined_bias(layers: Sequence[Pointwise]) -> Tensor | None:
    """Concatenate biases, zero for layers without one; None if none has one."""
    if all(each.bias is None for each in layers):
        return None
    return torch.cat(
        [each.weight.new_zeros(each.width) if each.bias is None else each.bias for each in layers]
    )


class FastUnit(torch.autograd.Function):
    r"""F = flat Z + tallᵀ Pᵀ of A = P Qᵀ, from [φ; ψ] = relu(W_φψ X) and Z = W_g X.

    Symmetrised, H = [φ; ψ], P = D⁻¹H and Q = H J with :math:`J = ½ [[0, I], [I, 0]]`; else
    P = D⁻¹φ and Q = ψ, for orders up to 1.
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
        series: Polynomial,
        symmetric: bool,
        keep: bool,
        *tensors: Tensor,
    ) -> Tensor:
        W = torch.cat([phi, psi] if g is None else [phi, psi, g])
        width = phi.shape[0] + psi.shape[0]
        size = max(1, BYTES // (width * x.shape[-1] * x.element_size()))
        out, saved = torch.empty_like(x), []  # F, in the layout of x
        for part, F in zip(split_batch(x, size), split_batch(out, size), strict=True):
            U = channel_first(part.mT, W, inward).mT
            H, Z = U[:, :width].relu_(), part if g is None else U[:, width:]
            P, Q = _sides(H, symmetric)
            s = _core_times(Q.sum(-1, keepdim=True), symmetric)
            d = s.mT @ P
            isolated = isolated_positions(d)
            e = inverse(d, isolated)
            left = P * e
            heads, gram = _core_times(Q @ Z.mT, symmetric), None
            if series.order > 1:
                gram = _core_times(Q @ left.mT, symmetric)
                flat, tall, extra = _values(series.parts(tensors, heads, gram))
            else:
                flat, tall, extra = _first_order(tensors, heads)
            put(F, tall.mT, left)
            if flat is not None:
                add(F, flat, Z)
            if isolated is not None and keep:
                add(F, extra, Z * isolated)
            if outward is not None:
                F.add_(outward[:, None])
            saved += [U, s, e, heads, gram, tall, isolated if keep else None]
        ctx.series, ctx.size, ctx.width = series, size, width
        ctx.symmetric, ctx.keep = symmetric, keep
        ctx.save_for_backward(x, phi, psi, g, inward, outward, W, *tensors, *saved)
        ctx.count = len(tensors)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        with without_autocast(grad.device):
            return FastUnit.gradients(ctx, grad)

    @staticmethod
    def gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of all inputs."""
        x, phi, psi, g, inward, outward, W, *rest = ctx.saved_tensors
        tensors, saved = rest[: ctx.count], rest[ctx.count :]
        if torch.is_grad_enabled():  # create_graph=True
            return _differentiable_gradients(ctx, grad, x, phi, psi, g, inward, outward, *tensors)
        xs: list[Tensor] = []
        narrow = max(x.shape[1], len(phi), len(psi), 0 if g is None else len(g)) <= NARROW
        # In the layout of x; but results of convolutions are not copied again.
        whole = torch.empty_like(x) if narrow and ctx.needs_input_grad[0] else None
        total: list[Tensor | None] = []
        pairs = zip(split_batch(x, ctx.size), split_batch(grad, ctx.size), strict=True)
        for k, (part, G) in enumerate(pairs):
            U, s, e, heads, gram, tall, isolated = saved[7 * k : 7 * k + 7]
            H, Z = U[:, : ctx.width], part if g is None else U[:, ctx.width :]
            P, Q = _sides(H, ctx.symmetric)
            scaled = G * e
            dtall = P @ scaled.mT
            G_isolated = None if isolated is None else G * isolated
            dextra = None if G_isolated is None else pointwise_weight(Z, G_isolated)
            dtensors: list[Tensor | None]
            if gram is not None:
                leaves = [each.detach().requires_grad_() for each in (*tensors, heads, gram)]
                with torch.enable_grad():
                    parts = ctx.series.parts(leaves[:-2], *leaves[-2:])
                flat, _, extra = _values(parts)
                dflat = None if flat is None else pointwise_weight(Z, G)
                dtensors, dheads, dgram = _small_gradients(leaves, parts, dtall, dflat, dextra)
            else:
                flat, extra = (tensors[0] if len(tensors) > 1 else None), tensors[-1]
                dsloped = pointwise_weight(heads.mT, dtall.mT)
                dtensors = [dsloped if dextra is None else dsloped + dextra]
                if flat is not None:
                    dtensors.insert(0, pointwise_weight(Z, G))
                dheads = dtall @ extra
            dheads = _core_times(dheads, ctx.symmetric)

            # Sums are taken in place, in tensors of their own: products into views are slow.
            dP = torch.bmm(tall, scaled)
            dd = torch.mul(P, dP).sum(1, keepdim=True)
            if gram is not None:  # Q (P e)ᵀ, where P = Q
                D = _core_times(dgram, ctx.symmetric)
                both = torch.bmm(D + D.mT, H).mul_(e)
                dP.add_(both)
                dd.add_(both.mul_(H).sum(1, keepdim=True), alpha=0.5)
            dd.mul_(e).neg_()
            ds = _core_times(P @ dd.mT, ctx.symmetric)
            dP.baddbmm_(s, dd)
            dQ = dP.baddbmm_(dheads, Z) if ctx.symmetric else torch.bmm(dheads, Z)
            dQ.add_(ds).mul_(Q.sign())
            if not ctx.symmetric:
                dP.mul_(P.sign())
            dZ = torch.bmm(dheads.mT, Q)
            if flat is not None:
                add(dZ, flat.mT, G)
            if G_isolated is not None:
                add(dZ, extra.mT, G_isolated)
            dU = [dP] if ctx.symmetric else [dP, dQ]
            if g is not None:
                dU.append(dZ)
            dW = torch.cat([pointwise_weight(part, each) for each in dU])
            dinward = None if inward is None else torch.cat([each.sum((0, 2)) for each in dU])
            doutward = None if outward is None else G.sum((0, 2))
            sums = [dW, dinward, doutward, *dtensors]
            total = sums if not total else [_sum(a, b) for a, b in zip(total, sums, strict=True)]
            if ctx.needs_input_grad[0]:
                shares = torch.split(W, [each.shape[1] for each in dU])
                piece = None if whole is None else whole[k * ctx.size :][: len(part)]
                xs.append(features_gradient(dU, shares, dZ if g is None else None, piece))
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
    """Return flat, tall and alone − flat of order 1, from V₁ and, if present, V₀."""
    return tensors[0] if len(tensors) > 1 else None, heads @ tensors[-1].mT, tensors[-1]


def _values(parts: Parts) -> tuple[Tensor | None, Tensor, Tensor]:
    """Return flat, tall and alone − flat without their graph."""
    flat, tall, alone = (None if each is None else each.detach() for each in parts)
    assert tall is not None
    assert alone is not None
    return flat, tall, alone if flat is None else alone - flat


def _small_gradients(
    leaves: Sequence[Tensor],
    parts: Parts,
    dtall: Tensor,
    dflat: Tensor | None,
    dextra: Tensor | None,
) -> tuple[list[Tensor | None], Tensor, Tensor]:
    """Return gradients of the tensors of a polynomial, of QᵀZ and of QᵀP, by autograd."""
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
    found = torch.autograd.grad(outputs, leaves, grads, allow_unused=True)
    heads, gram = leaves[-2:]
    dheads, dgram = (
        torch.zeros_like(each) if grad is None else grad
        for each, grad in zip((heads, gram), found[-2:], strict=True)
    )
    return [*found[:-2]], dheads, dgram


def _differentiable_gradients(
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
    """Return the gradients by plain operations, which autograd can differentiate again."""
    # Aliases: inputs may be functions of each other outside, but not for this derivative.
    x, phi, psi, g, inward, outward, *tensors = (  # type: ignore[assignment]
        None if each is None else each.view_as(each)
        for each in (x, phi, psi, g, inward, outward, *tensors)
    )
    W = torch.cat([phi, psi] if g is None else [phi, psi, g])
    U = W @ x if inward is None else W @ x + inward[:, None]
    P, Q = _sides(torch.relu(U[:, : ctx.width]), ctx.symmetric)
    Z = x if g is None else U[:, ctx.width :]
    d = _core_times(Q.sum(-1, keepdim=True), ctx.symmetric).mT @ P
    isolated = isolated_positions(d)
    P = P * inverse(d, isolated)
    gram = _core_times(Q @ P.mT, ctx.symmetric) if ctx.series.order > 1 else None
    flat, tall, alone = ctx.series.parts(tensors, _core_times(Q @ Z.mT, ctx.symmetric), gram)
    F = tall.mT @ P
    if flat is not None:
        F = F + flat @ Z
    if isolated is not None and ctx.keep:
        F = F + (alone if flat is None else alone - flat) @ (Z * isolated)
    if outward is not None:
        F = F + outward[:, None]
    inputs: list[Any] = [x, phi, psi, g, inward, outward, None, None, None, *tensors]
    wanted = [k for k, needed in enumerate(ctx.needs_input_grad) if needed]
    grads = torch.autograd.grad(F, [inputs[k] for k in wanted], grad, create_graph=True)
    found = dict(zip(wanted, grads, strict=True))
    return tuple(found.get(k) for k in range(len(inputs)))


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return None if a is None or b is None else a + b


def _sides(H: Tensor, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Return P and Q, views of H."""
    if symmetric:
        return H, H
    P, Q = H.chunk(2, dim=1)
    return P, Q


def _core_times(H: Tensor, symmetric: bool) -> Tensor:
    """J H, (B, m, c)."""
    return swap_halves(H) if symmetric else H


def split_batch(x: Tensor, size: int) -> tuple[Tensor, ...]:
    """Split a batch into parts of ``size`` items."""
    return (x,) if size >= x.shape[0] else torch.split(x, size)


def put(out: Tensor, weight: Tensor, X: Tensor) -> Tensor:
    """Write W X into a tensor (B, c, N) of either layout."""
    weight = weight.expand(len(X), *weight.shape[-2:])
    if out.is_contiguous():
        return torch.bmm(weight, X, out=out)
    torch.bmm(X.mT, weight.mT, out=out.mT)
    return out


def add(total: Tensor, weight: Tensor, X: Tensor) -> None:
    """Add W X in place to a tensor (B, c, N) of either layout."""
    weight = weight.expand(len(X), *weight.shape[-2:])
    if total.is_contiguous():
        total.baddbmm_(weight, X)
    else:
        total.mT.baddbmm_(X.mT, weight.mT)


def features_gradient(
    grads: Sequence[Tensor], weights: Sequence[Tensor], start: Tensor | None, out: Tensor | None
) -> Tensor:
    """Return Σ Wᵀ dU, the gradient of features; in ``out``, where all maps are narrow."""
    if out is not None and start is not None:
        start = out.copy_(start)
    for grad, weight in zip(grads, weights, strict=True):
        if out is not None and start is None:
            start = put(out, weight.mT, grad)
        elif start is not None and max(weight.shape) <= NARROW:
            add(start, weight.mT, grad)
        else:
            share = pointwise(grad.mT, weight.mT).mT
            start = share if start is None else start.add_(share)
    assert start is not None
    return start
