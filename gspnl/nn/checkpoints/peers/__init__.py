"""Rebuild blocks from the state dicts of other codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from gspnl.errors import InputError
from gspnl.nn.block import Block
from gspnl.nn.checkpoints.finder import choose, fitting, named, plain_names
from gspnl.nn.checkpoints.peers import libraries, papers
from gspnl.nn.checkpoints.peers.formats import (
    SOURCES,
    Rebuilt,
    Source,
    check_names,
    key_mismatch,
    prefixes,
    read_sizes,
    read_values,
    shared_prefix,
    under_prefix,
    weights_dtype,
)
from gspnl.nn.presets import create

__all__ = ["SOURCES", "Rebuilt", "Source", "from_peer"]

_REGISTERED = (papers, libraries)  # each registers its sources when imported


def from_peer(
    state_dict: Mapping[str, Any],
    source: str,
    *,
    prefix: str | None = None,
    key: str | None = None,
    block: str | None = None,
    activation: str | None = None,
    groups: int | None = None,
    order: int | None = None,
    scale: bool | None = None,
    mode: str | None = None,
) -> Block:
    r"""Rebuild a nonlocal block from the state dict of another code.

    The block has the outputs of the peer's module, in training and in evaluation, and can be
    trained, folded, audited and saved as any other. Units, widths, groups and sub-sampling are read
    from keys and shapes. Options say what these do not show:

    ==================== ======================================= ==================================
    source               code                                    options
    ==================== ======================================= ==================================
    ``snl-2019``         spectral nonlocal blocks, 1st release   ``activation="relu"`` where it was
    ``snl-2021``         the 2nd release                         ``block="nl"`` or ``"ns"``
    ``cgnl-2018``        compact generalised nonlocal blocks     ``groups``, ``order`` of CGNLx;
                                                                 ``scale=True`` of its NL
    ``nonlocal-pytorch`` AlexHex7/Non-local_pytorch              ``mode``
    ``mmcv``             NonLocal1d, 2d, 3d                      ``mode``, ``scale=False``
    ``cc``               CCNet's criss-cross attention           none
    ==================== ======================================= ==================================

    Parameters
    ----------
    state_dict : mapping of str to array
        NumPy arrays or tensors, finite; copied. Batch norms may lack ``num_batches_tracked``. It
        may be a checkpoint that holds the state dict under a name, ``{"model": …, "epoch": 3}``.
        Of a model and its average the model is taken; the others are logged.
    source : str
        A name in the table.
    prefix : str, optional
        Use only the keys that begin with this, such as ``"layer3.5."``. By default all keys must
        belong to the block, after a prefix that all of them share.
    key : str, optional
        Which state dict of a checkpoint, where it holds several: "model_ema", "models.0".
    block : {"snl", "nl", "ns"}, optional
        Which block of the 2021 release; its NL and NS have the same keys.
    activation : {"relu"}, optional
        The ReLU after the batch norm, an option of the 2019 release.
    groups : int, optional
        Groups of CGNL. They follow from the shapes; another number is an error.
    order : int, optional
        The Taylor order of CGNLx, at least 1. By default the block is the dot-product CGNL.
    scale : bool, optional
        Whether scores are divided by the square root of the inner width before the softmax. By
        default as in the peer's class: mmcv divides, the NL of CGNL does not (the networks released
        with it do: pass True).
    mode : {"embedded_gaussian", "gaussian", "dot_product", "concatenation"}, optional
        The pairwise function. The keys show "gaussian" and "concatenation"; they are the same for
        "embedded_gaussian", the default, and "dot_product".

    Returns
    -------
    Block
        On the device of the first array, in the widest dtype of the arrays, in training mode.

    Raises
    ------
    InputError
        If keys are missing or unexpected; if an array has a shape that does not fit the others, is
        not finite or not of floating point; if the checkpoint is of another source (the message
        names it); or if an option is passed that the source does not take.

    Notes
    -----
    Some parameters change their form, with the same outputs: a bias before a batch norm moves into
    the running mean, the shared map of the 2021 NS changes its sign, the scalar :math:`\gamma` of
    criss-cross attention becomes the map :math:`\gamma I`, and the projection of a concatenated
    pair is multiplied into the maps before it.

    Examples
    --------
    >>> import torch
    >>> from gspnl import nn as gnn
    >>> conv = lambda c_in, c_out: torch.randn(c_out, c_in, 1, 1)
    >>> peer = {"query_conv": conv(16, 2), "key_conv": conv(16, 2), "value_conv": conv(16, 16)}
    >>> peer = {f"{name}.weight": weight for name, weight in peer.items()}
    >>> peer |= {key.replace("weight", "bias"): w[:, 0, 0, 0] for key, w in peer.items()}
    >>> block = gnn.from_peer(peer | {"gamma": torch.ones(1)}, "cc")
    >>> block(torch.randn(1, 16, 5, 7)).shape
    torch.Size([1, 16, 5, 7])
    """
    reader = SOURCES[source]
    entries = plain_names(_selected(state_dict, prefix, source, key))
    arguments = {
        "block": block,
        "activation": activation,
        "groups": groups,
        "order": order,
        "scale": scale,
        "mode": mode,
    }
    options = {name: value for name, value in arguments.items() if value is not None}
    for name in options:
        if name not in reader.options:
            takes = ", ".join(f"{one}=" for one in reader.options) or "none"
            raise InputError(f"source {source!r} takes no {name}=; its options: {takes}")
    layout = reader.layout(entries, options)
    mismatch = key_mismatch(layout, entries)
    if mismatch:
        raise InputError(f"not a checkpoint of {source!r}: {mismatch}{_hint(entries, source)}")
    values = read_values(entries)
    sizes = read_sizes(layout, values)
    matrices = {key: values[key].flatten(1) for key, terms in layout.items() if len(terms) == 2}
    return _create_block(reader.rebuild(values | matrices, sizes, options), values)


def _create_block(rebuilt: Rebuilt, values: Mapping[str, Tensor]) -> Block:
    device = next(iter(values.values())).device
    block = create(rebuilt.name, rebuilt.channels, **rebuilt.options)
    block = block.to(device=device, dtype=weights_dtype(values))
    block.load_state_dict(rebuilt.state)
    return block


def _selected(
    state_dict: Mapping[str, Any], prefix: str | None, source: str, key: str | None
) -> dict[str, Any]:
    """Return the block's entries, with the prefix removed."""
    if prefix is not None and not isinstance(prefix, str):
        raise InputError(
            f"prefix must be the beginning of keys, such as 'layer3.5.', not {prefix!r}"
        )
    start = f"{prefix.removesuffix('.')}." if prefix else ""
    entries = check_names(state_dict)
    if key is not None:
        entries = named(entries, key).entries
    elif not _starts(entries, start, source) and (
        found := fitting(entries, lambda each: _starts(each, start, source))
    ):
        return choose(found).entries
    if prefix is None:
        shared = under_prefix(entries, shared_prefix(list(entries)))
        known = any(SOURCES[name].looks(shared) for name in SOURCES)
        return shared if known else entries
    chosen = under_prefix(entries, start)
    if not chosen:
        raise InputError(f"no key begins with {start!r}{_where(entries, source)}")
    return chosen


def _starts(entries: dict[str, Any], start: str, source: str) -> list[str]:
    """Return the prefix under which these entries may be a block: ``start``, or a shared one."""
    if start:
        return [start] if under_prefix(entries, start) else []
    shared = shared_prefix(list(entries))
    return [shared] if SOURCES[source].looks(under_prefix(entries, shared)) else []


def _hint(entries: Mapping[str, Any], source: str) -> str:
    """Suggest another source that the keys fit, or where in a network the block is."""
    nested = [key for key, value in entries.items() if isinstance(value, Mapping)]
    if nested:
        return f". {nested[0]!r} is itself a mapping: pass state_dict[{nested[0]!r}]"
    others = [name for name in SOURCES if name != source and SOURCES[name].looks(entries)]
    if others and not SOURCES[source].looks(entries):
        return f". It looks like {' or '.join(repr(name) for name in others)}"
    return _where(entries, source)


def _where(entries: Mapping[str, Any], source: str) -> str:
    found = [
        at for at in prefixes(list(entries)) if SOURCES[source].looks(under_prefix(entries, at))
    ]
    if not found:
        return ""
    return f". Blocks of this kind stand at prefix={' and prefix='.join(map(repr, found[:4]))}"
