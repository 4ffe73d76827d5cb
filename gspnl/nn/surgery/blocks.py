"""Create the blocks that an insertion asks for, and check that they can be inserted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gspnl.errors import InputError
from gspnl.nn.block import Block
from gspnl.nn.presets import create
from gspnl.nn.surgery.targets import CHILD, Target

BlockSpec = str | tuple[str, Mapping[str, Any]] | Block


def check_targets(
    model: nn.Module, targets: Mapping[str, Target], blocks: Mapping[str, BlockSpec]
) -> None:
    """Raise InputError if a target is occupied or named twice, or a block is used elsewhere."""
    seen: dict[str, str] = {}
    for name, target in targets.items():
        if target.occupied:
            raise InputError(
                f"a block follows {target.name!r} already "
                f"({getattr(target.module, CHILD).config['block']!r}); remove it first, or make it "
                "with more units"
            )
        if hasattr(target.module, CHILD):
            raise InputError(f"{target.name!r} has an attribute {CHILD!r} of its own; rename that")
        if target.name in seen:
            raise InputError(f"{seen[target.name]!r} and {name!r} are the same place; name it once")
        seen[target.name] = name
    used = list(model.modules())
    for name, spec in blocks.items():
        if isinstance(spec, Block):
            if any(spec is other for other in used):
                raise InputError(f"the block for {name!r} is in use already; give each its own")
            used.append(spec)


def block_from(
    name: str, spec: BlockSpec, channels: int | None, options: Mapping[str, Any]
) -> Block:
    """Create the block for one target, or check the one that was passed."""
    if isinstance(spec, Block):
        if channels not in (None, spec.channels):
            raise InputError(
                f"{name!r} gives {channels} channels, and the block for it takes {spec.channels}"
            )
        return spec
    if isinstance(spec, str):
        spec = (spec, {})
    try:
        kind, own = spec
        merged = {**options, **own}
    except (TypeError, ValueError):
        raise InputError(
            f"the block for {name!r} must be a name, a name with its options, as "
            f"('snl', {{'units': 2}}), or a block, not {spec!r}"
        ) from None
    assert channels is not None
    return create(kind, channels, **merged)


def match_module(target: Target, model: nn.Module, block: Block, output: Tensor | None) -> None:
    """Move the block to the dtype and device of the target, and set its mode.

    They are those of the target's parameters, of its output, of the modules before it, or of the
    modules that hold it: the first that has any.
    """
    parents = [target.name.rsplit(".", cut)[0] for cut in range(1, target.name.count(".") + 1)]
    others = (*target.sources, *map(model.get_submodule, parents), model)
    for like in [_parameter(target.module), output, *map(_parameter, others)]:
        if like is not None:
            block.to(device=like.device, dtype=like.dtype)
            break
    block.train(target.module.training)


def _parameter(module: nn.Module) -> Tensor | None:
    """Return the first floating-point parameter."""
    parameters = (each for each in module.parameters() if torch.is_floating_point(each))
    return next(parameters, None)
