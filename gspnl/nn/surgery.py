"""Blocks put into other people's networks, and taken out again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from gspnl.errors import InputError
from gspnl.nn.block import Block
from gspnl.nn.entries import Entry, check_free, fit_to, make
from gspnl.nn.places import CHILD, Place, check_model, find, forget_compiled, places
from gspnl.nn.probing import Example, channels_from, channels_of, observe


def insert(
    model: nn.Module,
    blocks: Mapping[str, Entry],
    *,
    example: Example | None = None,
    **options: Any,
) -> nn.Module:
    """Put nonlocal blocks after named modules of any network.

    A block follows its module: whatever called the module gets ``block(output)`` in its place. A
    new block is the identity, so the network's outputs stay what they are, to the last bit. The
    state dict keeps its keys and tensors; those of the block come under ``<module>.nonlocal_``.
    Insert before the optimiser is made and before the network is wrapped for several processes.

    Parameters
    ----------
    model : Module
        Changed in place, or not at all if anything below is wrong.
    blocks : mapping of str to str, (str, dict) or Block
        What follows each module, whose output must be of shape (B, C, ``*spatial``) with one to
        three spatial dimensions: the name of a block, a name and its options, or a block that is
        made already. What is to follow a plain Sequential follows its last child.
    example : tensor, tuple of arguments or mapping of keyword arguments, optional
        What the network takes, a small batch. The network is run on it, without a trace, to see the
        channels of every output and that every block will run once. Without an example the channels
        are those of each module's last convolution or norm.
    **options
        For all blocks given by a name, see :func:`gspnl.nn.create`; a block's own options go first.

    Returns
    -------
    Module
        ``model``.

    Raises
    ------
    InputError
        If a module is unknown, shared, called more than once or never, followed by a block already,
        or gives anything but (B, C, ``*spatial``); if its channels cannot be told without an
        example; if a block cannot be made so, or has other channels; if the model is wrapped.

    Notes
    -----
    The block is a child of its module, called by a forward hook: deep copies, pickles,
    ``torch.compile``, ``torch.export`` and ``DistributedDataParallel`` take it along. It has the
    dtype, the device and the mode of its module. What ``torch.compile`` had made before is dropped.
    ``torch.jit.script`` does not take such hooks.

    Without an example, a module whose weights are used without calling it, or whose own forward
    loops over its children, cannot be told from others.

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
    """
    check_model(model)
    if not isinstance(blocks, Mapping) or not blocks:
        raise InputError(
            f"blocks={blocks!r} must map names of modules to blocks, as {{'layer3.4': 'snl'}}"
        )
    targets = {name: find(model, name) for name in blocks}
    check_free(model, targets, blocks)
    outputs: dict[str, Any] = {}
    if example is not None:
        outputs = observe(model, {name: each.module for name, each in targets.items()}, example)
    made = {
        name: make(name, entry, _channels(targets[name], entry, outputs.get(name)), options)
        for name, entry in blocks.items()
    }
    if options and all(isinstance(entry, Block) for entry in blocks.values()):
        raise InputError(f"options {sorted(options)} are given, but every block is made already")
    try:
        for name, block in made.items():
            fit_to(targets[name], model, block, outputs.get(name))
            targets[name].attach(block)
        if example is not None:  # a forward that loops over its children would call it again
            observe(model, {f"{name}.{CHILD}": block for name, block in made.items()}, example)
    except BaseException:
        for place in targets.values():
            place.detach()
        raise
    forget_compiled()
    return model


def remove(model: nn.Module, name: str | None = None) -> nn.Module:
    """Take inserted blocks out again, and leave the network as it was.

    Parameters
    ----------
    model : Module
        Changed in place.
    name : str, optional
        The module that the block follows, as it was given to :func:`insert`. By default all
        inserted blocks go, if there are any; blocks that the network was built with stay.

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
    found = places(model)
    if name is not None:
        wanted = find(model, name)
        followed = ", ".join(repr(each.name) for each in found)
        found = [each for each in found if each.module is wanted.module]
        if not found:
            raise InputError(f"no block follows {name!r}; blocks follow {followed or 'nothing'}")
    for each in found:
        each.detach()
    forget_compiled()
    return model


def _channels(place: Place, entry: Entry, output: Any) -> int | None:
    """What the module gives; None for a block that will see for itself."""
    if output is not None:
        return channels_of(place.name, place.module, output)
    return None if isinstance(entry, Block) else channels_from(place.name, place.within)
