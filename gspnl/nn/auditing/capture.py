"""Capture the features that reach each block, in one forward pass without side effects."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from gspnl.errors import GspnlError, InputError
from gspnl.nn.block import Block
from gspnl.nn.surgery.shapes import evaluation

Features = tuple[Tensor, tuple[int, ...]]  # X (B, N, C), and the spatial dimensions


def capture(model: nn.Module, blocks: Mapping[str, Block], batch: Any) -> dict[str, Features]:
    """Return the features of each block that the batch reaches; in the first of several passes."""
    features: dict[str, Features] = {}
    with ExitStack() as stack:
        for name, block in blocks.items():

            def keep(module: nn.Module, args: tuple[Any, ...], name: str = name) -> None:
                X, spatial = args
                # Copied, since later layers may change it in place.
                features.setdefault(name, (X.detach().clone(), tuple(int(n) for n in spatial)))

            handle = block.affinity.register_forward_pre_hook(keep)
            stack.callback(handle.remove)
        stack.enter_context(evaluation(model))
        _run(model, batch)
    if not features:
        raise InputError(
            f"this batch reaches none of the blocks {', '.join(map(repr, blocks))}; pass what the "
            "model is called with"
        )
    for name, (X, _) in features.items():
        if not bool(torch.isfinite(X).all()):
            raise InputError(
                f"the features that reach block {name!r} are not finite; see what the layers "
                "before it make of this batch"
            )
    return features


def _run(model: nn.Module, batch: Any) -> None:
    positional = tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
    try:
        if isinstance(batch, Mapping):
            model(**batch)
        else:
            model(*positional)
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
