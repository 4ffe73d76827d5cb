r"""Nonlocal blocks as trainable graph filters: the torch bridge.

A feature map (B, C, \*spatial) is a graph signal: its N positions are the nodes, compared by a
kernel of the core. A block adds a filtered signal to its input, :math:`Y = X + norm(F(A, X W_g))`.
"""

from gspnl.errors import MissingExtraError

try:
    import torch  # noqa: F401  (reported here as a missing extra)
except ImportError as error:
    raise MissingExtraError("gspnl.nn needs torch; pip install 'gspnl[torch]'") from error

from gspnl.nn import parallel
from gspnl.nn.attention_calls.replace import set_response
from gspnl.nn.attention_responses import ATTENTION_RESPONSES, AttentionResponse, AttentionRow
from gspnl.nn.auditing import Audit, audit
from gspnl.nn.block import BLOCKS, Block, KernelBlock
from gspnl.nn.checkpoints import load, save
from gspnl.nn.checkpoints.peers import from_peer
from gspnl.nn.multi_head import Attention
from gspnl.nn.presets import (
    A2,
    CC,
    CGNL,
    GSNL,
    NL,
    NS,
    SNL,
    Chebyshev,
    Linear,
    Spectral,
    create,
)
from gspnl.nn.surgery import insert, remove
from gspnl.nn.surgery.describe import describe
from gspnl.nn.surgery.fold import fold
from gspnl.nn.table import TABLE, Row, attention_table, table

__all__ = [
    "A2",
    "ATTENTION_RESPONSES",
    "BLOCKS",
    "CC",
    "CGNL",
    "GSNL",
    "NL",
    "NS",
    "SNL",
    "TABLE",
    "Attention",
    "AttentionResponse",
    "AttentionRow",
    "Audit",
    "Block",
    "Chebyshev",
    "KernelBlock",
    "Linear",
    "Row",
    "Spectral",
    "attention_table",
    "audit",
    "create",
    "describe",
    "fold",
    "from_peer",
    "insert",
    "load",
    "parallel",
    "remove",
    "save",
    "set_response",
    "table",
]
