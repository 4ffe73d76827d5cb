"""Read and write the state of a run: safetensors with JSON in the header, nothing pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from gspnl._base.files import read, replace
from gspnl._base.texts import parse_json
from gspnl.errors import FileError
from gspnl.nn.checkpoints import KEY as BLOCK
from gspnl.nn.checkpoints.contents import checksum
from gspnl.nn.checkpoints.reading import describe, is_safetensors, refuse_others
from gspnl.train.contents import check_header, check_network, check_position
from gspnl.train.recipes import Recipe, to_dict

KEY, SUM, VERSION = "gspnl.train", "gspnl.crc32", 1
TORCH = (b"PK", b"\x80")  # begin files of torch.save: archives, and pickles


@dataclass
class State:
    """Position and metrics of a run."""

    epoch: int = 0  # epochs done
    step: int = 0  # steps done in the next epoch; over these are the sums
    loss: float = 0.0  # of the losses of samples
    correct: float = 0.0  # of right answers
    count: float = 0.0  # of samples
    seconds: float = 0.0
    rates: list[float] = field(default_factory=list)  # images per second of these steps
    rows: list[dict[str, Any]] = field(default_factory=list)  # metrics of the epochs done
    skipped: list[str] = field(default_factory=list)  # damaged samples left out: sorted, each once
    peak_bytes: int = 0  # see cost.Memory; 0 if it is not known

    def next_epoch(self, row: dict[str, Any]) -> State:
        """The state after an epoch."""
        rows = [*self.rows, row]
        return State(self.epoch + 1, rows=rows, skipped=self.skipped, peak_bytes=self.peak_bytes)


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file."""

    recipe: Recipe
    shape: tuple[int, ...]  # channels and spatial sizes of one image
    classes: int
    data: str  # the fingerprint of the data
    state: State
    scaler: Mapping[str, Any]  # of mixed precision in float16; empty without
    tensors: Mapping[str, Tensor]  # model.*, optimiser.<parameter>.*, rng.<kind>.<rank>

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors under ``name.``, without that prefix."""
        start = f"{name}."
        return {k.removeprefix(start): v for k, v in self.tensors.items() if k.startswith(start)}


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint, whole or not at all; raise FileError if it cannot be written."""
    about = {**vars(checkpoint), "recipe": to_dict(checkpoint.recipe)}
    about["state"] = asdict(checkpoint.state)
    del about["tensors"]
    text = json.dumps({"version": VERSION, **about})
    # Clones, since safetensors refuses tensors that share memory, as tied weights do.
    tensors = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in checkpoint.tensors.items()
    }
    note = {KEY: text, SUM: str(checksum(text, tensors))}
    replace(path, safetensors.torch.save(tensors, note))


def load(path: str | PathLike[str]) -> Checkpoint:
    """Read a checkpoint onto the CPU.

    Raise FileError if it is missing, cut off, changed by a single bit, or not of a run of gspnl.
    """
    path = Path(path)
    fix = "name the folder of a run of gspnl train, or its checkpoint"
    content = read(path, fix, "the checkpoint ")
    refuse_others(path, content)
    if content.startswith(TORCH) and not is_safetensors(content):
        raise _foreign(path, content)
    try:
        tensors = safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise _damaged(path, str(error)) from error
    size = int.from_bytes(content[:8], "little")  # of the header, checked just now
    header = content[8 : 8 + size]
    try:
        note = parse_json(header).get("__metadata__") or {}
    except (ValueError, AttributeError) as error:
        raise _damaged(path, str(error)) from error
    if KEY not in note:
        raise _foreign(path, content, block=BLOCK in note)
    if note.get(SUM) != str(checksum(note[KEY], tensors)):
        raise _damaged(path, "its checksum is wrong")
    try:
        about = parse_json(note[KEY], finite=None)
        if (version := about.pop("version")) != VERSION:
            raise ValueError(f"it is of version {version!r}, and this one reads {VERSION}")
        check_header(about)
        about["recipe"], about["state"] = Recipe(**about["recipe"]), State(**about["state"])
        check_position(about["state"], about["recipe"])
        check_network(about["recipe"], tuple(about["shape"]), about["classes"], tensors)
        return Checkpoint(**{**about, "shape": tuple(about["shape"]), "tensors": tensors})
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise FileError(
            f"{str(path)!r} does not fit this version of gspnl ({' '.join(str(error).split())}); "
            "install the one that wrote it, or put back a copy"
        ) from error


def _foreign(path: Path, content: bytes, block: bool = False) -> FileError:
    """Return the error for weights without a recipe; it says what they are and what to pass."""
    if block:
        held = "it holds one block, which gspnl.nn.load reads"
    else:
        found = describe(path, content)
        unnamed = "" if found == "no weights" else ", but not of which network they are"
        held = f"it holds {found}{unnamed}"
    return FileError(
        f"{str(path)!r} is no checkpoint of gspnl: {held}; pass a run folder of gspnl train or the "
        "checkpoint in it. In Python, put weights into their network and call "
        "gspnl.nn.audit(network, images); weights to start a training from are its --pretrained"
    )


def _damaged(path: Path, reason: str) -> FileError:
    return FileError(
        f"{str(path)!r} is no checkpoint, or damaged or cut off ({' '.join(reason.split())}); put "
        "back a copy, or begin the run again in another folder"
    )
