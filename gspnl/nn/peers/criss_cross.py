"""CCNet's criss-cross attention.

References
----------
Z. Huang, X. Wang, L. Huang, C. Huang, Y. Wei, W. Liu, CCNet: criss-cross attention for semantic
segmentation, ICCV 2019, and its code, speedinghzl/CCNet.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from gspnl.errors import InputError
from gspnl.nn.peers.layout import Layout
from gspnl.nn.peers.source import SOURCES, Rebuilt, Source, roots


class CrissCross(Source):
    """CrissCrossAttention: no output map, but a scalar gamma; ours is W = gamma I."""

    def looks(self, keys: Collection[str]) -> bool:
        return {"query_conv", "key_conv", "value_conv"} <= roots(keys)

    def layout(self, keys: Collection[str], options: Mapping[str, Any]) -> Layout:
        layout: Layout = {"gamma": ("1",)}
        for name, size in (("query", "R"), ("key", "R"), ("value", "C")):
            layout |= {f"{name}_conv.weight": (size, "C"), f"{name}_conv.bias": (size,)}
        return layout

    def rebuild(
        self, values: Mapping[str, Tensor], sizes: Mapping[str, int], options: Mapping[str, Any]
    ) -> Rebuilt:
        if sizes["dim"] != 2:
            raise InputError(
                f"'query_conv.weight' is a {sizes['dim']}-D convolution; only CCNet's 2-D module "
                "is rebuilt (the published 3-D one permutes its attention and counts positions "
                "twice)"
            )
        channels = sizes["C"]
        state = {
            f"{ours}.{entry}": values[f"{theirs}_conv.{entry}"]
            for theirs, ours in (
                ("query", "affinity.phi"),
                ("key", "affinity.psi"),
                ("value", "stages.0.g"),
            )
            for entry in ("weight", "bias")
        }
        gamma = values["gamma"]
        eye = torch.eye(channels, dtype=gamma.dtype, device=gamma.device)
        state |= {"stages.0.w.weight": gamma * eye, "stages.0.w.bias": gamma.new_zeros(channels)}
        options = {"inner": channels, "embedding": sizes["R"], "norm": "none", "bias": True}
        return Rebuilt("cc", channels, options | {"zero_init": False}, state)


SOURCES.register("cc")(CrissCross())
