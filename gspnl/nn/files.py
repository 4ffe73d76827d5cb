"""A block in a file: safetensors, with the block's configuration beside its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gspnl._base.files import replace
from gspnl.errors import FileError, InputError, MissingExtraError
from gspnl.nn.block import Block
from gspnl.nn.presets import create

if TYPE_CHECKING:
    from os import PathLike

KEY, VERSION = "gspnl.nn.block", 1  # where the configuration is kept, and how it is written


def save(block: Block, path: str | PathLike[str]) -> None:
    """Write a block to a file: its weights, and the configuration that rebuilds it.

    The file is written under another name beside ``path`` and put in its place at the end, so that
    whatever interrupts this leaves a former file whole.

    Parameters
    ----------
    block : Block
    path : path
        In a folder that exists, by custom ending in ``.safetensors``. A file there is replaced.

    Raises
    ------
    FileError
        If the file cannot be written.
    InputError
        If ``block`` is no block; :func:`gspnl.nn.describe` finds those of a network.

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
    try:
        note = {KEY: json.dumps({"version": VERSION, "config": block.config}, sort_keys=True)}
    except TypeError as error:
        raise InputError(
            f"the configuration of the block cannot be written ({error}); an object among its "
            "options, as a kernel, must be registered and given by its name"
        ) from error
    tensors = {key: value.detach().contiguous().cpu() for key, value in block.state_dict().items()}
    replace(_path(path), _library().torch.save(tensors, note))


def load(path: str | PathLike[str]) -> Block:
    """Rebuild a block from a file that :func:`save` wrote.

    Nothing in the file is executed: it holds numbers and names only.

    Parameters
    ----------
    path : path

    Returns
    -------
    Block
        On the CPU, in the dtype that it was saved in, and in training mode as every new module.

    Raises
    ------
    FileError
        If the file is missing, damaged, cut off or no block of gspnl, or if this version of gspnl
        cannot build what it describes.

    Examples
    --------
    See :func:`save`.
    """
    path = _path(path)
    note, tensors = _read(path)
    config = _config(path, note)
    try:
        with torch.device("meta"):  # no numbers are drawn that those in the file replace
            block = create(**config)
        block.load_state_dict(tensors, assign=True)
    except (InputError, TypeError, KeyError, RuntimeError) as error:
        raise FileError(
            f"{str(path)!r} does not hold the block that it describes, or needs another version of "
            f"gspnl: {error}"
        ) from error
    return block


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Metadata and tensors of a safetensors file."""
    safetensors = _library()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    try:
        tensors = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise FileError(
            f"{str(path)!r} is damaged, cut off or no safetensors file ({error})"
        ) from error
    size = int.from_bytes(content[:8], "little")  # of the header, checked just now
    return json.loads(content[8 : 8 + size]).get("__metadata__", {}), tensors


def _config(path: Path, note: dict[str, str]) -> dict[str, Any]:
    """The configuration in the metadata of a file."""
    if KEY not in note:
        raise FileError(
            f"{str(path)!r} holds tensors but no block of gspnl; weights of other code go through "
            "gspnl.nn.from_peer, and state dicts through load_state_dict"
        )
    try:
        about = json.loads(note[KEY])
        version, config = about["version"], dict(about["config"])
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


def _library() -> Any:
    try:
        import safetensors
        import safetensors.torch
    except ImportError as error:
        raise MissingExtraError(
            "saving and loading blocks needs safetensors: pip install 'gspnl[torch]'"
        ) from error
    return safetensors
