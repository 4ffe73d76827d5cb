"""Save and load a block: safetensors of its weights, its configuration as metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gspnl._base import files
from gspnl.errors import FileError, InputError
from gspnl.nn.block import Block
from gspnl.nn.checkpoints.contents import check_sizes, check_state, checksum
from gspnl.nn.checkpoints.reading import refuse_others, safetensors_library
from gspnl.nn.hooked import recomputed
from gspnl.nn.presets import create

if TYPE_CHECKING:
    from os import PathLike

KEY, VERSION = "gspnl.nn.block", 1  # of the metadata, and of its format
SUM = "gspnl.crc32"  # missing in files of earlier versions


def save(block: Block, path: str | PathLike[str]) -> None:
    """Write a block to a file: its weights, and the configuration that rebuilds it.

    The write is atomic: an interruption leaves an existing file as it was. Hooks that were
    registered on the block or its maps are not part of it, as they are of no state dict.

    Parameters
    ----------
    block : Block
    path : path
        In an existing folder, usually ending in ``.safetensors``. An existing file is replaced.

    Raises
    ------
    FileError
        If the file cannot be written.
    InputError
        If ``block`` is not a block (:func:`gspnl.nn.describe` lists those of a network), is
        folded, pruned or parametrised, or has an option that JSON cannot hold.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from gspnl import nn as gnn
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "block.safetensors"
    >>> gnn.save(gnn.create("snl", 16, units=2), path)
    >>> len(gnn.load(path).stages)
    2
    """
    if not isinstance(block, Block):
        raise InputError(
            f"only a block can be saved so, not a {type(block).__name__}; of a network, save the "
            "state dict"
        )
    if block.folded:
        raise InputError(
            "a folded block has lost the maps that its configuration describes; save the block "
            "that it was folded from, and fold that when it is loaded"
        )
    if names := recomputed(block):
        raise InputError(
            f"{names[0]!r} is recomputed by pruning, a norm or a parametrisation, which a file "
            "cannot rebuild; make it plain first, as by torch.nn.utils.prune.remove, "
            "remove_weight_norm or parametrize.remove_parametrizations"
        )
    try:
        text = json.dumps({"version": VERSION, "config": block.config}, sort_keys=True)
    except TypeError as error:
        raise InputError(
            f"the configuration of the block cannot be written ({error}); an object among its "
            "options, as a kernel, must be registered and given by its name"
        ) from error
    tensors = {key: value.detach().contiguous().cpu() for key, value in block.state_dict().items()}
    metadata = {KEY: text, SUM: str(checksum(text, tensors))}
    files.replace(_path(path), safetensors_library().torch.save(tensors, metadata))


def load(path: str | PathLike[str]) -> Block:
    """Load a block from a file that :func:`save` wrote.

    The file holds tensors and JSON; nothing in it is executed.

    Parameters
    ----------
    path : path

    Returns
    -------
    Block
        On the CPU, in its saved dtype, and in training mode as every new module.

    Raises
    ------
    FileError
        If the file is missing, damaged (each bit is under a checksum, in files of this version),
        cut off or not a block of gspnl, or if this version of gspnl cannot rebuild its
        configuration.

    Examples
    --------
    See :func:`save`.
    """
    path = _path(path)
    metadata, tensors = _read(path)
    config = _config(path, metadata)
    if SUM in metadata and metadata[SUM] != str(checksum(metadata[KEY], tensors)):
        raise FileError(
            f"{str(path)!r} is damaged: its checksum is wrong; put back a copy, or save the block "
            "again"
        )
    try:
        check_sizes(config, tensors)
        with torch.device("meta"):  # draws no initial values, which the file would replace
            block = create(**config)
        check_state(block.state_dict(), tensors)
        block.load_state_dict(tensors, assign=True)
    except (
        ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError
    ) as error:  # fmt: skip  # a header that is wrong can make any check fail
        raise FileError(
            f"{str(path)!r} does not hold the block that it describes, or needs another version of "
            f"gspnl: {' '.join(str(error).split())}"
        ) from error
    return block


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Return the metadata and the tensors of a safetensors file."""
    safetensors = safetensors_library()
    content = files.read(path, "name a file that gspnl.nn.save wrote")
    refuse_others(path, content)
    try:
        tensors = safetensors.torch.load(content)
    except Exception as error:  # also of dtypes that torch does not know
        raise FileError(
            f"{str(path)!r} is damaged, cut off or no safetensors file ({error})"
        ) from error
    size = int.from_bytes(content[:8], "little")  # of the header, checked just now
    return json.loads(content[8 : 8 + size]).get("__metadata__") or {}, tensors


def _config(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """Return the configuration in the metadata of a file."""
    if KEY not in metadata:
        raise FileError(
            f"{str(path)!r} holds tensors but no block of gspnl; weights of other code go through "
            "gspnl.nn.from_peer, and state dicts through load_state_dict"
        )
    try:
        content = json.loads(metadata[KEY])
        version, config = content["version"], dict(content["config"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileError(f"{str(path)!r} is damaged: it does not say what it holds") from error
    if version != VERSION:
        raise FileError(
            f"{str(path)!r} is of version {version!r}, and this gspnl reads {VERSION}; install the "
            "gspnl that wrote it, or a newer one"
        )
    return config


def _path(path: str | PathLike[str]) -> Path:
    try:
        return Path(path)
    except TypeError:
        raise InputError(f"path={path!r} must be a path, not a {type(path).__name__}") from None
