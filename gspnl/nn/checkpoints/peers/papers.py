"""Formats of the codes released with papers: the spectral nonlocal blocks, CGNL and CCNet.

References
----------
L. Zhu, Q. She, L. Zhang, P. Guo, A spectral nonlocal block for neural networks, 2019, and its code,
spectral-nonlocal-block; L. Zhu, Q. She et al., Unifying nonlocal blocks for neural networks, ICCV
2021, and its code, SNL_ICCV2021.

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
from gspnl.nn.checkpoints.peers.formats import (
    SOURCES,
    Layout,
    Rebuilt,
    Source,
    batch_norm,
    choice,
    count,
    first_parts,
    flag,
    renamed_norm,
)

SOFTMAX = {"kernel": "embedded_gaussian", "normalization": "softmax"}


def _units(keys: Collection[str]) -> int:
    """Return the number of units, from the numbers in the keys."""
    return len({key.split(".")[1] for key in keys if key.startswith("stages.")})


def _stages(keys: Collection[str], maps: tuple[str, ...]) -> Layout:
    layout: Layout = {"t.weight": ("S", "C"), "p.weight": ("S", "C")}
    for i in range(max(1, _units(keys))):
        layout[f"stages.{i}.g.weight"] = ("S", "C")
        layout |= {f"stages.{i}.{name}.weight": ("C", "S") for name in maps}
        layout |= batch_norm(f"stages.{i}.bn")
    return layout


def _has(keys: Collection[str], name: str) -> bool:
    return any(key.startswith("stages.") and key.endswith(f".{name}.weight") for key in keys)


def _rebuilt(
    name: str,
    values: Mapping[str, Tensor],
    sizes: Mapping[str, int],
    maps: dict[str, tuple[str, float]],
    **options: Any,
) -> Rebuilt:
    """Map a checkpoint to a block.

    Parameters
    ----------
    name : str
        Of the block.
    values, sizes : mapping
        As in :meth:`Source.rebuild`.
    maps : mapping of str to (str, float)
        For each map of the block its name in the checkpoint, and a factor of ±1.
    **options
        Of the block.
    """
    state = {
        "affinity.phi.weight": values["t.weight"],
        "affinity.psi.weight": values["p.weight"],
    }
    units = _units(values)
    for i in range(units):
        state[f"stages.{i}.g.weight"] = values[f"stages.{i}.g.weight"]
        for ours, (theirs, sign) in maps.items():
            state[f"stages.{i}.{ours}.weight"] = sign * values[f"stages.{i}.{theirs}.weight"]
        state |= renamed_norm(values, f"stages.{i}.bn", f"stages.{i}.norm")
    common = {"inner": sizes["S"], "units": units, "norm": "batch", "zero_init": False}
    options = common | options
    return Rebuilt(name, sizes["C"], options, state)


def _same(*names: str) -> dict[str, tuple[str, float]]:
    return {name: (name, 1.0) for name in names}


class FirstRelease(Source):
    """SNL and, with a third map, gSNL; every row of A is a softmax."""

    options: ClassVar[tuple[str, ...]] = ("activation",)

    def looks(self, keys: Collection[str]) -> bool:
        return {"t", "p", "stages"} <= first_parts(keys) and _has(keys, "w_1")

    def layout(self, keys: Collection[str], options: Mapping[str, Any]) -> Layout:
        third = ("w_3",) if _has(keys, "w_3") else ()
        return _stages(keys, ("w_1", "w_2", *third))

    def rebuild(
        self, values: Mapping[str, Tensor], sizes: Mapping[str, int], options: Mapping[str, Any]
    ) -> Rebuilt:
        activation = choice(options, "activation", ("relu",))
        if _has(values, "w_3"):
            name, maps = "gsnl", _same("w_1", "w_2", "w_3")
        else:
            name, maps = "snl", _same("w_1", "w_2")
        return _rebuilt(name, values, sizes, maps, activation=activation, **SOFTMAX)


class SecondRelease(Source):
    """SNL with the symmetric normalisation; NL and NS, with the same keys, with softmax rows."""

    options: ClassVar[tuple[str, ...]] = ("block",)

    def looks(self, keys: Collection[str]) -> bool:
        return {"t", "p", "stages"} <= first_parts(keys) and not _has(keys, "w_3")

    def layout(self, keys: Collection[str], options: Mapping[str, Any]) -> Layout:
        return _stages(keys, ("w_1", "w_2") if self._block(keys, options) == "snl" else ("w_2",))

    def _block(self, keys: Collection[str], options: Mapping[str, Any]) -> str:
        block = choice(options, "block", ("snl", "nl", "ns"))
        if block is None and _has(keys, "w_2") and not _has(keys, "w_1"):
            raise InputError(
                "the NL and the NS block of 'snl-2021' have the same keys; say block='nl' or "
                "block='ns'"
            )
        return block or "snl"

    def rebuild(
        self, values: Mapping[str, Tensor], sizes: Mapping[str, int], options: Mapping[str, Any]
    ) -> Rebuilt:
        block = self._block(values, options)
        if block == "snl":
            graph = {"kernel": "dot", "feature_map": "relu", "normalization": "symmetric"}
            return _rebuilt(
                "snl", values, sizes, _same("w_1", "w_2"),
                activation="relu", isolated="zero", **graph,
            )  # fmt: skip
        # The NS unit is W₂ Z − W₂ A Z there, and W (A − I) Z here.
        maps = {"w": ("w_2", -1.0 if block == "ns" else 1.0)}
        return _rebuilt(block, values, sizes, maps, activation="relu", **SOFTMAX)


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
    return {**SOFTMAX, "temperature": temperature, "norm": "batch"}


def _cgnl_options(sizes: Mapping[str, int], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of CGNL; the groups follow from z, which takes S / groups channels."""
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


SOURCES.register("snl-2019")(FirstRelease())
SOURCES.register("snl-2021")(SecondRelease())
SOURCES.register("cgnl-2018")(CompactGeneralized())
SOURCES.register("cc")(CrissCross())
