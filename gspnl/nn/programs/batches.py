"""Read a batch from a file, and cast it to the dtype and device of a network."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gspnl._base import files
from gspnl.errors import FileError
from gspnl.nn.checkpoints.reading import safetensors_library

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
FIX = "name a file .npy, .npz, .safetensors or an image"
POSITIONAL = re.compile(r"arr_\d+")


def read_batch(path: str | PathLike[str]) -> Any:
    """Read what a network is called with; nothing in the file is executed.

    Parameters
    ----------
    path : path
        ``.npy``: the one argument. ``.npz``: positional arguments where the names are arr_0,
        arr_1, …, else keyword arguments. ``.safetensors``: one argument, or keyword arguments.
        An image: RGB values in [0, 1], (1, 3, H, W), float32.

    Returns
    -------
    Tensor, tuple of Tensor, or dict of str to Tensor

    Raises
    ------
    FileError
        For a file that is missing, damaged, empty, or holds Python objects.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in IMAGES:
        from gspnl.signals.images.files import load_photo

        return torch.from_numpy(load_photo(path).transpose(2, 0, 1)[None].copy()).float()
    if suffix not in (".npy", ".npz", ".safetensors"):
        raise FileError(f"--input {str(path)!r} is of no format that is read; {FIX}")
    content = files.read(path, FIX)
    if suffix == ".safetensors":
        return _single(_safetensors(path, content))
    try:
        found = np.load(io.BytesIO(content), allow_pickle=False)
        arrays = {"": found} if suffix == ".npy" else {name: found[name] for name in found.files}
        tensors = {name: _tensor(array) for name, array in arrays.items()}
    except (ValueError, OSError, EOFError, TypeError, zipfile.BadZipFile, AttributeError) as error:
        raise FileError(
            f"--input {str(path)!r} is damaged or holds Python objects, and nothing is unpickled "
            f"({' '.join(str(error).split())[:200]}); save arrays of numbers by numpy.save"
        ) from error
    if not tensors:
        raise FileError(f"--input {str(path)!r} holds no array; {FIX}")
    if all(POSITIONAL.fullmatch(name) for name in tensors):
        inputs = tuple(tensors.values())
        return inputs[0] if len(inputs) == 1 else inputs
    return tensors.get("", tensors)


def _safetensors(path: Path, content: bytes) -> dict[str, Tensor]:
    try:
        found: dict[str, Tensor] = safetensors_library().torch.load(content)
    except Exception as error:  # of the library: of headers and sizes
        raise FileError(
            f"--input {str(path)!r} is damaged, as a safetensors file ({error}); {FIX}"
        ) from error
    if not found:
        raise FileError(f"--input {str(path)!r} holds no tensor; {FIX}")
    return found


def _single(tensors: dict[str, Tensor]) -> Any:
    return next(iter(tensors.values())) if len(tensors) == 1 else tensors


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="))))


def as_batch(batch: Any, model: nn.Module) -> Any:
    """Cast floating tensors to the dtype of the network, and move all to its device."""
    first = next((p for p in model.parameters() if p.is_floating_point()), None)
    if first is None:
        return batch

    def cast(value: Any) -> Any:
        if isinstance(value, Tensor):
            dtype = first.dtype if value.is_floating_point() else value.dtype
            return value.to(first.device, dtype)
        if isinstance(value, Mapping):
            return {name: cast(each) for name, each in value.items()}
        if type(value) in (tuple, list):
            return type(value)(cast(each) for each in value)
        return value

    return cast(batch)
