"""Open TorchScript files."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gspnl._base.files import refuse_endless
from gspnl.errors import FileError


def records(path: Path) -> list[str]:
    """Return the names of a zip archive's files without its root folder; none for other files."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.partition("/")[2] for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile, ValueError):
        return []


def is_scripted(path: Path) -> bool:
    """Return whether a file is an archive of TorchScript."""
    found = records(path)
    return "constants.pkl" in found and any(name.startswith("code/") for name in found)


def open_scripted(path: Path) -> nn.Module:
    """Load TorchScript on the CPU, in evaluation mode.

    Its reader knows tensors, numbers and the file's own classes, and runs no Python; the program
    itself runs when it is called.

    Raises
    ------
    FileError
    """
    refuse_endless(path)
    if not is_scripted(path):
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
