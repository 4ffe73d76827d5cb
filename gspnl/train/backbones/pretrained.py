"""Load published weights into backbones, from safetensors or torch files, executing nothing."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from gspnl.errors import FileError, InputError
from gspnl.nn.checkpoints.peers.state_dict import COUNTER, read_values
from gspnl.nn.surgery.targets import CHILD
from gspnl.train.backbones.registry import Backbone

ENDS = {"conv1.", "fc."}  # another shape for another stem, other images or other classes
SHOWN = 3
HOLDERS = ("state_dict", "model")  # keys of training codes for it, beside epochs and the like
WRAPPED = "module."  # before every key of a network that was saved in its DataParallel


@dataclass(frozen=True)
class Loaded:
    """The report of a load.

    Parameters
    ----------
    loaded : tuple of str
        Names of the parameters and buffers that have the file's values.
    fresh : tuple of str
        Names of those that are as they were: a first convolution or a last layer of another shape
        than the file's, and blocks that the file does not have.
    """

    loaded: tuple[str, ...]
    fresh: tuple[str, ...]


def load_pretrained(model: Backbone, path: str | PathLike[str]) -> Loaded:
    """Load a state dict into a backbone, before or after blocks are placed.

    "resnet50" has the names and shapes of torchvision's, "i3d_resnet50" those of the 3-D networks
    of Hara et al.; every network takes its own ``state_dict()``.

    Parameters
    ----------
    model : Backbone
        Changed in place, or not at all if the file does not fit.
    path : path
        A safetensors file, or one of ``torch.save``. Nothing in it is executed.

    Returns
    -------
    Loaded
        Names of the tensors that were loaded, and of those left fresh: ``conv1`` where its shape
        differs (the CIFAR stem, other channels), ``fc`` where the classes differ, and blocks that
        the file does not have. Look at it: a fresh ``conv1`` has lost its learned filters.

    Raises
    ------
    FileError
        If the file is missing, damaged, cut off, needs code to be read, or is of another network:
        the message has the first names that are missing, unexpected or of another shape.

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
    own, file = model.state_dict(), _read(path)
    wanted = {
        name: value for name, value in own.items() if f".{CHILD}." not in name or name in file
    }
    missing = [name for name in wanted if name not in file and not name.endswith(COUNTER)]
    unexpected = [name for name in file if name not in wanted]
    if missing or unexpected:
        lists = (("missing", missing), ("unexpected", unexpected))
        text = "; ".join(f"{what} {_first(names)}" for what, names in lists if names)
        raise FileError(f"{str(path)!r} holds another network: {text}")
    file |= {name: torch.zeros(()) for name in wanted if name not in file}  # counters
    shapes = {name: tuple(value.shape) for name, value in file.items() if torch.is_tensor(value)}
    other = [name for name in wanted if shapes.get(name) != tuple(wanted[name].shape)]
    ends = {name.partition(".")[0] + "." for name in other if name in shapes}
    fresh = tuple(ends & ENDS)
    wrong = [
        f"{name} is {shapes.get(name) or type(file[name]).__name__} and not "
        f"{tuple(wanted[name].shape)}"
        for name in other
        if not name.startswith(fresh)
    ]
    if wrong:
        raise FileError(f"{str(path)!r} holds another network: {_first(wrong)}")
    try:
        values = read_values({name: file[name] for name in wanted if not name.startswith(fresh)})
    except InputError as error:
        raise FileError(f"{str(path)!r} does not hold usable weights: {error}") from error
    model.load_state_dict(values, strict=False)
    return Loaded(tuple(values), tuple(name for name in own if name not in values))


def _first(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _read(path: Path) -> dict[str, Any]:
    """The state dict in a file, its values unchecked."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError(
            f"cannot read {str(path)!r}: {error.strerror or error}; name a file of weights"
        ) from error
    if content[8:9] == b"{":  # where the header of a safetensors file begins, and no pickle can
        try:
            return safetensors.torch.load(content)
        except Exception as error:  # also of dtypes that torch does not know
            problem = f"is damaged or cut off, as a safetensors file ({error})"
            raise FileError(f"{str(path)!r} {problem}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the age of a format
            found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file can make it raise anything
        first = str(error).partition("\n")[0]
        raise FileError(
            f"{str(path)!r} is damaged, or holds more than arrays and names: safetensors files and "
            "those of torch.save(model.state_dict(), path) are read, and nothing in a file is run "
            f"({type(error).__name__}: {first})"
        ) from error
    while isinstance(found, Mapping):
        inner = next((found[name] for name in HOLDERS if name in found), None)
        if not isinstance(inner, Mapping):
            break
        found = inner
    if not isinstance(found, Mapping) or not found or not all(isinstance(k, str) for k in found):
        kind = type(found).__name__
        raise FileError(f"{str(path)!r} holds {kind}, not names of tensors; save its state_dict()")
    wrapped = all(key.startswith(WRAPPED) for key in found)
    return {key.removeprefix(WRAPPED) if wrapped else key: value for key, value in found.items()}
