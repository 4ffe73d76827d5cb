"""Backbones that start from published weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gspnl.errors import FileError, InputError
from gspnl.nn.checkpoints.peers.state_dict import COUNTER, read_values
from gspnl.nn.surgery.targets import CHILD
from gspnl.train.backbones.base import Backbone
from gspnl.train.backbones.weights import read_state

ENDS = {"conv1", "fc"}  # what another stem, other images or other classes give another shape
SHOWN = 3


@dataclass(frozen=True)
class Loaded:
    """What became of a network's parameters and buffers when a file was loaded.

    Parameters
    ----------
    loaded : tuple of str
        Names of those that have the file's values.
    fresh : tuple of str
        Names of those that are as they were: a first convolution or a last layer of another shape
        than the file's, and blocks that the file does not have.
    """

    loaded: tuple[str, ...]
    fresh: tuple[str, ...]


def load_pretrained(model: Backbone, path: str | PathLike[str]) -> Loaded:
    """Load a state dict into a backbone, before or after blocks are placed.

    "resnet50" has the names and shapes of torchvision's, "i3d_resnet50" those of the 3-D networks
    of Hara et al.; every network takes what its own ``state_dict()`` gave.

    Parameters
    ----------
    model : Backbone
        Changed in place, or not at all if the file does not fit.
    path : path
        A safetensors file, or one of ``torch.save``. Nothing in it is executed.

    Returns
    -------
    Loaded
        Which tensors were loaded, and which are left fresh: ``conv1`` where its shape differs (the
        CIFAR stem, other channels), ``fc`` where the classes differ, and blocks that the file does
        not have. Look at it: a
        fresh ``conv1`` has lost what was learned there.

    Raises
    ------
    FileError
        If the file is missing, damaged, cut off, needs code to be read, or is of another network:
        the first names that are missing, unexpected or of another shape are told.

    Examples
    --------
    >>> import tempfile, pathlib, torch
    >>> from gspnl.train import backbones
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "hundred.pt"
    >>> torch.save(backbones.create("preresnet20", classes=100).state_dict(), path)
    >>> report = backbones.load_pretrained(backbones.create("preresnet20", classes=10), path)
    >>> len(report.loaded), report.fresh
    (116, ('fc.weight', 'fc.bias'))
    """
    if not isinstance(model, Backbone):
        raise InputError(
            f"model must be a backbone of gspnl.train, not {type(model).__name__}; load other "
            "networks by their load_state_dict"
        )
    try:
        path = Path(path)
    except TypeError:
        raise InputError(f"path={path!r} must be a path, not a {type(path).__name__}") from None
    own = model.state_dict()
    given = read_state(path)
    wanted = {
        name: value for name, value in own.items() if f".{CHILD}." not in name or name in given
    }
    _check_names(path, wanted, given)
    given |= {name: torch.zeros(()) for name in wanted if name not in given}  # counters
    other = [name for name in wanted if _shape(given[name]) != wanted[name].shape]
    ends = {_end(name) for name in other if _shape(given[name]) is not None} & ENDS
    _check_shapes(path, wanted, given, [name for name in other if _end(name) not in ends])
    used = {name: given[name] for name in wanted if _end(name) not in ends}
    try:
        values = read_values(used)
    except InputError as error:
        raise FileError(f"{str(path)!r} does not hold usable weights: {error}") from error
    model.load_state_dict(values, strict=False)
    return Loaded(tuple(values), tuple(name for name in own if name not in values))


def _end(name: str) -> str:
    return name.partition(".")[0]


def _shape(value: Any) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, Tensor) else None


def _check_names(path: Path, wanted: Mapping[str, Tensor], given: Mapping[str, Any]) -> None:
    missing = [name for name in wanted if name not in given and not name.endswith(COUNTER)]
    unexpected = [name for name in given if name not in wanted]
    told = "; ".join(
        f"{what} {_listed(names)}"
        for what, names in (("missing", missing), ("unexpected", unexpected))
        if names
    )
    if told:
        raise FileError(f"{str(path)!r} holds another network: {told}")


def _check_shapes(
    path: Path, wanted: Mapping[str, Tensor], given: Mapping[str, Any], other: list[str]
) -> None:
    if other:
        told = [
            f"{name} is {_shape(given[name]) or type(given[name]).__name__} and not "
            f"{tuple(wanted[name].shape)}"
            for name in other
        ]
        raise FileError(f"{str(path)!r} holds another network: {_listed(told)}")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
