"""Attention inside any torch network: observe it, or replace its response."""

from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.attention_calls.observe import Calls, observe
from gspnl.nn.attention_calls.unseen import nothing_seen

__all__ = ["AttentionCall", "Calls", "nothing_seen", "observe"]
