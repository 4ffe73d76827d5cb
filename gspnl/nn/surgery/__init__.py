"""Insert nonlocal blocks after modules of any network, and remove them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gspnl._base.validate import one_of
from gspnl.errors import InputError
from gspnl.nn.block import Block
from gspnl.nn.presets import create
from gspnl.nn.surgery.layouts import HOOKS, SHAPES
from gspnl.nn.surgery.shapes import (
    Example,
    channels_of_layers,
    channels_of_output,
    layout_of_layers,
    record_outputs,
    tokens_of_layers,
)
from gspnl.nn.surgery.targets import (
    CHILD,
    Target,
    check_model,
    find,
    occupied_targets,
    reset_compiled,
)

BlockSpec = str | tuple[str, Mapping[str, Any]] | Block


def insert(
    model: nn.Module,
    blocks: Mapping[str, BlockSpec],
    *,
    example: Example | None = None,
    layout: str | None = None,
    **options: Any,
) -> nn.Module:
    """Insert nonlocal blocks after named modules of any network.

    The caller of the module then receives ``block(output)`` instead of ``output``. A new block is
    the identity, so the network's outputs do not change by a bit. The state dict keeps its keys and
    tensors, and the block's are added under ``<module>.nonlocal_``. Insert before the optimiser is
    created and before the network is wrapped for several processes.

    Parameters
    ----------
    model : Module
        Changed in place; unchanged if an error is raised.
    blocks : mapping of str to str, (str, dict) or Block
        The block for each module: a name, a name with options, or a block. A block after a plain
        Sequential follows its last child.
    example : tensor, tuple of arguments or mapping of keyword arguments, optional
        Input of the network, a small batch. The network is run on it, with nothing changed, to
        read the channels of every output and to check that every block runs once. Without an
        example the channels are those of each module's last convolution or norm.
    layout : {"channels_first", "tokens", "sequence_first"}, optional
        Layout of the outputs: feature maps (B, C, ``*spatial``) with one to three spatial
        dimensions, tokens (B, N, C) or tokens (N, B, C). By default a module that holds attention,
        or a norm or linear map of the last axis where that axis has its width, gives tokens; all
        others give feature maps. Of a tuple of outputs, the first are the tokens.
    **options
        For all blocks given by name, see :func:`gspnl.nn.create`; a block's own options override
        them.

    Returns
    -------
    Module
        ``model``.

    Raises
    ------
    InputError
        If a module is unknown, shared, called more than once or never, followed by a block already,
        or returns another layout, or one that cannot be told; if its channels cannot be determined
        without an example; if a block cannot be created with these options, or has other channels;
        if the model is wrapped.

    Notes
    -----
    The block is a child of its module, called by a forward hook: deep copies, pickles,
    ``torch.compile``, ``torch.export`` and ``DistributedDataParallel`` include it. It has the
    dtype, the device and the mode of its module. Code that ``torch.compile`` has cached is dropped.
    ``torch.jit.script`` does not support such hooks.

    A block has no mask: padding tokens take part in its filter as all others do.

    Two mistakes are found only with an example: a module whose weights are used without calling it,
    and a module whose own forward loops over its children.

    Examples
    --------
    >>> import torch
    >>> from gspnl import nn as gnn
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU())
    >>> x = torch.ones(1, 3, 8, 8)
    >>> before = net(x)
    >>> net = gnn.insert(net, {"0": "snl"}, inner=4)
    >>> bool((net(x) == before).all())
    True
    >>> print(gnn.describe(net))
    name  block  channels  inner  units  parameters
    0     snl          16      4      1         352

    After a layer of a transformer, on its tokens:

    >>> layer = torch.nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).eval()
    >>> tokens = torch.randn(2, 10, 32)
    >>> before = layer(tokens)
    >>> layer = gnn.insert(layer, {"": "snl"}, example=tokens)
    >>> bool((layer(tokens) == before).all())
    True
    """
    check_model(model)
    if layout is not None:
        one_of("layout", layout, SHAPES)
    if not isinstance(blocks, Mapping) or not blocks:
        raise InputError(
            f"blocks={blocks!r} must map names of modules to blocks, as {{'layer3.4': 'snl'}}"
        )
    targets = {name: find(model, name) for name in blocks}
    check_targets(model, targets, blocks)
    outputs: dict[str, Any] = {}
    if example is not None:
        outputs = record_outputs(
            model, {name: each.module for name, each in targets.items()}, example
        )
    new, hooks = {}, {}
    for name, spec in blocks.items():
        channels, decided = _channels(targets[name], spec, outputs.get(name), layout)
        new[name] = block_from(name, spec, channels, options)
        hooks[name] = HOOKS.get(decided)
    if options and all(isinstance(spec, Block) for spec in blocks.values()):
        raise InputError(f"options {sorted(options)} are given, but every block is made already")
    try:
        for name, block in new.items():
            output = outputs.get(name)
            match_module(
                targets[name], model, block, output if isinstance(output, Tensor) else None
            )
            targets[name].attach(block, hooks[name])
        if example is not None:  # a forward that loops over its children would call it again
            record_outputs(
                model, {f"{name}.{CHILD}": block for name, block in new.items()}, example
            )
    except BaseException:
        for target in targets.values():
            target.detach()
        raise
    reset_compiled()
    return model


def remove(model: nn.Module, name: str | None = None) -> nn.Module:
    """Remove inserted blocks, which restores the network.

    Parameters
    ----------
    model : Module
        Changed in place.
    name : str, optional
        The module that the block follows, as passed to :func:`insert`. By default all inserted
        blocks are removed, if there are any; blocks that the network was built with stay.

    Returns
    -------
    Module
        ``model``.

    Raises
    ------
    InputError
        If no block follows that module, or if the model is wrapped.

    Examples
    --------
    >>> import torch
    >>> from gspnl import nn as gnn
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU())
    >>> gnn.remove(gnn.insert(net, {"0": "snl"}), "0")
    Sequential(
      (0): Conv2d(3, 16, kernel_size=(3, 3), stride=(1, 1))
      (1): ReLU()
    )
    """
    check_model(model)
    targets = occupied_targets(model)
    if name is not None:
        module = find(model, name).module
        followed = ", ".join(repr(target.name) for target in targets)
        targets = [target for target in targets if target.module is module]
        if not targets:
            raise InputError(f"no block follows {name!r}; blocks follow {followed or 'nothing'}")
    for target in targets:
        target.detach()
    reset_compiled()
    return model


def _channels(
    target: Target, spec: BlockSpec, output: Any, layout: str | None
) -> tuple[int | None, str]:
    """Return channels and layout of the target's output; no channels for an existing block."""
    if output is not None:
        return channels_of_output(target.name, target.module, output, layout)
    layout = layout or layout_of_layers(target.name, target.sources)
    if isinstance(spec, Block):
        return None, layout
    read = tokens_of_layers if layout in HOOKS else channels_of_layers
    return read(target.name, target.sources), layout


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

    Dtype and device come from the first of these that has any: the target's parameters, its output,
    the modules before it, the modules that hold it.
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
