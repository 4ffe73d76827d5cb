"""Read the settings of torch's and timm's attention modules, and compare outputs with them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from gspnl.errors import InputError


def arguments_of(module: nn.Module) -> dict[str, Any]:
    """Return the arguments of gspnl's Attention for a module of torch's or timm's kind.

    Raises
    ------
    InputError
        If it is neither, or computes what Attention does not.
    """
    kind = type(module).__name__
    if isinstance(module, nn.MultiheadAttention):
        return {
            "dim": module.embed_dim,
            "heads": module.num_heads,
            "dropout": module.dropout,
            "bias": module.in_proj_bias is not None,
            "kdim": module.kdim,
            "vdim": module.vdim,
            "add_bias_kv": module.bias_k is not None,
            "add_zero_attn": module.add_zero_attn,
            "batch_first": module.batch_first,
        }
    parts = {name: getattr(module, name, None) for name in ("qkv", "proj")}
    heads = getattr(module, "num_heads", None)
    if not all(isinstance(each, nn.Linear) for each in parts.values()) or heads is None:
        raise InputError(
            f"{kind} is neither torch's MultiheadAttention nor of the form of timm's Attention "
            "(qkv, proj, num_heads); use gspnl.nn.set_response, which changes it in place"
        )
    qkv, proj = parts["qkv"], parts["proj"]
    assert isinstance(qkv, nn.Linear)
    assert isinstance(proj, nn.Linear)
    extra = [
        name
        for name, child in module.named_children()
        if name not in ("qkv", "proj", "q_norm", "k_norm", "attn_drop", "proj_drop")
        and not isinstance(child, nn.Identity)
    ]
    own = [name for name, _ in module.named_parameters(recurse=False)]
    square = qkv.in_features * 3 == qkv.out_features and proj.out_features == qkv.in_features
    if extra or own or not square:
        what = ", ".join(map(repr, extra + own)) or "widths other than dim"
        raise InputError(
            f"{kind} has {what}, which gspnl.nn.Attention has not; use gspnl.nn.set_response, "
            "which changes it in place"
        )
    norm = getattr(module, "q_norm", None)
    return {
        "dim": qkv.in_features,
        "heads": heads,
        "dropout": getattr(getattr(module, "attn_drop", None), "p", 0.0),
        "proj_drop": getattr(getattr(module, "proj_drop", None), "p", 0.0),
        "bias": qkv.bias is not None,
        "proj_bias": proj.bias is not None,
        "qk_norm": norm is not None and not isinstance(norm, nn.Identity),
    }


def check_same(module: nn.Module, made: nn.Module) -> None:
    """Raise InputError unless both modules give the same output for random tokens."""
    weight = next(module.parameters())
    if weight.is_meta:
        return
    mha = isinstance(module, nn.MultiheadAttention)
    widths = [getattr(made, name) for name in ("embed_dim", "kdim", "vdim")]
    modes = module.training, made.training
    drawn = torch.Generator().manual_seed(0)
    tokens = [torch.randn(5, 5, width, generator=drawn).to(weight) for width in widths]
    try:
        module.eval()
        made.eval()
        with torch.no_grad():
            arguments = tokens if mha else tokens[:1]
            theirs, ours = module(*arguments), made(*arguments)
    finally:
        module.train(modes[0])
        made.train(modes[1])
    theirs, ours = (x[0] if mha else x for x in (theirs, ours))
    least = torch.finfo(weight.dtype).eps ** 0.5
    if theirs.shape != ours.shape or not torch.allclose(theirs, ours, rtol=least, atol=least):
        raise InputError(
            f"{type(module).__name__} has the parts of timm's Attention and computes something "
            "else; use gspnl.nn.set_response, which changes it in place"
        )
