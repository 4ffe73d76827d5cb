"""Open TorchScript files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gspnl._base.files import refuse_endless
from gspnl._base.programs import archive_kind
from gspnl.errors import FileError


def open_scripted(path: Path) -> nn.Module:
    """Load TorchScript on the CPU, in evaluation mode.

    Its reader knows tensors, numbers and the file's own classes, and runs no Python; the program
    itself runs when it is called.

    Raises
    ------
    FileError
    """
    refuse_endless(path)
    if archive_kind(path) != "scripted":
        raise FileError(
            f"{str(path)!r} is no TorchScript archive; name a file of torch.jit.save, a .pt2 of "
            "torch.export.save, an .onnx file, or package.module:function"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript itself
            load: Any = torch.jit.load
            module: nn.Module = load(str(path), map_location="cpu")
    except Exception as error:  # a damaged file can make it raise anything
        reason = " ".join(str(error).split())[:200]
        raise FileError(f"{str(path)!r} is damaged, as a TorchScript archive ({reason})") from error
    return module.eval()
