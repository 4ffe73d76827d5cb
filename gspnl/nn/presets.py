"""Catalogue of the published blocks, and :func:`create`, which makes one by its name."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.nn.block import BLOCKS, COMMON_OPTIONS, MOST_TERMS, Block, KernelBlock
from gspnl.nn.normalization import NORMALIZATIONS
from gspnl.nn.structured import CrissCross, GatherDistribute, Generalized, NoEdges
from gspnl.nn.unit import NODES, SpectralStage, Stage, Terms

# Coefficients of I and A over T_k(−A): T₀ = I, T₁(−A) = −A.
IDENTITY = (1.0,)
AFFINITY = (0.0, -1.0)
LARGEST_ORDER = 170  # of a Taylor expansion: 171! is no float64


@BLOCKS.register("linear")
class Linear(Block):
    r"""Z W₁, without a graph, as a control in experiments. Response: W₁."""

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
            normalization = self.options["normalization"]
            if normalization in NORMALIZATIONS and NORMALIZATIONS[normalization].symmetric_core:
                raise InputError(
                    f"sub_sample= leaves fewer columns than rows, and normalization="
                    f"{normalization!r} symmetrises; use 'softmax' or 'mean'"
                )
            self.options["sub_sample"] = (
                [whole_number("sub_sample", part, 1) for part in size]
                if isinstance(size, (tuple, list))
                else whole_number("sub_sample", size, 1)
            )
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

    Response: :math:`W_1 + (1 - λ)\,W_2 + (1 - 2λ)\,W_3`, the same class as SNL (erratum E1): it is
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
        order = self.options["order"] = whole_number("order", self.options["order"], 0, MOST_TERMS)
        return {f"w_{k}": (0.0,) * k + (1.0,) for k in range(order + 1)}

    def make_affinity(self, bias: bool) -> nn.Module:
        affinity = super().make_affinity(bias)
        return affinity if self.order else NoEdges()  # order 0 does not use A


@BLOCKS.register("spectral")
class Spectral(KernelBlock):
    r"""A trainable response on the exact spectrum, :math:`\sum_m e^{-τ_m L} Z W_m`.

    ``order`` is the number M of diffusion times τ_m, which are trained.
    """

    block = "spectral"
    defaults: ClassVar[dict[str, Any]] = {**KernelBlock.defaults, "order": 4}
    stage: ClassVar[type[Stage]] = SpectralStage

    def terms(self) -> Terms:
        order = self.options["order"] = whole_number("order", self.options["order"], 1, MOST_TERMS)
        return {f"w_{m}": IDENTITY for m in range(order)}

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
        groups = self.options["groups"] = whole_number("groups", self.options["groups"], 1)
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
            order = 3 if order is None else whole_number("order", order, 1)
            if order > LARGEST_ORDER:
                raise InputError(
                    f"order={order} of the Taylor expansion must be at most {LARGEST_ORDER}; terms "
                    "above 60 vanish in float64"
                )
            self.options["order"] = order
        return Generalized(self.channels, self.inner, bias, groups, order)


class Structured(Block):
    """A block whose affinity is not a kernel graph; ``embedding`` is the width of φ and ψ."""

    defaults: ClassVar[dict[str, Any]] = {"embedding": None}

    def terms(self) -> Terms:
        return {"w": AFFINITY}

    @property
    def width(self) -> int:
        """Width of φ and ψ."""
        width = self.options["embedding"]
        if width is None:
            return self.inner
        width = self.options["embedding"] = whole_number("embedding", width, 1)
        return width


@BLOCKS.register("a2")
class A2(Structured):
    r"""Double attention: gather by a softmax over positions, distribute by one over channels."""

    block = "a2"

    def make_affinity(self, bias: bool) -> nn.Module:
        return GatherDistribute(self.channels, self.width, bias)


@BLOCKS.register("cc")
class CC(Structured):
    r"""Criss-cross attention: each position attends to its row and its column."""

    block = "cc"

    def make_affinity(self, bias: bool) -> nn.Module:
        return CrissCross(self.channels, self.width, bias)


def create(block: str, channels: int, *, match: str | None = None, **options: Any) -> Block:
    r"""Make a nonlocal block.

    Parameters
    ----------
    block : str
        "nl", "ns", "snl", "gsnl", "cgnl", "a2", "cc", "chebyshev", "spectral" or "linear".
    channels : int
        C of the feature maps (B, C, ``*spatial``).
    match : str, optional
        Choose the inner width whose number of parameters is nearest to that of this other block
        at its default width.
    **options
        Options of the block: see its class. All take ``inner``, ``units``, ``norm``,
        ``activation``, ``zero_init`` and ``bias``.

    Returns
    -------
    Block
        A module: (B, C, ``*spatial``) to the same shape.

    Raises
    ------
    InputError
        For unknown names, and for options that the block cannot honour.

    Examples
    --------
    >>> import torch
    >>> from gspnl import nn as gnn
    >>> block = gnn.create("snl", 64, inner=32)
    >>> x = torch.randn(2, 64, 8, 8)
    >>> bool((block(x) == x).all())  # a new block is the identity
    True
    >>> sizes = [sum(p.numel() for p in gnn.create(name, 64, match="snl").parameters())
    ...          for name in ("nl", "snl")]
    >>> sizes
    [10368, 10368]
    """
    cls = BLOCKS[block]
    if match is None:
        return cls(channels, **options)
    if options.get("inner") is not None:
        raise InputError(
            f"match={match!r} chooses the inner width, and inner={options['inner']} was given too; "
            "pass one of them"
        )
    return cls(channels, **{**options, "inner": matched_inner(block, channels, match, options)})


def matched_inner(block: str, channels: int, other: str, options: dict[str, Any]) -> int:
    """Return the inner width at which ``block`` has about as many parameters as ``other``."""
    shared = {name: value for name, value in options.items() if name in COMMON_OPTIONS}
    wanted = parameters(BLOCKS[other], channels, **shared)
    step = whole_number("groups", options.get("groups", 1), 1)

    def size(inner: int) -> int:
        return parameters(BLOCKS[block], channels, **{**options, "inner": inner})

    low, high = step, 2 * step
    while size(high) < wanted:
        low, high = high, 2 * high
    while high - low > step:
        middle = (low + high) // (2 * step) * step
        low, high = (middle, high) if size(middle) < wanted else (low, middle)
    return min((low, high), key=lambda inner: abs(size(inner) - wanted))


def parameters(block: type[Block], channels: int, **options: Any) -> int:
    """Count the parameters of a block without allocating them."""
    with torch.device("meta"):
        return sum(p.numel() for p in block(channels, **options).parameters())
