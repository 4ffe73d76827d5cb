"""Multi-head attention whose product A V is a filter g(A) V."""

from gspnl.nn.multi_head.module import Attention

__all__ = ["Attention"]
