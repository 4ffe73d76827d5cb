"""Tell files and names of networks apart, without loading torch."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
SUFFIXES = {".onnx": "onnx", ".pt2": "exported"}


def program_kind(target: str) -> str:
    """Return "function", "onnx", "exported" or "scripted"; "" for anything else.

    A function is written package.module:function. Files are known by .onnx and .pt2, or as archives
    of torch.export.save or TorchScript by what is in them.

    Examples
    --------
    >>> program_kind("package.module:function"), program_kind("net.onnx"), program_kind("runs/7")
    ('function', 'onnx', '')
    """
    path = Path(target)
    if NAME.fullmatch(target) and not path.exists():
        return "function"
    if path.suffix.lower() in SUFFIXES:
        return SUFFIXES[path.suffix.lower()]
    return archive_kind(path)


def archive_kind(path: Path) -> str:
    """Return "exported" or "scripted" for an archive of torch; "" for other files."""
    names = _names(path)
    if "archive_format" in names and any(name.startswith("models/") for name in names):
        return "exported"
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        return "scripted"
    return ""


def _names(path: Path) -> list[str]:
    """Return the names in a zip archive without its root folder; none for other files."""
    try:
        if not path.is_file():
            return []
        with zipfile.ZipFile(path) as archive:
            return [name.partition("/")[2] for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile, ValueError):
        return []
