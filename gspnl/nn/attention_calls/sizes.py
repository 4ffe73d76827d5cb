"""Read the heads and channels of an attention from the module that computes it."""

from __future__ import annotations

from typing import Any

from torch import nn

from gspnl.nn.attention_calls.layouts import HEADS

WIDTHS = ("head_dim", "dim_head", "attention_head_size", "d_head")
QUERIES = ("q_proj", "query", "to_q", "q", "q_lin", "wq")
CHANNELS = ("embed_dim", "all_head_size", "hidden_size", "dim")


def heads_of(module: nn.Module) -> int | None:
    """Return the number of heads, by the attributes that modules of attention have; else None.

    Those of the module itself, else the one that all modules inside of it have, else that of the
    configuration that transformers keeps with its modules, else by the width of a head.
    """
    for owners in ([module], list(module.modules()), [getattr(module, "config", None)]):
        found = {value for each in owners for value in _whole(each, HEADS)}
        if len(found) == 1:
            return found.pop()
    widths, maps = _whole(module, WIDTHS), (getattr(module, name, None) for name in QUERIES)
    query = next((each for each in maps if isinstance(each, nn.Linear)), None)
    if widths and query is not None and query.out_features % widths[0] == 0:
        return query.out_features // widths[0]
    return None


def channels_of(module: nn.Module) -> int | None:
    """Return the channels of the output: those of the last linear map, or of an attribute."""
    if isinstance(module, nn.MultiheadAttention):
        return int(module.embed_dim)
    linear = [each for each in module.modules() if isinstance(each, nn.Linear)]
    if linear:
        return linear[-1].out_features
    return next(iter(_whole(module, CHANNELS)), None)


def _whole(owner: Any, names: tuple[str, ...]) -> list[int]:
    """Return the attributes of these names that are whole numbers."""
    values = (getattr(owner, name, None) for name in names)
    return [v for v in values if isinstance(v, int) and not isinstance(v, bool) and v > 0]
