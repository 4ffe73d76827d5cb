"""Read the heads and channels of an attention from the module that computes it."""

from __future__ import annotations

from torch import nn

HEADS = ("num_heads", "num_attention_heads", "n_heads", "n_head", "nhead", "heads")
CHANNELS = ("embed_dim", "all_head_size", "hidden_size", "dim")


def heads_of(module: nn.Module) -> int | None:
    """Return the number of heads, by the attributes that modules of attention have; else None.

    Those of the module itself, else the one that all modules inside of it have.
    """
    for modules in ([module], list(module.modules())):
        found = {
            value
            for each in modules
            for name in HEADS
            if isinstance(value := getattr(each, name, None), int) and value > 0
        }
        if len(found) == 1:
            return found.pop()
    return None


def channels_of(module: nn.Module) -> int | None:
    """Return the channels of the output: those of the last linear map, or of an attribute."""
    if isinstance(module, nn.MultiheadAttention):
        return int(module.embed_dim)
    linear = [each for each in module.modules() if isinstance(each, nn.Linear)]
    if linear:
        return linear[-1].out_features
    found = (getattr(module, name, None) for name in CHANNELS)
    return next((value for value in found if isinstance(value, int)), None)
