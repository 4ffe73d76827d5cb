"""Read files of weights, of safetensors or torch.save, and execute nothing in them."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import Any

import torch

from gspnl._base import files
from gspnl.errors import FileError, MissingExtraError
from gspnl.nn.checkpoints.finder import candidates

# Beginnings of files that are found in the place of weights, and what they are. None is that of a
# safetensors file, whose first 8 bytes are a number below 10⁸, so that some are 0.
OTHERS = (
    (rb"\s*[{\[][\s -~]{7}", "JSON; name the file with the arrays"),
    (rb"version https://git-lfs", "a pointer of Git LFS; fetch the file itself: git lfs pull"),
    (rb"\s*<(!doctype|html|\?xml)", "a web page; download the file itself"),
    (rb"\x89HDF", "HDF5; convert it to safetensors where Keras or h5py is installed"),
    (
        rb"\x08[\x01-\x20]\x12[\x01-\x40][ -~]",
        "an ONNX graph; save the state dict that it was exported from",
    ),
)
INDEX = re.compile(rb'"weight_map"\s*:')
PARTS = re.compile(rb':\s*"([^"/\\]{1,99}\.(?:safetensors|bin|pt|pth))"')
REFUSED = re.compile(r"Unsupported global: GLOBAL (\S+)")  # of torch's errors


def read_weights(path: Path) -> object:
    """Return the content of a file of weights; raise FileError if it cannot be read."""
    return parse_weights(path, files.read(path, "name a file of weights"))


def refuse_others(path: Path, content: bytes) -> None:
    """Raise FileError for what is often found in the place of weights, and say what it is."""
    if re.match(OTHERS[0][0], content[:99]) and INDEX.search(content):
        parts = sorted({name.decode(errors="replace") for name in PARTS.findall(content)})
        first = f", such as {parts[0]!r}" if parts else ""
        raise FileError(
            f"{str(path)!r} is the index of weights in {len(parts)} files{first}; load each by "
            "safetensors.torch.load_file or torch.load, and save all their tensors as one file"
        )
    for start, kind in OTHERS:
        if re.match(start, content[:99], re.IGNORECASE):
            raise FileError(f"{str(path)!r} is damaged or no file of weights: it is {kind}")


def parse_weights(path: Path, content: bytes) -> object:
    """Return what the bytes of a file of weights hold."""
    refuse_others(path, content)
    if is_safetensors(content):
        library = safetensors_library()
        try:
            return library.torch.load(content)
        except Exception as error:  # also of dtypes that torch does not know
            problem = f"is damaged or cut off, as a safetensors file ({error})"
            raise FileError(f"{str(path)!r} {problem}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the age of a format
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file can make it raise anything
        raise _unreadable(path, error) from error


def is_safetensors(content: bytes) -> bool:
    """Return whether bytes begin as a safetensors file, which no file of torch.save does."""
    return content[8:9] == b"{"


def describe(path: Path, content: bytes) -> str:
    """Describe in a few words what a file of weights holds."""
    try:
        found = candidates(parse_weights(path, content))
    except FileError:
        return "more than arrays and names"
    if not found:
        return "no weights"
    most = max(found, key=lambda each: len(each.entries))
    at = f" under {most.name!r}" if most.name else ""
    return f"{len(most.entries)} weights{at} ({next(iter(most.entries))!r} …)"


def safetensors_library() -> Any:
    """Import safetensors; raise MissingExtraError where it is not installed."""
    try:
        import safetensors
        import safetensors.torch
    except ImportError as error:
        raise MissingExtraError(
            "files of weights need safetensors: pip install 'gspnl[torch]'"
        ) from error
    return safetensors


def _unreadable(path: Path, error: Exception) -> FileError:
    text = str(error)
    if "TorchScript" in text:
        return FileError(
            f"{str(path)!r} is a TorchScript archive, a program, and nothing in a file is run; "
            "save torch.jit.load(path).state_dict() by torch.save"
        )
    if refused := REFUSED.search(text):
        return FileError(
            f"{str(path)!r} holds {refused[1]} beside its arrays, which needs code to be read, and "
            "nothing in a file is run; save model.state_dict() alone where it was written, or, if "
            "you trust it, convert it once: torch.save(torch.load(path, weights_only=False)"
            "['model'], new), with the key of the weights, or .state_dict() for a whole network"
        )
    # What torch says next is how to run it.
    reason = text.partition("\n")[0].partition(" In PyTorch")[0] or "it is empty"
    return FileError(
        f"{str(path)!r} is damaged, or holds more than arrays and names: safetensors files and "
        "those of torch.save(model.state_dict(), path) are read, and nothing in a file is run "
        f"({type(error).__name__}: {reason})"
    )
