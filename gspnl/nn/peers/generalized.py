"""Compact generalised nonlocal blocks and the nonlocal block released beside them.

References
----------
K. Yue, M. Sun, Y. Yuan, F. Zhou, E. Ding, F. Xu, Compact generalized non-local network, NeurIPS
2018, and its code, cgnl-network.pytorch.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from torch import Tensor

from gspnl.errors import InputError
from gspnl.nn.peers.layout import Layout, batch_norm
from gspnl.nn.peers.source import SOURCES, Rebuilt, Source, count, flag, renamed_norm, roots


class CompactGeneralized(Source):
    """SpatialCGNL and SpatialCGNLx, told by ``gn``; SpatialNL, told by ``bn``."""

    options: ClassVar[tuple[str, ...]] = ("groups", "order", "scale")

    def looks(self, keys: Collection[str]) -> bool:
        return {"t", "p", "g", "z"} <= roots(keys)

    def layout(self, keys: Collection[str], options: Mapping[str, Any]) -> Layout:
        layout: Layout = {f"{name}.weight": ("S", "C") for name in "tpg"}
        if "bn" in roots(keys):
            return layout | {"z.weight": ("C", "S")} | batch_norm("bn")
        return layout | {"z.weight": ("C", "K"), "gn.weight": ("C",), "gn.bias": ("C",)}

    def rebuild(
        self, values: Mapping[str, Tensor], sizes: Mapping[str, int], options: Mapping[str, Any]
    ) -> Rebuilt:
        nonlocal_block = "K" not in sizes
        _refuse(options, ("groups", "order") if nonlocal_block else ("scale",), nonlocal_block)
        state = {
            "affinity.phi.weight": values["t.weight"],
            "affinity.psi.weight": values["p.weight"],
            "stages.0.g.weight": values["g.weight"],
            "stages.0.w.weight": values["z.weight"],
        } | renamed_norm(values, "bn" if nonlocal_block else "gn", "stages.0.norm")
        chosen = _softmax(sizes, options) if nonlocal_block else _grouped(sizes, options)
        chosen |= {"inner": sizes["S"], "zero_init": False}
        return Rebuilt("nl" if nonlocal_block else "cgnl", sizes["C"], chosen, state)


def _softmax(sizes: Mapping[str, int], options: Mapping[str, Any]) -> dict[str, Any]:
    temperature = math.sqrt(sizes["S"]) if flag(options, "scale", False) else 1.0
    graph = {"kernel": "embedded_gaussian", "normalization": "softmax"}
    return graph | {"temperature": temperature, "norm": "batch"}


def _grouped(sizes: Mapping[str, int], options: Mapping[str, Any]) -> dict[str, Any]:
    """Groups follow from the shapes: z takes S / groups channels."""
    inner, per_group = sizes["S"], sizes["K"]
    groups, rest = divmod(inner, per_group)
    if rest or sizes["C"] % groups:
        raise InputError(
            f"'z.weight' takes {per_group} channels, which does not divide the {inner} of "
            f"'g.weight' into groups that also divide {sizes['C']}"
        )
    said = count(options, "groups", 1)
    if said not in (None, groups):
        raise InputError(
            f"groups={said}, but the shape of 'z.weight' says {groups} ({inner} channels, "
            f"{per_group} a group)"
        )
    order = count(options, "order", 1)
    kernel = {"kernel": "dot"} if order is None else {"kernel": "rbf", "order": order}
    return kernel | {"groups": groups, "norm": "group"}


def _refuse(options: Mapping[str, Any], names: tuple[str, ...], nonlocal_block: bool) -> None:
    for name in names:
        if name in options:
            kind = "its NL block ('bn' keys)" if nonlocal_block else "a CGNL block ('gn' keys)"
            raise InputError(f"{name}= has no meaning for {kind} of 'cgnl-2018'; leave it out")


SOURCES.register("cgnl-2018")(CompactGeneralized())
