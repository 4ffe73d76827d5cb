"""Networks from files and functions: open one with its batch, and observe its attention.

``package.module:function``, TorchScript, exported programs and ONNX. Loading a file unpickles
nothing; a program in it is run on the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gspnl._base.programs import program_kind
from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.programs.batches import as_batch, read_batch
from gspnl.nn.programs.exported import open_exported
from gspnl.nn.programs.functions import call_function, load_state
from gspnl.nn.programs.scripted import open_scripted

__all__ = ["Opened", "open_program"]


@dataclass(frozen=True, eq=False)
class Opened:
    """A network with its batch; an ONNX file gives the attention that it computed instead.

    Attributes
    ----------
    model : Module or None
    batch : tensor, tuple or mapping
    calls : tuple of AttentionCall, or None
        None where a model is there to be observed.
    """

    model: nn.Module | None
    batch: Any
    calls: tuple[AttentionCall, ...] | None = None


def open_program(
    target: str,
    weights: str | PathLike[str] | None = None,
    batch: str | PathLike[str] | None = None,
    seed: int = 0,
) -> Opened:
    """Open a network and the batch to run it on.

    Parameters
    ----------
    target : str
        ``package.module:function``, whose function returns a Module or (Module, batch); a file of
        TorchScript, of torch.export.save or of ONNX.
    weights : path, optional
        State dict for the module of a function: safetensors, or a file of torch.save that holds
        tensors alone.
    batch : path, optional
        ``.npy``, ``.npz``, ``.safetensors`` or an image; default: the batch that the function
        returns, or the example inputs of an exported program.
    seed : int
        Of torch's random numbers, before the function is called.

    Raises
    ------
    InputError, FileError, MissingExtraError
    """
    path = Path(target)
    given = None if batch is None else read_batch(batch)
    whole_number("seed", seed, 0)
    kind = program_kind(target)
    if kind == "function":
        torch.manual_seed(seed)
        model, own = call_function(target)
        if weights is not None:
            load_state(model, Path(weights))
        return Opened(model, as_batch(_either(given, own, target, "return (module, batch)"), model))
    if weights is not None:
        raise InputError(
            f"--weights are of a network that a function makes; {target!r} has its own"
        )
    if kind == "onnx":
        from gspnl.nn.programs.onnx_calls import onnx_calls

        return Opened(None, given, onnx_calls(path, given))
    if kind == "exported":
        model, own = open_exported(path)
        fix = "export it with its example inputs"
        return Opened(model, as_batch(_either(given, own, target, fix), model))
    model = open_scripted(path)
    return Opened(model, as_batch(_either(given, None, target, ""), model))


def _either(given: Any, own: Any, target: str, fix: str) -> Any:
    """Return the batch that was given, or that of the network."""
    if given is not None:
        return given
    if own is None:
        raise InputError(
            f"{target!r} comes without a batch; pass --input FILE with what the network takes "
            f"(.npy, .npz, .safetensors or an image){f', or {fix}' if fix else ''}"
        )
    return own
