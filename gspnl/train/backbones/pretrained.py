"""Load published weights into backbones, from safetensors or torch files, executing nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from gspnl.errors import FileError, InputError
from gspnl.nn.checkpoints.finder import Found, candidates, choose, fitting, named, plain_names
from gspnl.nn.checkpoints.peers.formats import COUNTER, read_values
from gspnl.nn.checkpoints.reading import read_weights
from gspnl.nn.surgery.targets import CHILD
from gspnl.train.backbones.registry import Backbone

ENDS = {"conv1.", "fc."}  # another shape for another stem, other images or other classes
SHOWN = 3


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
    key : str
        Where in the file the weights are, such as "model_state_dict"; "" for the file itself.
    others : tuple of str
        Other weights in the file that would have fitted, such as "model_ema".
    left : tuple of str
        Names beside the weights that were not used.
    """

    loaded: tuple[str, ...]
    fresh: tuple[str, ...]
    key: str = ""
    others: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def load_pretrained(
    model: Backbone, path: str | PathLike[str], *, key: str | None = None
) -> Loaded:
    """Load a state dict into a backbone, before or after blocks are placed.

    "resnet50" has the names and shapes of torchvision's, "i3d_resnet50" those of the 3-D networks
    of Hara et al.; every network takes its own ``state_dict()``. The state dict may be part of a
    checkpoint, as ``{"model_state_dict": …, "epoch": 3}``, under prefixes such as ``module.`` and
    ``backbone.``. Of a model and its average the model is loaded; the others are logged.

    Parameters
    ----------
    model : Backbone
        Changed in place, or not at all if the file does not fit.
    path : path
        A safetensors file, or one of ``torch.save``. Nothing in it is executed.
    key : str, optional
        Which weights to load, where the file holds several: "model_ema", "state_dict.encoder_q".

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
        the message has the first names that are missing, unexpected or of another shape. Also if
        several weights in it fit equally well; the message names them.

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
    full = plain_names({name: name for name in model.state_dict()})  # without torch.compile's
    own = plain_names(model.state_dict())
    content = read_weights(path)
    try:
        found = _find(own, content) if key is None else named(content, key)
    except InputError as error:
        raise FileError(f"{str(path)!r} cannot be loaded: {error}") from error
    file = dict(found.entries)
    wanted = {
        name: value for name, value in own.items() if f".{CHILD}." not in name or name in file
    }
    beside = [name for name in file if name not in wanted and not hasattr(file[name], "shape")]
    file = {name: value for name, value in file.items() if name not in beside}
    missing = [name for name in wanted if name not in file and not name.endswith(COUNTER)]
    unexpected = [name for name in file if name not in wanted]
    another = f"{str(path)!r} holds another network{f' under {found.name!r}' * bool(found.name)}"
    if missing or unexpected:
        lists = (("missing", missing), ("unexpected", unexpected))
        text = "; ".join(f"{what} {_first(names)}" for what, names in lists if names)
        raise FileError(f"{another}: {text}")
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
        raise FileError(f"{another}: {_first(wrong)}")
    try:
        values = read_values({name: file[name] for name in wanted if not name.startswith(fresh)})
    except InputError as error:
        raise FileError(f"{str(path)!r} does not hold usable weights: {error}") from error
    model.load_state_dict({full[name]: value for name, value in values.items()}, strict=False)
    return Loaded(
        loaded=tuple(full[name] for name in values),
        fresh=tuple(full[name] for name in own if name not in values),
        key=found.name,
        others=found.others,
        left=(*found.left, *beside),
    )


def _first(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _find(own: Mapping[str, Any], content: object) -> Found:
    """Find the weights of a network: of its names and shapes, of its names, or the nearest."""
    required = {
        name: tuple(value.shape)
        for name, value in own.items()
        if f".{CHILD}." not in name and not name.endswith(COUNTER)
    }

    def at(least: int, shapes: bool) -> list[Found]:
        return fitting(
            content,
            lambda entries: [
                prefix
                for prefix, count in _counts(entries, required, shapes).items()
                if count >= least
            ],
        )

    found = at(len(required), True) or at(len(required), False)
    if found:
        return choose(found)
    everything = candidates(content)
    counts = [_counts(each.entries, required, False) for each in everything]
    most = max((max(each.values(), default=0) for each in counts), default=0)
    # Whole, if the names without a prefix are as near as any others.
    whole = [each for each, own in zip(everything, counts, strict=True) if own[""] == most]
    return choose(whole or at(most, False))


def _counts(
    entries: Mapping[str, Any], required: Mapping[str, tuple[int, ...]], shapes: bool
) -> Counter[str]:
    """Count, for each prefix, the required names under it, or those of the right shape."""
    counts: Counter[str] = Counter()
    for key, value in entries.items():
        parts = key.split(".")
        for i in range(len(parts)):
            name = ".".join(parts[i:])
            shape = required.get(name)
            if shape is None:
                continue
            same = shape == tuple(getattr(value, "shape", ())) or name.startswith(tuple(ENDS))
            if same or not shapes:
                counts["".join(f"{part}." for part in parts[:i])] += 1
    return counts
