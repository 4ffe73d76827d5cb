"""Observe the attention of any torch network on a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.attention_calls.mode import watching
from gspnl.nn.attention_calls.recorder import OnCall, Recorder
from gspnl.nn.surgery.batches import run
from gspnl.nn.surgery.shapes import evaluation


def observe(
    model: nn.Module,
    batch: Any,
    attention: Mapping[str, Callable[..., Any]] | None = None,
    on_call: OnCall | None = None,
) -> list[AttentionCall]:
    """Run a network once, and return its attention in the order of execution."""
    recorder = Recorder(model, attention or {}, on_call)
    with evaluation(model), watching(recorder) as watch:
        try:
            run(model, batch)
        except Exception:
            if watch.failure is not None:
                raise watch.failure from None
            raise
    if watch.failure is not None:
        raise watch.failure
    return recorder.calls
