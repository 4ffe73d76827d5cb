r"""Compute F of one unit on a low-rank graph as a single differentiable function.

Autograd would store, read and add up tensors of the size of φ in a dozen nodes. Here φ, ψ and Z
share one tensor, for a part of the batch at a time, and so do their gradients. The steps, with the
symbols of docs/mathematics.md ("Low rank") and N as the last axis, are

1. embed: H = relu([W_φ; W_ψ] X) and Z = W_g X. A = D⁻¹ P J Qᵀ, with P = Q = [Φ Ψ] and
   J = ½ [[0, I], [I, 0]] where W is symmetrised, else P = Φ, Q = Ψ and J = I;
2. degrees: d = P J Qᵀ 1, with s = J Qᵀ 1, and e = 1/d;
3. small matrices: heads = J Qᵀ Z and, above order 1, gram = J Qᵀ D⁻¹ P;
4. polynomial: flat, tall and extra, see :func:`~gspnl.nn.operators.series_parts`;
5. result: F = Z flatᵀ + D⁻¹ P tall + b, and + Z extraᵀ on isolated positions.

The backward pass takes them in reverse order; dM is the gradient of the loss with respect to M.

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
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as module_registry

from gspnl.affinity.kernels import Dot
from gspnl.affinity.weights.lowrank import swap_halves
from gspnl.nn.affinity import FeatureAffinity
from gspnl.nn.normalization import NORMALIZATIONS, inverse, isolated_positions
from gspnl.nn.operators import Factored, Parts, sum_of
from gspnl.nn.pointwise import NARROW, Pointwise, channel_first, pointwise, pointwise_weight
from gspnl.nn.precision import HALVES, JIT, lift, without_autocast
from gspnl.nn.rescale import OutOfRangeError, check_range

ENABLED = True
BYTES = 4 << 20  # of φ and ψ at a time: allocators take fresh pages for more; measured

# Hooks on all modules. Private: torch has no public function that lists them.
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
    if not _unobserved(affinity.phi):  # it may have no width
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
        form = Form(series, symmetric, affinity.isolated == "self")
        try:
            out: Tensor = FastUnit.apply(*inputs, form, *tensors)  # type: ignore[no-untyped-call]  # untyped in torch
        except OutOfRangeError:
            return None
    return out


def _plain_autograd(x: Tensor) -> bool:
    if x.device.type != "cpu" or torch.compiler.is_compiling() or JIT.is_tracing():
        return False
    if any(map(len, GLOBAL_HOOKS)) or (x.is_inference() and torch.is_grad_enabled()):
        return False
    if x.dtype in HALVES and not torch.is_autocast_enabled("cpu"):
        return False
    # Private: torch.func has no public function that returns whether a transform is active.
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


@dataclass(frozen=True)
class Form:
    """Form of A = D⁻¹ P J Qᵀ, and the polynomial in it.

    Parameters
    ----------
    polynomial : Polynomial
    symmetric : bool
        Whether W is symmetrised; else the order is 1.
    keep : bool
        Whether isolated positions keep their signal, A_ii = 1.
    """

    polynomial: Polynomial
    symmetric: bool
    keep: bool

    def factors(self, H: Tensor) -> tuple[Tensor, Tensor]:
        """Return Pᵀ and Qᵀ, (B, m, N), views of H."""
        if self.symmetric:
            return H, H
        P, Q = H.chunk(2, dim=1)
        return P, Q

    def core(self, small: Tensor) -> Tensor:
        """Return J times a small matrix, (B, m, c)."""
        return swap_halves(small) if self.symmetric else small


class Saved(NamedTuple):
    """Results of the forward pass on a part of the batch, for the backward pass."""

    U: Tensor  # H and, unless Z = X, Z
    s: Tensor
    e: Tensor
    heads: Tensor
    gram: Tensor | None
    flat: Tensor | None
    tall: Tensor
    extra: Tensor
    isolated: Tensor | None  # None if isolated positions do not keep their signal


class FastUnit(torch.autograd.Function):
    """F of one unit; the steps are those of the module's docstring."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        phi: Tensor,
        psi: Tensor,
        g: Tensor | None,
        inward: Tensor | None,
        outward: Tensor | None,
        form: Form,
        *tensors: Tensor,
    ) -> Tensor:
        W = torch.cat([phi, psi] if g is None else [phi, psi, g])
        width = phi.shape[0] + psi.shape[0]
        size = max(1, BYTES // (width * x.shape[-1] * x.element_size()))
        out = torch.empty_like(x)  # F, in the layout of x
        saved: list[Tensor | None] = []
        for X, F in zip(_split_batch(x, size), _split_batch(out, size), strict=True):
            # 1. Embed.
            U = channel_first(X.mT, W, inward).mT
            H, Z = U[:, :width].relu_(), X if g is None else U[:, width:]
            P, Q = form.factors(H)
            # 2. Degrees.
            s = form.core(Q.sum(-1, keepdim=True))
            d = s.mT @ P
            check_range(d[:, 0])  # else the plain path scales the points
            isolated = isolated_positions(d)
            e = inverse(d, isolated)
            left = P * e
            # 3. and 4. Small matrices and polynomial.
            heads = form.core(Q @ Z.mT)
            gram = form.core(Q @ left.mT) if form.polynomial.order > 1 else None
            flat, tall, extra = _small_matrices(form.polynomial, tensors, heads, gram)
            # 5. Result.
            _put(F, tall.mT, left)
            if flat is not None:
                _add(F, flat, Z)
            if isolated is not None and form.keep:
                _add(F, extra, Z * isolated)
            if outward is not None:
                F.add_(outward[:, None])
            kept = isolated if form.keep else None
            saved += Saved(U, s, e, heads, gram, flat, tall, extra, kept)
        ctx.form, ctx.size, ctx.width, ctx.count = form, size, width, len(tensors)
        ctx.save_for_backward(x, phi, psi, g, inward, outward, W, *tensors, *saved)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        with without_autocast(grad.device):
            if torch.is_grad_enabled():  # create_graph=True
                return _differentiable_gradients(ctx, grad)
            return _gradients(ctx, grad)


def _small_matrices(
    polynomial: Polynomial, tensors: Sequence[Tensor], heads: Tensor, gram: Tensor | None
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Return flat, tall and extra = alone − flat."""
    if gram is None:  # order 1: the tensors are V₁, after V₀ if there is one
        return tensors[0] if len(tensors) > 1 else None, heads @ tensors[-1].mT, tensors[-1]
    flat, tall, alone = polynomial.parts(tensors, heads, gram)
    assert tall is not None
    return flat, tall, alone if flat is None else alone - flat


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Return the gradients of all inputs."""
    x, phi, psi, g, inward, outward, W, *rest = ctx.saved_tensors
    form, tensors, count = ctx.form, rest[: ctx.count], len(Saved._fields)
    narrow = max(x.shape[1], len(phi), len(psi), 0 if g is None else len(g)) <= NARROW
    # In the layout of x; but results of convolutions are not copied again.
    dx = torch.empty_like(x) if narrow and ctx.needs_input_grad[0] else None
    dx_parts: list[Tensor] = []
    sums: list[Tensor | None] = []  # gradients of weights and biases, over all parts
    pairs = zip(_split_batch(x, ctx.size), _split_batch(grad, ctx.size), strict=True)
    for k, (X, dF) in enumerate(pairs):
        saved = Saved(*rest[ctx.count + count * k :][:count])
        H, Z = saved.U[:, : ctx.width], X if g is None else saved.U[:, ctx.width :]
        flat, isolated = saved.flat, saved.isolated
        # 5. Result.
        scaled = dF * saved.e
        dtall = form.factors(H)[0] @ scaled.mT
        dflat = None if flat is None else pointwise_weight(Z, dF)
        dF_isolated = None if isolated is None else dF * isolated
        dextra = None if dF_isolated is None else pointwise_weight(Z, dF_isolated)
        # 4. to 1. Polynomial, small matrices, degrees and embedding.
        dtensors, dheads, dgram = _small_gradients(form, tensors, saved, dtall, dflat, dextra)
        dheads = form.core(dheads)
        dU = _factor_gradients(form, H, Z, saved, scaled, dheads, dgram)
        dZ = torch.bmm(dheads.mT, form.factors(H)[1])
        if flat is not None:
            _add(dZ, flat.mT, dF)
        if dF_isolated is not None:
            _add(dZ, saved.extra.mT, dF_isolated)
        if g is not None:
            dU.append(dZ)
        part = [
            torch.cat([pointwise_weight(X, each) for each in dU]),
            None if inward is None else torch.cat([each.sum((0, 2)) for each in dU]),
            None if outward is None else dF.sum((0, 2)),
            *dtensors,
        ]
        sums = part if not sums else [_sum(a, b) for a, b in zip(sums, part, strict=True)]
        if ctx.needs_input_grad[0]:
            weights = torch.split(W, [each.shape[1] for each in dU])
            out = None if dx is None else dx[k * ctx.size :][: len(X)]
            dx_parts.append(_features_gradient(dU, weights, dZ if g is None else None, out))
    if dx_parts and dx is None:
        dx = dx_parts[0] if len(dx_parts) == 1 else torch.cat(dx_parts)
    dW, dinward, doutward, *dtensors = sums
    assert dW is not None
    dphi, dpsi, dg = torch.tensor_split(dW, (len(phi), ctx.width))
    return dx, dphi, dpsi, None if g is None else dg, dinward, doutward, None, *dtensors


def _small_gradients(
    form: Form,
    tensors: Sequence[Tensor],
    saved: Saved,
    dtall: Tensor,
    dflat: Tensor | None,
    dextra: Tensor | None,
) -> tuple[list[Tensor | None], Tensor, Tensor | None]:
    """Reverse step 4: return the gradients of the polynomial's tensors, of heads and of gram."""
    if saved.gram is None:  # order 1: tall = heads V₁ᵀ, flat = V₀ and extra = V₁
        dV = pointwise_weight(saved.heads.mT, dtall.mT)
        dV = dV if dextra is None else dV + dextra
        return [dV] if dflat is None else [dflat, dV], dtall @ saved.extra, None
    leaves = [each.detach().requires_grad_() for each in (*tensors, saved.heads, saved.gram)]
    with torch.enable_grad():
        flat, tall, extra = _small_matrices(form.polynomial, leaves[:-2], *leaves[-2:])
    outputs, grads = [tall], [dtall]
    for each, gradient in ((flat, dflat), (extra, dextra)):
        if each is not None and gradient is not None:
            outputs.append(each)
            grads.append(gradient)
    *dtensors, dheads, dgram = torch.autograd.grad(outputs, leaves, grads, allow_unused=True)
    dheads = torch.zeros_like(saved.heads) if dheads is None else dheads
    return [*dtensors], dheads, torch.zeros_like(saved.gram) if dgram is None else dgram


def _factor_gradients(
    form: Form,
    H: Tensor,
    Z: Tensor,
    saved: Saved,
    scaled: Tensor,
    dheads: Tensor,
    dgram: Tensor | None,
) -> list[Tensor]:
    """Reverse steps 3 to 1: return dφ and dψ before relu, in one tensor if W is symmetrised.

    Parameters
    ----------
    H, Z : tensors of shape (B, m, N), (B, c, N)
    saved : Saved
    scaled : tensor of shape (B, C, N)
        The gradient of F, times e.
    dheads : tensor of shape (B, m, c)
        J times the gradient of heads.
    dgram : tensor of shape (B, m, m) or None
        The gradient of gram.
    """
    s, e = saved.s, saved.e
    P, Q = form.factors(H)
    # Sums are taken in place, in tensors of their own: products into views are slow.
    dP = torch.bmm(saved.tall, scaled)
    dd = torch.mul(P, dP).sum(1, keepdim=True)  # e ∂F/∂e; it becomes ∂F/∂d = −e (e ∂F/∂e)
    if dgram is not None:  # gram = J Q (P e)ᵀ, where P = Q
        D = form.core(dgram)
        both = torch.bmm(D + D.mT, H).mul_(e)
        dP.add_(both)
        dd.add_(both.mul_(H).sum(1, keepdim=True), alpha=0.5)
    dd.mul_(e).neg_()
    ds = form.core(P @ dd.mT)  # d = sᵀ P and s = J Q 1
    dP.baddbmm_(s, dd)
    dQ = dP.baddbmm_(dheads, Z) if form.symmetric else torch.bmm(dheads, Z)
    dQ.add_(ds).mul_(Q.sign())  # relu
    return [dP] if form.symmetric else [dP.mul_(P.sign()), dQ]


def _differentiable_gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Return the gradients by plain operations, which autograd can differentiate again."""
    form: Form = ctx.form
    *inputs, _ = ctx.saved_tensors[:7]
    inputs += ctx.saved_tensors[7 : 7 + ctx.count]
    # Aliases: inputs may be functions of each other outside, but not for this derivative.
    inputs = [None if each is None else each.view_as(each) for each in inputs]
    x, phi, psi, g, inward, outward, *tensors = inputs
    W = torch.cat([phi, psi] if g is None else [phi, psi, g])
    U = W @ x if inward is None else W @ x + inward[:, None]
    P, Q = form.factors(torch.relu(U[:, : ctx.width]))
    Z = x if g is None else U[:, ctx.width :]
    degrees = Factored(P.mT, Q.mT, form.symmetric).sums()
    isolated = isolated_positions(degrees)
    left = P * inverse(degrees, isolated)[:, None]
    A = Factored(left.mT, Q.mT, form.symmetric, isolated if form.keep else None)
    F = A.polynomial(
        Z.mT, form.polynomial.order, lambda *small: form.polynomial.parts(tensors, *small), outward
    ).mT
    inputs.insert(6, None)  # the form
    wanted = [k for k, needed in enumerate(ctx.needs_input_grad) if needed]
    grads = torch.autograd.grad(F, [inputs[k] for k in wanted], grad, create_graph=True)
    found = dict(zip(wanted, grads, strict=True))
    return tuple(found.get(k) for k in range(len(inputs)))


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return None if a is None or b is None else a + b


def _split_batch(x: Tensor, size: int) -> tuple[Tensor, ...]:
    """Split a batch into parts of ``size`` items."""
    return (x,) if size >= x.shape[0] else torch.split(x, size)


def _put(out: Tensor, weight: Tensor, X: Tensor) -> Tensor:
    """Write W X into a tensor (B, c, N) of either layout."""
    weight = weight.expand(len(X), *weight.shape[-2:])
    if out.is_contiguous():
        return torch.bmm(weight, X, out=out)
    torch.bmm(X.mT, weight.mT, out=out.mT)
    return out


def _add(total: Tensor, weight: Tensor, X: Tensor) -> None:
    """Add W X in place to a tensor (B, c, N) of either layout."""
    weight = weight.expand(len(X), *weight.shape[-2:])
    if total.is_contiguous():
        total.baddbmm_(weight, X)
    else:
        total.mT.baddbmm_(X.mT, weight.mT)


def _features_gradient(
    grads: Sequence[Tensor], weights: Sequence[Tensor], start: Tensor | None, out: Tensor | None
) -> Tensor:
    """Return ``start`` + Σ Wᵀ dU, the gradient of features; in ``out`` if all maps are narrow."""
    if out is not None and start is not None:
        start = out.copy_(start)
    for grad, weight in zip(grads, weights, strict=True):
        if out is not None and start is None:
            start = _put(out, weight.mT, grad)
        elif start is not None and max(weight.shape) <= NARROW:
            _add(start, weight.mT, grad)
        else:
            share = pointwise(grad.mT, weight.mT).mT
            start = share if start is None else start.add_(share)
    assert start is not None
    return start
