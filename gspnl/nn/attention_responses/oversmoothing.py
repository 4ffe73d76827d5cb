"""Responses that are no polynomials of A: attnscale, featscale, contranorm."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gspnl import responses
from gspnl._base.validate import number
from gspnl.errors import InputError
from gspnl.nn.attention_responses.base import (
    ATTENTION_RESPONSES,
    AttentionResponse,
    AttentionRow,
)
from gspnl.nn.attention_responses.combine import combine
from gspnl.nn.attention_responses.mask import Mask
from gspnl.nn.attention_responses.products import Affinity
from gspnl.responses import Response


@ATTENTION_RESPONSES.register("attnscale")
class AttnScaleResponse(AttentionResponse):
    """AttnScale, (Ā + (1 + ω)(A − Ā)) V with the uniform attention Ā over the keys in sight."""

    row = AttentionRow(
        "attnscale",
        "(Ā + (1 + ω)(A − Ā)) V, Ā = 11ᵀ/N",
        "1 at μ = 1, else (1 + ω) μ",
        "1",
        "H",
        "nl: ω = 0, as its authors",
        "Wang et al. 2022",
    )
    masked = True

    def make_parameters(self) -> None:
        self.omega = self.parameter(self.heads, value=0.0)

    def filtered(self, A: Affinity, V: Tensor) -> Tensor:
        AV = A.apply(V)
        mean = A.mask.mean(V.to(AV.dtype), A.shape[0])
        return combine((1 + self.omega, -self.omega), (AV, mean))

    def core(self, index: int = 0) -> Response:
        return responses.attnscale(self.omega[index].item())


@ATTENTION_RESPONSES.register("featscale")
class FeatScaleResponse(AttentionResponse):
    """FeatScale, Y + s ∘ Ā Y + t ∘ (Y − Ā Y) on the output Y of the layer, s and t a channel."""

    row = AttentionRow(
        "featscale",
        "Y + s∘Ā Y + t∘(Y − Ā Y), Ā = 11ᵀ/N, Y the layer's output",
        "a filter of Ā, not of A: 1 + s at its μ = 1, 1 + t at μ = 0",
        "1",
        "2·C",
        "nl: s = t = 0, as its authors",
        "Wang et al. 2022",
    )
    finishes = True
    masked = True

    def make_parameters(self) -> None:
        self.s = self.parameter(self.channels, value=0.0)
        self.t = self.parameter(self.channels, value=0.0)

    def finished(self, Y: Tensor, mask: Mask) -> Tensor:
        s, t = self.s.to(Y.dtype), self.t.to(Y.dtype)
        mean = mask.of_all_heads().mean(Y[:, None], Y.shape[-2])[:, 0]
        return torch.addcmul((s - t) * mean, 1 + t, Y)

    def core(self, index: int = 0) -> Response:
        return responses.featscale(self.s[index].item(), self.t[index].item())


@ATTENTION_RESPONSES.register("contranorm")
class ContraNormResponse(AttentionResponse):
    """ContraNorm, LayerNorm(Y − s ∘ softmax(Y Yᵀ) Y) on the output Y of the layer, s a channel.

    ``s`` is the initial value; its authors choose it for each task, 0.005 in their example for
    BERT and 0.01 in that for vision. ``cosine=True`` compares features of length 1, as their code
    does and their paper does not.
    """

    row = AttentionRow(
        "contranorm",
        "LayerNorm(Y − s∘softmax(Y Yᵀ) Y), Y the layer's output",
        "a filter of softmax(Y Yᵀ), not of A: 1 − s μ, then LayerNorm",
        "2, one of width C",
        "3·C",
        "LayerNorm of nl, nearly: s = 0.01",
        "Guo et al. 2023",
    )
    defaults: ClassVar[dict[str, Any]] = {"s": 0.01, "cosine": False}
    finishes = True
    masked = True

    def make_parameters(self) -> None:
        s = self.options["s"] = number("s", self.options["s"])
        if not isinstance(self.options["cosine"], bool):
            raise InputError(f"cosine={self.options['cosine']!r} must be True or False")
        self.s = self.parameter(self.channels, value=s)
        self.norm = nn.LayerNorm(self.channels, **self._factory)

    @property
    def products(self) -> int:
        return 2

    def finished(self, Y: Tensor, mask: Mask) -> Tensor:
        points = (F.normalize(Y, dim=-1) if self.options["cosine"] else Y)[:, None]
        seen = mask.of_all_heads()
        near = F.scaled_dot_product_attention(
            points, points, Y[:, None], seen.mask, is_causal=seen.causal, scale=1.0
        )[:, 0]
        Z = torch.addcmul(Y, self.s.to(Y.dtype), near, value=-1)
        return F.layer_norm(
            Z.to(self.norm.weight.dtype),
            self.norm.normalized_shape,
            self.norm.weight,
            self.norm.bias,
            self.norm.eps,
        ).to(Y.dtype)

    def core(self, index: int = 0) -> Response:
        return responses.contranorm(self.s[index].item())
