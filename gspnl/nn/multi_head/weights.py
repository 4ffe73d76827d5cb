"""Parameters of a multi-head attention, under the names that torch gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.nn.multi_head.attend import Maps
from gspnl.nn.multi_head.state import complete

Fill = Callable[[Tensor], Tensor]


class Weights(nn.Module):
    """Maps of queries, keys, values and outputs, drawn and named as in torch's MultiheadAttention.

    Parameters
    ----------
    dim, heads, kdim, vdim : int
        C, H, and the widths of keys and values, C by default.
    bias, out_bias : bool
        Biases of q, k and v, and of the output.
    bias_kv, zero_key : bool
        Append a trained key, and one of zeros.
    factory : dict
        ``device`` and ``dtype``.
    """

    in_proj_weight: Tensor | None
    q_proj_weight: Tensor | None
    k_proj_weight: Tensor | None
    v_proj_weight: Tensor | None
    in_proj_bias: Tensor | None
    bias_k: Tensor | None
    bias_v: Tensor | None

    def __init__(
        self,
        dim: int,
        heads: int,
        kdim: int | None,
        vdim: int | None,
        *,
        bias: bool,
        out_bias: bool,
        bias_kv: bool,
        zero_key: bool,
        factory: dict[str, Any],
    ) -> None:
        super().__init__()
        self.embed_dim = whole_number("dim", dim, 1)
        self.num_heads = whole_number("heads", heads, 1)
        if self.embed_dim % self.num_heads:
            raise InputError(
                f"heads={self.num_heads} does not divide dim={dim}; use a divisor of it"
            )
        self.head_dim = self.embed_dim // self.num_heads
        self.kdim = self.embed_dim if kdim is None else whole_number("kdim", kdim, 1)
        self.vdim = self.embed_dim if vdim is None else whole_number("vdim", vdim, 1)
        self.add_zero_attn = zero_key
        widths = (self.embed_dim, self.kdim, self.vdim)
        packed = widths == (dim,) * 3

        def draw(
            name: str, shape: tuple[int, ...], fill: Callable[[Tensor], Tensor] | None
        ) -> None:
            if fill is None:
                self.register_parameter(name, None)
                return
            parameter = nn.Parameter(torch.empty(shape, **factory))
            fill(parameter)
            self.register_parameter(name, parameter)

        uniform = nn.init.xavier_uniform_
        draw("in_proj_weight", (3 * dim, dim), uniform if packed else None)
        for name, width in zip("qkv", widths, strict=True):
            draw(f"{name}_proj_weight", (dim, width), None if packed else uniform)
        draw("in_proj_bias", (3 * dim,), nn.init.zeros_ if bias else None)
        self.out_proj = nn.Linear(dim, dim, bias=out_bias, **factory)
        if out_bias:
            nn.init.zeros_(self.out_proj.bias)
        for name in ("bias_k", "bias_v"):
            draw(name, (1, 1, dim), nn.init.xavier_normal_ if bias_kv else None)

    def maps(self) -> Maps:
        """Return the weights for :func:`multi_head`."""
        separate: Any = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        return Maps(
            self.in_proj_weight,
            separate if self.in_proj_weight is None else None,
            self.in_proj_bias,
            self.out_proj.weight,
            self.out_proj.bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
        )

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        complete(state_dict, prefix, self.state_dict())
        super()._load_from_state_dict(state_dict, prefix, *args)
