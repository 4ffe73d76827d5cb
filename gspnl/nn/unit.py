"""Compute one unit of a block, Y = X + gate∘act(norm(F(A, X W_g)))."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from gspnl._base.registry import Registry
from gspnl.chebyshev.series import interpolation_coefficients, nodes
from gspnl.nn import fast_path
from gspnl.nn.fast_path import Polynomial
from gspnl.nn.hooked import dtype_of, must_be_called, recompute
from gspnl.nn.operators import Maps, Operator, Parts, filter_parts, series_parts, sum_of
from gspnl.nn.pointwise import Pointwise, channels_last, pointwise
from gspnl.nn.precision import lift, lifted, without_autocast

Terms = Mapping[str, Sequence[float]]  # map → its coefficients over T₀(−A), T₁(−A), …
NORMS: Registry[Callable[[int, int | None], nn.Module | None]] = Registry("norm")
ACTIVATIONS: Registry[Callable[[Tensor], Tensor]] = Registry("activation")
ACTIVATIONS.register("relu")(torch.relu)


class PositionNorm(nn.LayerNorm):
    """Layer norm over the channels of each position of (B, C, N)."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.mT).mT


@NORMS.register("batch")
def batch_norm(channels: int, groups: int | None) -> nn.Module:
    """Batch norm, over items and positions."""
    return nn.BatchNorm1d(channels)


@NORMS.register("group")
def group_norm(channels: int, groups: int | None) -> nn.Module:
    """Group norm, of the block's groups, or of up to 32 groups of at least 4 channels.

    A group of one channel would lose the mean over positions, the mode of λ = 0.
    """
    if groups is None:
        groups = max(g for g in range(1, 33) if channels % g == 0 and (g == 1 or channels >= 4 * g))
    return nn.GroupNorm(groups, channels)


@NORMS.register("layer")
def layer_norm(channels: int, groups: int | None) -> nn.Module:
    """Layer norm."""
    return PositionNorm(channels)


@NORMS.register("none")
def no_norm(channels: int, groups: int | None) -> None:
    """No norm."""


def batch_scale(norm: nn.Module | None) -> Tensor | None:
    """γ / √(var + ε) of a batch norm in evaluation, float64; None where it depends on the input."""
    if not isinstance(norm, nn.modules.batchnorm._BatchNorm) or norm.running_var is None:
        return None
    scale = 1 / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale if norm.weight is None else scale * norm.weight.detach().double()


