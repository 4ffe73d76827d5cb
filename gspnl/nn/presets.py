"""The blocks, by the names under which they were published."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from gspnl.errors import InputError
from gspnl.nn.block import BLOCKS, Block, KernelBlock, count
from gspnl.nn.scales import SYMMETRIZED
from gspnl.nn.stage import NODES, SpectralStage, Stage, Terms
from gspnl.nn.structured import CrissCross, GatherDistribute, Generalized, NoEdges

# Shares of the operators in the series over T_k(−A): T₀ = I, T₁(−A) = −A.
IDENTITY = (1.0,)
AFFINITY = (0.0, -1.0)


@BLOCKS.register("linear")
class Linear(Block):
    r"""Z W₁: no graph at all, the control for what a graph adds. Response: W₁."""

    block = "linear"

    def terms(self) -> Terms:
        return {"w_1": IDENTITY}

    def make_affinity(self, bias: bool) -> nn.Module:
        return NoEdges()


@BLOCKS.register("nl")
class NL(KernelBlock):
    r"""The nonlocal block, A Z W. Response: :math:`(1 - λ)\,W`.

    By default the softmax of embedded dot products. ``sub_sample`` max-pools keys and values.
    """

    block = "nl"
    defaults: ClassVar[dict[str, Any]] = {
        **KernelBlock.defaults,
        "kernel": "embedded_gaussian",
        "normalization": "softmax",
        "sub_sample": None,
    }

    def terms(self) -> Terms:
        return {"w": AFFINITY}

    def make_affinity(self, bias: bool) -> nn.Module:
        size = self.options["sub_sample"]
        if size is not None:
            given = self.options["normalization"]
            if SYMMETRIZED[given]:
                raise InputError(
                    f"sub_sample= leaves fewer columns than rows, and normalization={given!r} "
                    "symmetrises; use 'softmax' or 'mean'"
                )
            for part in size if isinstance(size, (tuple, list)) else [size]:
                count(part, "sub_sample")
            self.options["sub_sample"] = list(size) if isinstance(size, tuple) else size
        return super().make_affinity(bias)


@BLOCKS.register("ns")
class NS(KernelBlock):
    r"""The nonlocal stage, (A − I) Z W. Response: :math:`-λ\,W`."""

    block = "ns"
    defaults: ClassVar[dict[str, Any]] = {
        **KernelBlock.defaults,
        "kernel": "embedded_gaussian",
        "normalization": "softmax",
    }

    def terms(self) -> Terms:
        return {"w": (-1.0, -1.0)}


@BLOCKS.register("snl")
class SNL(KernelBlock):
    r"""The spectral nonlocal block, Z W₁ + A Z W₂. Response: :math:`W_1 + (1 - λ)\,W_2`."""

    block = "snl"

    def terms(self) -> Terms:
        return {"w_1": IDENTITY, "w_2": AFFINITY}


@BLOCKS.register("gsnl")
class GSNL(KernelBlock):
    r"""Generalised SNL, Z W₁ + A Z W₂ + (2A − I) Z W₃.

    Response: :math:`W_1 + (1 - λ)\,W_2 + (1 - 2λ)\,W_3`, the class of SNL (erratum E1): it is
    computed as SNL with W₁ − W₃ and W₂ + 2W₃.
    """

    block = "gsnl"

    def terms(self) -> Terms:
        return {"w_1": IDENTITY, "w_2": AFFINITY, "w_3": (-1.0, -2.0)}


@BLOCKS.register("chebyshev")
class Chebyshev(KernelBlock):
    r"""A series of any order, :math:`\sum_{k \le K} T_k(-A)\,Z W_k`; ``order`` is K ≥ 0."""

    block = "chebyshev"
    defaults: ClassVar[dict[str, Any]] = {**KernelBlock.defaults, "order": 2}

    def terms(self) -> Terms:
        order = self.options["order"]
        if isinstance(order, bool) or not isinstance(order, int) or order < 0:
            raise InputError(f"order={order!r} must be a whole number ≥ 0")
        return {f"w_{k}": (0.0,) * k + (1.0,) for k in range(order + 1)}

    def make_affinity(self, bias: bool) -> nn.Module:
        affinity = super().make_affinity(bias)
        return affinity if self.order else NoEdges()  # order 0 asks nothing of A


@BLOCKS.register("spectral")
class Spectral(KernelBlock):
    r"""A trainable response on the exact spectrum, :math:`\sum_m e^{-τ_m L} Z W_m`.

    ``order`` is the number M of diffusion times τ_m, which are trained.
    """

    block = "spectral"
    defaults: ClassVar[dict[str, Any]] = {**KernelBlock.defaults, "order": 4}
    stage: ClassVar[type[Stage]] = SpectralStage

    def terms(self) -> Terms:
        return {f"w_{m}": IDENTITY for m in range(count(self.options["order"], "order"))}

    @property
    def order(self) -> int:
        return NODES - 1


@BLOCKS.register("cgnl")
class CGNL(Block):
    r"""The compact generalised nonlocal block: positions and channels are nodes, in ``groups``.

    ``kernel="dot"``, or "rbf" by a Taylor expansion of ``order`` (default 3).
    """

    block = "cgnl"
    defaults: ClassVar[dict[str, Any]] = {"kernel": "dot", "groups": 1, "order": None}

    def terms(self) -> Terms:
        return {"w": AFFINITY}

    def make_affinity(self, bias: bool) -> nn.Module:
        kernel, order = self.options["kernel"], self.options["order"]
        groups = count(self.options["groups"], "groups")
        if kernel not in ("dot", "rbf"):
            raise InputError(f"kernel={kernel!r} of block 'cgnl' must be 'dot' or 'rbf'")
        if kernel == "dot" and order is not None:
            raise InputError("order= belongs to the Taylor expansion of kernel='rbf'")
        if self.inner % groups or self.channels % groups:
            raise InputError(
                f"groups={groups} does not divide inner={self.inner} and "
                f"channels={self.channels}; use a common divisor"
            )
        if kernel == "rbf":
            order = self.options["order"] = 3 if order is None else count(order, "order")
        return Generalized(self.channels, self.inner, bias, groups, order)


class Structured(Block):
    """A block whose affinity is no kernel on the positions; ``embedding`` is the width of φ, ψ."""

    defaults: ClassVar[dict[str, Any]] = {"embedding": None}

    def terms(self) -> Terms:
        return {"w": AFFINITY}

    @property
    def width(self) -> int:
        """Of φ and ψ."""
        given = self.options["embedding"]
        return self.inner if given is None else count(given, "embedding")


@BLOCKS.register("a2")
class A2(Structured):
    r"""Double attention: gather by a softmax over positions, distribute by one over channels."""

    block = "a2"

    def make_affinity(self, bias: bool) -> nn.Module:
        return GatherDistribute(self.channels, self.width, bias)


@BLOCKS.register("cc")
class CC(Structured):
    r"""Criss-cross attention: each position attends its row and its column."""

    block = "cc"

    def make_affinity(self, bias: bool) -> nn.Module:
        return CrissCross(self.channels, self.width, bias)
