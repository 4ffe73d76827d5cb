"""Projections of attention layers: value and output weights of each head."""

from __future__ import annotations

from typing import Any

from gspnl.nn.attention_calls.origins import Projected
from gspnl.nn.attention_calls.recorder import Recorder


def linear(seen: Recorder, given: dict[str, Any], out: Any) -> None:
    """Remember x W + b of a linear layer."""
    seen.mark(out, Projected(given["input"], given["weight"].detach().mT, given["bias"]))


HANDLERS = {"linear": linear}
