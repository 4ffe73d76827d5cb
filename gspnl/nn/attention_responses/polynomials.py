"""Polynomials of A as responses: nl, ns, snl, gsnl, chebyshev, gfsa."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from gspnl import responses
from gspnl._base.validate import whole_number
from gspnl.nn.attention_responses.base import (
    ATTENTION_RESPONSES,
    AttentionResponse,
    AttentionRow,
)
from gspnl.nn.attention_responses.combine import combine
from gspnl.nn.attention_responses.products import Affinity
from gspnl.responses import Response

LARGEST_ORDER = 100  # products of an attention


@ATTENTION_RESPONSES.register("nl")
class NLResponse(AttentionResponse):
    """Plain attention, A V."""

    row = AttentionRow("nl", "A V", "μ", "1", "0", "itself", "Vaswani et al. 2017")

    def core(self, index: int = 0) -> Response:
        return responses.nl()


@ATTENTION_RESPONSES.register("ns")
class NSResponse(AttentionResponse):
    """The nonlocal stage, A V − V."""

    row = AttentionRow("ns", "(A − I) V", "μ − 1", "1", "0", "ns", "Tao et al. 2018")
    square = True

    def filtered(self, A: Affinity, V: Tensor) -> Tensor:
        AV = A.apply(V)
        return AV - V.to(AV.dtype)

    def core(self, index: int = 0) -> Response:
        return responses.ns()


@ATTENTION_RESPONSES.register("snl")
class SNLResponse(AttentionResponse):
    """The spectral nonlocal operator, θ₀ V + θ₁ A V in each head."""

    row = AttentionRow(
        "snl", "(θ₀ I + θ₁ A) V", "θ₀ + θ₁ μ", "1", "2·H", "nl: θ = (0, 1)", "Zhu et al. 2019"
    )
    square = True

    def make_parameters(self) -> None:
        self.theta_0 = self.parameter(self.heads, value=0.0)
        self.theta_1 = self.parameter(self.heads, value=1.0)

    def shares(self) -> tuple[Tensor, Tensor]:
        """Return the coefficients of I and A in each head."""
        return self.theta_0, self.theta_1

    def filtered(self, A: Affinity, V: Tensor) -> Tensor:
        AV = A.apply(V)
        return combine(self.shares(), (V.to(AV.dtype), AV))

    def core(self, index: int = 0) -> Response:
        return responses.snl(*(share[index].item() for share in self.shares()))


@ATTENTION_RESPONSES.register("gsnl")
class GSNLResponse(SNLResponse):
    """Generalised SNL, computed as the equivalent SNL (erratum E1)."""

    row = AttentionRow(
        "gsnl",
        "(θ₀ I + θ₁ A + θ₂ (2A − I)) V",
        "θ₀ + θ₁ μ + θ₂ (2μ − 1)",
        "1",
        "3·H",
        "nl: θ = (0, 1, 0)",
        "Zhu et al. 2019",
    )

    def make_parameters(self) -> None:
        super().make_parameters()
        self.theta_2 = self.parameter(self.heads, value=0.0)

    def shares(self) -> tuple[Tensor, Tensor]:
        return self.theta_0 - self.theta_2, self.theta_1 + 2 * self.theta_2

    def core(self, index: int = 0) -> Response:
        theta = (self.theta_0, self.theta_1, self.theta_2)
        return responses.gsnl(*(each[index].item() for each in theta))


@ATTENTION_RESPONSES.register("chebyshev")
class ChebyshevResponse(AttentionResponse):
    """A series of order K, Σ θ_k T_k(−A) V in each head."""

    row = AttentionRow(
        "chebyshev",
        "Σ θₖ Tₖ(−A) V",
        "Σ θₖ Tₖ(−μ)",
        "K",
        "(K + 1)·H",
        "nl: θ = (0, −1, 0, …)",
        "Defferrard et al. 2016",
    )
    defaults: ClassVar[dict[str, Any]] = {"order": 2}
    square = True

    def make_parameters(self) -> None:
        order = whole_number("order", self.options["order"], 1, LARGEST_ORDER)
        self.options["order"] = order
        self.theta = self.parameter(self.heads, order + 1, value=0.0)
        with torch.no_grad():
            self.theta[:, 1] = -1.0

    @property
    def products(self) -> int:
        return int(self.options["order"])

    def filtered(self, A: Affinity, V: Tensor) -> Tensor:
        now = A.apply(V)
        signals = [V.to(now.dtype), now]  # T_k(A) V, where T_k(−A) = (−1)^k T_k(A)
        for _ in range(1, self.products):
            signals.append(torch.lerp(signals[-2], A.apply(signals[-1]), 2.0))
        signs = self.theta.new_tensor([(-1.0) ** k for k in range(len(signals))])
        return combine((self.theta * signs).unbind(1), signals)

    def core(self, index: int = 0) -> Response:
        return responses.chebyshev(tuple(self.theta[index].tolist()))


@ATTENTION_RESPONSES.register("gfsa")
class GFSAResponse(AttentionResponse):
    """Graph-filter-based self-attention, (w₀ I + w₁ A + w_K (A + (K − 1)(A² − A))) V."""

    row = AttentionRow(
        "gfsa",
        "(w₀ I + w₁ A + w_K (A + (K − 1)(A² − A))) V",
        "w₀ + w₁ μ + w_K (μ + (K − 1)(μ² − μ))",
        "2",
        "3·H",
        "nl: w = (0, 1, 0), as its authors",
        "Choi et al. 2024",
    )
    defaults: ClassVar[dict[str, Any]] = {"order": 3}
    square = True

    def make_parameters(self) -> None:
        self.options["order"] = whole_number("order", self.options["order"], 1)
        self.w_0 = self.parameter(self.heads, value=0.0)
        self.w_1 = self.parameter(self.heads, value=1.0)
        self.w_k = self.parameter(self.heads, value=0.0)

    @property
    def products(self) -> int:
        return 2

    def filtered(self, A: Affinity, V: Tensor) -> Tensor:
        once = A.apply(V)
        more = self.options["order"] - 1
        shares = (self.w_0, self.w_1 + (1 - more) * self.w_k, more * self.w_k)
        return combine(shares, (V.to(once.dtype), once, A.apply(once)))

    def core(self, index: int = 0) -> Response:
        w_0, w_1, w_k = (each[index].item() for each in (self.w_0, self.w_1, self.w_k))
        return responses.gfsa(w_0, w_1, w_k, self.options["order"])
