"""The blocks that an insertion asks for: made, checked, and fitted to their places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gspnl.errors import InputError
from gspnl.nn.block import Block
from gspnl.nn.places import CHILD, Place
from gspnl.nn.presets import create

Entry = str | tuple[str, Mapping[str, Any]] | Block


def check_free(model: nn.Module, targets: Mapping[str, Place], blocks: Mapping[str, Entry]) -> None:
    """Raise InputError if a module is taken or meant twice, or if a block is used elsewhere."""
    seen: dict[str, str] = {}
    for name, place in targets.items():
        if place.taken:
            raise InputError(
                f"a block follows {place.name!r} already "
                f"({getattr(place.module, CHILD).config['block']!r}); remove it first, or make it "
                "with more units"
            )
        if hasattr(place.module, CHILD):
            raise InputError(f"{place.name!r} has an attribute {CHILD!r} of its own; rename that")
        if place.name in seen:
            raise InputError(f"{seen[place.name]!r} and {name!r} are the same place; name it once")
        seen[place.name] = name
    used = list(model.modules())
    for name, entry in blocks.items():
        if isinstance(entry, Block):
            if any(entry is other for other in used):
                raise InputError(f"the block for {name!r} is in use already; give each its own")
            used.append(entry)


def make(name: str, entry: Entry, channels: int | None, options: Mapping[str, Any]) -> Block:
    """The block for one place."""
    if isinstance(entry, Block):
        if channels not in (None, entry.channels):
            raise InputError(
                f"{name!r} gives {channels} channels, and the block for it takes {entry.channels}"
            )
        return entry
    if isinstance(entry, str):
        entry = (entry, {})
    try:
        kind, own = entry
        merged = {**options, **own}
    except (TypeError, ValueError):
        raise InputError(
            f"the block for {name!r} must be a name, a name with its options, as "
            f"('snl', {{'units': 2}}), or a block, not {entry!r}"
        ) from None
    assert channels is not None
    return create(kind, channels, **merged)


def fit_to(place: Place, model: nn.Module, block: Block, output: Tensor | None) -> None:
    """Give the block the dtype, device and mode of the module that it will follow."""
    above = [place.name.rsplit(".", cut)[0] for cut in range(1, place.name.count(".") + 1)]
    around = (*place.within, *map(model.get_submodule, above), model)
    likes = [_floating(place.module), output, *map(_floating, around)]
    for like in likes:
        if like is not None:
            block.to(device=like.device, dtype=like.dtype)
            break
    block.train(place.module.training)


def _floating(module: nn.Module) -> Tensor | None:
    parameters = (each for each in module.parameters() if torch.is_floating_point(each))
    return next(parameters, None)
