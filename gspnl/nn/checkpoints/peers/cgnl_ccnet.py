"""Formats of two codes of attention cheaper than N²: CGNL, with its NL baseline, and CCNet.

References
----------
K. Yue, M. Sun, Y. Yuan, F. Zhou, E. Ding, F. Xu, Compact generalized non-local network, NeurIPS
2018, and its code, cgnl-network.pytorch.

Z. Huang, X. Wang, L. Huang, C. Huang, Y. Wei, W. Liu, CCNet: criss-cross attention for semantic
segmentation, ICCV 2019, and its code, speedinghzl/CCNet.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from gspnl.errors import InputError
from gspnl.nn.checkpoints.peers.source import SOURCES, Rebuilt, Source, count, flag, renamed_norm
from gspnl.nn.checkpoints.peers.state_dict import Layout, batch_norm, first_parts


class CompactGeneralized(Source):
    """SpatialCGNL and SpatialCGNLx, which have ``gn`` keys; SpatialNL, which has ``bn`` keys."""

    options: ClassVar[tuple[str, ...]] = ("groups", "order", "scale")

    def looks(self, keys: Collection[str]) -> bool:
        return {"t", "p", "g", "z"} <= first_parts(keys)

    def layout(self, keys: Collection[str], options: Mapping[str, Any]) -> Layout:
        layout: Layout = {f"{name}.weight": ("S", "C") for name in "tpg"}
        if "bn" in first_parts(keys):
            return layout | {"z.weight": ("C", "S")} | batch_norm("bn")
        return layout | {"z.weight": ("C", "K"), "gn.weight": ("C",), "gn.bias": ("C",)}

    def rebuild(
        self, values: Mapping[str, Tensor], sizes: Mapping[str, int], options: Mapping[str, Any]
    ) -> Rebuilt:
        is_nl = "K" not in sizes
        _refuse(options, ("groups", "order") if is_nl else ("scale",), is_nl)
        state = {
            "affinity.phi.weight": values["t.weight"],
            "affinity.psi.weight": values["p.weight"],
            "stages.0.g.weight": values["g.weight"],
            "stages.0.w.weight": values["z.weight"],
        } | renamed_norm(values, "bn" if is_nl else "gn", "stages.0.norm")
        chosen = _nl_options(sizes, options) if is_nl else _cgnl_options(sizes, options)
        chosen |= {"inner": sizes["S"], "zero_init": False}
        return Rebuilt("nl" if is_nl else "cgnl", sizes["C"], chosen, state)


def _nl_options(sizes: Mapping[str, int], options: Mapping[str, Any]) -> dict[str, Any]:
    temperature = math.sqrt(sizes["S"]) if flag(options, "scale", False) else 1.0
    graph = {"kernel": "embedded_gaussian", "normalization": "softmax"}
    return graph | {"temperature": temperature, "norm": "batch"}


def _cgnl_options(sizes: Mapping[str, int], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the CGNL block; the groups follow from z, which takes S / groups channels."""
    inner, per_group = sizes["S"], sizes["K"]
    groups, rest = divmod(inner, per_group)
    if rest or sizes["C"] % groups:
        raise InputError(
            f"'z.weight' takes {per_group} channels, which does not divide the {inner} of "
            f"'g.weight' into groups that also divide {sizes['C']}"
        )
    requested = count(options, "groups")
    if requested not in (None, groups):
        raise InputError(
            f"groups={requested}, but the shape of 'z.weight' says {groups} ({inner} channels, "
            f"{per_group} a group)"
        )
    order = count(options, "order")
    kernel = {"kernel": "dot"} if order is None else {"kernel": "rbf", "order": order}
    return kernel | {"groups": groups, "norm": "group"}


def _refuse(options: Mapping[str, Any], names: tuple[str, ...], is_nl: bool) -> None:
    for name in names:
        if name in options:
            kind = "its NL block ('bn' keys)" if is_nl else "a CGNL block ('gn' keys)"
            raise InputError(f"{name}= has no meaning for {kind} of 'cgnl-2018'; leave it out")


class CrissCross(Source):
    """CrissCrossAttention: a scalar gamma in place of an output map; ours is W = gamma I."""

    def looks(self, keys: Collection[str]) -> bool:
        return {"query_conv", "key_conv", "value_conv"} <= first_parts(keys)

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
        ours = {"query": "affinity.phi", "key": "affinity.psi", "value": "stages.0.g"}
        state = {
            f"{module}.{entry}": values[f"{name}_conv.{entry}"]
            for name, module in ours.items()
            for entry in ("weight", "bias")
        }
        gamma = values["gamma"]
        eye = torch.eye(channels, dtype=gamma.dtype, device=gamma.device)
        state |= {"stages.0.w.weight": gamma * eye, "stages.0.w.bias": gamma.new_zeros(channels)}
        options = {"inner": channels, "embedding": sizes["R"], "norm": "none", "bias": True}
        return Rebuilt("cc", channels, options | {"zero_init": False}, state)


SOURCES.register("cgnl-2018")(CompactGeneralized())
SOURCES.register("cc")(CrissCross())
