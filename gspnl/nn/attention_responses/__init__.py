"""Responses of attention by products: g(A) V in place of A V, in O(N) memory."""

from gspnl.nn.attention_responses import oversmoothing, polynomials  # noqa: F401  (registers)
from gspnl.nn.attention_responses.base import (
    ATTENTION_RESPONSES,
    AttentionResponse,
    AttentionRow,
    make_response,
)
from gspnl.nn.attention_responses.mask import Mask
from gspnl.nn.attention_responses.products import Affinity, Fused, Stored

__all__ = [
    "ATTENTION_RESPONSES",
    "Affinity",
    "AttentionResponse",
    "AttentionRow",
    "Fused",
    "Mask",
    "Stored",
    "make_response",
]
