"""State dicts in files, safetensors or torch's, read without running anything in them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from gspnl.errors import FileError

HOLDERS = ("state_dict", "model")  # under which training codes keep it, beside epochs and the like
WRAPPED = "module."  # before every key of a network that was saved in its DataParallel


def read_state(path: Path) -> dict[str, Any]:
    """Names and values of a state dict, the values unchecked.

    Raises
    ------
    FileError
        If the file is missing, damaged, needs code to be read, or holds no state dict.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError(
            f"cannot read {str(path)!r}: {error.strerror or error}; name a file of weights that "
            "exists"
        ) from error
    if content[8:9] == b"{":  # where the header of a safetensors file begins, and no pickle can
        return _safetensors(path, content)
    return _state_in(path, _torch(path, content))


def _safetensors(path: Path, content: bytes) -> dict[str, Any]:
    try:
        return safetensors.torch.load(content)
    except Exception as error:  # also of dtypes that torch does not know
        raise FileError(
            f"{str(path)!r} is damaged or cut off, as a safetensors file ({error})"
        ) from error


def _torch(path: Path, content: bytes) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the age of a format
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file can make it raise anything
        first = str(error).partition("\n")[0]
        raise FileError(
            f"{str(path)!r} is damaged, or holds more than arrays and names: safetensors files and "
            "those of torch.save(model.state_dict(), path) are read, and nothing in a file is run "
            f"({type(error).__name__}: {first})"
        ) from error


def _state_in(path: Path, held: Any) -> dict[str, Any]:
    while isinstance(held, Mapping):
        inner = next((held[name] for name in HOLDERS if name in held), None)
        if not isinstance(inner, Mapping):
            break
        held = inner
    if not isinstance(held, Mapping) or not held or not all(isinstance(key, str) for key in held):
        raise FileError(
            f"{str(path)!r} holds {type(held).__name__} and not names of tensors; save "
            "model.state_dict()"
        )
    wrapped = all(key.startswith(WRAPPED) for key in held)
    return {key.removeprefix(WRAPPED) if wrapped else key: value for key, value in held.items()}
