"""Formats of two libraries of nonlocal blocks, Non-local_pytorch and mmcv.

References
----------
X. Wang, R. Girshick, A. Gupta, K. He, Non-local neural networks, CVPR 2018, in the code of
AlexHex7/Non-local_pytorch and of open-mmlab/mmcv.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from torch import Tensor

from gspnl.errors import InputError
from gspnl.nn.checkpoints.peers.formats import (
    PROJECTION,
    SOURCES,
    Layout,
    Rebuilt,
    Source,
    batch_norm,
    choice,
    first_parts,
    flag,
    renamed_norm,
)

GRAPHS: dict[str, dict[str, Any]] = {
    "embedded_gaussian": {"kernel": "embedded_gaussian", "normalization": "softmax"},
    "gaussian": {"kernel": "gaussian", "normalization": "softmax"},
    "dot_product": {"kernel": "dot", "feature_map": "identity", "normalization": "mean"},
    "concatenation": {"kernel": "concatenation", "normalization": "mean"},
}
SUB_SAMPLING: dict[int, int | tuple[int, ...]] = {1: 2, 2: 2, 3: (1, 2, 2)}


class Pairwise(Source):
    """The blocks of both libraries; subclasses supply the names of the modules."""

    options: ClassVar[tuple[str, ...]] = ("mode",)
    default_scale: ClassVar[bool] = False

    @abstractmethod
    def part(self, name: str, pooled: bool = False) -> str:
        """Return the name of a convolution; ``pooled`` if max-pooling follows it."""

    @abstractmethod
    def output(self, keys: Collection[str]) -> tuple[str, bool, str | None]:
        """Return the name of the last convolution, whether it has a bias, the name of its norm."""

    @abstractmethod
    def projection(self) -> str:
        """Return the name of the projection of the concatenated pair."""

    def mode(self, keys: Collection[str], options: Mapping[str, Any]) -> str:
        """Return the mode of the options, or else of the keys, or else embedded_gaussian."""
        shown = "embedded_gaussian" if "theta" in first_parts(keys) else "gaussian"
        shown = "concatenation" if PROJECTION in first_parts(keys) else shown
        return choice(options, "mode", tuple(GRAPHS)) or shown

    def pooled(self, keys: Collection[str]) -> bool:
        """Return whether keys and values are sub-sampled."""
        return f"{self.part('g', pooled=True)}.weight" in keys

    def layout(self, keys: Collection[str], options: Mapping[str, Any]) -> Layout:
        mode, pooled = self.mode(keys, options), self.pooled(keys)
        parts = [self.part("g", pooled)]
        if mode != "gaussian":
            parts += [self.part("theta"), self.part("phi", pooled)]
        layout: Layout = {}
        for part in parts:
            layout |= {f"{part}.weight": ("S", "C"), f"{part}.bias": ("S",)}
        if mode == "concatenation":
            layout[f"{self.projection()}.weight"] = ("1", "2S")
        last, bias, norm = self.output(keys)
        layout |= {f"{last}.weight": ("C", "S")}
        layout |= {f"{last}.bias": ("C",)} if bias else {}
        return layout | (batch_norm(norm) if norm else {})

    def rebuild(
        self, values: Mapping[str, Tensor], sizes: Mapping[str, int], options: Mapping[str, Any]
    ) -> Rebuilt:
        mode, pooled = self.mode(values, options), self.pooled(values)
        last, _, norm = self.output(values)
        chosen = GRAPHS[mode] | {
            "inner": sizes["S"],
            "norm": "batch" if norm else "none",
            "bias": True,
            "zero_init": False,
        }
        if pooled:
            chosen["sub_sample"] = SUB_SAMPLING[sizes["dim"]]
        scale = flag(options, "scale", self.default_scale and mode == "embedded_gaussian")
        if scale and mode != "embedded_gaussian":
            raise InputError(f"scale=True has no meaning in mode={mode!r}; leave it out")
        if scale:
            chosen["temperature"] = math.sqrt(sizes["S"])
        state = _linear(values, self.part("g", pooled), "stages.0.g")
        state |= _output(values, last, norm)
        if mode != "gaussian":
            queries = _linear(values, self.part("theta"), "affinity.phi")
            keys = _linear(values, self.part("phi", pooled), "affinity.psi")
            if mode == "concatenation":
                pair = values[f"{self.projection()}.weight"]
                first, second = pair[:, : sizes["S"]], pair[:, sizes["S"] :]
                queries = _projected(queries, first)
                # With pooling between keys and projection, the two maps cannot be multiplied.
                project = {"affinity.project.weight": second}
                keys = keys | project if pooled else _projected(keys, second)
            state |= queries | keys
        return Rebuilt("nl", sizes["C"], chosen, state)


def _linear(values: Mapping[str, Tensor], name: str, to: str) -> dict[str, Tensor]:
    return {f"{to}.{entry}": values[f"{name}.{entry}"] for entry in ("weight", "bias")}


def _projected(linear: dict[str, Tensor], row: Tensor) -> dict[str, Tensor]:
    """Multiply a row into weight and bias: (S, C) and (S,) become (1, C) and (1,)."""
    return {key: (row.double() @ value.double()).to(value.dtype) for key, value in linear.items()}


def _output(values: Mapping[str, Tensor], last: str, norm: str | None) -> dict[str, Tensor]:
    """Return the state of W and its norm; a bias before a batch norm moves into the mean."""
    state = {"stages.0.w.weight": values[f"{last}.weight"]}
    bias = values.get(f"{last}.bias")
    if norm is None:
        return state | ({} if bias is None else {"stages.0.w.bias": bias})
    state |= renamed_norm(values, norm, "stages.0.norm")
    if bias is not None:
        state["stages.0.norm.running_mean"] = state["stages.0.norm.running_mean"] - bias
    return state


class NonlocalPytorch(Pairwise):
    """Non-local_pytorch: theta, phi and g with biases; W, or W.0 and its batch norm W.1."""

    def looks(self, keys: Collection[str]) -> bool:
        return {"g", "W"} <= first_parts(keys)

    def part(self, name: str, pooled: bool = False) -> str:
        return f"{name}.0" if pooled else name

    def output(self, keys: Collection[str]) -> tuple[str, bool, str | None]:
        return ("W", True, None) if "W.weight" in keys else ("W.0", True, "W.1")

    def projection(self) -> str:
        return f"{PROJECTION}.0"


class MMCV(Pairwise):
    """mmcv's NonLocalNd: ConvModules, and 1/√S in the embedded Gaussian unless scale=False."""

    options: ClassVar[tuple[str, ...]] = ("mode", "scale")
    default_scale: ClassVar[bool] = True

    def looks(self, keys: Collection[str]) -> bool:
        return {"g", "conv_out"} <= first_parts(keys)

    def part(self, name: str, pooled: bool = False) -> str:
        return f"{name}.0.conv" if pooled else f"{name}.conv"

    def output(self, keys: Collection[str]) -> tuple[str, bool, str | None]:
        normed = "conv_out.bn.weight" in keys
        return "conv_out.conv", not normed, "conv_out.bn" if normed else None

    def projection(self) -> str:
        return f"{PROJECTION}.conv"


SOURCES.register("nonlocal-pytorch")(NonlocalPytorch())
SOURCES.register("mmcv")(MMCV())
