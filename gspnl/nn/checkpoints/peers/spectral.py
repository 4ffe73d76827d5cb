"""Formats of the two releases of the spectral nonlocal blocks.

References
----------
L. Zhu, Q. She, L. Zhang, P. Guo, A spectral nonlocal block for neural networks, 2019, and its code,
spectral-nonlocal-block; L. Zhu, Q. She et al., Unifying nonlocal blocks for neural networks, ICCV
2021, and its code, SNL_ICCV2021.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from torch import Tensor

from gspnl.errors import InputError
from gspnl.nn.checkpoints.peers.source import SOURCES, Rebuilt, Source, choice, renamed_norm
from gspnl.nn.checkpoints.peers.state_dict import Layout, batch_norm, first_parts

SOFTMAX = {"kernel": "embedded_gaussian", "normalization": "softmax"}


def _units(keys: Collection[str]) -> int:
    """Return the number of stages, from the numbers in the keys."""
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
        For each of our maps the peer's name and the sign to multiply it by.
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


SOURCES.register("snl-2019")(FirstRelease())
SOURCES.register("snl-2021")(SecondRelease())
