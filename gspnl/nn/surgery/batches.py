"""Run a network on a batch, with an error that names the batch where it refuses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from gspnl.errors import GspnlError, InputError


def run(model: nn.Module, batch: Any) -> Any:
    """Call a network with one argument, a tuple of positional or a mapping of keyword arguments."""
    positional = tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
    try:
        return model(**batch) if isinstance(batch, Mapping) else model(*positional)
    except GspnlError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        shapes = ", ".join(
            str(tuple(part.shape)) if isinstance(part, Tensor) else type(part).__name__
            for part in (batch.values() if isinstance(batch, Mapping) else positional)
        )
        raise InputError(
            f"the model cannot run this batch ({shapes}): {error}; pass what it is called with, a "
            "tensor, a tuple of positional or a mapping of keyword arguments"
        ) from error
