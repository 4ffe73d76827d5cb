"""State dicts of other attention modules, under the names of torch's multi-head attention."""

from __future__ import annotations

from typing import Any

import torch

from gspnl.errors import InputError

# timm's Attention packs q, k and v in the same order as torch does.
TIMM = {
    "qkv.weight": "in_proj_weight",
    "qkv.bias": "in_proj_bias",
    "proj.weight": "out_proj.weight",
    "proj.bias": "out_proj.bias",
}
BIASES = {
    "in_proj_bias": ("in_proj_weight", "q_proj_weight"),
    "out_proj.bias": ("out_proj.weight",),
}
RESPONSE = "response."


def complete(state: dict[str, Any], prefix: str, own: dict[str, Any]) -> None:
    """Rename the entries of timm's Attention in a state dict, and add what it may leave out.

    A bias that a module was made without is added as zeros, the parameters of the response as they
    are in ``own``, where there are none of them.

    Parameters
    ----------
    state : dict
        Changed in place.
    prefix : str
        Of the module, "" or with a dot at the end.
    own : dict
        Tensors of the module that loads it.
    """
    for theirs, ours in TIMM.items():
        if prefix + theirs in state:
            if prefix + ours in state:
                raise InputError(
                    f"the state dict has both {prefix + theirs!r} and {prefix + ours!r}"
                )
            state[prefix + ours] = state.pop(prefix + theirs)
    for bias, weights in BIASES.items():
        weight = next((prefix + each for each in weights if prefix + each in state), None)
        if bias in own and weight is not None and prefix + bias not in state:
            state[prefix + bias] = torch.zeros_like(own[bias])
    mine = [name for name in own if name.startswith(RESPONSE)]
    loads = any(key.startswith(prefix) for key in state)
    if loads and not any(key.startswith(prefix + RESPONSE) for key in state):
        state.update({prefix + name: own[name] for name in mine})