@fast_path.covered
class Stage(nn.Module):
    r"""One unit of a block.

    :math:`F = \sum_k T_k(-A)\,Z V_k` with Z = X W_g. Each V_k is a linear combination of the named
    maps; its coefficients, in ``terms``, are all that blocks of polynomial response differ in.

    Parameters
    ----------
    channels, inner : int
        C and Cs.
    terms : mapping of str to coefficients
    norm : {"batch", "group", "layer", "none"}
    activation : {None, "relu"}
    zero_init : bool
        Start as the identity.
    bias : bool
    groups : int
        Of the output map and of a group norm.
    """

    def __init__(
        self,
        channels: int,
        inner: int,
        terms: Terms,
        norm: str = "batch",
        activation: str | None = None,
        zero_init: bool = True,
        bias: bool = False,
        groups: int | None = None,
    ) -> None:
        super().__init__()
        self.terms, self.activation = dict(terms), activation
        self.g: Pointwise | None = Pointwise(channels, inner, bias)  # None once it is merged
        self.whole = False  # whether the maps include the residual, so that F is Y
        for name in terms:
            output = Pointwise(inner, channels, bias and norm == "none", groups or 1)
            self.add_module(name, output)
        self.norm = NORMS[norm](channels, groups)
        self.gate: nn.Parameter | None = None
        if zero_init:
            self._start_at_zero(channels)

    def _start_at_zero(self, channels: int) -> None:
        """Set the last scale, or else the maps, to zero.

        With an activation that is the gate after it: a scale before it would have no gradient.
        """
        if self.activation is not None:
            self.gate = nn.Parameter(torch.zeros(channels))
        elif self.norm is not None:
            nn.init.zeros_(self._scale)
        else:
            for output in self.outputs:
                for parameter in output.parameters():
                    nn.init.zeros_(parameter)

    @property
    def _scale(self) -> Tensor:
        """γ of the norm."""
        assert self.norm is not None
        weight = self.norm.weight
        assert isinstance(weight, Tensor)
        return weight

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Convert the unit; a norm stays in float32 where the rest becomes half precision.

        F, and its variance even earlier, may overflow float16 where input and output do not.
        """
        norm, self.norm = self.norm, None
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # untyped in torch
        self.norm = norm
        if norm is not None and recurse:
            norm._apply(partial(lifted, fn))  # type: ignore[no-untyped-call]  # untyped in torch
        return self

    @property
    def outputs(self) -> list[Pointwise]:
        """The maps from Cs to C, in the order of the terms."""
        return [self._modules[name] for name in self.terms]  # type: ignore[misc]  # all are Pointwise

    def forward(self, X: Tensor, operator: Operator) -> Tensor:
        """Return the next features (B, C, N) of features (B, N, C)."""
        Z = X if self.g is None else self.g(X)
        with without_autocast(X.device):
            F = self.filtered(lift(Z), operator).mT
        return self.added(X.mT, F)

    def fast(self, affinity: nn.Module, x: Tensor) -> Tensor | None:
        """Return F (B, C, N) of features (B, C, N) by the fast path, or None if it is not usable.

        See :mod:`gspnl.nn.fast_path`.
        """
        if not fast_path.usable(x, affinity, self):
            return None
        return fast_path.filtered(x, affinity, self.g, self.outputs, self.polynomial)

    def added(self, x: Tensor, F: Tensor) -> Tensor:
        """Return features (B, C, N) plus the step: F after norm, activation and gate."""
        if self.norm is not None:
            F = normed(self.norm, F.to(self._scale.dtype))
        if self.activation is not None:
            F = ACTIVATIONS[self.activation](F)
        if self.gate is not None:
            F = self.gate[:, None] * F
        F = F.to(x.dtype)
        return F if self.whole else x + F

    def filtered(self, Z: Tensor, operator: Operator) -> Tensor:
        """Return F, (B, N, C)."""
        outputs = self.outputs
        if any(map(must_be_called, outputs)):
            return self.called(Z, operator)
        for output in outputs:
            recompute(output)
        biases = [lift(output.bias) for output in outputs if output.bias is not None]
        bias = sum_of(biases) if biases else None
        if outputs[0].groups > 1:
            return pointwise(operator.apply(Z), lift(outputs[0].weight), bias, outputs[0].groups)
        return self.series(Z, operator, bias)

    def series(self, Z: Tensor, operator: Operator, bias: Tensor | None) -> Tensor:
        """Return F of ungrouped maps."""
        maps = combined(self.terms, [lift(output.weight) for output in self.outputs])
        return operator.series(Z, maps, bias)

    def called(self, Z: Tensor, operator: Operator) -> Tensor:
        """Return F by calls of the maps, each on its own filtered signal."""
        signals = operator.responses(Z, self.shares(Z.dtype))
        return sum_of(
            lift(output(signal.to(dtype_of(output, signal.dtype))))
            for output, signal in zip(self.outputs, signals, strict=True)
        )

    def shares(self, dtype: torch.dtype) -> list[Sequence[float]] | list[Tensor]:
        """Return the coefficients of each map over T_k(−A)."""
        return list(self.terms.values())

    def polynomial(self, dtype: torch.dtype) -> tuple[Polynomial, list[Tensor]]:
        """Return F as a polynomial of A, and the tensors that it is a function of."""
        series = list(combined(self.terms, [output.weight for output in self.outputs]))
        while series and series[-1] is None:  # trailing zeros
            series.pop()
        present = [V is not None for V in series]

        def parts(tensors: Sequence[Tensor], *small: Any) -> Parts:
            maps = iter(tensors)
            return series_parts([next(maps) if each else None for each in present], *small)

        return Polynomial(len(series) - 1, parts), [V for V in series if V is not None]


@fast_path.covered
class SpectralStage(Stage):
    r"""A unit with a trainable response: :math:`g(λ) = \sum_m W_m e^{-τ_m λ}`.

    The times :math:`τ_m = 32\,\mathrm{sigmoid}(\mathrm{times}_m)` are trained. The response is
    resolved on [0, 2] to rounding and applied as a polynomial: values and gradients are those of
    the exact spectrum, without the poles of its derivative at repeated eigenvalues.
    """

    def __init__(self, channels: int, inner: int, terms: Terms, *args: Any) -> None:
        super().__init__(channels, inner, terms, *args)
        self.times = nn.Parameter(first_times(len(terms)))

    def series(self, Z: Tensor, operator: Operator, bias: Tensor | None) -> Tensor:
        maps = [lift(output.weight) for output in self.outputs]
        return operator.filters(Z, self.coefficients(Z.dtype), maps, bias)

    def polynomial(self, dtype: torch.dtype) -> tuple[Polynomial, list[Tensor]]:
        def parts(tensors: Sequence[Tensor], *small: Any) -> Parts:
            return filter_parts(tensors[0], tensors[1:], *small)

        maps = [output.weight for output in self.outputs]
        return Polynomial(NODES - 1, parts), [self.coefficients(dtype), *maps]

    def shares(self, dtype: torch.dtype) -> list[Sequence[float]] | list[Tensor]:
        return list(self.coefficients(dtype))

    def coefficients(self, dtype: torch.dtype) -> Tensor:
        """Return θ (M, K + 1) of the responses."""
        return heat_coefficients(lift(self.times)).to(dtype)


def normed(norm: nn.Module, F: Tensor) -> Tensor:
    """Apply the norm to F (B, C, N).

    With channels last in memory, a batch norm of rows (B N, C) has the same statistics and takes a
    fifth of the time on a CPU.
    """
    rows = F.mT
    if channels_last(rows) and isinstance(norm, nn.BatchNorm1d) and fast_path.usable(F, norm):
        normed_rows: Tensor = norm(rows.flatten(0, 1))
        return normed_rows.view(rows.shape).mT
    out: Tensor = norm(F)
    return out


def combined(terms: Terms, weights: Sequence[Tensor]) -> Maps:
    """Return V₀ … V_K of T_k(A) = (−1)^k T_k(−A), None where no map contributes."""
    order = max(len(share) for share in terms.values())
    parts: list[list[Tensor]] = [[] for _ in range(order)]
    for share, weight in zip(terms.values(), weights, strict=True):
        for k, c in enumerate(share):
            factor = c if k % 2 == 0 else -c
            if factor:
                parts[k].append(weight if factor == 1 else factor * weight)
    return [sum_of(found) if found else None for found in parts]


LONGEST = 32.0  # upper limit of the diffusion times
NODES = 56  # resolve exp(−32 λ) to 1e-16: its coefficients fall like exp(−k²/64)
# Row k: Chebyshev coefficients of the polynomial that is 1 at node k and 0 at the others.
CARDINAL = torch.from_numpy(interpolation_coefficients(np.eye(NODES)))
POINTS = torch.from_numpy(1 + nodes(NODES))  # λ


def first_times(count: int) -> Tensor:
    """Return raw times with τ = ½, 1, 2, …, or a closer geometric sequence up to 16."""
    last = min(count - 1, math.log2(LONGEST))
    tau = 0.5 * 2.0 ** torch.linspace(0, last, count)
    return torch.logit(tau / LONGEST)


def heat_coefficients(times: Tensor) -> Tensor:
    r"""Return θ (M, K + 1) of :math:`e^{-τ_m λ}` on [0, 2], interpolated at Chebyshev nodes."""
    tau = LONGEST * torch.sigmoid(times.double())
    return torch.exp(-tau[:, None] * POINTS.to(tau.device)) @ CARDINAL.to(tau.device)
