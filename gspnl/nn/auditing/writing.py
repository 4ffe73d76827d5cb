"""Write an audit to a folder: its tables, its figure as PNG, and its numbers as JSON."""

from __future__ import annotations

import io
import json
from os import PathLike
from pathlib import Path
from typing import Any

from gspnl._base.files import make_folder, replace
from gspnl.nn.auditing.report import Audit

DPI = 150


def write_audit(audit: Audit, out: str | PathLike[str]) -> dict[str, Any]:
    """Write ``audit.txt``, ``audit.png`` and ``audit.json`` to a folder, made if it is not there.

    Files of an earlier call are replaced. Returns the numbers, as :meth:`Audit.numbers`.
    """
    folder, numbers = make_folder(Path(out)), audit.numbers()
    write_picture(folder / "audit.png", audit.plot())
    replace(folder / "audit.txt", f"{audit}\n".encode())
    write_numbers(folder / "audit.json", numbers)
    return numbers


def write_picture(path: Path, figure: Any) -> None:
    """Write a figure as a PNG file, the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    replace(path, buffer.getvalue())


def write_numbers(path: Path, numbers: dict[str, Any]) -> None:
    """Write numbers as a JSON file; NaN and infinite ones are a ValueError."""
    text = json.dumps(numbers, indent=1, allow_nan=False, ensure_ascii=False)
    replace(path, text.encode() + b"\n")
