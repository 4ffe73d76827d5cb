"""One unit of a block: Y = X + gate∘act(norm(F(A, X W_g)))."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Self

import torch
from torch import Tensor, nn

from gspnl.nn.embed import HALVES, lift
from gspnl.nn.fused import without_autocast
from gspnl.nn.norms import ACTIVATIONS, NORMS
from gspnl.nn.operators import Maps, Operator, sum_of
from gspnl.nn.pointwise import Pointwise, pointwise
from gspnl.nn.unobserved import eager, plain

Terms = Mapping[str, Sequence[float]]  # map → its coefficients over T₀(−A), T₁(−A), …


class Stage(nn.Module):
    r"""The step that a unit adds to its input.

    :math:`F = \sum_k T_k(-A)\,Z V_k` with Z = X W_g, where each named map adds its multiple to the
    V_k: all blocks whose response is a polynomial differ in ``terms`` alone.

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
        self.g: Pointwise | None = Pointwise(channels, inner, bias)  # none where it is merged
        self.whole = False  # whether the maps hold the input that the step is added to
        for name in terms:
            output = Pointwise(inner, channels, bias and norm == "none", groups or 1)
            self.add_module(name, output)
        self.norm = NORMS[norm](channels, groups)
        self.gate: nn.Parameter | None = None
        if zero_init:
            self._start_at_zero(channels)

    def _start_at_zero(self, channels: int) -> None:
        """Zero what comes last: never a scale before an activation, whose gradient would vanish."""
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
        """The γ of the norm."""
        assert self.norm is not None
        weight = self.norm.weight
        assert isinstance(weight, Tensor)
        return weight

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Convert the unit; a norm stays in float32 where the rest becomes half precision.

        F, and its variance before F, may leave the range of float16 where input and output do not.
        """
        norm, self.norm = self.norm, None
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # as torch leaves it
        self.norm = norm
        if norm is not None and recurse:
            norm._apply(partial(widely, fn))  # type: ignore[no-untyped-call]
        return self

    @property
    def outputs(self) -> list[Pointwise]:
        """The maps from Cs to C, in the order of the terms."""
        return [self._modules[name] for name in self.terms]  # type: ignore[misc]

    def forward(self, X: Tensor, operator: Operator) -> Tensor:
        """The next features, (B, C, N), of features (B, N, C)."""
        Z = X if self.g is None else self.g(X)
        with without_autocast(X.device):
            F = self.filtered(lift(Z), operator).mT
        return self.added(X.mT, F)

    def added(self, x: Tensor, F: Tensor) -> Tensor:
        """Features (B, C, N) and the step that F makes of them."""
        if self.norm is not None:
            F = normed(self.norm, F.to(self._scale.dtype))
        if self.activation is not None:
            F = ACTIVATIONS[self.activation](F)
        if self.gate is not None:
            F = self.gate[:, None] * F
        F = F.to(x.dtype)
        return F if self.whole else x + F

    def filtered(self, Z: Tensor, operator: Operator) -> Tensor:
        """F, (B, N, C)."""
        outputs = self.outputs
        biases = [lift(output.bias) for output in outputs if output.bias is not None]
        bias = sum(biases[1:], biases[0]) if biases else None
        if outputs[0].groups > 1:
            return pointwise(operator.apply(Z), lift(outputs[0].weight), bias, outputs[0].groups)
        return self.series(Z, operator, bias)

    def series(self, Z: Tensor, operator: Operator, bias: Tensor | None) -> Tensor:
        """F of ungrouped maps."""
        maps = combined(self.terms, [lift(output.weight) for output in self.outputs])
        return operator.series(Z, maps, bias)


class SpectralStage(Stage):
    r"""A unit with a trainable response: :math:`g(λ) = \sum_m W_m e^{-τ_m λ}`.

    The times :math:`τ_m = 32\,\mathrm{sigmoid}(\mathrm{times}_m)` are trained. The response is
    resolved on [0, 2] to rounding and applied as a polynomial, so values and gradients are those of
    the exact spectrum, whose own derivative has poles where eigenvalues meet.
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
        super().__init__(channels, inner, terms, norm, activation, zero_init, bias, groups)
        self.times = nn.Parameter(first_times(len(terms)))

    def series(self, Z: Tensor, operator: Operator, bias: Tensor | None) -> Tensor:
        maps = [lift(output.weight) for output in self.outputs]
        return operator.filters(Z, self.coefficients(Z.dtype), maps, bias)

    def coefficients(self, dtype: torch.dtype) -> Tensor:
        """θ (M, K + 1) of the responses."""
        return heat_coefficients(lift(self.times)).to(dtype)


def normed(norm: nn.Module, F: Tensor) -> Tensor:
    """The norm of F (B, C, N).

    A batch norm of what lies position by position takes it as rows (B N, C): the same statistics,
    in a fifth of the time on a CPU.
    """
    rows = F.mT
    if plain(norm, nn.BatchNorm1d) and eager(F) and not F.is_contiguous() and rows.is_contiguous():
        F = norm(rows.flatten(0, 1)).view(rows.shape).mT
    else:
        F = norm(F)
    return F


def widely(fn: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """What ``fn`` converts x to, at the dtype of x where that would become half precision."""
    converted = fn(x)
    return x.to(converted.device) if converted.dtype in HALVES else converted


def combined(terms: Terms, weights: Sequence[Tensor]) -> Maps:
    """V₀ … V_K of T_k(A) = (−1)^k T_k(−A), None where no map has a share."""
    order = max(len(share) for share in terms.values())
    parts: list[list[Tensor]] = [[] for _ in range(order)]
    for share, weight in zip(terms.values(), weights, strict=True):
        for k, c in enumerate(share):
            factor = c if k % 2 == 0 else -c
            if factor:
                parts[k].append(weight if factor == 1 else factor * weight)
    return [sum_of(found) if found else None for found in parts]


LONGEST = 32.0  # of the diffusion times
NODES = 56  # resolve the heat of that time to 1e-16: its coefficients fall like exp(−k²/64)


def first_times(count: int) -> Tensor:
    """Raw times that spread τ geometrically, from ½ by doubling, or more closely up to 16."""
    last = min(count - 1, math.log2(LONGEST))
    tau = 0.5 * 2.0 ** torch.linspace(0, last, count)
    return torch.logit(tau / LONGEST)


def heat_coefficients(times: Tensor) -> Tensor:
    r"""θ (M, K + 1) of :math:`e^{-τ_m λ}` on [0, 2], from its values at the Chebyshev nodes."""
    tau = LONGEST * torch.sigmoid(times.double())
    k = torch.arange(NODES, dtype=tau.dtype, device=tau.device)
    angle = torch.pi * (k + 0.5) / NODES
    basis = torch.cos(angle[:, None] * k) * torch.where(k > 0, 2, 1) / NODES
    return torch.exp(-tau[:, None] * (1 + torch.cos(angle))) @ basis
