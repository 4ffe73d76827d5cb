"""A block by its name, at an inner width given or matched."""

from __future__ import annotations

from typing import Any

import torch

from gspnl.errors import InputError
from gspnl.nn.block import BLOCKS, Block, count


def create(block: str, channels: int, *, match: str | None = None, **options: Any) -> Block:
    r"""Make a nonlocal block.

    Parameters
    ----------
    block : str
        "nl", "ns", "snl", "gsnl", "cgnl", "a2", "cc", "chebyshev", "spectral" or "linear".
    channels : int
        C of the feature maps (B, C, ``*spatial``).
    match : str, optional
        Choose the inner width so that the number of parameters is as near as can be to that of
        this other block, at its own default width.
    **options
        Of the block: see its class. ``inner``, ``units``, ``norm``, ``activation``, ``zero_init``
        and ``bias`` are taken by all.

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
    >>> bool((block(x) == x).all())  # a new block leaves its input as it is
    True
    >>> sizes = [sum(p.numel() for p in gnn.create(name, 64, match="snl").parameters())
    ...          for name in ("nl", "snl")]
    >>> sizes
    [10368, 10368]
    """
    made = BLOCKS[block]
    if match is None:
        return made(channels, **options)
    if options.get("inner") is not None:
        raise InputError(
            f"match={match!r} chooses the inner width, and inner={options['inner']} was given too; "
            "pass one of them"
        )
    return made(channels, **{**options, "inner": matched(block, channels, match, options)})


def matched(block: str, channels: int, other: str, options: dict[str, Any]) -> int:
    """The inner width at which ``block`` has about the parameters of ``other``."""
    common = ("units", "norm", "activation", "zero_init", "bias")
    shared = {name: value for name, value in options.items() if name in common}
    wanted = parameters(BLOCKS[other], channels, **shared)
    step = count(options.get("groups", 1), "groups")

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
    """How many parameters a block has, without making their values."""
    with torch.device("meta"):
        return sum(p.numel() for p in block(channels, **options).parameters())
