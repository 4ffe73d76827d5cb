"""Attention inside any torch network: observe it, or replace its response."""

from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.attention_calls.observe import observe

__all__ = ["AttentionCall", "observe"]
