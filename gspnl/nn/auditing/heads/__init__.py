"""Numbers of each head of an attention, on each item of a batch."""

from gspnl.nn.auditing.heads.deadline import Deadline
from gspnl.nn.auditing.heads.measure import measure_heads
from gspnl.nn.auditing.heads.record import HeadItem, HeadNumbers, HeadRecord

__all__ = ["Deadline", "HeadItem", "HeadNumbers", "HeadRecord", "measure_heads"]
